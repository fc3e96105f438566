"""A pretend company and workspace for tests of several runs; only the test changes them and moves the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from connectors.base import CheckName, Finding, Group, IncompleteRead, LookupResult, Person, Snapshot, Source, Status
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.workspace import PigmentWorkspace

__all__ = ["BASE", "SteppedConnector", "SteppedWorld"]

BASE = "http://127.0.0.1/latam/scim/v2"
GROUPS = ("planners", "readers")


@dataclass
class SteppedWorld:
    """Implements `agent.ports.clock.Clock`; only `pass_minutes` moves it. *people* are by (connector, id).

    *failing* are the connectors that can't be read.
    """

    moment: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)
    people: dict[tuple[str, str], Person] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    token: str = "token"

    def __post_init__(self) -> None:
        self.space = PigmentWorkspace("latam", [self.token], now=self.now)

    def now(self) -> datetime:
        return self.moment

    def elapsed(self) -> float:
        return self.moment.timestamp()

    def pass_minutes(self, minutes: float) -> None:
        self.moment += timedelta(minutes=minutes)

    def transport(self) -> httpx.ASGITransport:
        """Return a transport to the pretend Pigment that holds `space`, at `BASE`."""
        return httpx.ASGITransport(pigment_app(Pigment([self.space], RateLimiter(RateLimit(None)))))

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self.transport())


@dataclass(frozen=True)
class SteppedConnector:
    """Implements `connectors.base.Connector` over the people of a world: complete and true, or failing."""

    world: SteppedWorld
    name: str

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:  # noqa: ARG002  (there is no other read)
        if self.name in self.world.failing:
            raise IncompleteRead(f"{self.name} broke off.", "Run again.")
        own_people = [person for person in self.world.people.values() if person.connector == self.name]
        shown = tuple(person for person in own_people if person.groups or person.individual)
        groups = tuple(Group(each, each.title(), sum(each in person.groups for person in shown)) for each in GROUPS)
        return Snapshot(source, "Pigment", groups, shown)

    def clear_cache(self) -> None:
        """Keep nothing from one read to the next."""

    async def lookup(self, person_id: str, _source: Source, /) -> LookupResult:
        person = self.world.people.get((self.name, person_id))
        if person is None:
            return LookupResult(Status.DELETED)
        return LookupResult(person.status, groups=frozenset(person.groups))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return [Finding("ok", self.name, f"{len(sources)} sources", name=CheckName.CREDENTIALS)]
