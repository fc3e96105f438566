"""A person of the company, as one directory knows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["Person"]


@dataclass(slots=True)
class Person:
    """A human in one directory. Change them through `Company` only, so that times and addresses stay true.

    *id* is shaped like the provider's (`00u…`, a GUID, digits) and never changes. *email* is what they sign in with;
    *mail* where they get mail (None: no mailbox), by default the same. *status* is the provider's word: Okta's
    (`ACTIVE`), Entra's `enabled`, `disabled` or `unknown`, OneLogin's number (`"1"`). *state* is OneLogin's second one.
    A *guest* (Entra) has the address of another company; the `#EXT#` login is made from it. *aliases* are other
    addresses: `proxyAddresses` in Entra, the first is Okta's `secondEmail`. *custom_display_name* is set where the
    provider's display name is not "given family". *left_groups* are the groups that a leaver was in.
    """

    directory: str
    id: str
    email: str
    given: str
    family: str
    status: str
    created: datetime
    changed: datetime
    status_changed: datetime
    mail: str | None = None
    custom_display_name: str = ""
    state: int = 1
    guest: bool = False
    aliases: list[str] = field(default_factory=list)
    left_groups: list[str] = field(default_factory=list)

    @property
    def display_name(self) -> str:
        return self.custom_display_name or f"{self.given} {self.family}".strip()
