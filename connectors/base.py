"""The types that every connector shares: source, person, group, snapshot, and the errors that end a read.

No I/O, no clock, no randomness, no logging here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol, TypeVar, dataclass_transform

__all__ = [
    "Area",
    "CheckName",
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
    "light_dataclass",
]

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def light_dataclass(cls: type[T]) -> type[T]:
    """Make *cls* a frozen dataclass with slots, of which a read makes a value for each person.

    Only mypy refuses to change a value. At run time nothing does: that takes up to four fifths of the time to make one.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


class PersonKey(NamedTuple):
    """The permanent identity of a person: never an email."""

    connector: str
    id: str


class Status(StrEnum):
    """Whether a person may sign in, by the status of the person, never of a membership."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    """Exists and may not sign in: suspended, deactivated, disabled, never activated."""
    DELETED = "deleted"
    """Returned by `Connector.lookup` only; a snapshot does not hold it."""
    UNKNOWN = "unknown"
    """A missing status, or one that the connector does not know. Nothing may be concluded from it."""


@dataclass(frozen=True, slots=True)
class Source:
    """One application in one identity provider, and which of its assignments count.

    *app* is the Okta app id, the object id of the Entra service principal, or the OneLogin app id. *groups* are ids or
    exact names; empty means all groups (roles) that are assigned to the application. *ignores_individuals*: people
    with only an individual assignment count as not assigned, and one who can't be read does not end the read.
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
    """A group (OneLogin: role) assigned to the application. *people* is the number of members of any status."""

    id: str
    name: str
    people: int


@light_dataclass
class Person:
    """A human as one snapshot shows them.

    *display_name* is the provider's display name, else given and family name, else empty. *given_name* and
    *family_name* are sent with it when a member is created, and never compared. *source_status* is the
    provider's own word (`SUSPENDED`, `accountEnabled=false`, `status 2`), for sentences. *groups* are the ids of the
    counted groups that give the assignment. *individual*: the person is also, or only, assigned directly.
    *pending*: a counted group holds the person while the application does not (yet) show them (Okta); only an
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
    """The result of looking up one person by id.

    *source_status* is the provider's own word. *groups* are the ids of the groups (OneLogin: roles) that hold the
    person, None: not known. *failure* is the cause of a failed lookup, a word or an HTTP status; empty
    for a successful one. *groups_failure* is the same for their groups alone, and *groups_error* is its sentence.
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
    """A finding of a read for people to review. *code* is stable, *email* may be empty."""

    code: str
    email: str
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete read of a source: no assigned person is missing from it.

    *people* holds each id once: everyone assigned through a counted group or individually, whatever their status, and
    the pending. *unidentified* has one entry for each row without an id among good rows: its email, or "" where
    that is missing too. Their identity is unknown, so no absence may be concluded for them.
    """

    source: Source
    app_name: str
    groups: tuple[Group, ...]
    people: tuple[Person, ...]
    notes: tuple[ReadNote, ...] = ()
    unidentified: tuple[str, ...] = ()


class ReadError(Exception):
    """A read that ended without a complete answer. *hint* is the next step; neither text holds a secret.

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
        """Return the cause in a word or a status, for use in another sentence."""
        return str(self.status) if self.status else "no usable answer"


class IncompleteRead(ReadError):
    """Something could not be read to its end, or what came back contradicts itself."""


class CredentialsRefused(ReadError):
    """The server refused the credentials (401, or a refused token request)."""

    code = "credentials"


class PermissionMissing(CredentialsRefused):
    """The credentials are valid but lack a permission (403)."""

    code = "permission-missing"


class Area(StrEnum):
    """What a line of `check` is about."""

    CONFIG = "config"
    STATE = "state"
    CONNECTOR = "connector"
    WORKSPACE = "workspace"
    NOTIFY = "notify"
    SERVER = "server"


