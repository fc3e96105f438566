"""Take ticks and requests from the state and run them, next to other daemons of the same state.

Each is a row, worked on under a lease (decision 9 in `docs/adr`). A daemon that dies or is cut off loses the lease
after 15 s; another then takes up what is left. One that was suspended meanwhile begins no run and ends no job: the
state checks its claim in the same transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from agent.daemon.interface import ActiveRun, TooManyRequests
from agent.daemon.runner import MAX_CONCURRENT, NEVER_STARTED, ActiveConfig, JobClaim, Runner
from agent.daemon.schedule import ScheduleGroup, first_due, group_by_schedule, longest_wait, next_due
from agent.daemon.tasks import MAX_ACTIVE_RUNS
from agent.engine.lease import HeldLease, acquire_lease
from agent.engine.records import new_run_id
from agent.engine.request import RunRequest
from agent.errors import LeaseLost, PigmentSyncError, WorkspaceBusy
from agent.model import Mode
from agent.model.job import Job, JobBoard, JobProgress, PlannedSchedule
from agent.model.run import RunStatus, Trigger
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.settings.root import Settings

__all__ = ["NO_JOB_OBSERVER", "Dispatcher", "JobObserver"]

log = structlog.get_logger()
POLL_SECONDS = 1.0
REPORT_SECONDS = 2.0
MAX_CLAIMS = 2
"""How many daemons may die or lose a job before it is stopped: its work may be what kills them."""
TAKEOVER_WAIT_SECONDS = 20.0
"""How long a taken-over tick waits for the leases of the daemon that had it."""
LEASE_WAIT_SECONDS = 300.0
"""How long a requested run waits for the run that holds its workspace."""
EXPIRES_AFTER = timedelta(hours=1)
"""How long a request waits for a daemon that begins it."""
LATE_AFTER_SECONDS = 120.0
STOP_SECONDS = 1.5
"""How long a stop waits for the state to take back what this daemon had."""
INTERRUPTED_TWICE = (
    "Two daemons ended or lost their lease during this tick, so no other continues it. Find out why with the log lines "
    "of both; the next tick of the schedule starts as usual."
)
REQUEST_INTERRUPTED_TWICE = "Two daemons ended or lost their lease during this run, so no other continues it."
UNDO_INTERRUPTED = "The daemon ended or lost its lease during this undo. See what it did, and plan the undo again."
EXPIRED = "No daemon began this run within an hour of its request."


class JobObserver(Protocol):
    """Counts takeovers and stopped ticks, for `/metrics`."""

    def record_takeover(self) -> None: ...
    def record_stopped_tick(self, schedule: str) -> None: ...


class _NoJobObserver:
    def record_takeover(self) -> None:
        """Count nothing."""

    def record_stopped_tick(self, schedule: str) -> None:
        """Count nothing."""


NO_JOB_OBSERVER = _NoJobObserver()


@dataclass(slots=True)
class Dispatcher:
    """Works on the jobs of *state* as the daemon *replica*; *holder* names it in leases.

    *find_last_run* returns when a group last ran, for a schedule that the state does not know. *has_others* returns
    whether other daemons use the state: only then a stop leaves its jobs to them.
    """

    config: ActiveConfig
    state: State
    clock: Clock
    runner: Runner
    replica: str
    holder: str
    find_last_run: Callable[[ScheduleGroup], Awaitable[datetime | None]]
    has_others: Callable[[], bool]
    observer: JobObserver = NO_JOB_OBSERVER
    board: JobBoard | None = None
    _groups: tuple[ScheduleGroup, ...] = ()
    _claims: dict[str, JobClaim | None] = field(default_factory=dict)
    _working: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _polling: asyncio.Task[None] | None = None
    _polled_at: float = 0
    _is_stopping: bool = False
    _has_failed: bool = False

    async def prepare(self, settings: Settings) -> tuple[ScheduleGroup, ...]:
        """Let the state know the schedules of *settings*, and return their groups for `use`. Raises `StateError`."""
        groups = group_by_schedule({name: each.schedule for name, each in settings.workspaces.items()})
        board = await self.state.load_job_board()
        planned = []
        for group in groups:
            if group.name not in board.next_times:
                first = first_due(group.schedule, await self.find_last_run(group), board.now)
                planned.append(_planned(group, first))
                log.info(
                    "tick.planned", schedule=group.name, workspaces=list(group.workspaces), next_run=first.isoformat()
                )
        if planned:
            await self.state.start_due_ticks(planned)
            board = await self.state.load_job_board()
        self.board = board
        return groups

    def use(self, groups: tuple[ScheduleGroup, ...]) -> None:
        """Work with *groups* from now on."""
        self._groups = groups
        self._wake.set()

    def start(self) -> None:
        self._polled_at = self.clock.elapsed()
        self._polling = asyncio.create_task(self._poll_until_stopped())

    def pause(self) -> None:
        """Take no more jobs. Those that this daemon has are left to others, if there are others."""
        self._is_stopping = True
        if self.has_others():
            for claim in self._claims.values():
                if claim is not None:
                    claim.is_handed_over = True

    async def stop(self) -> None:
        """End the work on jobs, whose runs have ended."""
        self._is_stopping = True
        if self._polling is None:
            return
        self._polling.cancel()
        await asyncio.wait({self._polling})
        if self._working:
            _, late = await asyncio.wait(self._working.values(), timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
        if not self.has_others():
            try:
                await asyncio.wait_for(self._end_waiting_requests(), STOP_SECONDS)
            except (TimeoutError, PigmentSyncError) as error:
                log.warning("requests.not_ended", error=str(error) or "the state has not answered")

    async def add_request(self, job: Job) -> None:
        """Add a requested run. Raises `StateError`, `TooManyRequests`."""
        if not await self.state.add_request(job, MAX_ACTIVE_RUNS):
            raise TooManyRequests(
                f"{MAX_ACTIVE_RUNS} runs are waiting or running.", "Try again when some of them have ended."
            )
        if self.board is not None and not self._is_known(job.id):
            self.board = replace(self.board, jobs=(*self.board.jobs, replace(job, created_at=self.clock.now())))
        self._wake.set()

    @property
    def active_runs(self) -> tuple[ActiveRun, ...]:
        """The runs that wait or are running in any daemon of the state, as last seen; those of this one as they are."""
        return self._merged(self.board)

    @property
    def stopped_ticks(self) -> tuple[Job, ...]:
        """Ticks that no daemon continues, as last seen."""
        return () if self.board is None else self.board.stopped

    def workspaces_of(self, replica: str) -> tuple[str, ...]:
        """Return the workspaces whose jobs the daemon *replica* holds, as last seen."""
        jobs = self.board.jobs if self.board is not None else ()
        held = [job for job in jobs if job.replica == replica and job.is_claimed]
        return tuple(sorted({name for job in held for name in job.run_ids}))

    async def load_active_runs(self) -> tuple[ActiveRun, ...]:
        """Return the runs that wait or are running in any daemon of the state now. Raises `StateError`."""
        return self._merged(await self.state.load_job_board())

    def next_run(self, workspace: str) -> datetime | None:
        """Return when *workspace* is due next; None without a schedule."""
        group = next((each for each in self._groups if workspace in each.workspaces), None)
        return None if group is None or self.board is None else self.board.next_times.get(group.name)

    def problems(self) -> list[str]:
        """Return the problems of the schedule, each with a remedy."""
        if self._is_stopping:
            return []
        if self._polling is None or self._polling.done():
            return ["The scheduler is not running. Restart the daemon."]
        if self.clock.elapsed() - self._polled_at > LATE_AFTER_SECONDS:
            return ["The scheduler is late. Restart the daemon if this persists."]
        return []

    def _is_known(self, job_id: str) -> bool:
        return self.board is not None and any(job.id == job_id for job in self.board.jobs)

    def _merged(self, board: JobBoard | None) -> tuple[ActiveRun, ...]:
        own = self.runner.tasks.active_runs
        known = {run.run_id for run in own}
        jobs = board.jobs if board is not None else ()
        others = [run for job in jobs for run in self._active_runs_of(job) if run.run_id not in known]
        return (*own, *others)

    def _active_runs_of(self, job: Job) -> list[ActiveRun]:
        if job.id in self._ended:
            return []
        policies, request = self.config.policies, job.request
        return [
            ActiveRun(
                run_id,
                name,
                request.trigger,
                request.is_dry_run or (name in policies and policies[name].mode is Mode.DRY_RUN),
                request.by,
                job.created_at or self.clock.now(),
                request.reason,
                request.user,
                job.progress.step,
                job.progress.done,
                job.progress.total,
            )
            for name, run_id in job.run_ids.items()
            # A tick that waits for a daemon has no ids yet.
            if run_id
        ]

    async def _poll_until_stopped(self) -> None:
        # Python 3.11 loses a cancellation that meets the end of the wait.
        while not self._is_stopping:
            self._wake.clear()
            try:
                await self._poll()
            except PigmentSyncError as error:
                if not self._has_failed:
                    log.warning("jobs.not_loaded", error=error.message)
                self._has_failed = True
                self._polled_at = self.clock.elapsed()
            except Exception:  # the outermost handler: a bug must not end the schedule, and the health shows it as late
                if not self._has_failed:
                    log.exception("jobs.crashed")
                self._has_failed = True
            else:
                self._has_failed = False
                self._polled_at = self.clock.elapsed()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)

    async def _poll(self) -> None:
        self._ended.clear()
        board = await self.state.load_job_board()
        due = [group for group in self._groups if self._is_due(group, board)]
        if due and not self._is_stopping:
            for name in await self.state.start_due_ticks([_planned(group, None) for group in due]):
                log.warning("tick.skipped", schedule=name, why="the last one has not ended")
            board = await self.state.load_job_board()
        self.board = replace(board, jobs=tuple(job for job in board.jobs if job.id not in self._ended))
        for job in self.board.jobs:
            if self._is_stopping or len(self._working) >= MAX_CONCURRENT:
                return
            if not job.is_claimed and job.id not in self._working and self._may_take(job, board.now):
                self._start_work(job)

    def _is_due(self, group: ScheduleGroup, board: JobBoard) -> bool:
        known = board.next_times.get(group.name)
        longest = longest_wait(group.schedule)
        return known is not None and (known <= board.now or (longest is not None and known - board.now > longest))

    def _may_take(self, job: Job, now: datetime) -> bool:
        is_known = any(name in self.config.policies for name in job.run_ids)
        return is_known or (job.created_at is not None and now - job.created_at > EXPIRES_AFTER)

    def _start_work(self, job: Job) -> None:
        task = asyncio.create_task(self._work(job.id))
        self._working[job.id] = task
        self._claims[job.id] = None

        def forget(ended: asyncio.Task[None]) -> None:
            if not ended.cancelled() and (failure := ended.exception()) is not None:
                log.error("job.crashed", job=job.id, exc_info=failure)
            self._working.pop(job.id, None)
            self._claims.pop(job.id, None)
            self._wake.set()

        task.add_done_callback(forget)

    async def _work(self, job_id: str) -> None:
        """Take the job, if no other daemon was faster, and carry it out."""
        try:
            async with acquire_lease(self.state, self.clock, asyncio.sleep, (job_id, ""), self.holder) as held:
                job = await self.state.claim_job(held.lease, self.replica)
                if job is not None:
                    await self._carry_out(job, held)
        except WorkspaceBusy:
            return
        except LeaseLost:
            log.warning("job.lost", job=job_id, why="another daemon has taken it over")
        except PigmentSyncError as error:
            # The row is still there: this daemon or another takes it up again.
            log.warning("job.failed", job=job_id, error=error.message)

    async def _carry_out(self, job: Job, held: HeldLease) -> None:
        if refusal := await self._find_refusal(job):
            await self._refuse(job, held, refusal)
            return
        job = await self._with_what_is_left(job)
        if not job.run_ids:
            await self._end(job, held)
            return
        await self.state.update_job(held.lease, job)
        if job.claims > 1:
            self.observer.record_takeover()
            log.warning("job.taken_over", job=job.id, left=list(job.run_ids), finished=list(job.finished))
        claim = JobClaim(
            held,
            is_last=job.claims >= MAX_CLAIMS,
            is_handed_over=self._is_stopping and self.has_others(),
        )
        self._claims[job.id] = claim
        await self._run(job, claim)
        if claim.is_handed_over:
            await self.state.give_back_job(held.lease)
            log.info("job.given_back", job=job.id)
        elif claim.is_unfinished:
            # The row stays. The next claim of it, here or in another daemon, does what is left.
            await held.ensure_lease()
            log.warning("job.unfinished", job=job.id, workspaces=list(job.run_ids))
        else:
            await self._end(job, held)

    async def _run(self, job: Job, claim: JobClaim) -> None:
        undone = await self.state.load_run(job.request.undone) if job.request.undone else None
        _, task = self.runner.start(
            list(job.run_ids), _run_request(job, claim), is_dry_run=job.request.is_dry_run, undone=undone, claim=claim
        )
        reporting = asyncio.create_task(self._report_progress(job, claim.held))
        losing = asyncio.create_task(claim.held.wait_until_ended())
        try:
            await asyncio.wait({task, losing}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.runner.tasks.request_stop(task)
                await asyncio.wait({task})
        finally:
            reporting.cancel()
            losing.cancel()
            await asyncio.wait({reporting, losing})

    async def _report_progress(self, job: Job, held: HeldLease) -> None:
        """Let other daemons show how far the job is. Nothing depends on it."""
        reported = JobProgress()
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            ids = set(job.run_ids.values())
            run = next((each for each in self.runner.tasks.active_runs if each.run_id in ids), None)
            progress = JobProgress() if run is None else JobProgress(run.step, run.done, run.total)
            if progress != reported:
                with suppress(PigmentSyncError):
                    await self.state.report_job_progress(held.lease, progress)
                reported = progress

    async def _find_refusal(self, job: Job) -> str:
        """Return why the job is not run, with this claim counted; empty if it is."""
        if job.claims > MAX_CLAIMS:
            return INTERRUPTED_TWICE if job.is_tick else REQUEST_INTERRUPTED_TWICE
        if job.claims > 1 and job.request.undone and not job.request.is_dry_run:
            # The daemon that began it may have paused the workspace, and restores the pause that it found.
            return UNDO_INTERRUPTED
        now = (await self.state.load_job_board()).now
        is_old = job.created_at is not None and now - job.created_at > EXPIRES_AFTER
        return EXPIRED if is_old and job.claims == 1 and (not job.is_tick or not self._may_take(job, now)) else ""

    async def _refuse(self, job: Job, held: HeldLease, why: str) -> None:
        if job.is_tick:
            is_stopped = why is INTERRUPTED_TWICE
            await self._end(job, held, why if is_stopped else "")
            if is_stopped:
                self.observer.record_stopped_tick(job.schedule)
            log.error("tick.stopped", schedule=job.schedule, workspaces=list(job.run_ids), why=why)
            return
        known = [policy for name, policy in self.config.policies.items() if name in job.run_ids]
        await self.runner.record_missing(known, _run_request(job, None), why, is_dry_run=job.request.is_dry_run)
        await self._end(job, held)
        log.error("request.stopped", job=job.id, workspaces=list(job.run_ids), why=why)

    async def _end(self, job: Job, held: HeldLease, error: str = "") -> None:
        await self.state.end_job(held.lease, error)
        self._ended.add(job.id)
        if self.board is not None:
            self.board = replace(self.board, jobs=tuple(each for each in self.board.jobs if each.id != job.id))

    async def _with_what_is_left(self, job: Job) -> Job:
        """Return the job with the runs that have ended as finished, and a new id for each that was interrupted."""
        left: dict[str, str] = {}
        finished = dict(job.finished)
        for name, run_id in job.run_ids.items():
            if name not in self.config.policies:
                log.warning("job.workspace_unknown", job=job.id, workspace=name)
                continue
            run = await self.state.load_run(run_id) if run_id else None
            if run is None:
                left[name] = run_id or new_run_id(self.clock.now())
            elif run.finished_at is None or run.status is RunStatus.INTERRUPTED:
                left[name] = new_run_id(self.clock.now())
            else:
                finished[name] = run_id
        return replace(job, run_ids=left, finished=finished)

    async def _end_waiting_requests(self) -> None:
        """Record the requested runs that no daemon began: no other daemon is there to begin them."""
        for job in (await self.state.load_job_board()).jobs:
            if job.is_tick or job.is_claimed:
                continue
            with suppress(WorkspaceBusy, LeaseLost):
                lease = await self.state.take_lease(job.id, self.holder)
                claimed = await self.state.claim_job(lease, self.replica)
                if claimed is not None:
                    known = [policy for name, policy in self.config.policies.items() if name in job.run_ids]
                    request = _run_request(claimed, None)
                    await self.runner.record_missing(known, request, NEVER_STARTED, is_dry_run=job.request.is_dry_run)
                    await self.state.end_job(lease)


def _planned(group: ScheduleGroup, first: datetime | None) -> PlannedSchedule:
    return PlannedSchedule(
        name=group.name,
        workspaces=group.workspaces,
        first=first,
        next_due=lambda due, now: next_due(group.schedule, due, now),
        max_wait=longest_wait(group.schedule),
    )


def _run_request(job: Job, claim: JobClaim | None) -> RunRequest:
    asked = job.request
    wait = LEASE_WAIT_SECONDS if not job.is_tick else TAKEOVER_WAIT_SECONDS if job.claims > 1 else 0
    return RunRequest(
        Trigger.UNDO if asked.undone else asked.trigger,
        asked.by,
        asked.reason,
        asked.user,
        frozenset({asked.approved_digest} if asked.approved_digest else ()),
        wait_seconds=wait,
        run_ids=dict(job.run_ids),
        approved_guards=asked.approved_guards,
        claim=None if claim is None else claim.held.lease,
        finished_runs=tuple(job.finished.values()),
    )
