"""Read the five fields of a crontab as cron does, and spell them as APScheduler 3 understands them.

To cron, weekday 0 and 7 are Sunday; to APScheduler, 0 is Monday (its issue 286). Weekdays are therefore spelled by
name, or `0 6 * * 1-5` would run from Tuesday to Saturday.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from apscheduler.triggers.cron import CronTrigger

__all__ = ["spelled"]

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
WEEKDAYS = re.compile(r"(?:\*|(?P<first>[0-7]|[a-z]{3})(?:-(?P<last>[0-7]|[a-z]{3}))?)(?:/(?P<step>[1-7]))?")
FIELDS = 5
SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def spelled(text: str) -> str:
    """Return *text* with weekdays by name. Raises `ValueError` with a sentence for what is no crontab."""
    fields = text.lower().split()
    if len(fields) != FIELDS:
        raise ValueError('must have five fields: minute, hour, day, month, weekday; as "0 6 * * mon-fri"')
    if fields[2] != "*" and fields[4] != "*":
        raise ValueError("names a day of the month and a weekday; crons disagree on what that means: name one of them")
    crontab = " ".join([*fields[:4], _weekdays(fields[4])])
    try:
        trigger = CronTrigger.from_crontab(crontab, UTC)
    except ValueError as error:
        raise ValueError(f"is no crontab: {error}") from None
    if trigger.get_next_fire_time(None, SOME_DAY) is None:
        raise ValueError("names a day that never comes")
    return crontab


def _weekdays(field: str) -> str:
    chosen: set[int] = set()
    for part in field.split(","):
        match = WEEKDAYS.fullmatch(part)
        if match is None:
            raise ValueError("has a weekday that is none; write 0 to 7 (0 and 7 are Sunday) or sun to sat")
        first, last = _ends(match)
        chosen |= {day % 7 for day in range(first, last + 1, int(match["step"] or 1))}
    return "*" if len(chosen) == len(DAYS) else ",".join(DAYS[day] for day in sorted(chosen))


def _ends(match: re.Match[str]) -> tuple[int, int]:
    """Return the first and the last day of a range, where 7 is the Sunday after Saturday."""
    if match["first"] is None:
        return 0, 6
    first = _day(match["first"])
    if match["last"] is None:
        return first, 6 if match["step"] else first
    last = _day(match["last"])
    if last == 0 and first > 0:
        last = 7
    if last < first:
        raise ValueError("has a range of weekdays that runs backwards")
    return first, last


def _day(word: str) -> int:
    if word.isdigit():
        return int(word)
    if word not in DAYS:
        raise ValueError("has a weekday that is none; write 0 to 7 (0 and 7 are Sunday) or sun to sat")
    return DAYS.index(word)
