"""The daemon's timetable on APScheduler: no pile-up, nothing lost, and next times that people can see."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from agent.daemon.schedule import ScheduleGroup, build_trigger, first_due
from agent.ports.clock import Clock

__all__ = ["RunScheduler"]

log = structlog.get_logger()
JOB_PREFIX = "tick "
LATE_AFTER = timedelta(minutes=2)
"""A job that should have begun this long ago shows that the event loop or the scheduler hangs."""


def _create_scheduler() -> AsyncIOScheduler:
    # Late is better than not at all; a pile of late ones is one; and a tick never overtakes itself.
    # UTC: its arithmetic must never meet an hour that a wall clock skips or repeats, and $TZ may name no zone at all.
    defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
    scheduler.add_listener(_log_skipped, EVENT_JOB_MAX_INSTANCES)
    return scheduler


def _log_skipped(event: JobSubmissionEvent) -> None:
    log.warning("tick.skipped", schedule=event.job_id.removeprefix(JOB_PREFIX), why="the last one has not ended")


@dataclass(frozen=True, slots=True)
class RunScheduler:
    """Calls *start_due_run* for each tick. *find_last_run* tells when a tick ran last, None: never."""

    clock: Clock
    start_due_run: Callable[[ScheduleGroup], asyncio.Task[None] | None]
    find_last_run: Callable[[ScheduleGroup], Awaitable[datetime | None]]
    scheduler: AsyncIOScheduler = field(default_factory=_create_scheduler)

    async def compute_first_times(
        self, ticks: Iterable[ScheduleGroup]
    ) -> dict[str, tuple[ScheduleGroup, datetime | None]]:
        """Return *ticks* by job, each with its first time; None: it is planned already. Changes nothing.

        Raises what *last* raises.
        """
        planned = {job.id for job in self._schedule_jobs()}
        found: dict[str, tuple[ScheduleGroup, datetime | None]] = {}
        for tick in ticks:
            name = JOB_PREFIX + tick.name
            is_planned = name in planned
            first = None if is_planned else first_due(tick.schedule, await self.find_last_run(tick), self.clock.now())
            found[name] = (tick, first)
        return found

    def replace_schedules(self, wanted: Mapping[str, tuple[ScheduleGroup, datetime | None]]) -> None:
        """Plan what `first_times` returned, drop what is gone, and leave the others' next times alone.

        Nothing is awaited, so that no tick ever sees a part of it.
        """
        planned = {job.id: job for job in self._schedule_jobs()}
        for gone in planned.keys() - wanted.keys():
            self.scheduler.remove_job(gone)
        for name, (tick, first) in wanted.items():
            if name in planned:
                planned[name].modify(args=[tick])
                continue
            begin = first or self.clock.now()
            when = build_trigger(tick.schedule)
            self.scheduler.add_job(self._run_group, when, [tick], id=name, name=tick.name, next_run_time=begin)
            log.info("tick.planned", schedule=tick.name, workspaces=list(tick.workspaces), next_run=begin.isoformat())

    async def _run_group(self, tick: ScheduleGroup) -> None:
        task = self.start_due_run(tick)
        if task is not None:
            # The shutdown of APScheduler cancels its jobs; the work itself must not be broken off by that.
            await asyncio.shield(task)

    def add_daily_job(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        first = self.clock.now() + timedelta(minutes=5)
        self.scheduler.add_job(body, "interval", days=1, id=name, name=name, next_run_time=first)

    def start(self) -> None:
        self.scheduler.start()

    def pause(self) -> None:
        """Begin nothing any more."""
        if self.scheduler.running:
            self.scheduler.pause()

    def close(self) -> None:
        if self.scheduler.running:
            self.scheduler.shutdown(wait=False)

    def next_run(self, workspace: str) -> datetime | None:
        for job in self._schedule_jobs():
            if workspace in job.args[0].workspaces:
                due: datetime | None = job.next_run_time
                return due
        return None

    def problems(self) -> list[str]:
        """Say what hinders the schedules, and what to do."""
        if not self.scheduler.running:
            return ["The scheduler does not run. Restart the daemon."]
        limit = self.clock.now() - LATE_AFTER
        late = [
            job.name for job in self._schedule_jobs() if job.next_run_time is not None and job.next_run_time < limit
        ]
        return [f"The scheduler is late with {', '.join(late)}. Restart the daemon if it stays so."] if late else []

    def _schedule_jobs(self) -> list[Job]:
        return [job for job in self.scheduler.get_jobs() if job.id.startswith(JOB_PREFIX)]
