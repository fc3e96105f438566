"""A crontab has the meaning that cron gives it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from apscheduler.triggers.cron import CronTrigger

from agent.settings.crontab import normalize_crontab

SUNDAY = datetime(2026, 11, 22, tzinfo=UTC)


def days(crontab: str) -> str:
    """Return the weekdays of the first week on which the normalized *crontab* fires at midnight."""
    trigger, now, fired = CronTrigger.from_crontab(normalize_crontab(crontab), UTC), SUNDAY, []
    while (at := trigger.get_next_fire_time(None, now)).day < 29 and at.month == 11:
        fired.append(at.strftime("%a"))
        now = at.replace(minute=1)
    return " ".join(fired)


@pytest.mark.parametrize(
    ("weekday", "fires"),
    [
        ("*", "Sun Mon Tue Wed Thu Fri Sat"),
        ("0", "Sun"),
        ("7", "Sun"),
        ("1", "Mon"),
        ("6", "Sat"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("MON-Fri", "Mon Tue Wed Thu Fri"),
        ("0-7", "Sun Mon Tue Wed Thu Fri Sat"),
        ("5-7", "Sun Fri Sat"),
        ("fri-sun", "Sun Fri Sat"),
        ("sun-mon", "Sun Mon"),
        ("mon,3,sat", "Mon Wed Sat"),
        ("*/2", "Sun Tue Thu Sat"),
        ("1/2", "Mon Wed Fri"),
        ("1-4/3", "Mon Thu"),
    ],
)
def test_weekday_has_the_meaning_of_cron_not_of_the_library(weekday: str, fires: str) -> None:
    assert days(f"0 0 * * {weekday}") == fires


@pytest.mark.parametrize("crontab", ["*/15 * * * *", "0 6 1,15 * *", "30 22 * jan-jun *", "0 0 29 2 *"])
def test_other_fields_are_unchanged(crontab: str) -> None:
    assert normalize_crontab(f" {crontab} ") == crontab


@pytest.mark.parametrize(
    ("crontab", "why"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@daily", "five fields"),
        ("61 * * * *", "minute 61 is more than 59"),
        ("*/75 * * * *", "minute step 75 is more than 59"),
        ("0 0 0 * *", "day 0 is less than 1"),
        ("a * * * *", "has a minute that is not valid: a"),
        ("0 0 * * 8", "a weekday is 0 to 7"),
        ("0 0 * * moon", "a weekday is 0 to 7"),
        ("0 0 * * xyz", "a weekday is 0 to 7"),
        ("0 0 * * 1-", "a weekday is 0 to 7"),
        ("0 0 * * 5-1", "reverse order"),
        ("0 0 * * sat-mon", "reverse order"),
        ("0 0 1 * 1", "day of the month and a weekday"),
        ("0 0 31 2 *", "never occurs"),
    ],
)
def test_invalid_crontab_is_refused_with_the_reason(crontab: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        normalize_crontab(crontab)
