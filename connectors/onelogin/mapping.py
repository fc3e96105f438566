"""Read OneLogin's rows, and map a OneLogin user to a `Person`. What a row does not show is None or empty.

status                                            state 1     state 0, 2, 3    other state
one of *entitled_statuses*                        active      suspended        unknown
2, or 0, 1, 3, 4, 5, 7, 8 and not one of those    suspended   suspended        unknown (2: suspended)
any other, or none                                unknown     unknown          unknown
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from connectors.base import Person, Status, light_dataclass
from connectors.directory import GroupNaming, as_integer, as_name, as_object, as_text, is_path_id
from connectors.onelogin.settings import ENTITLED_STATUSES

__all__ = [
    "NAMING",
    "SCOPE_HINT",
    "SUSPENDED",
    "Assignment",
    "Membership",
    "User",
    "UserMapper",
    "id_from_json",
    "membership_from_json",
    "role_ids",
    "row_id",
    "row_name",
    "status_text",
    "user_from_json",
]

NAMING = GroupNaming(provider="OneLogin", assign_remedy="Give the application to that role in OneLogin", noun="role")
SCOPE_HINT = "Give the API credential the scope Read All in OneLogin (Developers > API Credentials)."
SUSPENDED = 2
KNOWN_STATUSES = ENTITLED_STATUSES | {SUSPENDED}
APPROVED = 1
KNOWN_STATES = frozenset({0, APPROVED, 2, 3})


@light_dataclass
class User:
    """A row of `/api/2/users` or of an application's users, which shows neither *status* nor *state*.

    *id* is None where the row has no usable one, *status* and *state* where they are not numbers.
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


@light_dataclass
class Membership:
    """A row of a role's users. *is_assigned* is False for rows that are not the role's own people."""

    id: str | None
    is_assigned: bool


@light_dataclass
class Assignment:
    """The assignment of a person. *is_sure* is False where a role with rows that have no id may hold them.

    *unread* is why the person could not be looked up, empty where they were.
    """

    groups: tuple[str, ...]
    individual: bool
    is_sure: bool = True
    unread: str = ""


@dataclass(frozen=True, slots=True)
class UserMapper:
    """Maps users to people, by the settings of the connector."""

    connector: str
    entitled_statuses: frozenset[int] = ENTITLED_STATUSES

    def status_of(self, user: User) -> Status:
        """Decide by the table above."""
        if user.status == SUSPENDED:
            return Status.SUSPENDED
        if user.status not in KNOWN_STATUSES or user.state not in KNOWN_STATES:
            return Status.UNKNOWN
        if user.state != APPROVED or user.status not in self.entitled_statuses:
            return Status.SUSPENDED
        return Status.ACTIVE

    def person_from_user(self, key: str, user: User | None, listed: User | None, assignment: Assignment) -> Person:
        """Return the person by the account's own row (*user*), else by the application's row (*listed*).

        Without *user* they were deleted a moment ago, or skipped: their status is unknown.
        """
        shown = user or listed or User(key, None, "", "")
        if listed is not None and shown.email is None:
            shown = replace(shown, email=listed.email)
        status = self.status_of(user) if user is not None and assignment.is_sure else Status.UNKNOWN
        return Person(
            connector=self.connector,
            id=key,
            email=shown.email,
            display_name=shown.display_name,
            status=status,
            source_status=_source_status(user, assignment),
            groups=assignment.groups,
            individual=assignment.individual,
            given_name=shown.given_name,
            family_name=shown.family_name,
        )


def _source_status(user: User | None, assignment: Assignment) -> str:
    if user is None and assignment.unread:
        return f"could not be looked up: {assignment.unread}"
    if user is None:
        return "not among the account's users"
    if not assignment.is_sure:
        return "a role of the application shows people without an id"
    return status_text(user)


def status_text(user: User) -> str:
    return f"status {_number_text(user.status)}, state {_number_text(user.state)}"


def _number_text(number: int | None) -> str:
    return "none" if number is None else str(number)


def row_id(row: object) -> str | None:
    """Return the id as text: types differ between lists, the id does not."""
    return id_from_json(as_object(row).get("id"))


def row_name(row: object) -> str:
    """Return the name, empty where it is missing. Spaces around it are part of it."""
    return as_name(as_object(row).get("name"))


def role_ids(app: Mapping[str, object]) -> list[str] | None:
    """Return the ids of the roles that grant an application, None where it does not show them all."""
    listed = app.get("role_ids")
    ids = [id_from_json(each) for each in listed] if isinstance(listed, list) else [None]
    known = {each for each in ids if each is not None}
    return None if None in ids else sorted(known)


def membership_from_json(row: object) -> Membership:
    return Membership(row_id(row), as_object(row).get("assigned") is not False)


def user_from_json(row: object) -> User:
    fields = as_object(row)
    return User(
        row_id(row),
        as_text(fields.get("email")) or None,
        as_text(fields.get("firstname")),
        as_text(fields.get("lastname")),
        as_integer(fields.get("status")),
        as_integer(fields.get("state")),
    )


def id_from_json(value: object) -> str | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else as_text(value)
    return text if is_path_id(text) else None
