"""Read OneLogin's rows, tolerant of odd ones: what a row does not say is None, and nothing is made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.base import Status

__all__ = ["User", "id_of", "name_of", "status_of", "user_from_json"]

# Trouble with signing in is not an end of the assignment (docs/faults-onelogin.md): locked, password expired, awaiting
# a reset, security questions required.
ACTIVE = frozenset({1, 3, 4, 5, 8})
UNFINISHED = frozenset({0, 7})
SUSPENDED = 2
APPROVED = 1
NOT_APPROVED = frozenset({0, 2, 3})


@dataclass(frozen=True, slots=True)
class User:
    """A row of `/api/2/users`. *id* is None where the row has none, *status* and *state* where they are null."""

    id: str | None
    email: str | None
    given_name: str
    family_name: str
    username: str
    status: int | None
    state: int | None

    @property
    def display_name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip()


def _mapping(row: object) -> Mapping[str, object]:
    return row if isinstance(row, dict) else {}


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def id_of(row: object) -> str | None:
    """Return the id as text: types differ between lists, the id does not."""
    value = _mapping(row).get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(value) or None


def name_of(row: object) -> str:
    return _text(_mapping(row).get("name"))


def is_assigned(row: object) -> bool:
    """Tell whether a role's row is of somebody who has the role: some lists hold the others too."""
    return _mapping(row).get("assigned") is not False


def user_from_json(row: object) -> User:
    fields = _mapping(row)
    return User(
        id_of(row),
        _text(fields.get("email")) or None,
        _text(fields.get("firstname")),
        _text(fields.get("lastname")),
        _text(fields.get("username")),
        _whole(fields.get("status")),
        _whole(fields.get("state")),
    )


def status_of(user: User) -> Status:
    """Return what OneLogin's status and state come to."""
    if user.status is None:
        return Status.UNKNOWN
    if user.status == SUSPENDED or user.state in NOT_APPROVED:
        return Status.SUSPENDED
    if user.status in ACTIVE:
        return Status.ACTIVE
    if user.status in UNFINISHED:
        return Status.ACTIVE if user.state == APPROVED else Status.UNKNOWN
    return Status.UNKNOWN
