"""The faults, one class each: its fields are the fault's options, *systems* the systems that support it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal

__all__ = [
    "ACTIONS",
    "Action",
    "Concurrency",
    "DeepJson",
    "Disconnect",
    "DoubledHeaders",
    "Drift",
    "Dropped",
    "DuplicateRows",
    "EarlyRetry",
    "EmptyPage",
    "EncodedCursor",
    "EndlessPages",
    "ExpiredCursor",
    "FirstPageAgain",
    "ForeignLink",
    "Headers",
    "Html",
    "HugeBody",
    "InvalidJson",
    "NoBody",
    "Nulls",
    "RepeatedCursor",
    "Reset",
    "RevokeToken",
    "SkewedClock",
    "Slow",
    "Status",
    "System",
    "Truncated",
    "WrongTotal",
]


class System(StrEnum):
    OKTA = "okta"
    ENTRA = "entra"
    ONELOGIN = "onelogin"
    PIGMENT = "pigment"


ALL_SYSTEMS = frozenset(System)
SYSTEMS_WITH_LINKS = frozenset({System.OKTA, System.ENTRA, System.ONELOGIN})
SYSTEMS_WITH_TOTAL = frozenset({System.ENTRA, System.ONELOGIN, System.PIGMENT})


@dataclass(frozen=True, slots=True)
class Action:
    """A fault. *fault_name* is its name in a file."""

    fault_name: ClassVar[str] = ""
    systems: ClassVar[frozenset[System]] = ALL_SYSTEMS


@dataclass(frozen=True, slots=True)
class Status(Action):
    """Answer with *status* and the system's own error body, or *body*. *committed*: after the request was applied."""

    fault_name: ClassVar[str] = "status"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    committed: bool = False


@dataclass(frozen=True, slots=True)
class Html(Action):
    """Return a gateway's error page."""

    fault_name: ClassVar[str] = "html"
    status: int = 502
    committed: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect(Action):
    """Close the connection before the request is applied."""

    fault_name: ClassVar[str] = "disconnect"


@dataclass(frozen=True, slots=True)
class Reset(Action):
    """Apply the request, then reset the connection without a response."""

    fault_name: ClassVar[str] = "reset"


@dataclass(frozen=True, slots=True)
class Dropped(Action):
    """Return success for a PATCH or PUT without applying it. *posts*: for a POST too, with 202."""

    fault_name: ClassVar[str] = "dropped"
    systems: ClassVar[frozenset[System]] = frozenset({System.PIGMENT})
    posts: bool = False


@dataclass(frozen=True, slots=True)
class RevokeToken(Action):
    """Refuse this request's credentials, in this request and in all later ones to the same system."""

    fault_name: ClassVar[str] = "revoke-token"


@dataclass(frozen=True, slots=True)
class EarlyRetry(Action):
    """Return 429 with `Retry-After`; a client that retries too early gets twice the time."""

    fault_name: ClassVar[str] = "early-retry"
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Concurrency(Action):
    """Return 429 while more than *limit* of the matching requests are in flight."""

    fault_name: ClassVar[str] = "concurrency"
    limit: int = 1


@dataclass(frozen=True, slots=True)
class Slow(Action):
    """Wait before the request is applied."""

    fault_name: ClassVar[str] = "slow"
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class ExpiredCursor(Action):
    """Return the error for an expired cursor."""

    fault_name: ClassVar[str] = "expired-cursor"


@dataclass(frozen=True, slots=True)
class Truncated(Action):
    """Cut the body to the share *keep*; `Content-Length` matches what is left."""

    fault_name: ClassVar[str] = "truncated"
    keep: float = 0.5


@dataclass(frozen=True, slots=True)
class InvalidJson(Action):
    """Return 200 with a JSON content type and a body that is not JSON."""

    fault_name: ClassVar[str] = "invalid-json"
    text: str = "{'rows': [,]}"


@dataclass(frozen=True, slots=True)
class NoBody(Action):
    """Apply the request and return no body."""

    fault_name: ClassVar[str] = "no-body"
    status: int = 204


@dataclass(frozen=True, slots=True)
class Headers(Action):
    """Set headers of the answer; an empty value removes one."""

    fault_name: ClassVar[str] = "headers"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkewedClock(Action):
    """Show a time that is *ahead* of the real one by so many seconds, negative for a clock that is behind."""

    fault_name: ClassVar[str] = "skewed-clock"
    ahead: int = 600


@dataclass(frozen=True, slots=True)
class DoubledHeaders(Action):
    """Send each header whose name matches the glob *names* twice, as some gateways do."""

    fault_name: ClassVar[str] = "doubled-headers"
    names: str = "x-*"


@dataclass(frozen=True, slots=True)
class HugeBody(Action):
    """Stream a JSON text of *size* bytes."""

    fault_name: ClassVar[str] = "huge-body"
    size: int = 2**30


@dataclass(frozen=True, slots=True)
class DeepJson(Action):
    """Return nested arrays, *depth* deep."""

    fault_name: ClassVar[str] = "deep-json"
    depth: int = 100_000


@dataclass(frozen=True, slots=True)
class EmptyPage(Action):
    """Return a page without rows first; its next link leads to the requested page."""

    fault_name: ClassVar[str] = "empty-page"


@dataclass(frozen=True, slots=True)
class EncodedCursor(Action):
    """Percent-encode the cursor of the next page, as OneLogin has done."""

    fault_name: ClassVar[str] = "encoded-cursor"
    systems: ClassVar[frozenset[System]] = frozenset({System.ONELOGIN, System.PIGMENT})


@dataclass(frozen=True, slots=True)
class RepeatedCursor(Action):
    """Point the next link to the current page."""

    fault_name: ClassVar[str] = "repeated-cursor"


@dataclass(frozen=True, slots=True)
class ForeignLink(Action):
    """Point the next link to another *origin*."""

    fault_name: ClassVar[str] = "foreign-link"
    systems: ClassVar[frozenset[System]] = SYSTEMS_WITH_LINKS
    origin: str = "http://127.0.0.2:9"


@dataclass(frozen=True, slots=True)
class EndlessPages(Action):
    """Give every page a next page, without end, each with a new cursor."""

    fault_name: ClassVar[str] = "endless-pages"


@dataclass(frozen=True, slots=True)
class FirstPageAgain(Action):
    """Ignore the request's position in the list."""

    fault_name: ClassVar[str] = "first-page-again"


@dataclass(frozen=True, slots=True)
class WrongTotal(Action):
    """Add *by* to the total."""

    fault_name: ClassVar[str] = "wrong-total"
    systems: ClassVar[frozenset[System]] = SYSTEMS_WITH_TOTAL
    by: int = 1


@dataclass(frozen=True, slots=True)
class DuplicateRows(Action):
    """Repeat the first row of the page at its end."""

    fault_name: ClassVar[str] = "duplicate-rows"


@dataclass(frozen=True, slots=True)
class Drift(Action):
    """Add or remove a row before this page while the list is read: rows move by one, and the total changes."""

    fault_name: ClassVar[str] = "drift"
    kind: Literal["added", "removed"] = "removed"


@dataclass(frozen=True, slots=True)
class Nulls(Action):
    """Show null for everything that a missing permission hides; *ids* too if wanted, in *rows* `all` or `first`."""

    fault_name: ClassVar[str] = "nulls"
    rows: Literal["all", "first"] = "all"
    ids: bool = False


ACTIONS: Mapping[str, type[Action]] = {kind.fault_name: kind for kind in Action.__subclasses__()}
