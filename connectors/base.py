"""The words every connector speaks: source, person, group, snapshot, and the errors that end a read.

No I/O, no clock, no randomness, no logging here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

__all__ = [
    "Connector",
    "CredentialsRefused",
    "Finding",
    "Group",
    "IncompleteRead",
    "LookupResult",
    "PermissionMissing",
    "Permit",
    "Person",
    "PersonKey",
    "Progress",
    "ReadError",
    "ReadNote",
    "Snapshot",
    "Source",
    "Status",
    "discard_progress",
]


class PersonKey(NamedTuple):
    """Who a person is, for ever: never an email."""

    connector: str
    id: str


class Status(StrEnum):
    """Whether a person may sign in, as the identity provider says of the person (never of a membership)."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    """Exists and may not sign in: suspended, deactivated, disabled, never activated."""
    DELETED = "deleted"
    """Answered by `Connector.lookup` only; a snapshot does not hold it."""
    UNKNOWN = "unknown"
    """A word that the connector does not know, or none: nothing may be concluded from it."""


@dataclass(frozen=True, slots=True)
class Source:
    """One application in one identity provider, and which of its assignments count.

    *app* is the Okta app id, the object id of the Entra service principal, or the OneLogin app id. *groups* are ids or
    exact names; empty means all groups (roles) that are assigned to the application. *ignores_individuals*: who is
    assigned individually only is taken for not assigned, so that a person among them who can't be read ends nothing.
    """

    connector: str
    app: str
    groups: tuple[str, ...] = ()
    nested: bool = False
    guests: bool = False
    email: Literal["login", "mail"] = "login"
    ignores_individuals: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group (OneLogin: role) assigned to the application. *people* counts everyone in it, whatever their status."""

    id: str
    name: str
    people: int


@dataclass(frozen=True, slots=True)
class Person:
    """A human as one snapshot shows them.

    *display_name* is the provider's display name, else given and family name, else empty; *given_name* and
    *family_name* are sent beside it when a member is created, and compared with nothing. *source_status* is the
    provider's own word (`SUSPENDED`, `accountEnabled=false`, `status 2`), for sentences. *groups* are the ids of the
    counted groups that give the assignment. *individual* says that the person is also, or only, assigned directly.
    *pending* says that a counted group holds the person while the application does not (yet) show them (Okta); only an
    active person can be pending. *aliases* are other addresses that may be adopted by (design, row 11).
    """

    connector: str
    id: str
    email: str | None
    display_name: str
    status: Status = Status.ACTIVE
    source_status: str = ""
    groups: tuple[str, ...] = ()
    individual: bool = False
    pending: bool = False
    aliases: tuple[str, ...] = ()
    given_name: str = ""
    family_name: str = ""

    @property
    def key(self) -> PersonKey:
        return PersonKey(self.connector, self.id)


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What an identity provider shows of one person by id, as `Connector.lookup` returns it.

    *source_status* is the provider's own word. *groups* are the ids of the groups (OneLogin: roles) that hold the
    person, None: not known. *failure* is why the person could not be looked up, in a word or an HTTP status; empty: the
    lookup was answered. *groups_failure* is the same for their groups alone, and *groups_error* says it in a sentence.
    """

    status: Status
    source_status: str = ""
    groups: frozenset[str] | None = None
    failure: str = ""
    groups_failure: str = ""
    groups_error: str = ""

    @property
    def is_assigned(self) -> bool:
        """Return whether a group holds the person, and no status of their own shows that they left."""
        return bool(self.groups) and self.status in {Status.ACTIVE, Status.UNKNOWN}


@dataclass(frozen=True, slots=True)
class ReadNote:
    """Something a read showed that a human should know: *code* is a word for machines, *email* may be empty."""

    code: str
    email: str
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete read of a source: nobody who is assigned is missing from it. It cannot be partly filled.

    *people* holds each id once: everyone assigned through a counted group or individually, whatever their status, and
    the pending. *unidentified* has one entry for each row without an id among good rows: its email, or "" where
    that is missing too; who they are can't be told, so no absence may be concluded for them.
    """

    source: Source
    app_name: str
    groups: tuple[Group, ...]
    people: tuple[Person, ...]
    notes: tuple[ReadNote, ...] = ()
    unidentified: tuple[str, ...] = ()


class ReadError(Exception):
    """A read that ended without a complete answer. *hint* is what a person does next; neither holds a secret.

    *status* is the HTTP status that ended it, 0 when it was something else.
    """

    code = "incomplete"

    def __init__(self, message: str, hint: str, status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status

    @property
    def cause(self) -> str:
        """Return the failure in a word, for a sentence that is about something else."""
        return str(self.status) if self.status else "no usable answer"


class IncompleteRead(ReadError):
    """Something could not be read to its end, or what came back contradicts itself."""


class CredentialsRefused(ReadError):
    """The other side did not take the credentials (401, a refused token request)."""

    code = "credentials"


class PermissionMissing(CredentialsRefused):
    """The credentials are good, and may not read this (403)."""

    code = "permission-missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`: what was looked at, whether it is well, and what to do when it is not.

    *level*: `ok`, `warning` (works, but a human should look), `error` (a run would fail).
    """

    level: Literal["ok", "warning", "error"]
    subject: str
    message: str
    remedy: str = ""


class Permit(Protocol):
    """The right to send requests that write. It ends at a moment that may still move."""

    def remaining_seconds(self) -> float:
        """Return how long it still holds, 0 or less once it has ended."""
        ...

    async def wait_until_ended(self) -> None:
        """Return once it has ended."""
        ...


class Progress(Protocol):
    """Told how far a long read or write has come: *what* is being done, *done* of *total* (None: not known yet)."""

    def __call__(self, what: str, done: int, total: int | None) -> None: ...


def discard_progress(what: str, done: int, total: int | None) -> None:
    """Tell nobody."""


class Connector(Protocol):
    """Reads one identity provider. Every method raises `ReadError` (or a subclass) and nothing else for what may go
    wrong outside; no answer is ever made up."""

    @property
    def name(self) -> str: ...

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        """Return everyone who is assigned to the source's application, or raise.

        Lists that several sources share are read once. A *fresh* read uses none that was read before the first fresh
        one: it can show what an earlier answer left out.
        """
        ...

    def clear_cache(self) -> None:
        """Drop every list that was kept, so that the reads from here on ask for all of them again."""
        ...

    async def lookup(self, person_id: str, source: Source, /) -> LookupResult:
        """Return what has become of one person; `DELETED` when the provider does not know the id any more.

        `Whereabouts.groups` leaves out what *source* would not count, such as the groups of a guest. They stay unknown
        for a person whose status alone shows that they left, and where only the groups can't be read, which
        `Whereabouts.groups_failure` explains.
        """
        ...

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        """Try reachability, credentials, permissions, and that each application and its groups resolve."""
        ...
