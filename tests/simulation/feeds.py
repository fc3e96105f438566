"""What the change feeds of the providers show: events that come late, twice, out of order or never, and that lie."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from agent.model import Policy
from agent.model.email import normalize
from agent.model.feed import Announcement, FeedCursor, NamedPerson
from agent.model.run import Lease
from agent.ports.state import State
from connectors.base import CredentialsRefused, IncompleteRead, LookupResult, Person, PersonKey, Source, Status
from connectors.feed import CursorLost, FeedEvent, FeedPage, Standing, StandingFound
from tests.simulation.invariants import Broken, LookTaken, Sender
from tests.simulation.world import GROUPS, SOURCES, START, World, human

__all__ = ["CheckedState", "Delivery", "ProviderFeeds", "SimulatedFeed"]

PAGE = 3
BEGINS_BEFORE_SECONDS = 600.0
"""How far back a fresh cursor begins."""
LATE_SECONDS = 300.0
MISSING, LATE, DOUBLED = 0.1, 0.2, 0.15
"""The shares of events that never appear, that appear late, and that appear twice."""
MAX_LAG_SECONDS = 9.0
"""Less than `SECOND_LOOK_SECONDS`: two looks that far apart do not both show what is not so any more."""
SECOND_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that appears at *visible_at*. *moved* is whose change caused it, None for one without a cause."""

    visible_at: float
    seq: int
    at: float
    event: FeedEvent
    moved: PersonKey | None = None

    @property
    def place(self) -> tuple[float, int]:
        return self.visible_at, self.seq


@dataclass
class ProviderFeeds:
    """The truth of all feeds, and how their providers answer.

    - *is_lagging*: reads of people show for some seconds what was, or that people who move are in no group.
    - *refused*: feeds without their permission. *missing*: applications that can't be found. *narrowed*: connectors
      whose role sees no one. *unreadable_rate*: how often the read of one person fails.
    - *happened* counts what occurred, for the count of what was reached.
    """

    world: World
    is_lagging: bool
    happened: Counter[str]
    deliveries: dict[str, list[Delivery]] = field(default_factory=lambda: defaultdict(list))
    refused: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    narrowed: set[str] = field(default_factory=set)
    unreadable_rate: float = 0.0
    generation: int = 0
    hidden: dict[PersonKey, tuple[float, float]] = field(default_factory=dict)
    _is_silent: bool = False
    _events: int = 0

    @property
    def chance(self) -> random.Random:
        return self.world.chance

    def put_right(self) -> None:
        self.refused, self.missing, self.narrowed, self.unreadable_rate = set(), set(), set(), 0.0

    def lose_cursors(self) -> None:
        self.generation += 1
        self.happened["cursors lost"] += 1

    # What happens to people, as events.

    def record_move(self, before: Person | None, after: Person | None) -> None:
        """Deliver the events of one change of a person."""
        person = after or before
        if person is None or self._is_silent:
            return
        for word, groups, may_add in _changes(before, after):
            self.deliver(person.connector, word, (person.id,), groups, may_add=may_add, moved=person.key)
        is_moved = before is not None and after is not None and before.groups and before.groups != after.groups
        if self.is_lagging and is_moved and after is not None and after.groups and self.chance.random() < 0.5:
            self.hide(person.key)

    def hide(self, key: PersonKey) -> None:
        """Let reads show a person in no group, for some seconds, now or soon."""
        begins = self.world.elapsed() + self.chance.choice([0, 2, 5, 8])
        self.hidden[key] = begins, begins + self.chance.uniform(2, MAX_LAG_SECONDS)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Deliver no event of a person meanwhile."""
        self._is_silent = True
        try:
            yield
        finally:
            self._is_silent = False

    def deliver(
        self,
        connector: str,
        word: str,
        people: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
        *,
        may_add: bool = False,
        moved: PersonKey | None = None,
    ) -> None:
        """Let an event appear: at once, late, twice or never."""
        chance, now = self.chance, self.world.elapsed()
        self._events += 1
        moment = START + timedelta(seconds=now)
        event = FeedEvent(f"event-{self._events}", word, moment, people, groups, is_wide=not people, may_add=may_add)
        self.happened["events"] += 1
        if chance.random() < MISSING:
            self.happened["events that never appear"] += 1
            return
        times = [self._appears_at(now)]
        if chance.random() < DOUBLED:
            self.happened["events that appear twice"] += 1
            times.append(self._appears_at(now))
        for visible_at in times:
            deliveries = self.deliveries[connector]
            if any(each.visible_at > visible_at for each in deliveries):
                self.happened["events that appear before an earlier one"] += 1
            deliveries.append(Delivery(visible_at, self._events, now, event, moved))

    def _appears_at(self, now: float) -> float:
        if self.chance.random() < LATE:
            self.happened["events that appear late"] += 1
            return now + self.chance.uniform(10, LATE_SECONDS)
        return now + self.chance.uniform(0, 4)

    def lie(self) -> None:
        """Deliver an event that is not so: of people who did not leave, of unknown ones, of everyone."""
        chance = self.chance
        connector = chance.choice(SOURCES).connector
        people = sorted(key.id for key in self.world.people if key.connector == connector)
        self.happened["events that lie"] += 1
        match chance.choice(["one", "one", "hidden", "unknown", "everyone", "group"]):
            case "unknown":
                self.deliver(connector, "user.deleted", ("unknown-1", "unknown-2"))
            case "everyone":
                self.deliver(connector, "user.suspended", tuple(people) or ("unknown-1",))
            case "group":
                self.deliver(connector, "group.deleted", (), (chance.choice(GROUPS),))
            case kind if people:
                person = chance.choice(people)
                self.deliver(connector, chance.choice(["user.suspended", "group.left"]), (person,))
                if kind == "hidden" and self.is_lagging:
                    self.hide(PersonKey(connector, person))

    # What is read of it.

    def page(self, connector: str, after: tuple[float, int]) -> FeedPage:
        ready = self.between(connector, after, (self.world.elapsed(), self._events))
        shown = ready[:PAGE]
        at, seq = shown[-1].place if shown else after
        return FeedPage(
            tuple(each.event for each in shown), f"{self.generation} {at!r} {seq}", has_more=len(ready) > PAGE
        )

    def place(self, cursor: str) -> tuple[float, int] | None:
        """Return where *cursor* goes on, None for one that is lost."""
        generation, at, seq = cursor.split()
        return (float(at), int(seq)) if int(generation) == self.generation else None

    def between(self, connector: str, after: tuple[float, int], until: tuple[float, int]) -> list[Delivery]:
        found = [each for each in self.deliveries[connector] if after < each.place <= until]
        return sorted(found, key=lambda each: each.place)

    def was(self, key: PersonKey, seconds_ago: float) -> Person | None:
        """Return how a person was so many seconds ago."""
        at = self.world.elapsed() - seconds_ago
        known = [person for when, person in self.world.past[key.connector, human(key.id)] if when <= at]
        return known[-1] if known and known[-1] is not None and known[-1].id == key.id else None


def _changes(before: Person | None, after: Person | None) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Yield what a provider reports of one change: the type, the groups, and whether it may give access."""
    if after is None:
        yield "user.deleted", (), False
        return
    old_groups = before.groups if before else ()
    old_status = before.status if before else Status.ACTIVE
    if before is not None and (before.email, before.display_name) != (after.email, after.display_name):
        yield "user.updated", (), False
    if old_status is not after.status:
        is_back = after.status is Status.ACTIVE
        yield "user.activated" if is_back else "user.suspended", (), is_back
    for group in sorted(set(old_groups) - set(after.groups)):
        yield "group.left", (group,), False
    for group in sorted(set(after.groups) - set(old_groups)):
        yield "group.joined", (group,), True
    if after.individual is not (before.individual if before else False):
        yield "app.assigned" if after.individual else "app.unassigned", (), after.individual


