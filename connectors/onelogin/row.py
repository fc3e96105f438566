"""Read OneLogin's rows, tolerant of odd ones: what a row does not say is None or empty, and nothing is made up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Membership", "User", "is_id", "membership_from_json", "role_ids", "row_id", "row_name", "user_from_json"]

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,100}")
MAX_DIGITS = 15


@dataclass(frozen=True, slots=True)
class User:
    """A row of `/api/2/users` or of an application's users, which shows neither *status* nor *state*.

    *id* is None where the row has none that could be asked for, *status* and *state* where they are no numbers.
    """

    id: str | None
    email: str | None
    given_name: str
    family_name: str
    status: int | None = None
    state: int | None = None

    @property
    def display_name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip()


@dataclass(frozen=True, slots=True)
class Membership:
    """A row of a role's users. *is_assigned* is False for those whom some lists hold beside the role's own people."""

    id: str | None
    is_assigned: bool


def is_id(text: str) -> bool:
    """Tell whether *text* can stand in a path: ids of OneLogin are numbers, and nothing else may lead elsewhere."""
    return ID_PATTERN.fullmatch(text) is not None


def row_id(row: object) -> str | None:
    """Return the id as text: types differ between lists, the id does not."""
    return _id_from_json(_as_object(row).get("id"))


def row_name(row: object) -> str:
    """Return the name, empty where there is none. Spaces around it are part of it."""
    name = _as_object(row).get("name")
    return name if isinstance(name, str) else ""


def role_ids(app: Mapping[str, object]) -> list[str] | None:
    """Return the ids of the roles that grant an application, None where it does not show them all."""
    listed = app.get("role_ids")
    ids = [_id_from_json(each) for each in listed] if isinstance(listed, list) else [None]
    known = {each for each in ids if each is not None}
    return None if None in ids else sorted(known)


def membership_from_json(row: object) -> Membership:
    return Membership(row_id(row), _as_object(row).get("assigned") is not False)


def user_from_json(row: object) -> User:
    fields = _as_object(row)
    return User(
        row_id(row),
        _as_text(fields.get("email")) or None,
        _as_text(fields.get("firstname")),
        _as_text(fields.get("lastname")),
        _as_integer(fields.get("status")),
        _as_integer(fields.get("state")),
    )


def _id_from_json(value: object) -> str | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else _as_text(value)
    return text if is_id(text) else None


def _as_object(row: object) -> Mapping[str, object]:
    return row if isinstance(row, dict) else {}


def _as_text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _as_integer(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
