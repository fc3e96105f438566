"""Poll one change feed: record the linked people that it names, then the cursor. Decides nothing about anyone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from agent.errors import WorkspaceBusy
from agent.model.feed import ANYONE, Announcement, FeedCursor, NamedPerson
from agent.model.run import Lease
from agent.ports.clock import Clock
from agent.ports.feeds import feed_lease_key
from agent.ports.state import State
from connectors.base import PersonKey
from connectors.feed import CursorLost, Feed, FeedEvent, FeedPage

__all__ = ["FeedPoller", "FeedScope", "PollResult"]

log = structlog.get_logger()
MAX_PAGES = 20
"""Pages of one poll; the rest is left to the next one."""
OWN_SHARE = 0.8
"""Share of the interval within which another process's poll makes ours unnecessary."""
ANNOUNCED_WITHIN = timedelta(minutes=15)
"""How long after a run over everyone found a leaver an event may still announce them."""
STANDS_STILL = timedelta(days=1)
"""A cursor that has named nothing for so long is replaced: it may age out of what the provider keeps."""
MAX_SKEW = timedelta(minutes=2)
"""How far the clocks may differ: it makes the measured lag wrong, and nothing else."""


@dataclass(frozen=True, slots=True)
class FeedScope:
    """What of a connector concerns which workspaces. *apps* and *groups* map an id to the workspaces that count it."""

    workspaces: tuple[str, ...]
    apps: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]

    def concerned(self, event: FeedEvent) -> tuple[str, ...]:
        """Return the workspaces whose applications or groups *event* names; all if it names neither."""
        if not event.apps and not event.groups:
            return self.workspaces
        found = {name for app in event.apps for name in self.apps.get(app, ())}
        found |= {name for group in event.groups for name in self.groups.get(group, ())}
        return tuple(name for name in self.workspaces if name in found)


@dataclass(frozen=True, slots=True)
class PollResult:
    """What a poll found. *due* are the workspaces with named people, *whole_runs* those that need a run over everyone,
    each with the reason.

    *lost* is why events before this poll may be missing, empty if they are not. *missed* are the leavers of each
    workspace whom no event announced, counted once. *skew* is how far this clock is ahead, None: too little to matter.
    """

    polled_at: datetime
    events: int = 0
    due: tuple[str, ...] = ()
    whole_runs: Mapping[str, str] = field(default_factory=dict)
    lag_seconds: float | None = None
    is_elsewhere: bool = False
    lost: str = ""
    missed: Mapping[str, int] = field(default_factory=dict)
    skew: timedelta | None = None


IsReadSince = Callable[[datetime], Awaitable[bool]]


async def _is_never_read(_since: datetime) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class _Found:
    """What the events of a poll are about."""

    named: Sequence[NamedPerson]
    whole_runs: Mapping[str, str]
    announced: Sequence[Announcement]

    def with_everyone(self, scope: FeedScope, why: str, connector: str, now: datetime) -> _Found:
        """Return the same with a run over everyone of each workspace: what happened before is unknown."""
        anyone = [Announcement(name, PersonKey(connector, ANYONE), now) for name in scope.workspaces]
        whole_runs = {**dict.fromkeys(scope.workspaces, why), **self.whole_runs}
        return replace(self, whole_runs=whole_runs, announced=[*self.announced, *anyone])


