"""When a workspace is read too seldom, measured by its own schedule."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from agent.settings.crontab import next_time

__all__ = ["stale_after"]

INTERVAL_PATTERN = re.compile(r"every (\d+)([smhd])")
CRON_PATTERN = re.compile(r"cron (.+) \((.+)\)")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def stale_after(schedule: str, since: datetime) -> datetime | None:
    """Return the second time after *since* that *schedule* is due, None without a schedule.

    One complete read may be missed; when the next one is missed too, nobody has looked for too long. A schedule of
    working days is not late at the weekend.
    """
    every = INTERVAL_PATTERN.fullmatch(schedule)
    if every:
        return since + 2 * timedelta(seconds=int(every[1]) * UNIT_SECONDS[every[2]])
    cron = CRON_PATTERN.fullmatch(schedule)
    if not cron:
        return None
    first = next_time(cron[1], cron[2], since)
    return None if first is None else next_time(cron[1], cron[2], first)
