"""Which of an application's roles a source counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from connectors.base import IncompleteRead
from connectors.http import escape_control

__all__ = ["Role", "select_roles"]


@dataclass(frozen=True, slots=True)
class Role:
    """A role that grants an application."""

    id: str
    name: str


def select_roles(granting: Sequence[Role], wanted: Sequence[str], app: str) -> tuple[Role, ...]:
    """Return the roles that *wanted* names by id or exact name, or all when it names none.

    Raises `IncompleteRead` for a name that the application does not have, or has twice: a role that can't be told is
    not an empty role.
    """
    if not wanted:
        return tuple(granting)
    named = dict.fromkeys(_find_role(granting, each, app) for each in wanted)
    return tuple(sorted(named, key=lambda role: role.id))


def _find_role(granting: Sequence[Role], wanted: str, app: str) -> Role:
    by_id = [role for role in granting if role.id == wanted]
    found = by_id or [role for role in granting if role.name == wanted]
    app = escape_control(app)
    if len(found) == 1:
        return found[0]
    if found:
        ids = escape_control(", ".join(sorted(role.id for role in found)))
        raise IncompleteRead(
            f"{len(found)} roles of the application {app} in OneLogin are named {wanted!r}: {ids}.",
            "Write the id of the one you mean under `groups` of this source.",
        )
    names = escape_control(", ".join(sorted(role.name for role in granting))) or "none"
    raise IncompleteRead(
        f"The application {app} in OneLogin has no role {wanted!r}; its roles are: {names}.",
        "Give the application to that role in OneLogin, or correct `groups` of this source (ids, or names as spelled).",
    )
