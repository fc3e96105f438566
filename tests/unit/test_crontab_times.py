"""When a crontab is due by the wall clock of a zone, also on the days on which that clock is set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.settings.crontab import next_time

QUARTER, DAY = timedelta(minutes=15), timedelta(days=1)
# Half an hour (Lord Howe), changes at midnight (Cairo, Beirut, Havana, Azores), four in a year (Casablanca), none.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",
    "Atlantic/Azores",
    "Africa/Casablanca",
    "Asia/Kolkata",
)


def times(crontab: str, zone: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Give the times after *begin*, to *end*; each is asked for at the one before."""
    at = begin
    while True:
        found = next_time(crontab, zone, at)
        assert found is not None
        assert found > at, "a time that is not later lets a scheduler loop for ever"
        if found > end:
            return
        yield found
        at = found


def shown(times: Iterator[datetime], zone: str) -> list[str]:
    """Return the wall clock, with the offset that distinguishes the two passes through a repeated hour."""
    return [each.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for each in times]


def changes(zone: str, year: int) -> list[datetime]:
    """Return the hours of *year* in which the clocks of *zone* are set."""
    begin = datetime(year, 1, 1, tzinfo=UTC)
    hours = [begin + timedelta(hours=hour) for hour in range(366 * 24)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return [hours[place] for place in range(len(hours) - 1) if offsets[place] != offsets[place + 1]]


def test_quarters_go_on_through_a_repeated_hour() -> None:
    begin = datetime(2026, 10, 24, 23, 29, tzinfo=UTC)
    found = shown(times("*/15 * * * *", "Europe/Berlin", begin, begin + timedelta(hours=3)), "Europe/Berlin")

    assert found == [
        *("25 01:30+0200", "25 01:45+0200"),
        *("25 02:00+0200", "25 02:15+0200", "25 02:30+0200", "25 02:45+0200"),
        *("25 02:00+0100", "25 02:15+0100", "25 02:30+0100", "25 02:45+0100"),
        *("25 03:00+0100", "25 03:15+0100"),
    ]


@pytest.mark.parametrize("zone", ZONES)
def test_quarters_are_a_quarter_apart_whatever_the_clocks_do(zone: str) -> None:
    for change in changes(zone, 2026) or [datetime(2026, 3, 1, tzinfo=UTC)]:
        found = list(times("*/15 * * * *", zone, change - DAY, change + DAY))

        assert {later - one for one, later in pairwise(found)} == {QUARTER}


@pytest.mark.parametrize(
    ("zone", "wall", "begin", "due"),
    [
        # Repeated: the first time. Skipped: as long after the skip as it is behind its begin.
        ("Europe/Berlin", "30 2", datetime(2026, 10, 24, 12, tzinfo=UTC), "25 02:30+0200"),
        ("Europe/Berlin", "0 2", datetime(2026, 3, 28, 12, tzinfo=UTC), "29 03:00+0200"),
        ("Europe/Berlin", "30 2", datetime(2026, 3, 28, 12, tzinfo=UTC), "29 03:30+0200"),
        ("America/New_York", "30 1", datetime(2026, 10, 31, 12, tzinfo=UTC), "01 01:30-0400"),
        ("America/New_York", "30 2", datetime(2026, 3, 7, 12, tzinfo=UTC), "08 03:30-0400"),
        ("Australia/Lord_Howe", "45 1", datetime(2026, 4, 4, 3, tzinfo=UTC), "05 01:45+1100"),
        ("Australia/Lord_Howe", "10 2", datetime(2026, 10, 3, 3, tzinfo=UTC), "04 02:40+1100"),
        ("Africa/Cairo", "0 0", datetime(2026, 4, 23, 12, tzinfo=UTC), "24 01:00+0300"),
        ("Africa/Cairo", "30 23", datetime(2026, 10, 29, 12, tzinfo=UTC), "29 23:30+0300"),
        ("Asia/Beirut", "15 0", datetime(2026, 3, 28, 12, tzinfo=UTC), "29 01:15+0300"),
        ("Asia/Beirut", "15 23", datetime(2026, 10, 24, 12, tzinfo=UTC), "24 23:15+0300"),
    ],
)
def test_daily_time_on_a_day_of_change_comes_once(zone: str, wall: str, begin: datetime, due: str) -> None:
    found = shown(times(f"{wall} * * *", zone, begin, begin + timedelta(hours=47)), zone)

    assert found[0] == due
    assert len(found) == 2, found


def test_day_that_a_zone_skipped_is_made_up_on_the_next() -> None:
    begin = datetime(2011, 12, 29, 18, tzinfo=UTC)

    found = shown(times("0 6 * * *", "Pacific/Apia", begin, begin + timedelta(days=2)), "Pacific/Apia")

    assert found == ["31 06:00+1400", "01 06:00+1400"], "30 December 2011 never was, and its 6:00 is that of the 31st"


def test_named_hours_run_once_and_each_hour_runs_twice_in_a_repeated_one() -> None:
    begin = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)
    end = begin + timedelta(hours=4)

    assert shown(times("0 1-3 * * *", "Europe/Berlin", begin, end), "Europe/Berlin") == [
        *("25 01:00+0200", "25 02:00+0200", "25 03:00+0100"),
    ]
    assert shown(times("0 * * * *", "Europe/Berlin", begin, end), "Europe/Berlin") == [
        *("25 01:00+0200", "25 02:00+0200", "25 02:00+0100", "25 03:00+0100"),
    ]


def test_day_that_never_comes_has_no_time() -> None:
    assert next_time("0 0 30 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC)) is None


@settings(max_examples=10)
@given(zone=st.sampled_from(ZONES), wanted=st.times(), year=st.integers(2020, 2036))
def test_each_day_of_a_year_has_its_time_once(zone: str, wanted: time, year: int) -> None:
    timezone = ZoneInfo(zone)
    begin = datetime(year, 1, 1, tzinfo=timezone).astimezone(UTC) - timedelta(microseconds=1)
    end = datetime(year, 12, 31, 23, 59, 59, tzinfo=timezone).astimezone(UTC)

    found = list(times(f"{wanted.minute} {wanted.hour} * * *", zone, begin, end))

    walls = [each.astimezone(timezone) for each in found]
    days = [date(year, 1, 1) + timedelta(days=day) for day in range((date(year, 12, 31) - date(year, 1, 1)).days + 1)]
    assert Counter(wall.date() for wall in walls) == Counter(days)
    for wall in walls:
        if (wall.hour, wall.minute) != (wanted.hour, wanted.minute):
            # Only what the clock skipped is due at another time, and by no more than was skipped.
            skipped = datetime.combine(wall.date(), time(wanted.hour, wanted.minute), timezone)
            assert skipped.astimezone(UTC).astimezone(timezone) == wall


@settings(max_examples=10)
@given(zone=st.sampled_from(ZONES), minute=st.integers(0, 59), year=st.integers(2020, 2036))
def test_hourly_time_is_due_whenever_the_clock_shows_it(zone: str, minute: int, year: int) -> None:
    for change in changes(zone, year):
        begin, end = change - timedelta(hours=5), change + timedelta(hours=5)
        minutes = [begin + timedelta(minutes=place) for place in range(1, 601)]
        shows = [each for each in minutes if each.astimezone(ZoneInfo(zone)).minute == minute]

        assert set(shows) <= set(times(f"{minute} * * * *", zone, begin, end))
