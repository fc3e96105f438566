"""Change feeds: the people that a provider reports. An event decides nothing: the person is read first.

No I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from connectors.base import IncompleteRead, LookupResult, Source

__all__ = ["CursorLost", "Feed", "FeedEvent", "FeedPage", "Standing", "StandingFound"]


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event. *id* is the provider's, *word* its type there, and *at* its time there, None: not given.

    *people*, *groups* and *apps* are the ids that it names. *is_wide*: it is about a group, an application or the
    assignment of a group, so it may concern anyone, and a run over the whole workspace is due. *may_add*: after it its
    people may have access that they had not.
    """

    id: str
    word: str
    at: datetime | None = None
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    is_wide: bool = False
    may_add: bool = False


@dataclass(frozen=True, slots=True)
class FeedPage:
    """What one request of a feed gave. *cursor* is where to go on, and may hold a token: treat it as a secret.

    *has_more*: another page is ready now. *server_time* is the provider's clock, None: not given.
    """

    events: tuple[FeedEvent, ...]
    cursor: str = field(repr=False)
    has_more: bool = False
    server_time: datetime | None = None


class CursorLost(IncompleteRead):
    """The provider no longer accepts the cursor: what happened since is unknown, so a whole run is due."""

    code = "cursor-lost"


class Standing(StrEnum):
    """What a verification read shows of one person and one application."""

    LEFT = "left"
    """Not entitled, and the read shows that it could have seen them."""
    ENTITLED = "entitled"
    UNKNOWN = "unknown"
    """Nothing may be concluded: the read failed, or it contradicts itself, as while a change is under way."""


@dataclass(frozen=True, slots=True)
class StandingFound:
    """*found* is what `Connector.lookup` returns for the person, for the reason of a deactivation.

    *counted* are the ids of the groups that count for the application as the same look read them, None: not given.
    """

    standing: Standing
    found: LookupResult
    counted: frozenset[str] | None = None


class Feed(Protocol):
    """The change feed of one provider account. Every method raises `ReadError`, and nothing else, for any failure
    outside."""

    @property
    def second_look_seconds(self) -> float:
        """How long to wait before a second look."""
        ...

    def needs_second_look(self, first: StandingFound, /) -> bool:
        """Return whether replicas may lag behind what *first* shows.

        Then a second look must show the same before a person has left, and someone who stays is looked at once more.
        """
        ...

    async def begin(self) -> FeedPage:
        """Return a fresh cursor, with the events since some minutes ago, if any."""
        ...

    async def poll(self, cursor: str) -> FeedPage:
        """Return what came after *cursor*. Raises `CursorLost`. The same cursor may come back."""
        ...

    async def look_at(self, people: Mapping[str, str], source: Source) -> Mapping[str, StandingFound]:
        """Return how each of *people* (id: address of their member) stands.

        Raises `ReadError` where the application itself can't be read. A failure of one person's read is their
        `UNKNOWN`, and so is a leaver whose address another person has now: both may be one human.
        """
        ...
