"""How a user of Okta becomes a person of a snapshot: which address, which name, and whether they may sign in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from connectors.base import Person, Status
from connectors.okta.row import User

__all__ = ["ENTITLED_STATUSES", "KNOWN_STATUSES", "Assignment", "UserMapper"]

ENTITLED_STATUSES = frozenset({"ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY", "PROVISIONED", "ACTIVATING"})
"""Statuses of people who have their account, if need be with trouble signing in or a set-up to finish."""

KNOWN_STATUSES = ENTITLED_STATUSES | {"STAGED", "SUSPENDED", "DEPROVISIONED"}
"""Every status that Okta documents, `ACTIVATING` among them, which its schema names in the text only."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What gives a person the application, as `Person` has it."""

    groups: tuple[str, ...] = ()
    individual: bool = False
    pending: bool = False


@dataclass(frozen=True, slots=True)
class UserMapper:
    """The settings that say how a person is shown."""

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
        email, status = self.email_of(user), self.status_of(user.status)
        return Person(
            connector=self.connector,
            id=user.id,
            email=email or None,
            display_name=user.display_name or f"{user.given_name} {user.family_name}".strip(),
            status=status,
            source_status=user.status,
            groups=assignment.groups,
            individual=assignment.individual,
            pending=assignment.pending and status is Status.ACTIVE,
            aliases=self._aliases(user, email),
            given_name=user.given_name,
            family_name=user.family_name,
        )

    def _aliases(self, user: User, email: str) -> tuple[str, ...]:
        """People can type their second address in themselves: it counts only where the settings say so."""
        second = user.second_email if self.second_email_is_alias else ""
        return (second,) if second and second.lower() != email.lower() else ()
