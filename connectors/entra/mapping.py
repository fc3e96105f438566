"""How a user of Entra becomes a person of a snapshot: which address, which names, and whether they may sign in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from connectors.base import Person, Status
from connectors.entra.row import User

__all__ = ["UserMapper", "enabled_text"]


@dataclass(frozen=True, slots=True)
class UserMapper:
    """The settings that say how a person is shown."""

    connector: str
    email: Literal["login", "mail"] = "login"

    def status_of(self, user: User) -> Status:
        if user.is_enabled is None:
            return Status.UNKNOWN
        return Status.ACTIVE if user.is_enabled else Status.SUSPENDED

    def email_of(self, user: User) -> str:
        """Return the login or the mail. An external login is no address: theirs is the one that they came with."""
        if self.email == "mail":
            return user.mail
        if user.is_external:
            return next(filter(None, (user.mail, *user.other_mails, user.home_address)), "")
        return user.login

    def person_from_user(self, user: User, groups: tuple[str, ...], *, individual: bool) -> Person:
        email = self.email_of(user)
        return Person(
            connector=self.connector,
            id=user.id,
            email=email or None,
            display_name=user.display_name or f"{user.given_name} {user.family_name}".strip(),
            status=self.status_of(user),
            source_status=user.unknown_kind or enabled_text(user),
            groups=groups,
            individual=individual,
            aliases=_aliases(user.proxy_addresses, email),
            given_name=user.given_name,
            family_name=user.family_name,
        )


def enabled_text(user: User) -> str:
    """Return `accountEnabled` as Graph shows it, for sentences."""
    shown = {True: "true", False: "false", None: "null"}[user.is_enabled]
    return f"accountEnabled={shown}"


def _aliases(proxies: tuple[str, ...], email: str) -> tuple[str, ...]:
    """Return the mailbox's other addresses, each once, as first spelled."""
    found = {each.lower(): each for each in reversed(proxies) if each}
    found.pop(email.lower(), None)
    return tuple(found[key] for key in sorted(found))
