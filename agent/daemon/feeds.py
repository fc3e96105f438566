"""The daemon's change feeds: poll each, look at the people it names, and start runs over everyone early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from agent.daemon.interface import FeedStatus
from agent.daemon.runner import ActiveConfig
from agent.engine.feed_poll import FeedPoller, FeedScope, PollResult
from agent.engine.named_people import Settled
from agent.errors import PigmentSyncError
from agent.model import Mode
from agent.model.run import Trigger
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.settings.root import Settings
from connectors.base import CredentialsRefused, ReadError, Source

__all__ = ["NO_FEED_OBSERVER", "TICK_SECONDS", "DaemonFeeds", "FeedObserver", "OpenPollers"]

log = structlog.get_logger()
TICK_SECONDS = 2.0
OFF_AFTER_REFUSAL = timedelta(hours=1)
"""How long a feed without its permission is left alone."""
RUN_PAUSE = timedelta(seconds=10)
"""How long after a feed run of a workspace the next one may begin."""
RUNS_SEARCHED = 20
OpenPollers = Callable[[Settings], AbstractAsyncContextManager[list[FeedPoller]]]


class FeedObserver(Protocol):
    """Counts what the feeds do, for `/metrics`."""

    def record_poll(self, connector: str, result: PollResult) -> None: ...
    def record_failed_poll(self, connector: str) -> None: ...
    def record_lag(self, connector: str, seconds: float) -> None: ...


class _NoFeedObserver:
    def record_poll(self, connector: str, result: PollResult) -> None:
        """Count nothing."""

    def record_failed_poll(self, connector: str) -> None:
        """Count nothing."""

    def record_lag(self, connector: str, seconds: float) -> None:
        """Count nothing."""


NO_FEED_OBSERVER = _NoFeedObserver()


class StartRun(Protocol):
    """Start a run over one workspace. Returns once it is accepted."""

    def __call__(self, workspace: str, trigger: Trigger, reason: str, /) -> None: ...


@dataclass(slots=True)
class DaemonFeeds:
    """Polls the feeds of the active configuration. *is_active* returns whether a run of the workspace is going on."""

    config: ActiveConfig
    state: State
    clock: Clock
    open_pollers: OpenPollers | None
    start_run: StartRun
    is_active: Callable[[str], bool]
    observer: FeedObserver
    statuses: dict[str, FeedStatus] = field(default_factory=dict)
    _pollers: list[FeedPoller] = field(default_factory=list)
    _opened_for: datetime | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _due: dict[str, datetime] = field(default_factory=dict)
    _wanted: dict[str, str] = field(default_factory=dict)
    _not_before: dict[str, datetime] = field(default_factory=dict)

    async def run_due(self) -> None:
        """Poll the feeds that are due, and start the runs that are. Failures are logged and shown."""
        try:
            await self._use_active_config()
            now = self.clock.now()
            due = [each for each in self._pollers if self._due.get(each.connector, now) <= now]
            await asyncio.gather(*map(self._poll, due))
            if self._pollers:
                await self._start_feed_runs()
                await self._start_whole_runs()
        except (PigmentSyncError, ReadError) as error:
            log.warning("feed.failed", error=error.message)

    async def stop(self) -> None:
        await self._stack.aclose()

    def on_settled(self, workspace: str, settled: Settled) -> None:
        """Count how late the deactivations of a feed run were, and want a run over everyone for what it left."""
        for named, record in settled.deactivated:
            if named.event_at is not None and record.answered_at is not None:
                seconds = max(0.0, (record.answered_at - named.event_at).total_seconds())
                self.observer.record_lag(named.person.connector, seconds)
                if (status := self.statuses.get(named.person.connector)) is not None:
                    status.lags = [*status.lags[-99:], seconds]
        if settled.left_to_run:
            self._wanted.setdefault(workspace, f"a person whom the feed named ({settled.left_to_run[0].word})")

    async def _use_active_config(self) -> None:
        if self._opened_for == self.config.loaded_at or self.open_pollers is None:
            return
        await self._stack.aclose()
        self._stack, self._pollers = AsyncExitStack(), []
        self._pollers = await self._stack.enter_async_context(self.open_pollers(self.config.settings))
        self._opened_for = self.config.loaded_at
        known, self._due = self.statuses, {}
        self.statuses = {
            each.connector: FeedStatus(
                each.connector,
                each.every,
                polled_at=known[each.connector].polled_at if each.connector in known else None,
            )
            for each in self._pollers
        }

    async def _poll(self, poller: FeedPoller) -> None:
        status, now = self.statuses[poller.connector], self.clock.now()
        self._due[poller.connector] = now + poller.every
        status.until = None
        try:
            result = await poller.poll(lambda: self._load_scope(poller.connector))
        except CredentialsRefused as error:
            # Okta answers `invalid_scope` to the token request: whole runs have a token of their own.
            status.problem, status.until = f"{error.message} {error.hint}", now + OFF_AFTER_REFUSAL
            self._due[poller.connector] = status.until
        except ReadError as error:
            status.problem = error.message
        else:
            status.problem, status.polled_at = "", result.polled_at
            self.observer.record_poll(poller.connector, result)
            for name, why in result.whole_runs.items():
                self._wanted.setdefault(name, why)
            return
        self.observer.record_failed_poll(poller.connector)
        log.warning("feed.not_polled", connector=poller.connector, error=status.problem)

    async def _load_scope(self, connector: str) -> FeedScope:
        """Return what of *connector* the enforcing workspaces count."""
        apps: dict[str, list[str]] = {}
        groups: dict[str, list[str]] = {}
        names = []
        for name, policy in self.config.policies.items():
            sources = [source for source in policy.sources if source.connector == connector]
            if not sources or policy.mode is Mode.DRY_RUN:
                continue
            names.append(name)
            for source in sources:
                apps.setdefault(source.app, []).append(name)
            for of, group in await self.state.load_sightings(name):
                if of == connector:
                    groups.setdefault(group, []).append(name)
        return FeedScope(tuple(names), _frozen(apps), _frozen(groups))

    async def _start_feed_runs(self) -> None:
        now = self.clock.now()
        connectors = {poller.connector for poller in self._pollers}
        for name, policy in self.config.policies.items():
            is_fed = any(source.connector in connectors for source in policy.sources)
            if not is_fed or policy.mode is Mode.DRY_RUN or self.is_active(name):
                continue
            if self._not_before.get(name, now) > now or not await self.state.load_named_people(name, now):
                continue
            self._not_before[name] = now + RUN_PAUSE
            self.start_run(name, Trigger.FEED, "")

    async def _start_whole_runs(self) -> None:
        """Start the wanted runs over everyone, each at most once within the shortest `whole_run_every` of its feeds."""
        now = self.clock.now()
        for name, why in list(self._wanted.items()):
            policy = self.config.policies.get(name)
            if policy is None:
                del self._wanted[name]
                continue
            if self.is_active(name) or await self._last_whole_run(name) > now - self._pause_between(policy.sources):
                continue
            del self._wanted[name]
            self.start_run(name, Trigger.SCHEDULE, f"Started early: {why}.")

    def _pause_between(self, sources: Sequence[Source]) -> timedelta:
        pauses = [
            feed.whole_run_every
            for source in sources
            if (feed := self.config.settings.connectors[source.connector].change_feed) is not None
        ]
        return min(pauses, default=timedelta(minutes=5))

    async def _last_whole_run(self, name: str) -> datetime:
        runs = await self.state.load_runs([name], limit=RUNS_SEARCHED)
        whole = {Trigger.SCHEDULE, Trigger.SYNC, Trigger.APPLY, Trigger.API, Trigger.PAGE}
        started = [run.started_at for run in runs if run.trigger in whole and not run.user and not run.dry_run]
        return max(started, default=datetime.min.replace(tzinfo=self.clock.now().tzinfo))


def _frozen(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(names) for key, names in found.items()}
