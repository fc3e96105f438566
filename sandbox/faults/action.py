"""What can go wrong, one class each: its fields are the options of the fault, its *systems* those that can have it."""

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
    """Answer with *status* and the system's own error body, or *body*. *committed*: only after the request was done."""

    fault_name: ClassVar[str] = "status"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    committed: bool = False


@dataclass(frozen=True, slots=True)
class Html(Action):
    """Answer as a gateway in front of the system does."""

    fault_name: ClassVar[str] = "html"
    status: int = 502
    committed: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect(Action):
    """Close the connection before anything is done."""

    fault_name: ClassVar[str] = "disconnect"


@dataclass(frozen=True, slots=True)
class Reset(Action):
    """Do what was asked, then reset the connection without an answer."""

    fault_name: ClassVar[str] = "reset"


@dataclass(frozen=True, slots=True)
class Dropped(Action):
    """Answer a PATCH or PUT as if it was done, and do nothing. *posts*: a POST too, with 202."""

    fault_name: ClassVar[str] = "dropped"
    systems: ClassVar[frozenset[System]] = frozenset({System.PIGMENT})
    posts: bool = False


@dataclass(frozen=True, slots=True)
class RevokeToken(Action):
    """Refuse this request's credentials, in this request and in all later ones to the same system."""

    fault_name: ClassVar[str] = "revoke-token"


@dataclass(frozen=True, slots=True)
class EarlyRetry(Action):
    """Answer 429 with `Retry-After`; whoever comes back before it is over waits twice as long as they were told."""

    fault_name: ClassVar[str] = "early-retry"
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Concurrency(Action):
    """Answer 429 while more than *limit* of the matching requests are in flight."""

    fault_name: ClassVar[str] = "concurrency"
    limit: int = 1


@dataclass(frozen=True, slots=True)
class Slow(Action):
    """Wait before the request is done."""

    fault_name: ClassVar[str] = "slow"
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class ExpiredCursor(Action):
    """Say that the place in the list is known no more."""

    fault_name: ClassVar[str] = "expired-cursor"


@dataclass(frozen=True, slots=True)
class Truncated(Action):
    """Cut the body, keeping a share of it; the answer is whole as far as HTTP can tell."""

    fault_name: ClassVar[str] = "truncated"
    keep: float = 0.5


@dataclass(frozen=True, slots=True)
class InvalidJson(Action):
    """Answer 200 with something that is not JSON and says it is."""

    fault_name: ClassVar[str] = "invalid-json"
    text: str = "{'rows': [,]}"


@dataclass(frozen=True, slots=True)
class NoBody(Action):
    """Do what was asked and answer without a body."""

    fault_name: ClassVar[str] = "no-body"
    status: int = 204


@dataclass(frozen=True, slots=True)
class Headers(Action):
    """Set headers of the answer; an empty value takes one away."""

    fault_name: ClassVar[str] = "headers"
    headers: Mapping[str, str] = field(default_factory=dict)


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
    """Answer with arrays in arrays, *depth* deep."""

    fault_name: ClassVar[str] = "deep-json"
    depth: int = 100_000


@dataclass(frozen=True, slots=True)
class EmptyPage(Action):
    """Put a page without rows before the page that was asked for; its next link leads there."""

    fault_name: ClassVar[str] = "empty-page"


@dataclass(frozen=True, slots=True)
class EncodedCursor(Action):
    """Percent-encode the cursor of the next page, as OneLogin has done."""

    fault_name: ClassVar[str] = "encoded-cursor"
    systems: ClassVar[frozenset[System]] = frozenset({System.ONELOGIN, System.PIGMENT})


@dataclass(frozen=True, slots=True)
class RepeatedCursor(Action):
    """Let the next link lead to the page that it stands on."""

    fault_name: ClassVar[str] = "repeated-cursor"


@dataclass(frozen=True, slots=True)
class ForeignLink(Action):
    """Let the next link lead to another *origin*."""

    fault_name: ClassVar[str] = "foreign-link"
    systems: ClassVar[frozenset[System]] = SYSTEMS_WITH_LINKS
    origin: str = "http://127.0.0.2:9"


@dataclass(frozen=True, slots=True)
class EndlessPages(Action):
    """Let every page have a next page, for ever, each with a cursor that was not seen before."""

    fault_name: ClassVar[str] = "endless-pages"


@dataclass(frozen=True, slots=True)
class FirstPageAgain(Action):
    """Take no notice of where in the list the request wants to be."""

    fault_name: ClassVar[str] = "first-page-again"


@dataclass(frozen=True, slots=True)
class WrongTotal(Action):
    """Count *by* more members than there are."""

    fault_name: ClassVar[str] = "wrong-total"
    systems: ClassVar[frozenset[System]] = SYSTEMS_WITH_TOTAL
    by: int = 1


@dataclass(frozen=True, slots=True)
class DuplicateRows(Action):
    """Show the first row of the page once more at its end."""

    fault_name: ClassVar[str] = "duplicate-rows"


@dataclass(frozen=True, slots=True)
class Drift(Action):
    """Let somebody come or go before this page while the list is read: rows move by one, and the total changes."""

    fault_name: ClassVar[str] = "drift"
    kind: Literal["added", "removed"] = "removed"


@dataclass(frozen=True, slots=True)
class Nulls(Action):
    """Show null for everything that a missing permission hides; *ids* too if wanted, in *rows* `all` or `first`."""

    fault_name: ClassVar[str] = "nulls"
    rows: Literal["all", "first"] = "all"
    ids: bool = False


ACTIONS: Mapping[str, type[Action]] = {kind.fault_name: kind for kind in Action.__subclasses__()}
