"""What is to be done for a report now, as a function of its schedule, what the state has of it, and the time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agent.model.report import Delivery, DeliveryStatus, MadeReport, ReportStatus
from agent.settings.crontab import next_time
from agent.settings.workspace import ScheduleSettings

__all__ = [
    "LATE_AFTER",
    "MAX_ATTEMPTS",
    "MAX_MAKING_ATTEMPTS",
    "MAX_REPORTS",
    "DueReport",
    "due_deliveries",
    "due_report",
    "moments_until",
    "newest_relevant",
    "next_moment",
    "overdue_since",
    "retry_delay",
]

LATE_AFTER = timedelta(hours=1)
"""After this a report that has not reached all its targets is late."""
MAX_REPORTS = 100
"""How many of the newest reports of a name are judged."""
MAX_MOMENTS = 50
"""How many missed moments of a schedule are named. A schedule of minutes misses thousands in an outage."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=400))
RETRY_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 120, 240, 360))
MAX_ATTEMPTS = 12
"""Attempts at one target: two days, and then a person must act."""
MAX_MAKING_ATTEMPTS = 5
"""Attempts to make a report: one that ends the process each time must not do so for ever."""


@dataclass(frozen=True, slots=True)
class DueReport:
    """A report to make. *missed* are the moments before it without one; *earlier* is an attempt that did not end."""

    scheduled_at: datetime
    missed: tuple[datetime, ...]
    earlier: MadeReport | None = None

    @property
    def attempts(self) -> int:
        return 0 if self.earlier is None else self.earlier.attempts


def next_moment(schedule: ScheduleSettings, after: datetime) -> datetime | None:
    """Return the first moment after *after* at which *schedule* is due; None: never again.

    No delay is added, and `every` counts from 1970, so that all processes find the same moments.
    """
    if schedule.cron is not None:
        return next_time(schedule.cron, schedule.timezone or "UTC", after)
    every = schedule.every
    if every is None:
        raise ValueError("a schedule has every or cron")
    return EPOCH + ((after - EPOCH) // every + 1) * every


def moments_until(schedule: ScheduleSettings, after: datetime, until: datetime) -> list[datetime]:
    """Return the moments after *after* and until *until*, the newest `MAX_MOMENTS` at most."""
    for window in WINDOWS:
        start = max(after, until - window)
        found = list(_moments(schedule, start, until))
        if start == after or len(found) >= MAX_MOMENTS:
            return found[-MAX_MOMENTS:]
    return list(_moments(schedule, max(after, until - WINDOWS[-1]), until))[-MAX_MOMENTS:]


def _moments(schedule: ScheduleSettings, after: datetime, until: datetime) -> Iterator[datetime]:
    moment = next_moment(schedule, after)
    while moment is not None and moment <= until:
        yield moment
        moment = next_moment(schedule, moment)


def due_report(
    schedule: ScheduleSettings | None, since: datetime, reports: Sequence[MadeReport], now: datetime
) -> DueReport | None:
    """Return the report to make now, None without one. *reports* are those that the state has, newest first.

    Of several missed moments the newest alone is due. A report whose making was interrupted is due again under the
    same moment, and so under the same id.
    """
    if schedule is None:
        return None
    scheduled = [each for each in reports if not each.is_manual]
    # A moment in the future was recorded while the clock was wrong: it must not delay the next one until then.
    handled = min(now, _last_handled(since, reports))
    moments = moments_until(schedule, handled, now)
    if moments:
        return DueReport(moments[-1], (*_undelivered_moments(scheduled), *moments[:-1]))
    newest = scheduled[0] if scheduled else None
    if newest is None or newest.status is not ReportStatus.MAKING or not _is_time(newest.next_attempt_at, now):
        return None
    return DueReport(newest.scheduled_at, newest.missed, newest)


def _last_handled(since: datetime, reports: Sequence[MadeReport]) -> datetime:
    """Return the newest moment of the schedule for which a report was begun; without one *since*."""
    found = max((each.scheduled_at for each in reports if not each.is_manual), default=None)
    if found is not None:
        return found
    # Behind so many reports that people asked for, older ones of the schedule are not loaded.
    return max(since, reports[-1].scheduled_at) if len(reports) >= MAX_REPORTS else since


def newest_relevant(reports: Sequence[MadeReport]) -> MadeReport | None:
    """Return the newest of *reports*, newest first, that is to be delivered."""
    return next((each for each in reports if each.status is not ReportStatus.UNCHANGED), None)


def _undelivered_moments(scheduled: Sequence[MadeReport]) -> tuple[datetime, ...]:
    """Return the moments of the newest reports that no target has, oldest first: a newer one takes their place."""
    found: list[datetime] = []
    for each in scheduled:
        if each.delivered_at is not None or each.status is ReportStatus.UNCHANGED:
            break
        found += [each.scheduled_at, *reversed(each.missed)]
        if each.missed:
            break
    return tuple(sorted(set(found)))[-MAX_MOMENTS:]


def due_deliveries(reports: Sequence[MadeReport], now: datetime) -> list[Delivery]:
    """Return the deliveries to attempt now."""
    return [
        each
        for report in reports
        if report.status is ReportStatus.MADE
        for each in report.deliveries
        if each.status is DeliveryStatus.PENDING and _is_time(each.next_attempt_at, now)
    ]


def _is_time(at: datetime | None, now: datetime) -> bool:
    return at is None or at <= now


def retry_delay(attempts: int) -> timedelta:
    """Return how long to wait after the attempt number *attempts* failed."""
    return RETRY_DELAYS[min(attempts, len(RETRY_DELAYS)) - 1]


def overdue_since(
    schedule: ScheduleSettings | None, since: datetime, reports: Sequence[MadeReport], now: datetime
) -> datetime | None:
    """Return for which moment a report has not reached all its targets; None if there is no such report.

    A moment for which nothing was begun counts, so that a scheduler that hangs is noticed.
    """
    newest = newest_relevant(reports)
    if newest is not None and _is_unfinished(newest):
        return newest.scheduled_at
    if schedule is None:
        return None
    first = next_moment(schedule, min(_last_handled(since, reports), now))
    return first if first is not None and first <= now else None


def _is_unfinished(report: MadeReport) -> bool:
    if report.status in {ReportStatus.MAKING, ReportStatus.FAILED}:
        return True
    return any(each.is_undelivered for each in report.deliveries)