@dataclass(frozen=True, slots=True)
class FeedPoller:
    """Polls the feed of *connector*. *account* is the fingerprint of the provider account, *every* its interval.

    More than *max_people* in one poll are left to runs over everyone.
    """

    connector: str
    account: str
    feed: Feed
    every: timedelta
    max_people: int
    state: State
    clock: Clock
    holder: str

    async def poll(
        self, load_scope: Callable[[], Awaitable[FeedScope]], is_read_since: IsReadSince = _is_never_read
    ) -> PollResult:
        """Raises `ReadError` when the feed can't be read, and `StateError`. Another process that polls is no error.

        *is_read_since* returns whether a run over everyone of each workspace began after a time, and read everything.
        """
        now = self.clock.now()
        known = await self.state.load_feed_cursor(self.connector)
        # Also a little in the future: another process's clock is ahead. Far ahead: the clock was set back.
        is_fresh = known is not None and abs(now - known.polled_at) < self.every * OWN_SHARE
        if known is not None and known.account == self.account and is_fresh:
            return PollResult(known.polled_at, is_elsewhere=True)
        try:
            lease = await self.state.take_lease(feed_lease_key(self.connector), self.holder)
        except WorkspaceBusy:
            return PollResult(now, is_elsewhere=True)
        try:
            return await self._poll(lease, await load_scope(), is_read_since)
        finally:
            await self.state.release_lease(lease)

    async def _poll(self, lease: Lease, scope: FeedScope, is_read_since: IsReadSince) -> PollResult:
        cursor = await self.state.load_feed_cursor(self.connector)
        lost = "" if cursor is None or cursor.account == self.account else "the feed reads another account than before"
        if cursor is None or lost:
            cursor, pages = None, [await self.feed.begin()]
        else:
            try:
                pages = await self._read_pages(cursor.cursor)
            except CursorLost as error:
                log.warning("feed.cursor_lost", connector=self.connector, error=error.message)
                cursor, lost, pages = None, "the feed lost its place", [await self.feed.begin()]
        is_replaced = cursor is not None and await self._stands_still(cursor, pages, is_read_since)
        if is_replaced:
            pages.append(await self.feed.begin())
            log.info("feed.cursor_replaced", connector=self.connector)
        events = list({each.id or id(each): each for page in pages for each in page.events}.values())
        now = self.clock.now()
        found = await self._sort(events, scope, now)
        if lost:
            found = found.with_everyone(scope, lost, self.connector, now)
        times = [each.at for each in events if each.at is not None]
        newest = max([*times, *([cursor.event_at] if cursor and cursor.event_at else [])], default=None)
        following = FeedCursor(
            connector=self.connector,
            account=self.account,
            cursor=pages[-1].cursor,
            begun_at=now if cursor is None or is_replaced else cursor.begun_at,
            polled_at=now,
            event_at=newest,
        )
        await self.state.record_poll(lease, following, found.named, found.announced, found.whole_runs)
        if events:
            log.info("feed.polled", connector=self.connector, events=len(events), named=len(found.named))
        is_complete = not lost and not pages[-1].has_more
        return PollResult(
            now,
            len(events),
            tuple(sorted({each.workspace for each in found.named})),
            found.whole_runs,
            _lag_seconds(events, now),
            lost=lost,
            missed=await self._count_missed(lease, now) if is_complete else {},
            skew=_find_skew(pages[-1], now),
        )

    async def _stands_still(self, cursor: FeedCursor, pages: Sequence[FeedPage], is_read_since: IsReadSince) -> bool:
        """Return whether to take a fresh cursor: this one has named nothing for long, and runs have read everyone."""
        since = max(cursor.begun_at, cursor.event_at or cursor.begun_at)
        is_idle = pages[-1].cursor == cursor.cursor and not any(page.events for page in pages)
        return is_idle and self.clock.now() - since >= STANDS_STILL and await is_read_since(since)

    async def _count_missed(self, lease: Lease, now: datetime) -> Mapping[str, int]:
        missed = await self.state.judge_found_leavers(lease, self.connector, now - ANNOUNCED_WITHIN)
        for name, count in missed.items():
            log.warning("feed.missed_leavers", connector=self.connector, workspace=name, leavers=count)
        return missed

    async def _read_pages(self, cursor: str) -> list[FeedPage]:
        pages = [await self.feed.poll(cursor)]
        while pages[-1].has_more and len(pages) < MAX_PAGES:
            pages.append(await self.feed.poll(pages[-1].cursor))
        return pages

    async def _sort(self, events: Sequence[FeedEvent], scope: FeedScope, now: datetime) -> _Found:
        """Return the linked people to look at, and the workspaces that need a run over everyone, each with why."""
        first: dict[str, FeedEvent] = {}
        for event in events:
            for person in event.people:
                first.setdefault(person, event)
        linked = await self.state.find_linked_workspaces(self.connector, first)
        whole_runs = _whole_runs(events, linked, scope)
        wide = {name for event in events if event.is_wide for name in scope.concerned(event)}
        anyone = PersonKey(self.connector, ANYONE)
        announced = [Announcement(name, anyone, now) for name in scope.workspaces if name in wide]
        named: list[NamedPerson] = []
        for name in scope.workspaces:
            people = [person for person in linked if name in linked[person]]
            keys = {person: PersonKey(self.connector, person) for person in people}
            announced += [Announcement(name, keys[person], now, first[person].at) for person in people]
            if len(people) > self.max_people:
                whole_runs[name] = f"the feed names {len(people)} of its people at once"
                continue
            for person in people:
                event = first[person]
                named.append(NamedPerson(name, keys[person], event.id, event.word, event.at, now, now))
        return _Found(named, whole_runs, announced)


def _whole_runs(events: Sequence[FeedEvent], linked: Mapping[str, tuple[str, ...]], scope: FeedScope) -> dict[str, str]:
    """Return the workspaces that need a run over everyone for what the events are about, each with the reason."""
    found: dict[str, str] = {}
    for event in events:
        is_newcomer = event.may_add and not all(person in linked for person in event.people)
        if not event.is_wide and not is_newcomer:
            continue
        why = f"the feed reports {event.word or 'a change'}" if event.is_wide else "the feed reports a newcomer"
        for name in scope.concerned(event):
            found.setdefault(name, why)
    return found


def _lag_seconds(events: Sequence[FeedEvent], now: datetime) -> float | None:
    """Return how late the newest event was read, None without one."""
    times = [each.at for each in events if each.at is not None]
    return max(0.0, (now - max(times)).total_seconds()) if times else None


def _find_skew(page: FeedPage, now: datetime) -> timedelta | None:
    """Return how far this clock is ahead of the provider's, None where it does not matter or is not known."""
    skew = None if page.server_time is None else now - page.server_time
    return skew if skew is not None and abs(skew) > MAX_SKEW else None
