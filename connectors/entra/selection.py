"""Who is assigned to an enterprise application, sorted out, and which of its groups a source counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connectors.base import IncompleteRead
from connectors.entra.row import AppAssignment
from connectors.http import escape_control

__all__ = ["AppAssignments", "AppGroup", "select_groups", "sort_assignments"]


@dataclass(frozen=True, slots=True, order=True)
class AppGroup:
    """A group assigned to an application; its name is its id where Entra shows none."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class AppAssignments:
    """Everything that is assigned, each once however many app roles it has; *individuals* are names by id."""

    groups: tuple[AppGroup, ...]
    individual_names: dict[str, str]
    other_principals: tuple[str, ...]


def sort_assignments(rows: Iterable[AppAssignment], app: str) -> AppAssignments:
    """Sort *rows* out. Raises `IncompleteRead` for one that does not say whom it assigns: nobody can be left out."""
    groups: dict[str, str] = {}
    individuals: dict[str, str] = {}
    others: dict[str, str] = {}
    kinds = {"group": groups, "user": individuals}
    for row in rows:
        if not row.id or not row.kind:
            raise IncompleteRead(
                f"Entra returned an assignment of the application {app} without whom it assigns.",
                "Try again; if it stays, remove and add the application's users and groups in Entra.",
            )
        kinds.get(row.kind, others)[row.id] = row.name or row.id
    found = tuple(AppGroup(key, groups[key]) for key in sorted(groups))
    return AppAssignments(found, individuals, tuple(sorted(set(others.values()))))


def select_groups(groups: Sequence[AppGroup], wanted: Sequence[str], app: str) -> tuple[AppGroup, ...]:
    """Return the groups that *wanted* names by id or exact name, or all when it names none.

    Raises `IncompleteRead` for a name that the application does not have, or has twice: a group that can't be told is
    not an empty group.
    """
    if not wanted:
        return tuple(groups)
    return tuple(dict.fromkeys(_find_group(groups, each, app) for each in wanted))


def _find_group(groups: Sequence[AppGroup], wanted: str, app: str) -> AppGroup:
    by_id = [group for group in groups if group.id.lower() == wanted.lower()]
    found = by_id or [group for group in groups if group.name == wanted]
    if len(found) == 1:
        return found[0]
    app = escape_control(app)
    if found:
        ids = ", ".join(group.id for group in found)
        raise IncompleteRead(
            f"{len(found)} groups of the application {app} in Entra are named {wanted!r}: {ids}.",
            "Write the object id of the one you mean under `groups` of this source.",
        )
    names = escape_control(", ".join(sorted(group.name for group in groups))) or "none"
    raise IncompleteRead(
        f"The application {app} in Entra has no group {wanted!r}; its groups are: {names}.",
        "Assign that group to the enterprise application, or correct `groups` of this source (object ids, or names as "
        "spelled).",
    )
