"""When each workspace is due: by `every` or by `cron`, once for what was missed, and together where they share one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from agent.settings.workspace import ScheduleSettings

__all__ = ["Tick", "first_due", "spelled", "ticks", "trigger"]

# Not all daemons of a company, nor all its workspaces, may knock at the same second.
JITTER_SHARE = 0.1
LONGEST_JITTER_SECONDS = 30.0
UNITS = (("d", 86400), ("h", 3600), ("m", 60))


@dataclass(frozen=True, slots=True)
class Tick:
    """Workspaces that are due together: one command plans all of them, so that `fleet` sees them together and what
    they share at the sources is read once. *name* is the schedule, as the configuration says it."""

    name: str
    schedule: ScheduleSettings
    workspaces: tuple[str, ...]


def spelled(schedule: ScheduleSettings | None) -> str:
    """Return the schedule in the words of the configuration: `every 15m`, `cron 0 6 * * mon (Europe/Berlin)`."""
    if schedule is None:
        return ""
    if schedule.every is not None:
        seconds = int(schedule.every.total_seconds())
        return "every " + next(
            (f"{seconds // size}{unit}" for unit, size in UNITS if seconds % size == 0), f"{seconds}s"
        )
    return f"cron {schedule.cron} ({schedule.timezone or 'UTC'})"


def ticks(schedules: Mapping[str, ScheduleSettings | None]) -> tuple[Tick, ...]:
    """Group the workspaces that have the same schedule; those without one are due by nobody."""
    groups: dict[str, list[str]] = {}
    known: dict[str, ScheduleSettings] = {}
    for name, schedule in schedules.items():
        if schedule is not None:
            groups.setdefault(spelled(schedule), []).append(name)
            known[spelled(schedule)] = schedule
    return tuple(Tick(name, known[name], tuple(workspaces)) for name, workspaces in groups.items())


def trigger(schedule: ScheduleSettings) -> BaseTrigger:
    """Return what tells APScheduler when the schedule is due, a little spread."""
    if schedule.every is not None:
        seconds = schedule.every.total_seconds()
        jitter = min(LONGEST_JITTER_SECONDS, seconds * JITTER_SHARE)
        return IntervalTrigger(seconds=int(seconds), timezone=UTC, jitter=jitter)
    cron = CronTrigger.from_crontab(schedule.cron, timezone=schedule.timezone or UTC)
    cron.jitter = LONGEST_JITTER_SECONDS
    return cron


def first_due(schedule: ScheduleSettings, last: datetime | None, now: datetime) -> datetime:
    """Return when the first run is due after a start at *now*, the last having begun at *last*.

    What was missed while nothing ran is made up at once and once, however often it was due. A workspace that never
    ran is due at once by `every`, and at its next time by `cron`.
    """
    if schedule.every is not None:
        return now if last is None else max(now, last + schedule.every)
    cron = CronTrigger.from_crontab(schedule.cron, timezone=schedule.timezone or UTC)
    due: datetime | None = cron.get_next_fire_time(
        None, now if last is None else last + timedelta(seconds=LONGEST_JITTER_SECONDS + 1)
    )
    if due is None:
        raise ValueError(f"{spelled(schedule)} is never due")
    return max(now, due)
