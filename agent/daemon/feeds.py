"""The daemon's change feeds: poll each, look at the people it names, and start runs over everyone early."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
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
from agent.model.feed import WantedRun
from agent.model.run import TRIGGERS_OVER_EVERYONE, RunFilter, RunStatus, Trigger
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
LONGEST_RUN_PAUSE = timedelta(minutes=5)
"""While feed runs fail, or no one can be looked at, the pause doubles up to this: each one is a run of the journal."""
LONGEST_BUSY_PAUSE = timedelta(seconds=30)
"""The same while another process holds the workspace. A leaver must not wait for long once it is free."""
MAX_DOUBLED = 8
SAME_FAILURE_LOGGED_EVERY = timedelta(minutes=5)
MAX_TRIES = 3
"""Runs over everyone that are started early for one hint. If none of them is complete, the schedule goes on."""
SHOWN_FOR = timedelta(days=1)
"""The page shows lags and missed leavers of so long."""
UNLOOKED_SHOWN_FOR = timedelta(hours=1)
COMPLETE = frozenset({RunStatus.DONE, RunStatus.HELD})
COMPLETE_RUN = RunFilter(triggers=TRIGGERS_OVER_EVERYONE, statuses=COMPLETE, is_dry=False, is_whole=True)
MAX_CAUSES = 5
UNPROVEN_HINT = (
    "Either a change is under way, or the credentials no longer see people: then `pigment-sync check` shows what is "
    "missing."
)
BUG_HINT = "Please report it, with the lines of feed.crashed in the log."
OpenPollers = Callable[[Settings], AbstractAsyncContextManager[list[FeedPoller]]]


class FeedObserver(Protocol):
    """Counts what the feeds do, for `/metrics`."""

    def record_poll(self, connector: str, result: PollResult) -> None: ...
    def record_failed_poll(self, connector: str) -> None: ...

    def set_feeds(self, workspaces: Mapping[str, Collection[str]]) -> None:
        """Count for these connectors, each with its workspaces, and for no other from now on."""
        ...


class _NoFeedObserver:
    def record_poll(self, connector: str, result: PollResult) -> None:
        """Count nothing."""

    def record_failed_poll(self, connector: str) -> None:
        """Count nothing."""

    def set_feeds(self, workspaces: Mapping[str, Collection[str]]) -> None:
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
    # By `Clock.elapsed`: a clock that is set back must not silence a feed.
    _due: dict[str, float] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _unlooked_since: dict[str, float] = field(default_factory=dict)
    # Feed runs since the last one that looked, and when the newest one began.
    _failures: dict[str, int] = field(default_factory=dict)
    _begun: dict[str, float] = field(default_factory=dict)
    _logged: tuple[str, float] | None = None
    # Workspaces with a feed run since the last early run over everyone, which comes before another feed run.
    _fed: set[str] = field(default_factory=set)

    async def run_due(self) -> None:
        """Poll the feeds that are due, and start the runs that are. Failures are logged and shown."""
        try:
            await self._use_active_config()
            now = self.clock.elapsed()
            due = [each for each in self._pollers if self._due.get(each.connector, now) <= now]
            await asyncio.gather(*map(self._poll, due))
            if self._pollers:
                wanted = await self.state.load_wanted_runs()
                # With many leavers there is always one to look at: without this no run over everyone would ever begin.
                await self._start_whole_runs([each for each in wanted if each.workspace in self._fed])
                await self._start_feed_runs()
                await self._start_whole_runs(wanted)
        except (PigmentSyncError, ReadError) as error:
            self._log_failure(error.message)

    def _log_failure(self, message: str) -> None:
        """Log why nothing was done, the same reason not in each tick."""
        now, every = self.clock.elapsed(), SAME_FAILURE_LOGGED_EVERY.total_seconds()
        if self._logged is None or self._logged[0] != message or now - self._logged[1] >= every:
            self._logged = message, now
            log.warning("feed.failed", error=message)

    async def stop(self) -> None:
        await self._stack.aclose()

    def on_settled(self, workspace: str, settled: Settled) -> None:
        """Show how late the deactivations of a feed run were, and when the next one may begin."""
        for lag in settled.lags:
            if (status := self.statuses.get(lag.person.connector)) is not None:
                # Until the next poll loads them.
                status.lags = [*status.lags, lag.seconds]
        now, failures = self.clock.elapsed(), self._failures.get(workspace, 0)
        if settled.is_busy:
            self._not_before[workspace] = now + min(_pause_after(failures), LONGEST_BUSY_PAUSE).total_seconds()
            # How long another process holds the workspace does not show how our next run ends.
            self._failures[workspace] = min(failures, 2)
            return
        self._show_unlooked(workspace, settled)
        if settled.failure:
            self._not_before[workspace] = now + _pause_after(failures).total_seconds()
        else:
            self._failures.pop(workspace, None)
            self._not_before[workspace] = self._begun.get(workspace, now) + RUN_PAUSE.total_seconds()

    def _show_unlooked(self, workspace: str, settled: Settled) -> None:
        why = settled.failure
        if settled.unproven:
            people = "1 person" if settled.unproven == 1 else f"{settled.unproven} people"
            why = f"{people} can be proven neither to have left nor to stay. {UNPROVEN_HINT}"
            log.warning("feed.not_proven", workspace=workspace, people=settled.unproven)
        for connector in self._connectors_of(workspace):
            if (status := self.statuses.get(connector)) is None:
                continue
            if why:
                status.unlooked[workspace] = why
                self._unlooked_since[workspace] = self.clock.elapsed()
            else:
                status.unlooked.pop(workspace, None)

    def _connectors_of(self, workspace: str) -> set[str]:
        policy = self.config.policies.get(workspace)
        return set() if policy is None else {source.connector for source in policy.sources}

    async def _use_active_config(self) -> None:
        if self._opened_for == self.config.loaded_at or self.open_pollers is None:
            return
        await self._stack.aclose()
        self._stack, self._pollers = AsyncExitStack(), []
        settings, known = self.config.settings, self.statuses
        self.statuses = {
            name: FeedStatus(
                name,
                None if each.change_feed is None else each.change_feed.every,
                polled_at=known[name].polled_at if name in known else None,
                since=self.clock.now(),
            )
            for name, each in settings.connectors.items()
        }
        self._pollers = await self._stack.enter_async_context(self.open_pollers(settings))
        self._opened_for, self._due = self.config.loaded_at, {}
        self._failures, self._not_before = {}, {}
        self.observer.set_feeds({each.connector: self._workspaces_of(each.connector) for each in self._pollers})

    def _workspaces_of(self, connector: str) -> list[str]:
        return [
            name
            for name, policy in self.config.policies.items()
            if any(source.connector == connector for source in policy.sources)
        ]

    async def _poll(self, poller: FeedPoller) -> None:
        """Poll one feed. Raises nothing: whatever ends this poll, the other feeds go on."""
        status, started = self.statuses[poller.connector], self.clock.elapsed()
        self._due[poller.connector] = started + poller.every.total_seconds()
        status.until = None
        try:
            result = await poller.poll(
                lambda: self._load_scope(poller.connector), lambda since: self._is_read_since(poller.connector, since)
            )
            await self._record(poller.connector, status, result)
        except CredentialsRefused as error:
            # Okta answers `invalid_scope` to the token request: whole runs have a token of their own.
            status.problem, status.until = f"{error.message} {error.hint}", self.clock.now() + OFF_AFTER_REFUSAL
            self._due[poller.connector] = started + OFF_AFTER_REFUSAL.total_seconds()
        except (PigmentSyncError, ReadError) as error:
            status.problem = f"{error.message} {error.hint}"
        except Exception as failure:  # noqa: BLE001  (the outermost handler: a bug of one feed must not stop another)
            status.problem = f"Unexpected error: {type(failure).__name__}. {BUG_HINT}"
            log.error(  # noqa: TRY400  (the error's own text may quote the cursor)
                "feed.crashed", connector=poller.connector, error=type(failure).__name__, traceback=_frames(failure)
            )
        else:
            return
        self.observer.record_failed_poll(poller.connector)
        log.warning("feed.not_polled", connector=poller.connector, error=status.problem)

    async def _record(self, connector: str, status: FeedStatus, result: PollResult) -> None:
        day_ago = self.clock.now() - SHOWN_FOR
        if result.skew is not None and status.skew is None:
            log.warning("feed.clock_skew", connector=connector, ahead_seconds=round(result.skew.total_seconds()))
        if result.lost:
            status.lost, status.lost_at = result.lost, result.polled_at
        if not result.is_elsewhere:
            status.skew = result.skew
        status.problem, status.polled_at = "", result.polled_at
        self.observer.record_poll(connector, result)
        # A run over everyone has decided about them since, if the feed has not.
        limit = self.clock.elapsed() - UNLOOKED_SHOWN_FOR.total_seconds()
        status.unlooked = {name: why for name, why in status.unlooked.items() if self._unlooked_since[name] > limit}
        status.lags = await self.state.load_lags(connector, day_ago)
        status.missed = await self.state.count_missed_leavers(connector, day_ago)

    async def _is_read_since(self, connector: str, since: datetime) -> bool:
        """Return whether each enforcing workspace had a complete run over everyone that began after *since*."""
        for name in self._workspaces_of(connector):
            if self.config.policies[name].mode is Mode.DRY_RUN:
                continue
            runs = await self.state.load_runs([name], limit=1, where=COMPLETE_RUN)
            if not runs or runs[0].started_at <= since:
                return False
        return True

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
        now, elapsed = self.clock.now(), self.clock.elapsed()
        connectors = {poller.connector for poller in self._pollers}
        for name, policy in self.config.policies.items():
            is_fed = any(source.connector in connectors for source in policy.sources)
            if not is_fed or policy.mode is Mode.DRY_RUN or self.is_active(name):
                continue
            is_early = self._not_before.get(name, elapsed) > elapsed
            if is_early or not await self.state.load_named_people(name, now):
                continue
            if await self.state.load_pause(name) is not None:
                # It could write nothing, so it would look at the same people for as long as the pause lasts.
                continue
            # Counted as failed until it settles someone: it may end without a word, by a bug or a lost state.
            self._failures[name] = self._failures.get(name, 0) + 1
            self._begun[name] = elapsed
            self._not_before[name] = elapsed + _pause_after(self._failures[name]).total_seconds()
            self._fed.add(name)
            self.start_run(name, Trigger.FEED, "")

    async def _start_whole_runs(self, wanted: Sequence[WantedRun]) -> None:
        """Start the *wanted* runs over everyone, each at most once within the shortest `whole_run_every`.

        Any daemon of the state may start one, whichever polled.
        """
        for each in wanted:
            name, policy = each.workspace, self.config.policies.get(each.workspace)
            # Another daemon may have other files.
            if policy is None or policy.mode is Mode.DRY_RUN:
                continue
            if await self._is_over(each):
                await self.state.end_wanted_run(each)
                continue
            pause = self._pause_between(policy.sources)
            if self.is_active(name) or each.is_too_early(pause) or await self.state.load_lease(name) is not None:
                continue
            if await self.state.load_pause(name) is None and await self.state.start_wanted_run(name, pause):
                self._fed.discard(name)
                self.start_run(name, Trigger.SCHEDULE, f"Started early: {each.why}.")

    async def _is_over(self, wanted: WantedRun) -> bool:
        """Return whether a run that began since has read everyone, or enough were tried."""
        run = await self.state.load_run(wanted.run_id) if wanted.run_id else None
        return wanted.tries >= MAX_TRIES or (run is not None and run.status in COMPLETE)

    def _pause_between(self, sources: Sequence[Source]) -> timedelta:
        pauses = [
            feed.whole_run_every
            for source in sources
            if (feed := self.config.settings.connectors[source.connector].change_feed) is not None
        ]
        return min(pauses, default=timedelta(minutes=5))


def _pause_after(failures: int) -> timedelta:
    """Return how long to wait before the next feed run, after so many that failed."""
    doubled = min(max(failures - 1, 0), MAX_DOUBLED)
    return min(RUN_PAUSE * (1 << doubled), LONGEST_RUN_PAUSE)


def _frames(error: BaseException) -> str:
    """Return where *error* was raised, and each error that led to it, without their texts."""
    found: list[str] = []
    link: BaseException | None = error
    while link is not None and len(found) < MAX_CAUSES:
        found.append("".join(traceback.format_tb(link.__traceback__)) + type(link).__name__)
        link = link.__cause__ or link.__context__
    return "\ncaused by:\n".join(found)


def _frozen(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(names) for key, names in found.items()}
