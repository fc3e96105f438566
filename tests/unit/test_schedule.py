from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from agent.daemon.schedule import (
    first_due,
    format_schedule,
    group_by_schedule,
    longest_wait,
    next_due,
    stale_after,
)
from agent.settings.workspace import ScheduleSettings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def every(text: str) -> ScheduleSettings:
    return ScheduleSettings.model_validate({"every": text})


def cron(text: str, timezone: str | None = None) -> ScheduleSettings:
    return ScheduleSettings.model_validate({"cron": text, "timezone": timezone})


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (every("90s"), "every 90s"),
        (every("15m"), "every 15m"),
        (every("120m"), "every 2h"),
        (every("1d"), "every 1d"),
        (cron("0 6 * * mon-fri", "Europe/Berlin"), "cron 0 6 * * mon,tue,wed,thu,fri (Europe/Berlin)"),
        (cron("*/5 * * * *"), "cron */5 * * * * (UTC)"),
        (None, ""),
    ],
)
def test_schedule_is_formatted_as_in_the_configuration(schedule: ScheduleSettings | None, words: str) -> None:
    assert format_schedule(schedule) == words


def test_workspaces_of_one_schedule_are_one_tick() -> None:
    found = group_by_schedule({"latam": every("15m"), "emea": cron("0 6 * * *"), "apac": every("900s"), "lab": None})

    assert [tick.workspaces for tick in found] == [("latam", "apac"), ("emea",)]


def test_interval_goes_on_where_it_was_before_a_restart() -> None:
    assert first_due(every("15m"), NOON - timedelta(minutes=5), NOON) == NOON + timedelta(minutes=10)


def test_what_was_missed_is_made_up_at_once() -> None:
    assert first_due(every("15m"), NOON - timedelta(days=3), NOON) == NOON
    assert first_due(cron("0 6 * * *"), NOON - timedelta(days=3), NOON) == NOON


def test_workspace_that_never_ran_is_due_at_once_by_interval_and_next_time_by_cron() -> None:
    assert first_due(every("15m"), None, NOON) == NOON
    assert first_due(cron("0 6 * * *"), None, NOON) == NOON + timedelta(hours=18)


def test_cron_that_ran_on_time_waits_for_its_next_time() -> None:
    # The run of 6:00 started within the jitter.
    assert first_due(cron("0 6 * * *"), NOON - timedelta(hours=6) + timedelta(seconds=20), NOON) == NOON + timedelta(
        hours=18
    )


def test_cron_keeps_to_its_time_zone_through_summer_time() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)

    due = first_due(cron("0 6 * * *", "Europe/Berlin"), before, before)

    assert due.astimezone(UTC) == datetime(2026, 3, 29, 4, tzinfo=UTC)


def test_interval_stays_anchored_however_late_a_tick_starts() -> None:
    assert next_due(every("10m"), NOON, NOON) == NOON + timedelta(minutes=10)
    assert next_due(every("10m"), NOON, NOON + timedelta(minutes=9, seconds=59)) == NOON + timedelta(minutes=10)
    assert next_due(every("10m"), NOON, NOON + timedelta(minutes=10)) == NOON + timedelta(minutes=20)
    assert next_due(every("10m"), NOON, NOON + timedelta(days=3, seconds=7)) == NOON + timedelta(days=3, minutes=10)


def test_time_from_a_clock_that_was_ahead_is_given_up() -> None:
    assert next_due(every("10m"), NOON + timedelta(days=365), NOON) == NOON + timedelta(minutes=10)
    assert longest_wait(every("10m")) == timedelta(minutes=11)
    assert longest_wait(cron("0 6 * * *")) is None


def test_crontab_is_spread_over_half_a_minute_and_never_early() -> None:
    found = {next_due(cron("0 * * * *"), NOON, NOON) - NOON - timedelta(hours=1) for _ in range(50)}
    assert len(found) > 1
    assert all(timedelta(0) <= each <= timedelta(seconds=30) for each in found)


@pytest.mark.parametrize(
    ("zone", "begin"),
    [
        ("Europe/Berlin", datetime(2026, 10, 25, 0, 59, 30, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 3, 29, 0, 59, 30, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 5, 59, 30, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 14, 29, 30, tzinfo=UTC)),
        ("Africa/Cairo", datetime(2026, 10, 29, 19, 59, 30, tzinfo=UTC)),
    ],
)
def test_scheduler_is_never_sent_back_through_a_repeated_hour(zone: str, begin: datetime) -> None:
    schedule = cron("*/15 * * * *", zone)
    due = [first_due(schedule, None, begin)]
    for _ in range(16):
        # As the dispatcher calls it: a little after the last one was due.
        due.append(next_due(schedule, due[-1], due[-1] + timedelta(seconds=1)))

    apart = [later - one for one, later in pairwise(due)]
    assert all(timedelta(minutes=14, seconds=30) <= each <= timedelta(minutes=15, seconds=30) for each in apart)
    assert {each.tzinfo for each in due} == {UTC}


def test_many_missed_times_are_passed_in_one_step() -> None:
    woken = NOON + timedelta(days=30)

    assert woken < next_due(cron("* * * * *", "Europe/Berlin"), NOON, woken) <= woken + timedelta(seconds=91)


def test_run_that_was_recorded_in_the_future_puts_nothing_off() -> None:
    future = NOON + timedelta(days=365)

    assert first_due(every("15m"), future, NOON) == NOON + timedelta(minutes=15)
    assert first_due(cron("0 * * * *"), future, NOON) == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("schedule", "since", "stale"),
    [
        (every("15m"), NOON, NOON + timedelta(minutes=30)),
        (every("90s"), NOON, NOON + timedelta(minutes=3)),
        (
            cron("0 6 * * mon-fri", "Europe/Berlin"),
            datetime(2026, 3, 6, 5, 1, tzinfo=UTC),
            datetime(2026, 3, 10, 5, tzinfo=UTC),
        ),
        (cron("0 6 * * *"), NOON, datetime(2026, 3, 4, 6, tzinfo=UTC)),
        (None, NOON, None),
    ],
    ids=["every", "seconds", "weekend", "cron-utc", "no-schedule"],
)
def test_workspace_is_stale_at_the_second_missed_time(
    schedule: ScheduleSettings | None, since: datetime, stale: datetime | None
) -> None:
    assert stale_after(schedule, since) == stale
