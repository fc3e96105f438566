"""The daemon's scheduler on APScheduler: no overlapping runs, none lost, and next run times for the page."""

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
"""A job overdue by this much shows that the event loop or the scheduler hangs."""


def _create_scheduler() -> AsyncIOScheduler:
    # Late runs are not dropped, several late ones become one, and a group never runs twice at once.
    # UTC: its arithmetic must never meet an hour that a wall clock skips or repeats, and $TZ may name no zone at all.
    defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
    scheduler.add_listener(_log_skipped, EVENT_JOB_MAX_INSTANCES)
    return scheduler


def _log_skipped(event: JobSubmissionEvent) -> None:
    # A look at reports that lasts longer than their interval is no run that was left out.
    if not event.job_id.startswith(JOB_PREFIX):
        return
    log.warning("tick.skipped", schedule=event.job_id.removeprefix(JOB_PREFIX), why="the last one has not ended")


@dataclass(frozen=True, slots=True)
class RunScheduler:
    """Calls *start_due_run* for each group that is due. *find_last_run* returns when a group last ran, or None."""

    clock: Clock
    start_due_run: Callable[[ScheduleGroup], asyncio.Task[None] | None]
    find_last_run: Callable[[ScheduleGroup], Awaitable[datetime | None]]
    scheduler: AsyncIOScheduler = field(default_factory=_create_scheduler)

    async def compute_first_times(
        self, groups: Iterable[ScheduleGroup]
    ) -> dict[str, tuple[ScheduleGroup, datetime | None]]:
        """Return *groups* by job, each with its first time, None if it is scheduled already. Changes nothing.

        Raises what *find_last_run* raises.
        """
        scheduled = {job.id for job in self._schedule_jobs()}
        found: dict[str, tuple[ScheduleGroup, datetime | None]] = {}
        for group in groups:
            name = JOB_PREFIX + group.name
            is_scheduled = name in scheduled
            first = (
                None if is_scheduled else first_due(group.schedule, await self.find_last_run(group), self.clock.now())
            )
            found[name] = (group, first)
        return found

    def replace_schedules(self, schedules: Mapping[str, tuple[ScheduleGroup, datetime | None]]) -> None:
        """Schedule what `compute_first_times` returned, remove other groups, and keep the next times of the rest.

        Nothing is awaited, so that no run ever sees a part of it.
        """
        scheduled = {job.id: job for job in self._schedule_jobs()}
        for removed in scheduled.keys() - schedules.keys():
            self.scheduler.remove_job(removed)
        for name, (group, first) in schedules.items():
            if name in scheduled:
                scheduled[name].modify(args=[group])
                continue
            begin = first or self.clock.now()
            when = build_trigger(group.schedule)
            self.scheduler.add_job(self._run_group, when, [group], id=name, name=group.name, next_run_time=begin)
            log.info("tick.planned", schedule=group.name, workspaces=list(group.workspaces), next_run=begin.isoformat())

    async def _run_group(self, group: ScheduleGroup) -> None:
        task = self.start_due_run(group)
        if task is not None:
            # The shutdown of APScheduler cancels its jobs; that must not cancel the run itself.
            await asyncio.shield(task)

    def add_daily_job(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        first = self.clock.now() + timedelta(minutes=5)
        self.scheduler.add_job(body, "interval", days=1, id=name, name=name, next_run_time=first)

    def add_interval_job(self, name: str, seconds: float, body: Callable[[], Awaitable[None]]) -> None:
        first = self.clock.now() + timedelta(seconds=1)
        self.scheduler.add_job(body, "interval", seconds=seconds, id=name, name=name, next_run_time=first)

    def start(self) -> None:
        self.scheduler.start()

    def pause(self) -> None:
        """Start no more runs."""
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
        """Return the problems of the scheduler, each with a remedy."""
        if not self.scheduler.running:
            return ["The scheduler is not running. Restart the daemon."]
        limit = self.clock.now() - LATE_AFTER
        late = [
            job.name for job in self._schedule_jobs() if job.next_run_time is not None and job.next_run_time < limit
        ]
        return [f"The scheduler is late with {', '.join(late)}. Restart the daemon if this persists."] if late else []

    def _schedule_jobs(self) -> list[Job]:
        return [job for job in self.scheduler.get_jobs() if job.id.startswith(JOB_PREFIX)]