@dataclass(frozen=True)
class SimulatedFeed:
    """Implements `connectors.feed.Feed` over the truth, for one run or poller. *sender* gets each look."""

    feeds: ProviderFeeds
    name: str
    sender: Sender

    @property
    def second_look_seconds(self) -> float:
        return SECOND_LOOK_SECONDS if self.feeds.is_lagging else 0.0

    def needs_second_look(self, _first: StandingFound, /) -> bool:
        return self.feeds.is_lagging

    async def begin(self) -> FeedPage:
        await self._reach()
        page = self.feeds.page(self.name, (self.feeds.world.elapsed() - BEGINS_BEFORE_SECONDS, -1))
        await self.sender.process.at("poll")
        return page

    async def poll(self, cursor: str) -> FeedPage:
        await self._reach()
        place = self.feeds.place(cursor)
        if place is None:
            raise CursorLost("The cursor is not known any more.", "A whole run follows.")
        page = self.feeds.page(self.name, place)
        await self.sender.process.at("poll")
        return page

    async def _reach(self) -> None:
        await self.sender.process.at("poll")
        if self.name in self.feeds.refused:
            self.feeds.happened["polls refused"] += 1
            raise CredentialsRefused(f"{self.name} refused its log.", "Grant the permission.")
        if self.name in self.feeds.world.failing:
            raise IncompleteRead(f"{self.name} broke off.", "Poll again.")

    async def look_at(self, people: Mapping[str, str], source: Source) -> Mapping[str, StandingFound]:
        feeds = self.feeds
        await self.sender.process.at("look")
        if self.name in feeds.missing or self.name in feeds.world.failing:
            feeds.happened["looks without the application"] += 1
            raise IncompleteRead(f"{self.name} does not show the application.", "Run again.")
        found = {person: self._look(PersonKey(self.name, person), email, source) for person, email in people.items()}
        await asyncio.sleep(0.1)
        await self.sender.process.at("look")
        return found

    def _look(self, key: PersonKey, email: str, source: Source) -> StandingFound:
        feeds, world = self.feeds, self.feeds.world
        true = world.people.get(key)
        shown = true
        if feeds.is_lagging and feeds.chance.random() < 0.6:
            shown = feeds.was(key, feeds.chance.uniform(0, MAX_LAG_SECONDS))
        begins, ends = feeds.hidden.get(key, (0.0, 0.0))
        is_hidden = begins <= world.elapsed() < ends
        found = self._standing(key, shown, email, source, is_hidden=is_hidden)
        is_untrue = found.standing is not self._standing(key, true, email, source, is_hidden=False).standing
        if feeds.chance.random() < feeds.unreadable_rate:
            found = StandingFound(Standing.UNKNOWN, LookupResult(Status.UNKNOWN, failure="timeout"))
        feeds.happened[f"looks: {found.standing}"] += 1
        feeds.happened["looks that are untrue"] += is_untrue
        self.sender.looks[key].append(LookTaken(world.moment(), found.standing, is_untrue))
        return found

    def _standing(
        self, key: PersonKey, person: Person | None, email: str, source: Source, *, is_hidden: bool
    ) -> StandingFound:
        feeds, world = self.feeds, self.feeds.world
        strangers = world.strangers.get(self.name)
        is_gone = person is None or strangers is not None or self.name in feeds.narrowed
        if is_gone or person is None:
            others = strangers if strangers is not None else [each for each in self._own() if each.key != key]
            sees_others = bool(others) and self.name not in feeds.narrowed
            is_clear = sees_others and not self._has_holder(key, email)
            return StandingFound(Standing.LEFT if is_clear else Standing.UNKNOWN, LookupResult(Status.DELETED))
        groups = frozenset(each for each in person.groups if not source.groups or each in source.groups)
        groups = frozenset() if is_hidden else groups
        found = LookupResult(person.status, groups=groups)
        if person.status is Status.ACTIVE and (groups or (person.individual and not is_hidden)):
            return StandingFound(Standing.ENTITLED, found)
        return StandingFound(Standing.UNKNOWN if self._has_holder(key, email) else Standing.LEFT, found)

    def _own(self) -> list[Person]:
        return [each for each in self.feeds.world.people.values() if each.connector == self.name]

    def _has_holder(self, key: PersonKey, email: str) -> bool:
        """Return whether another person has the address now: both may be one human."""
        strangers = self.feeds.world.strangers.get(self.name)
        people = self._own() if strangers is None else strangers
        return any(each.key != key and normalize(each.email or "") == normalize(email) for each in people)


