"""What a daemon does regularly besides its runs, on APScheduler: prune the journal, look at reports and feeds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

__all__ = ["BackgroundJobs"]


def _now() -> datetime:
    """Return the machine's time, which the scheduler goes by; that of the state may be another."""
    return datetime.now(UTC)


def _create_scheduler() -> AsyncIOScheduler:
    # Late ones are not dropped, several late ones become one, and none runs twice at once.
    # UTC: its arithmetic must never meet an hour that a wall clock skips or repeats, and $TZ may name no zone at all.
    defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    return AsyncIOScheduler(timezone=UTC, job_defaults=defaults)


@dataclass(frozen=True, slots=True)
class BackgroundJobs:
    """Calls what was added, from `start` until `pause`."""

    scheduler: AsyncIOScheduler = field(default_factory=_create_scheduler)

    def add_daily_job(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        first = _now() + timedelta(minutes=5)
        self.scheduler.add_job(body, "interval", days=1, id=name, name=name, next_run_time=first)

    def add_interval_job(self, name: str, seconds: float, body: Callable[[], Awaitable[None]]) -> None:
        first = _now() + timedelta(seconds=1)
        self.scheduler.add_job(body, "interval", seconds=seconds, id=name, name=name, next_run_time=first)

    def start(self) -> None:
        self.scheduler.start()

    def pause(self) -> None:
        """Start no more of them."""
        if self.scheduler.running:
            self.scheduler.pause()

    def close(self) -> None:
        if self.scheduler.running:
            self.scheduler.shutdown(wait=False)
