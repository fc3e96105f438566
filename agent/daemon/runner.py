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

from agent.daemon.work import Work
from agent.desk import Ongoing
from agent.engine.dryrun import dry_run
from agent.engine.memory import state_warning
from agent.engine.order import Order, Result
from agent.engine.run import begun, new_run_id
from agent.engine.stopping import Stopping
from agent.engine.survey import ReadSite, Survey
from agent.engine.sync import Sync
from agent.errors import PigmentSyncError
from agent.model import Mode, Policy
from agent.ports import Clock, RunStatus, State, Trigger
from agent.settings.root import Settings
from agent.settings.target import policies
from connectors.base import Progress, ReadError

__all__ = ["NEVER_BEGAN", "STOPPED", "InForce", "Opening", "Runner", "Told", "Tools"]

log = structlog.get_logger()
AT_ONCE = 4
"""Ticks and requests that are worked on at once; each bounds its own workspaces."""
NEVER_BEGAN = "The daemon was stopped before the run began."
STOPPED = "The run was stopped."
ALWAYS_BUSY = "Another run held the workspace all the time that this one waited."


class Tools(Protocol):
    """What one run works with: new connectors, which remember what they read only as long as the run lasts."""

    @property
    def survey(self) -> Survey: ...
    @property
    def sync(self) -> Sync: ...
    @property
    def read_sites(self) -> Mapping[str, ReadSite]: ...

    async def tell(self, results: Sequence[Result]) -> None:
        """Tell those whom `notify` names. Raises nothing."""
        ...


class Opening(Protocol):
    """Makes the tools of one run, and closes them."""

    def __call__(
        self, settings: Settings, progress: Progress, stopping: Stopping, /
    ) -> AbstractAsyncContextManager[Tools]: ...


class Told(Protocol):
    """Counts how a tick or a request ended."""

    async def __call__(self, results: Sequence[Result], trigger: Trigger, seconds: float, /) -> None: ...


@dataclass(slots=True)
class InForce:
    """The configuration in force since *at*. *trouble* says why a newer one was refused."""

    settings: Settings
    at: datetime
    trouble: str = ""
    policies: dict[str, Policy] = field(init=False)

    def __post_init__(self) -> None:
        self.policies = policies(self.settings)

    def replace(self, settings: Settings, at: datetime) -> None:
        """Take *settings* as a whole: what is computed from them comes first."""
        policies = {name: each.policy(name) for name, each in settings.workspaces.items()}
        self.settings, self.at, self.trouble, self.policies = settings, at, "", policies


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs over workspaces as tasks of the daemon's *work*."""

    config: InForce
    state: State
    clock: Clock
    opening: Opening
    told: Told
    work: Work = field(default_factory=Work)
    at_once: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def start(
        self, names: Sequence[str], order: Order, *, is_dry_run: bool
    ) -> tuple[dict[str, str], asyncio.Task[None]]:
        """Begin a run and return the ids, by workspace, that the journal will know it by."""
        now = self.clock.now()
        promised = replace(order, run_ids={name: new_run_id(now) for name in names})
        runs = [
            Ongoing(
                run_id, name, order.trigger, is_dry_run or self._is_dry(name), order.by, now, order.reason, order.user
            )
            for name, run_id in promised.run_ids.items()
        ]
        stopping = Stopping()
        body = self._run(names, promised, stopping, is_dry_run=is_dry_run)
        task = self.work.start(runs, body, stopping)
        return dict(promised.run_ids), task

    def _is_dry(self, name: str) -> bool:
        return self.config.policies[name].mode is Mode.DRY_RUN

    async def _run(self, names: Sequence[str], order: Order, stopping: Stopping, *, is_dry_run: bool) -> None:
        policies = [self.config.policies[name] for name in names]
        error = NEVER_BEGAN
        try:
            async with self.at_once:
                if not self.work.is_stopping:
                    error = ALWAYS_BUSY
                    with bound_contextvars(run_id=" ".join(order.run_ids.values())):
                        await self._run_now(names, order, stopping, is_dry_run=is_dry_run)
        except asyncio.CancelledError:
            error = NEVER_BEGAN if error is NEVER_BEGAN else STOPPED
            raise
        except (PigmentSyncError, ReadError) as failure:
            error = f"{failure.message} {failure.hint}"
            log.warning("run.failed", workspaces=list(names), code=failure.code, error=failure.message)
        except Exception as failure:
            # The outermost place: a bug ends this run, and the schedule goes on.
            error = f"unexpected error: {type(failure).__name__}"
            log.exception("run.crashed", workspaces=list(names))
        finally:
            await asyncio.shield(self._account(policies, order, error, is_dry_run=is_dry_run))

    async def _run_now(self, names: Sequence[str], order: Order, stopping: Stopping, *, is_dry_run: bool) -> None:
        began = self.clock.now()

        def progress(what: str, done: int, total: int | None) -> None:
            self.work.progressed(order.run_ids.values(), what, done, total)

        async with self.opening(self.config.settings, progress, stopping) as tools:
            if is_dry_run:
                results = await dry_run(tools.survey, tools.read_sites, names, order)
            else:
                results = await tools.sync.run(names, order)
                # Of a run for one person nobody can say that the workspace is fine again.
                if order.is_whole:
                    await tools.tell(results)
        results = [replace(result, is_whole=order.is_whole) for result in results]
        for result in results:
            if warning := state_warning(result.object):
                log.warning("state.empty", workspace=result.workspace, warning=warning)
        await self.told(results, order.trigger, (self.clock.now() - began).total_seconds())

    async def _account(self, policies: Sequence[Policy], order: Order, error: str, *, is_dry_run: bool) -> None:
        """Write what never began into the journal: the URL that was promised must say what became of the run."""
        status = RunStatus.BUSY if error is ALWAYS_BUSY else RunStatus.INTERRUPTED
        try:
            for policy in policies:
                if await self.state.run(order.run_ids[policy.workspace]) is None:
                    run = begun(policy, order, self.clock.now())
                    is_dry = is_dry_run or run.dry_run
                    ended = replace(run, status=status, finished_at=run.started_at, error=error, dry_run=is_dry)
                    await self.state.record_run(ended)
        except PigmentSyncError as failure:
            log.warning("run.not_recorded", runs=list(order.run_ids.values()), error=failure.message)
