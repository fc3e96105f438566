"""How a user of OneLogin becomes a person of a snapshot, and whether they may have access.

status                                            state 1     state 0, 2, 3    other state
one of *entitled_statuses*                        active      suspended        unknown
2, or 0, 1, 3, 4, 5, 7, 8 and not one of those    suspended   suspended        unknown (2: suspended)
any other, or none                                unknown     unknown          unknown
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from connectors.base import Person, Status
from connectors.onelogin.row import User

__all__ = ["ENTITLED_STATUSES", "Assignment", "UserMapper", "status_text"]

ENTITLED_STATUSES = frozenset({0, 1, 3, 4, 5, 7, 8})
"""Active (1), a set-up to finish (0, 7), or trouble signing in: locked, password expired, awaiting a reset, security
questions required. None of it is an end of the assignment."""

SUSPENDED = 2
KNOWN_STATUSES = ENTITLED_STATUSES | {SUSPENDED}
APPROVED = 1
KNOWN_STATES = frozenset({0, APPROVED, 2, 3})


@dataclass(frozen=True, slots=True)
class Assignment:
    """What gives a person the application. *is_sure* is False where a role that does not list its users may hold them.

    *unread* is why the person could not be looked up, empty where they were.
    """

    groups: tuple[str, ...]
    individual: bool
    is_sure: bool = True
    unread: str = ""


@dataclass(frozen=True, slots=True)
class UserMapper:
    """The settings that say how a person is shown."""

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
        """Return the person as the account's own row of them (*user*) says, or, with *listed*, the application's.

        Without the former they were deleted a moment ago, or skipped: nothing is concluded of them.
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
