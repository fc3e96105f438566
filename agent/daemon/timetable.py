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

from agent.daemon.schedule import Tick, first_due, trigger
from agent.ports import Clock

__all__ = ["Timetable"]

log = structlog.get_logger()
PREFIX = "tick "
LATE = timedelta(minutes=2)
"""A job that should have begun this long ago shows that the event loop or the scheduler hangs."""


def _scheduler() -> AsyncIOScheduler:
    # Late is better than not at all; a pile of late ones is one; and a tick never overtakes itself.
    # UTC: its arithmetic must never meet an hour that a wall clock skips or repeats, and $TZ may name no zone at all.
    defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
    scheduler.add_listener(_skipped, EVENT_JOB_MAX_INSTANCES)
    return scheduler


def _skipped(event: JobSubmissionEvent) -> None:
    log.warning("tick.skipped", schedule=event.job_id.removeprefix(PREFIX), why="the last one has not ended")


@dataclass(frozen=True, slots=True)
class Timetable:
    """Calls *due* for each tick. *last* tells when a tick ran last, None: never."""

    clock: Clock
    due: Callable[[Tick], asyncio.Task[None] | None]
    last: Callable[[Tick], Awaitable[datetime | None]]
    scheduler: AsyncIOScheduler = field(default_factory=_scheduler)

    async def first_times(self, ticks: Iterable[Tick]) -> dict[str, tuple[Tick, datetime | None]]:
        """Return *ticks* by job, each with its first time; None: it is planned already. Changes nothing.

        Raises what *last* raises.
        """
        planned = {job.id for job in self._jobs()}
        found: dict[str, tuple[Tick, datetime | None]] = {}
        for tick in ticks:
            name = PREFIX + tick.name
            is_planned = name in planned
            first = None if is_planned else first_due(tick.schedule, await self.last(tick), self.clock.now())
            found[name] = (tick, first)
        return found

    def replace(self, wanted: Mapping[str, tuple[Tick, datetime | None]]) -> None:
        """Plan what `first_times` returned, drop what is gone, and leave the others' next times alone.

        Nothing is awaited, so that no tick ever sees a part of it.
        """
        planned = {job.id: job for job in self._jobs()}
        for gone in planned.keys() - wanted.keys():
            self.scheduler.remove_job(gone)
        for name, (tick, first) in wanted.items():
            if name in planned:
                planned[name].modify(args=[tick])
                continue
            begin = first or self.clock.now()
            when = trigger(tick.schedule)
            self.scheduler.add_job(self._tick, when, [tick], id=name, name=tick.name, next_run_time=begin)
            log.info("tick.planned", schedule=tick.name, workspaces=list(tick.workspaces), next_run=begin.isoformat())

    async def _tick(self, tick: Tick) -> None:
        task = self.due(tick)
        if task is not None:
            # The shutdown of APScheduler cancels its jobs; the work itself must not be broken off by that.
            await asyncio.shield(task)

    def daily(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        first = self.clock.now() + timedelta(minutes=5)
        self.scheduler.add_job(body, "interval", days=1, id=name, name=name, next_run_time=first)

    def start(self) -> None:
        self.scheduler.start()

    def halt(self) -> None:
        """Begin nothing any more."""
        if self.scheduler.running:
            self.scheduler.pause()

    def close(self) -> None:
        if self.scheduler.running:
            self.scheduler.shutdown(wait=False)

    def next_run(self, workspace: str) -> datetime | None:
        for job in self._jobs():
            if workspace in job.args[0].workspaces:
                due: datetime | None = job.next_run_time
                return due
        return None

    def troubles(self) -> list[str]:
        """Say what hinders the schedules, and what to do."""
        if not self.scheduler.running:
            return ["The scheduler does not run. Restart the daemon."]
        limit = self.clock.now() - LATE
        late = [job.name for job in self._jobs() if job.next_run_time is not None and job.next_run_time < limit]
        return [f"The scheduler is late with {', '.join(late)}. Restart the daemon if it stays so."] if late else []

    def _jobs(self) -> list[Job]:
        return [job for job in self.scheduler.get_jobs() if job.id.startswith(PREFIX)]
