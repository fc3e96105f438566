"""Map an Okta user to a `Person`: which address, which name, and whether they may sign in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, NamedTuple

from msgspec import Struct, field

from connectors.base import Person, Status
from connectors.directory import GroupNaming

__all__ = [
    "ENTITLED_STATUSES",
    "KNOWN_STATUSES",
    "NAMING",
    "AppUser",
    "Assignment",
    "Profile",
    "User",
    "UserMapper",
]

NAMING = GroupNaming(provider="Okta", assign_remedy="Assign that group to the application in Okta")

ENTITLED_STATUSES = frozenset({"ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY", "PROVISIONED", "ACTIVATING"})
"""Statuses of people who have an account, even if they can't sign in now or have not finished its set-up."""

KNOWN_STATUSES = ENTITLED_STATUSES | {"STAGED", "SUSPENDED", "DEPROVISIONED"}
"""Every status that Okta documents. `ACTIVATING` is only in the text of its schema."""


MAX_STATUS_CHARS = 100


# Structs, because a read decodes hundreds of thousands: no line of Python runs for one. The garbage collector need not
# look at them, since nothing that they refer to can refer to them.
class Profile(Struct, frozen=True, gc=False, rename="camel"):
    """The fields of a user's profile that are used, as Okta shows them."""

    login: str | None = None
    email: str | None = None
    display_name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    second_email: str | None = None


class User(Struct, frozen=True, gc=False):
    """A human as Okta's directory shows them. The properties are without spaces around them, empty where not shown."""

    id: str
    raw_status: str = field(name="status", default="")
    profile: Profile = Profile()

    @property
    def status(self) -> str:
        # The same few texts stand in most rows: as one object each, they take no memory for each person.
        return sys.intern(self.raw_status.strip()[:MAX_STATUS_CHARS])

    @property
    def login(self) -> str:
        return _stripped(self.profile.login)

    @property
    def mail(self) -> str:
        return _stripped(self.profile.email)

    @property
    def is_blank(self) -> bool:
        """Return whether only the id is known, as happens where the token may not see people."""
        return not self.status and not self.login


class AppUser(NamedTuple):
    """One row of an application's people.

    *link_group_id* is the id of the one group that Okta names for it, or empty.
    """

    user: User
    scope: str
    link_group_id: str


class Assignment(NamedTuple):
    """What gives a person the application, as `Person` has it."""

    groups: tuple[str, ...] = ()
    individual: bool = False
    pending: bool = False


@dataclass(frozen=True, slots=True)
class UserMapper:
    """Maps users to people, by the settings of the connector and the source."""

    connector: str
    email: Literal["login", "mail"] = "login"
    entitled_statuses: frozenset[str] = ENTITLED_STATUSES
    second_email_is_alias: bool = False

    def status_of(self, word: str) -> Status:
        if word in self.entitled_statuses:
            return Status.ACTIVE
        return Status.SUSPENDED if word in KNOWN_STATUSES else Status.UNKNOWN

    def email_of(self, user: User) -> str:
        return user.login if self.email == "login" else user.mail

    def person_from_user(self, user: User, assignment: Assignment) -> Person:
        profile, word, email = user.profile, user.status, self.email_of(user)
        status = self.status_of(word)
        given_name, family_name = _stripped(profile.first_name), _stripped(profile.last_name)
        # Without keywords, which would double the time of it.
        return Person(
            self.connector,
            user.id,
            email or None,
            _stripped(profile.display_name) or f"{given_name} {family_name}".strip(),
            status,
            word,
            assignment.groups,
            assignment.individual,
            assignment.pending and status is Status.ACTIVE,
            self._aliases(user, email) if self.second_email_is_alias else (),
            sys.intern(given_name),
            family_name,
        )

    def _aliases(self, user: User, email: str) -> tuple[str, ...]:
        """Return the second address: people can type it in themselves, so that the settings must allow it."""
        second = _stripped(user.profile.second_email)
        return (second,) if second and second.lower() != email.lower() else ()


def _stripped(text: str | None) -> str:
    return text.strip() if text else ""
