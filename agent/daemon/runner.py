"""Make one run, for the schedule or for somebody, and see that it is accounted for whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import structlog
from structlog.contextvars import bound_contextvars

from agent.daemon.interface import ActiveRun
from agent.daemon.tasks import RunTasks
from agent.engine.dryrun import dry_run
from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.records import new_run, new_run_id
from agent.engine.request import RunRequest, RunResult
from agent.engine.shutdown import GracefulShutdown
from agent.engine.state_checks import empty_state_warning
from agent.engine.sync import Sync
from agent.errors import PigmentSyncError
from agent.model import Mode, Policy
from agent.model.run import RunStatus, Trigger
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.settings.root import Settings
from agent.settings.target import policies
from connectors.base import Progress, ReadError

__all__ = ["NEVER_STARTED", "STOPPED", "ActiveConfig", "ComponentsFactory", "RunComponents", "RunObserver", "Runner"]

log = structlog.get_logger()
MAX_CONCURRENT = 4
"""Ticks and requests that are worked on at once; each bounds its own workspaces."""
NEVER_STARTED = "The daemon was stopped before the run began."
STOPPED = "The run was stopped."
ALWAYS_BUSY = "Another run held the workspace all the time that this one waited."


class RunComponents(Protocol):
    """What one run works with: new connectors, which remember what they read only as long as the run lasts."""

    @property
    def planner(self) -> Planner: ...
    @property
    def sync(self) -> Sync: ...
    @property
    def read_only_workspaces(self) -> Mapping[str, ReadOnlyWorkspace]: ...

    async def notify(self, results: Sequence[RunResult]) -> None:
        """Tell those whom `notify` names. Raises nothing."""
        ...


class ComponentsFactory(Protocol):
    """Makes the tools of one run, and closes them."""

    def __call__(
        self, settings: Settings, progress: Progress, stopping: GracefulShutdown, /
    ) -> AbstractAsyncContextManager[RunComponents]: ...


class RunObserver(Protocol):
    """Counts how a tick or a request ended."""

    async def __call__(self, results: Sequence[RunResult], trigger: Trigger, seconds: float, /) -> None: ...


@dataclass(slots=True)
class ActiveConfig:
    """The configuration in force since *loaded_at*. *problem* says why a newer one was refused."""

    settings: Settings
    loaded_at: datetime
    problem: str = ""
    policies: dict[str, Policy] = field(init=False)

    def __post_init__(self) -> None:
        self.policies = policies(self.settings)

    def replace(self, settings: Settings, at: datetime) -> None:
        """Take *settings* as a whole: what is computed from them comes first."""
        policies = {name: each.policy(name) for name, each in settings.workspaces.items()}
        self.settings, self.loaded_at, self.problem, self.policies = settings, at, "", policies


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

    def start(
        self, names: Sequence[str], order: RunRequest, *, is_dry_run: bool
    ) -> tuple[dict[str, str], asyncio.Task[None]]:
        """Begin a run and return the ids, by workspace, that the journal will know it by."""
        now = self.clock.now()
        promised = replace(order, run_ids={name: new_run_id(now) for name in names})
        runs = [
            ActiveRun(
                run_id,
                name,
                order.trigger,
                is_dry_run or self._is_dry_run(name),
                order.by,
                now,
                order.reason,
                order.user,
            )
            for name, run_id in promised.run_ids.items()
        ]
        stopping = GracefulShutdown()
        body = self._run_to_end(names, promised, stopping, is_dry_run=is_dry_run)
        task = self.tasks.start(runs, body, stopping)
        return dict(promised.run_ids), task

    def _is_dry_run(self, name: str) -> bool:
        return self.config.policies[name].mode is Mode.DRY_RUN

    async def _run_to_end(
        self, names: Sequence[str], order: RunRequest, stopping: GracefulShutdown, *, is_dry_run: bool
    ) -> None:
        policies = [self.config.policies[name] for name in names]
        error = NEVER_STARTED
        try:
            async with self.semaphore:
                if not self.tasks.is_stopping:
                    error = ALWAYS_BUSY
                    with bound_contextvars(run_id=" ".join(order.run_ids.values())):
                        await self._run_workspaces(names, order, stopping, is_dry_run=is_dry_run)
        except asyncio.CancelledError:
            error = NEVER_STARTED if error is NEVER_STARTED else STOPPED
            raise
        except (PigmentSyncError, ReadError) as failure:
            error = f"{failure.message} {failure.hint}"
            log.warning("run.failed", workspaces=list(names), code=failure.code, error=failure.message)
        except Exception as failure:
            # The outermost place: a bug ends this run, and the schedule goes on.
            error = f"unexpected error: {type(failure).__name__}"
            log.exception("run.crashed", workspaces=list(names))
        finally:
            await asyncio.shield(self._record_missing_runs(policies, order, error, is_dry_run=is_dry_run))

    async def _run_workspaces(
        self, names: Sequence[str], order: RunRequest, stopping: GracefulShutdown, *, is_dry_run: bool
    ) -> None:
        began = self.clock.now()

        def progress(what: str, done: int, total: int | None) -> None:
            self.tasks.report_progress(order.run_ids.values(), what, done, total)

        async with self.components_factory(self.config.settings, progress, stopping) as tools:
            if is_dry_run:
                results = await dry_run(tools.planner, tools.read_only_workspaces, names, order)
            else:
                results = await tools.sync.run(names, order)
                # Of a run for one person nobody can say that the workspace is fine again.
                if order.is_for_everyone:
                    await tools.notify(results)
        results = [replace(result, is_for_everyone=order.is_for_everyone) for result in results]
        for result in results:
            if warning := empty_state_warning(result.planned):
                log.warning("state.empty", workspace=result.workspace, warning=warning)
        await self.observer(results, order.trigger, (self.clock.now() - began).total_seconds())

    async def _record_missing_runs(
        self, policies: Sequence[Policy], order: RunRequest, error: str, *, is_dry_run: bool
    ) -> None:
        """Write what never began into the journal: the URL that was promised must say what became of the run."""
        status = RunStatus.BUSY if error is ALWAYS_BUSY else RunStatus.INTERRUPTED
        try:
            for policy in policies:
                if await self.state.load_run(order.run_ids[policy.workspace]) is None:
                    run = new_run(policy, order, self.clock.now())
                    is_dry = is_dry_run or run.dry_run
                    ended = replace(run, status=status, finished_at=run.started_at, error=error, dry_run=is_dry)
                    await self.state.record_run(ended)
        except PigmentSyncError as failure:
            log.warning("run.not_recorded", runs=list(order.run_ids.values()), error=failure.message)
