"""How a user of Entra becomes a person of a snapshot: which address, which names, and whether they may sign in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from connectors.base import Person, Status
from connectors.entra.row import User

__all__ = ["Portrait", "enabled_word"]


@dataclass(frozen=True, slots=True)
class Portrait:
    """The settings that say how a person is shown."""

    connector: str
    email: Literal["login", "mail"] = "login"

    def status(self, user: User) -> Status:
        if user.is_enabled is None:
            return Status.UNKNOWN
        return Status.ACTIVE if user.is_enabled else Status.SUSPENDED

    def address(self, user: User) -> str:
        """Return the login or the mail. An external login is no address: theirs is the one that they came with."""
        if self.email == "mail":
            return user.mail
        if user.is_external:
            return next(filter(None, (user.mail, *user.other_mails, user.home_address)), "")
        return user.login

    def person(self, user: User, groups: tuple[str, ...], *, individual: bool) -> Person:
        email = self.address(user)
        return Person(
            connector=self.connector,
            id=user.id,
            email=email or None,
            display_name=user.display_name or f"{user.given_name} {user.family_name}".strip(),
            status=self.status(user),
            source_status=user.odd_kind or enabled_word(user),
            groups=groups,
            individual=individual,
            aliases=_others(user.proxies, email),
            given_name=user.given_name,
            family_name=user.family_name,
        )


def enabled_word(user: User) -> str:
    """Return `accountEnabled` as Graph shows it, for sentences."""
    shown = {True: "true", False: "false", None: "null"}[user.is_enabled]
    return f"accountEnabled={shown}"


def _others(proxies: tuple[str, ...], email: str) -> tuple[str, ...]:
    """Return the mailbox's other addresses, each once, as first spelled."""
    found = {each.lower(): each for each in reversed(proxies) if each}
    found.pop(email.lower(), None)
    return tuple(found[key] for key in sorted(found))
