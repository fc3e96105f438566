from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from agent.daemon.schedule import build_trigger, first_due, format_schedule, group_by_schedule, stale_after
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


def test_trigger_spreads_by_a_tenth_and_by_half_a_minute_at_most() -> None:
    assert build_trigger(every("10s")).jitter == 1
    assert build_trigger(every("1h")).jitter == 30
    assert build_trigger(cron("0 6 * * *")).jitter == 30


def test_trigger_follows_the_interval() -> None:
    due = build_trigger(every("10m")).get_next_fire_time(NOON, NOON)

    assert timedelta(minutes=10) <= due - NOON <= timedelta(minutes=10, seconds=30)


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
    when = build_trigger(schedule)
    due = [first_due(schedule, None, begin)]
    for _ in range(16):
        # As APScheduler calls it: with the last time, a little after it was due.
        due.append(when.get_next_fire_time(due[-1], due[-1] + timedelta(milliseconds=3)))

    apart = [later - one for one, later in pairwise(due)]
    assert all(timedelta(minutes=15) <= each < timedelta(minutes=16) for each in apart)
    assert {each.tzinfo for each in due} == {UTC}


def test_many_missed_times_are_passed_in_one_step() -> None:
    when = build_trigger(cron("* * * * *", "Europe/Berlin"))
    woken = NOON + timedelta(days=30)

    assert woken < when.get_next_fire_time(NOON, woken) <= woken + timedelta(seconds=91)


def test_spread_time_that_is_still_to_come_is_not_left_out() -> None:
    when = build_trigger(cron("*/15 * * * *"))
    spread = when.get_next_fire_time(NOON, NOON)

    # As after a loop that was blocked until a moment before the spread time.
    assert when.get_next_fire_time(NOON, spread - timedelta(microseconds=1)) == spread


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
