"""Read the five fields of a crontab as cron does, write them as APScheduler 3 expects, and compute their times.

To cron, weekday 0 and 7 are Sunday; to APScheduler, 0 is Monday (its issue 286). Weekdays are therefore written by
name, or `0 6 * * 1-5` would run from Tuesday to Saturday.

APScheduler matches the fields against a wall clock in UTC only; the conversion to moments is ours. Its own arithmetic
in time zones goes back by an hour when it adds to a time of a repeated hour.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

__all__ = ["next_time", "normalize_crontab"]

WEEKDAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
WEEKDAY_PATTERN = re.compile(r"(?:\*|(?P<first>[0-7]|[a-z]{3})(?:-(?P<last>[0-7]|[a-z]{3}))?)(?:/(?P<step>[1-7]))?")
FIELD_NAMES = ("minute", "hour", "day", "month")
"""All but the weekday, which is checked as it is renamed."""
FIELD_COUNT = 5
RANGE_ERROR = re.compile(
    r"the (?P<part>step|first|last) value \((?P<value>\d+)\) is (?P<order>higher|lower) than the .*\((?P<bound>\d+)\)"
)
REFERENCE_DAY = datetime(2024, 1, 1, tzinfo=UTC)
# A zone that changed its day skipped 24 hours (Apia, 2011): no change reaches further than that.
MAX_OFFSET_CHANGE = timedelta(hours=26)


def normalize_crontab(text: str) -> str:
    """Return *text* with weekdays by name. Raises `ValueError` for text that is not a crontab."""
    fields = text.lower().split()
    if len(fields) != FIELD_COUNT:
        raise ValueError('must have five fields: minute, hour, day, month, weekday, such as "0 6 * * mon-fri"')
    if fields[2] != "*" and fields[4] != "*":
        raise ValueError("has both a day of the month and a weekday, which crons combine differently; use only one")
    crontab = " ".join([*fields[:4], _named_weekdays(fields[4])])
    for position, name in enumerate(FIELD_NAMES):
        _validate_field(name, fields[position], position)
    if _trigger(crontab).get_next_fire_time(None, REFERENCE_DAY) is None:
        raise ValueError("is a day that never occurs")
    return crontab


def _validate_field(name: str, field: str, position: int) -> None:
    """Raises `ValueError` that names the field, instead of APScheduler's, which describes its own expressions."""
    try:
        _trigger(" ".join(field if each == position else "*" for each in range(FIELD_COUNT)))
    except ValueError as error:
        match = RANGE_ERROR.search(str(error))
        if match is None:
            raise ValueError(f"has a {name} that is not valid: {field}") from None
        part = "step " if match["part"] == "step" else ""
        order = "more" if match["order"] == "higher" else "less"
        raise ValueError(f"is not a crontab: {name} {part}{match['value']} is {order} than {match['bound']}") from None


def next_time(crontab: str, timezone: str, after: datetime) -> datetime | None:
    """Return the first moment after *after*, in UTC, at which *crontab* is due by the wall clock of *timezone*.

    - A time that the clock skips is due as long after the skip as it is after its start: 02:30 at 03:30.
    - A time that the clock shows twice is due the first time only, unless the hour field begins with `*`: a
      schedule for every hour includes both.

    Each moment is later than *after*, whatever the zone does; None: never again. *crontab* comes from
    `normalize_crontab`.
    """
    zone = ZoneInfo(timezone)
    is_hourly = crontab.split()[1].startswith("*")
    reach = _offset_change(zone, after)
    wall = after.astimezone(zone).replace(tzinfo=None) - reach
    best: datetime | None = None
    limit: datetime | None = None
    while (found := _next_wall_time(crontab, wall)) is not None and (limit is None or found <= limit):
        for moment in _due_times(found, zone, is_hourly=is_hourly):
            if moment > after and (best is None or moment < best):
                best = moment
                # Near a change a later time of the wall clock may be an earlier moment.
                limit = found + reach
        wall = found + timedelta(microseconds=1)
    return best


def _offset_change(zone: ZoneInfo, at: datetime) -> timedelta:
    """Return by how much the clocks of *zone* change around *at*; zero on nearly all days."""
    utc_offset = at.astimezone(zone).utcoffset() or timedelta()
    offsets = [
        (at + side).astimezone(zone).utcoffset() or timedelta() for side in (-MAX_OFFSET_CHANGE, MAX_OFFSET_CHANGE)
    ]
    return max(abs(offset - utc_offset) for offset in offsets)


def _due_times(wall: datetime, zone: ZoneInfo, *, is_hourly: bool) -> list[datetime]:
    """Return when *wall* is due; PEP 495 defines `fold` for skipped and repeated times."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return [first, second] if second > first and is_hourly else [first]


def _next_wall_time(crontab: str, wall: datetime) -> datetime | None:
    """Return the first time of a wall clock, not before *wall*, that matches; None if there is no such time."""
    found: datetime | None = _trigger(crontab).get_next_fire_time(None, wall.replace(tzinfo=UTC))
    return None if found is None else found.replace(tzinfo=None)


@lru_cache(maxsize=100)
def _trigger(crontab: str) -> CronTrigger:
    # Most schedules have no crontab.
    from apscheduler.triggers.cron import CronTrigger

    return CronTrigger.from_crontab(crontab, UTC)


def _named_weekdays(field: str) -> str:
    chosen: set[int] = set()
    for part in field.split(","):
        match = WEEKDAY_PATTERN.fullmatch(part)
        if match is None:
            raise ValueError("is not a crontab: a weekday is 0 to 7 (0 and 7 are Sunday) or sun to sat")
        first, last = _range_ends(match)
        chosen |= {day % 7 for day in range(first, last + 1, int(match["step"] or 1))}
    return "*" if len(chosen) == len(WEEKDAY_NAMES) else ",".join(WEEKDAY_NAMES[day] for day in sorted(chosen))


def _range_ends(match: re.Match[str]) -> tuple[int, int]:
    """Return the first and the last day of a range, where 7 is the Sunday after Saturday."""
    if match["first"] is None:
        return 0, 6
    first = _weekday_number(match["first"])
    if match["last"] is None:
        return first, 6 if match["step"] else first
    last = _weekday_number(match["last"])
    if last == 0 and first > 0:
        last = 7
    if last < first:
        raise ValueError("has a range of weekdays in reverse order")
    return first, last


def _weekday_number(word: str) -> int:
    if word.isdigit():
        return int(word)
    if word not in WEEKDAY_NAMES:
        raise ValueError("is not a crontab: a weekday is 0 to 7 (0 and 7 are Sunday) or sun to sat")
    return WEEKDAY_NAMES.index(word)
