"""Execute one run, scheduled or requested, and make sure that the journal has its end, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import structlog
from structlog.contextvars import bound_contextvars

from agent.daemon.interface import ActiveRun
from agent.daemon.tasks import RunTasks
from agent.engine.dryrun import dry_run
from agent.engine.lease import HeldLease
from agent.engine.links import LinkEditor
from agent.engine.named_people import Settled, settle_looks
from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.records import new_run, new_run_id
from agent.engine.request import RunRequest, RunResult
from agent.engine.shutdown import GracefulShutdown
from agent.engine.state_checks import empty_state_warning
from agent.engine.sync import Sync
from agent.engine.undo import UndoPlanner
from agent.engine.undo_run import pause_and_undo
from agent.errors import PigmentSyncError, may_be_repeated
from agent.model import Mode, Plan, Policy, Unplanned
from agent.model.feed import FeedLag
from agent.model.run import Run, RunStatus, Trigger
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.settings.root import Settings
from agent.settings.target import policies
from connectors.base import Progress, ReadError

__all__ = [
    "MAX_CONCURRENT",
    "NEVER_STARTED",
    "STOPPED",
    "ActiveConfig",
    "ComponentsFactory",
    "JobClaim",
    "RunComponents",
    "RunObserver",
    "Runner",
]

log = structlog.get_logger()
MAX_CONCURRENT = 4
"""Scheduled groups and requests that run at once; each limits its own workspaces."""
FEED_RUN_SECONDS = 60.0
"""How long a scheduled run waits for a feed run of this daemon. With many leavers, feed runs follow one another."""
NEVER_STARTED = "The daemon was stopped before the run started."
STOPPED = "The run was stopped."
ALWAYS_BUSY = "Another run held the workspace for as long as this one waited."


class RunComponents(Protocol):
    """The components of one run. Its connectors are new: what they cache lasts as long as the run."""

    @property
    def planner(self) -> Planner: ...
    @property
    def sync(self) -> Sync: ...
    @property
    def read_only_workspaces(self) -> Mapping[str, ReadOnlyWorkspace]: ...

    def feed_sync(self) -> Sync: ...
    def undo_planner(self, run_id: str, /) -> UndoPlanner: ...
    def undo_sync(self, run_id: str, /) -> Sync: ...
    def link_editor(self, name: str, /) -> LinkEditor: ...

    async def notify(self, results: Sequence[RunResult]) -> None:
        """Send notifications to the URLs in `notify`. Raises nothing."""
        ...


class ComponentsFactory(Protocol):
    """Build the components of one run, and close them at the end."""

    def __call__(
        self, settings: Settings, progress: Progress, shutdown: GracefulShutdown, /
    ) -> AbstractAsyncContextManager[RunComponents]: ...


class RunObserver(Protocol):
    """Called with the results of each scheduled group or request."""

    async def __call__(self, results: Sequence[RunResult], trigger: Trigger, seconds: float, /) -> None: ...


@dataclass(slots=True)
class ActiveConfig:
    """The active configuration since *loaded_at*. *problem* is the reason why a new one was refused."""

    settings: Settings
    loaded_at: datetime
    problem: str = ""
    policies: dict[str, Policy] = field(init=False)

    def __post_init__(self) -> None:
        self.policies = policies(self.settings)

    def replace(self, settings: Settings, at: datetime) -> None:
        """Switch to *settings* at once: everything that can fail is computed first."""
        self.settings, self.policies, self.loaded_at, self.problem = settings, policies(settings), at, ""


@dataclass(slots=True)
class JobClaim:
    """A job that this daemon works on under the lease *held*.

    *is_last*: no other claim follows. *is_handed_over*: another takes up what is left. *is_unfinished*: the state
    failed for a moment, and the next claim of the job does what is left.
    """

    held: HeldLease
    is_last: bool = False
    is_handed_over: bool = False
    is_unfinished: bool = False

    def is_settled(self, result: RunResult) -> bool:
        """Return whether *result* is how the run ended: no other claim does the rest of it."""
        return self.is_last or not result.is_unfinished

    @property
    def is_ours_to_record(self) -> bool:
        """Whether runs that never began are recorded here, because no other daemon begins them."""
        return not self.is_handed_over and not self.is_unfinished and self.held.remaining_seconds() > 0


def _ignore_settled(_workspace: str, _settled: Settled) -> None:
    """Ignore how feed runs end."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs over workspaces as tasks of the daemon's *tasks*."""

    config: ActiveConfig
    state: State
    clock: Clock
    components_factory: ComponentsFactory
    observer: RunObserver
    tasks: RunTasks = field(default_factory=RunTasks)
    semaphore: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONCURRENT))
    on_settled: Callable[[str, Settled], None] = _ignore_settled
    """Called with the workspace of a feed run, and with what became of the people that it looked at."""

    def start(
        self,
        names: Sequence[str],
        request: RunRequest,
        *,
        is_dry_run: bool,
        undone: Run | None = None,
        claim: JobClaim | None = None,
    ) -> tuple[dict[str, str], asyncio.Task[None]]:
        """Start a run, or the undo of the run *undone*, and return its ids in the journal, by workspace.

        *claim* is that of the job that the run is for; None: it is for none.
        """
        now = self.clock.now()
        accepted = replace(
            request,
            run_ids={name: request.run_ids.get(name) or new_run_id(now) for name in names},
            wait_seconds=max(request.wait_seconds, self._feed_run_seconds(names, request.trigger)),
        )
        runs = [
            ActiveRun(
                run_id,
                name,
                request.trigger,
                is_dry_run or self._is_dry_run(name),
                request.by,
                now,
                request.reason,
                request.user,
            )
            for name, run_id in accepted.run_ids.items()
        ]
        shutdown = GracefulShutdown()
        body = self._run_to_end(names, accepted, shutdown, is_dry_run=is_dry_run, undone=undone, claim=claim)
        task = self.tasks.start(runs, body, shutdown)
        return dict(accepted.run_ids), task

    def _feed_run_seconds(self, names: Sequence[str], trigger: Trigger) -> float:
        """Return how long to wait for a feed run that holds one of the workspaces; no other one starts meanwhile."""
        fed = {run.workspace for run in self.tasks.active_runs if run.trigger is Trigger.FEED}
        return FEED_RUN_SECONDS if trigger is Trigger.SCHEDULE and not fed.isdisjoint(names) else 0.0

    def _is_dry_run(self, name: str) -> bool:
        return self.config.policies[name].mode is Mode.DRY_RUN

    async def _run_to_end(
        self,
        names: Sequence[str],
        request: RunRequest,
        shutdown: GracefulShutdown,
        *,
        is_dry_run: bool,
        undone: Run | None,
        claim: JobClaim | None,
    ) -> None:
        policies = [self.config.policies[name] for name in names]
        # The pause that an undo found is not known to another run.
        is_repeatable = claim is not None and (undone is None or is_dry_run)
        error = NEVER_STARTED
        try:
            async with self.semaphore:
                if not self.tasks.is_stopping:
                    error = ALWAYS_BUSY
                    with bound_contextvars(run_id=" ".join(request.run_ids.values())):
                        results = await self._run_workspaces(
                            names, request, shutdown, is_dry_run=is_dry_run, undone=undone, claim=claim
                        )
                    if claim is not None and is_repeatable:
                        claim.is_unfinished = any(result.is_unfinished for result in results)
        except asyncio.CancelledError:
            error = NEVER_STARTED if error is NEVER_STARTED else STOPPED
            raise
        except (PigmentSyncError, ReadError) as failure:
            error = f"{failure.message} {failure.hint}"
            if claim is not None and is_repeatable:
                claim.is_unfinished = may_be_repeated(failure)
            log.warning("run.failed", workspaces=list(names), code=failure.code, error=failure.message)
        except Exception as failure:
            # The outermost handler: a bug ends this run, and the schedule goes on.
            error = f"unexpected error: {type(failure).__name__}"
            log.exception("run.crashed", workspaces=list(names))
        finally:
            # No person waits for a feed run, and the next one takes its place.
            if request.trigger is not Trigger.FEED and (claim is None or claim.is_ours_to_record):
                await asyncio.shield(self.record_missing(policies, request, error, is_dry_run=is_dry_run))

    async def _run_workspaces(
        self,
        names: Sequence[str],
        request: RunRequest,
        shutdown: GracefulShutdown,
        *,
        is_dry_run: bool,
        undone: Run | None,
        claim: JobClaim | None,
    ) -> list[RunResult]:
        started_at = self.clock.now()

        def progress(what: str, done: int, total: int | None) -> None:
            self.tasks.report_progress(request.run_ids.values(), what, done, total)

        async with self.components_factory(self.config.settings, progress, shutdown) as components:
            if is_dry_run:
                planner = components.planner if undone is None else components.undo_planner(undone.id)
                results = await dry_run(
                    planner, components.read_only_workspaces, names, request, tracer=components.sync.tracer
                )
            elif undone is not None:
                undo = components.undo_sync(undone.id)
                results = await pause_and_undo(self.state, self.clock, undo, undone, request)
            elif request.trigger is Trigger.FEED:
                results = await self._run_feed(components.feed_sync(), names, request)
            else:
                results = await _sync_after(components, request.finished_runs).run(names, request)
                # A run for one person does not show that the whole workspace has recovered.
                if request.is_for_everyone:
                    await components.notify([each for each in results if claim is None or claim.is_settled(each)])
        results = [replace(result, is_for_everyone=request.is_for_everyone) for result in results]
        for result in results:
            if warning := empty_state_warning(result.planned):
                log.warning("state.empty", workspace=result.workspace, warning=warning)
        await self.observer(results, request.trigger, (self.clock.now() - started_at).total_seconds())
        return results

    async def _run_feed(self, sync: Sync, names: Sequence[str], request: RunRequest) -> list[RunResult]:
        """Look at the people that a feed named, deactivate those who left, and record how each goes on."""
        results = await sync.run(names, request)
        planner, settled_results = sync.feed_planner, []
        for result in results:
            lags: tuple[FeedLag, ...] = ()
            looks = planner.looks.get(result.workspace, []) if planner is not None else []
            if result.pause is None and isinstance(result.planned, Plan):
                held = {hold.person for hold in result.planned.holds if hold.person is not None}
                settled = await settle_looks(self.state, looks, result.records, self.clock.now(), held)
                await self.state.record_lags(lags := settled.lags)
                self.on_settled(result.workspace, settled)
            elif result.status is RunStatus.BUSY:
                self.on_settled(result.workspace, Settled(is_busy=True))
            elif isinstance(result.planned, Unplanned):
                self.on_settled(result.workspace, Settled(failure=f"{result.planned.message} {result.planned.remedy}"))
            settled_results.append(replace(result, lags=lags))
        return settled_results

    async def record_missing(
        self, policies: Sequence[Policy], request: RunRequest, error: str, *, is_dry_run: bool
    ) -> None:
        """Record the runs that never started: the URL that the client got must show how the run ended."""
        status = RunStatus.BUSY if error is ALWAYS_BUSY else RunStatus.INTERRUPTED
        try:
            for policy in policies:
                if await self.state.load_run(request.run_ids[policy.workspace]) is None:
                    run = new_run(policy, request, self.clock.now())
                    is_dry = is_dry_run or run.dry_run
                    ended = replace(run, status=status, finished_at=run.started_at, error=error, dry_run=is_dry)
                    await self.state.record_run(ended)
        except PigmentSyncError as failure:
            log.warning("run.not_recorded", runs=list(request.run_ids.values()), error=failure.message)


def _sync_after(components: RunComponents, finished_runs: tuple[str, ...]) -> Sync:
    """Return the `Sync` of a run that continues a tick of which *finished_runs* ended elsewhere."""
    if not finished_runs:
        return components.sync
    return replace(components.sync, planner=components.planner.after(finished_runs))
