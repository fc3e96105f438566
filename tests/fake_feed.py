"""A change feed that a test writes: it implements `connectors.feed.Feed`, and its cursor is a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connectors.base import LookupResult, Source, Status
from connectors.feed import FeedEvent, FeedPage, Standing, StandingFound

__all__ = ["CANARY", "FakeFeed"]

CANARY = "https://acme.example.com/logs?after=CANARY-1764153600000_1"


@dataclass
class FakeFeed:
    """Gives *events* once. *cursor* goes on with each of them. *failure* is raised by the next polls.

    *standings* are of the people who are looked at; the others are unknown. *server_time* is the provider's clock.
    """

    events: list[FeedEvent] = field(default_factory=list)
    failure: Exception | None = None
    standings: dict[str, Standing] = field(default_factory=dict)
    server_time: datetime | None = None
    has_more: bool = False
    begun: int = 0
    polled: int = 0
    given: int = 0
    second_look_seconds: float = 0.0

    @property
    def cursor(self) -> str:
        return f"{CANARY}-{self.begun}-{self.given}"

    def needs_second_look(self, _first: StandingFound, /) -> bool:
        return False

    async def begin(self) -> FeedPage:
        self.begun += 1
        return FeedPage((), self.cursor, server_time=self.server_time)

    async def poll(self, cursor: str) -> FeedPage:
        self.polled += 1
        assert cursor.startswith(CANARY)
        if self.failure is not None:
            raise self.failure
        events, self.events = tuple(self.events), []
        self.given += len(events)
        return FeedPage(events, self.cursor, self.has_more, self.server_time)

    async def look_at(self, people: Mapping[str, str], _source: Source) -> Mapping[str, StandingFound]:
        found = {each: self.standings.get(each, Standing.UNKNOWN) for each in people}
        return {each: StandingFound(standing, LookupResult(Status.UNKNOWN)) for each, standing in found.items()}
