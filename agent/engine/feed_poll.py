"""Poll one change feed: record the linked people that it names, then the cursor. Decides nothing about anyone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from agent.errors import WorkspaceBusy
from agent.model.feed import FeedCursor, NamedPerson
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
    each with the reason."""

    polled_at: datetime
    events: int = 0
    due: tuple[str, ...] = ()
    whole_runs: Mapping[str, str] = field(default_factory=dict)
    lag_seconds: float | None = None
    is_elsewhere: bool = False


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

    async def poll(self, load_scope: Callable[[], Awaitable[FeedScope]]) -> PollResult:
        """Raises `ReadError` when the feed can't be read, and `StateError`. Another process that polls is no error."""
        now = self.clock.now()
        known = await self.state.load_feed_cursor(self.connector)
        if known is not None and known.account == self.account and now - known.polled_at < self.every * OWN_SHARE:
            return PollResult(known.polled_at, is_elsewhere=True)
        try:
            lease = await self.state.take_lease(feed_lease_key(self.connector), self.holder)
        except WorkspaceBusy:
            return PollResult(now, is_elsewhere=True)
        try:
            return await self._poll(lease, await load_scope())
        finally:
            await self.state.release_lease(lease)

    async def _poll(self, lease: Lease, scope: FeedScope) -> PollResult:
        cursor = await self.state.load_feed_cursor(self.connector)
        lost = ""
        if cursor is None or cursor.account != self.account:
            lost = "" if cursor is None else "the feed reads another account than before"
            pages = [await self.feed.begin()]
        else:
            try:
                pages = await self._read_pages(cursor.cursor)
            except CursorLost as error:
                log.warning("feed.cursor_lost", connector=self.connector, error=error.message)
                lost, cursor = "the feed lost its place", None
                pages = [await self.feed.begin()]
        began_afresh = cursor is None or cursor.account != self.account
        events = list({each.id or id(each): each for page in pages for each in page.events}.values())
        now = self.clock.now()
        named, whole_runs = await self._sort(events, scope, now)
        if lost:
            whole_runs = dict.fromkeys(scope.workspaces, lost) | whole_runs
        times = [each.at for each in events if each.at is not None]
        newest = max([*times, *([cursor.event_at] if cursor and cursor.event_at else [])], default=None)
        following = FeedCursor(
            connector=self.connector,
            account=self.account,
            cursor=pages[-1].cursor,
            begun_at=now if began_afresh or cursor is None else cursor.begun_at,
            polled_at=now,
            event_at=newest,
        )
        await self.state.record_poll(lease, following, named)
        if events:
            log.info("feed.polled", connector=self.connector, events=len(events), named=len(named))
        return PollResult(
            now,
            len(events),
            tuple(sorted({each.workspace for each in named})),
            whole_runs,
            _lag_seconds(events, now),
        )

    async def _read_pages(self, cursor: str) -> list[FeedPage]:
        pages = [await self.feed.poll(cursor)]
        while pages[-1].has_more and len(pages) < MAX_PAGES:
            pages.append(await self.feed.poll(pages[-1].cursor))
        return pages

    async def _sort(
        self, events: Sequence[FeedEvent], scope: FeedScope, now: datetime
    ) -> tuple[list[NamedPerson], dict[str, str]]:
        """Return the linked people to look at, and the workspaces that need a run over everyone, each with why."""
        first: dict[str, FeedEvent] = {}
        for event in events:
            for person in event.people:
                first.setdefault(person, event)
        linked = await self.state.find_linked_workspaces(self.connector, first)
        whole_runs = _whole_runs(events, linked, scope)
        named: list[NamedPerson] = []
        for name in scope.workspaces:
            people = [person for person in linked if name in linked[person]]
            if len(people) > self.max_people:
                whole_runs[name] = f"the feed names {len(people)} of its people at once"
                continue
            for person in people:
                event, key = first[person], PersonKey(self.connector, person)
                named.append(NamedPerson(name, key, event.id, event.word, event.at, now, now))
        return named, whole_runs


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
