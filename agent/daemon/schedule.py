"""When each workspace is due: by `every` or `cron`, once for missed runs, and together for equal schedules."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agent.settings.crontab import next_time
from agent.settings.workspace import ScheduleSettings

__all__ = [
    "ScheduleGroup",
    "first_due",
    "format_schedule",
    "group_by_schedule",
    "longest_wait",
    "next_due",
    "stale_after",
]

# The crontabs of many companies must not all send requests in the same second.
MAX_JITTER_SECONDS = 30.0
UNITS = (("d", 86400), ("h", 3600), ("m", 60))


@dataclass(frozen=True, slots=True)
class ScheduleGroup:
    """Workspaces that are due together. One request plans all of them, so that the `fleet` guard covers them together
    and shared sources are read once. *name* is the schedule as in the configuration."""

    name: str
    schedule: ScheduleSettings
    workspaces: tuple[str, ...]


def format_schedule(schedule: ScheduleSettings | None) -> str:
    """Return the schedule as in the configuration: `every 15m`, `cron 0 6 * * mon (Europe/Berlin)`."""
    if schedule is None:
        return ""
    if schedule.every is not None:
        seconds = int(schedule.every.total_seconds())
        return "every " + next(
            (f"{seconds // size}{unit}" for unit, size in UNITS if seconds % size == 0), f"{seconds}s"
        )
    return f"cron {schedule.cron} ({schedule.timezone or 'UTC'})"


def group_by_schedule(schedules: Mapping[str, ScheduleSettings | None]) -> tuple[ScheduleGroup, ...]:
    """Group workspaces with the same schedule; those without a schedule are in no group."""
    groups: dict[str, list[str]] = {}
    known: dict[str, ScheduleSettings] = {}
    for name, schedule in schedules.items():
        if schedule is not None:
            groups.setdefault(format_schedule(schedule), []).append(name)
            known[format_schedule(schedule)] = schedule
    return tuple(ScheduleGroup(name, known[name], tuple(workspaces)) for name, workspaces in groups.items())


def next_due(schedule: ScheduleSettings, due: datetime, now: datetime) -> datetime:
    """Return the time after the tick that was due at *due* and starts at *now*, in UTC. Missed times are skipped.

    An interval stays anchored at *due*. A crontab's time is delayed by up to half a minute.
    """
    due, now = due.astimezone(UTC), now.astimezone(UTC)
    if schedule.cron is None:
        interval = _interval_of(schedule)
        # A time ahead of the clock was computed while the clock was wrong.
        return now + interval if due > now else due + ((now - due) // interval + 1) * interval
    following = next_time(schedule.cron, schedule.timezone or "UTC", max(due, now))
    if following is None:
        raise ValueError(f"{format_schedule(schedule)} is never due")
    delay = random.uniform(0, MAX_JITTER_SECONDS)  # noqa: S311, spreads load, not used for security
    return following + timedelta(seconds=delay)


def longest_wait(schedule: ScheduleSettings) -> timedelta | None:
    """Return how far ahead the next time of an interval can be; None for a crontab."""
    return None if schedule.cron is not None else _interval_of(schedule) + timedelta(minutes=1)


def first_due(schedule: ScheduleSettings, last: datetime | None, now: datetime) -> datetime:
    """Return when the first run is due after a start at *now*, in UTC; *last* is the start of the last run.

    Runs missed while the daemon was down are due once, immediately. A workspace that never ran is due immediately
    with `every`, and at its next time with `cron`.
    """
    now = now.astimezone(UTC)
    # A run in the future was recorded while the clock was wrong: it must not delay the next one until then.
    last = None if last is None else min(now, last.astimezone(UTC))
    if schedule.cron is None:
        return now if last is None else max(now, last + _interval_of(schedule))
    # A run that began within the jitter of its time is the run of that time. One that is due at this moment is due.
    after = now - timedelta(microseconds=1) if last is None else last + timedelta(seconds=MAX_JITTER_SECONDS + 1)
    due = next_time(schedule.cron, schedule.timezone or "UTC", after)
    if due is None:
        raise ValueError(f"{format_schedule(schedule)} is never due")
    return max(now, due)


def stale_after(schedule: ScheduleSettings | None, since: datetime) -> datetime | None:
    """Return the second time after *since* that *schedule* is due; None without a schedule.

    One complete read may be missed. When the next one is missed too, the workspace has not been read for too long.
    A schedule of working days is not late at the weekend.
    """
    if schedule is None:
        return None
    if schedule.cron is None:
        return since + 2 * _interval_of(schedule)
    timezone = schedule.timezone or "UTC"
    first = next_time(schedule.cron, timezone, since)
    return None if first is None else next_time(schedule.cron, timezone, first)


def _interval_of(schedule: ScheduleSettings) -> timedelta:
    if schedule.every is None:
        raise ValueError("a schedule has every or cron")
    return schedule.every