class CheckName(StrEnum):
    """What a line of `check` tried. Programs filter by it: a value never changes once released."""

    # Of the configuration.
    CONFIGURATION = "configuration"
    ENVIRONMENT = "environment"
    TRUSTED_AUTHORITIES = "trusted-authorities"
    SECRET = "secret"  # noqa: S105  (a name)
    READABLE_BY_OTHERS = "readable-by-others"
    SHARED_TOKEN = "shared-token"  # noqa: S105  (a name)
    # Of the state.
    STATE_LOCATION = "state-location"
    STATE_SCHEMA = "state-schema"
    STATE_WRITABLE = "state-writable"
    # Of a connector.
    CREDENTIALS = "credentials"
    GRANTED_SCOPES = "granted-scopes"
    SUSPENDED_PERSON = "suspended-person"
    APPLICATION = "application"
    OPEN_APPLICATION = "open-application"
    ASSIGNED_PEOPLE = "assigned-people"
    GROUPS = "groups"
    GROUP_MEMBERS = "group-members"
    HIDDEN_MEMBERS = "hidden-members"
    ONE_PERSON = "one-person"
    GROUPS_OF_PERSON = "groups-of-person"
    NEXT_LINK = "next-link"
    CHANGE_FEED = "change-feed"
    # Of a connector or a workspace.
    CLOCK_SKEW = "clock-skew"
    PAGE_SIZE = "page-size"
    TIME_LIMIT = "time-limit"
    # Of a workspace.
    TARGET = "target"
    LINKS = "links"
    TOKEN = "token"  # noqa: S105  (a name)
    MEMBERS = "members"
    TOTAL = "total"
    INACTIVE_MEMBERS = "inactive-members"
    MEMBERS_WITHOUT_EMAIL = "members-without-email"
    UNKNOWN_NAME = "unknown-name"
    FILTER_CASE = "filter-case"
    PAUSE = "pause"
    PROBE = "probe"
    COMPARISON = "comparison"
    # Of notifications and reports.
    NOTICE_URL = "notice-url"
    TEST_NOTICE = "test-notice"
    REPORT_TARGET = "report-target"
    # Of the server.
    LOGIN = "login"
    PORT = "port"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`: its subject, the result with its evidence, and the remedy for a problem.

    *level*: `ok`, `warning` (works, but needs a review), `error` (a run would fail). *name* is what was tried.
    *source*: the source that it is about, None if it is about all sources of its connector, or about no connector.
    """

    level: Literal["ok", "warning", "error"]
    subject: str
    message: str
    remedy: str = ""
    name: CheckName = field(kw_only=True)
    area: Area = field(default=Area.CONNECTOR, kw_only=True)
    source: Source | None = field(default=None, kw_only=True)


class Permit(Protocol):
    """Permission to send requests that write. Its end may still move."""

    def remaining_seconds(self) -> float:
        """Return the seconds until its end, 0 or less after it."""
        ...

    async def wait_until_ended(self) -> None:
        """Return once it has ended."""
        ...


class Progress(Protocol):
    """Receives the progress of a long read or write: *what* it is, *done* of *total* (None: not known yet)."""

    def __call__(self, what: str, done: int, total: int | None) -> None: ...


def discard_progress(what: str, done: int, total: int | None) -> None:
    """Discard progress."""


class Connector(Protocol):
    """Reads one identity provider. Every method raises `ReadError` (or a subclass), and nothing else, for any failure
    outside. It never returns a default for a missing answer."""

    @property
    def name(self) -> str: ...

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        """Return everyone who is assigned to the source's application, or raise.

        Lists that several sources share are read once. A *fresh* read uses none that was read before the first fresh
        one: it can show what an earlier answer left out.
        """
        ...

    def clear_cache(self) -> None:
        """Drop every cached list, so that later reads request them again."""
        ...

    async def lookup(self, person_id: str, source: Source, /) -> LookupResult:
        """Return the status and groups of one person; `DELETED` when the provider no longer knows the id.

        `LookupResult.groups` leaves out groups that *source* would not count, such as those of a guest. They stay
        unknown for a person whose status already shows that they left, and where only the groups can't be read. Then
        `LookupResult.groups_failure` has the cause.
        """
        ...

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        """Check reachability, credentials and permissions, and that each application and its groups exist."""
        ...
