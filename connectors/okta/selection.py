"""Which of an application's groups a source counts."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import IncompleteRead
from connectors.http import escape_control
from connectors.okta.row import AppGroup

__all__ = ["select_groups"]


def select_groups(assigned: Sequence[AppGroup], wanted: Sequence[str], app: str) -> tuple[AppGroup, ...]:
    """Return the groups that *wanted* names by id or exact name, or all when it names none.

    Raises `IncompleteRead` for a name that the application does not have, or has twice: a group that can't be told is
    not an empty group.
    """
    if not wanted:
        return tuple(assigned)
    return tuple(dict.fromkeys(_find_group(assigned, each, app) for each in wanted))


def _find_group(assigned: Sequence[AppGroup], wanted: str, app: str) -> AppGroup:
    by_id = [group for group in assigned if group.id == wanted]
    found = by_id or [group for group in assigned if group.name == wanted]
    app = escape_control(app)
    if len(found) == 1:
        return found[0]
    if found:
        ids = escape_control(", ".join(sorted(group.id for group in found)))
        raise IncompleteRead(
            f"{len(found)} groups of the application {app} in Okta are named {wanted!r}: {ids}.",
            "Write the id of the one you mean under `groups` of this source.",
        )
    names = escape_control(", ".join(sorted(group.name for group in assigned))) or "none"
    raise IncompleteRead(
        f"The application {app} in Okta has no group {wanted!r}; its groups are: {names}.",
        "Assign that group to the application in Okta, or correct `groups` of this source (ids, or names as spelled).",
    )