class CheckedState:
    """A state whose cursors must not be ahead of the people that they passed. *policies* are those of its process."""

    def __init__(self, state: State, feeds: ProviderFeeds, policies: Mapping[str, Policy], max_people: int) -> None:
        self._state = state
        self._feeds = feeds
        self._policies = policies
        self._max_people = max_people
        self.broken: Broken | None = None
        self._linked: dict[str, Mapping[str, tuple[str, ...]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    async def find_linked_workspaces(self, connector: str, people: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        # Who gets a link later is read by the run that makes it.
        self._linked[connector] = await self._state.find_linked_workspaces(connector, people)
        return self._linked[connector]

    async def record_poll(
        self,
        lease: Lease,
        cursor: FeedCursor,
        people: Sequence[NamedPerson],
        announced: Sequence[Announcement] = (),
        wanted: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        known = await self._state.load_feed_cursor(cursor.connector)
        await self._state.record_poll(lease, cursor, people, announced, wanted)
        after = self._feeds.place(known.cursor) if known and known.account == cursor.account else None
        until = self._feeds.place(cursor.cursor)
        if after is None or until is None:
            return
        passed = self._feeds.between(cursor.connector, after, until)
        ids = {person for each in passed for person in each.event.people}
        linked = {person: found for person, found in self._linked[cursor.connector].items() if person in ids}
        for name, policy in self._policies.items():
            here = {person for person in linked if name in linked[person]}
            is_fed = any(source.connector == cursor.connector for source in policy.sources)
            if is_fed and len(here) <= self._max_people:
                named = {each.person.id for each in await self._state.load_named_people(name)}
                if not here <= named:
                    # Raised by the daemon: its feeds take any exception for a failed poll.
                    self.broken = Broken("a cursor was kept before the people whom it passed")
