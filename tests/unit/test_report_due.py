"""When a report is due, as a function of its schedule, the state and the time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.delivery.due import (
    MAX_ATTEMPTS,
    MAX_MOMENTS,
    MAX_REPORTS,
    DueReport,
    due_deliveries,
    due_report,
    moments_until,
    next_moment,
    overdue_since,
    retry_delay,
)
from agent.model.report import Delivery, DeliveryStatus, MadeReport, ReportStatus, report_id
from agent.settings.workspace import ScheduleSettings

SINCE = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
DAILY = ScheduleSettings(cron="0 7 * * *", timezone="Europe/Berlin")
SIX = timedelta(hours=6)


def made(at: datetime, status: DeliveryStatus = DeliveryStatus.DELIVERED, by: str = "") -> MadeReport:
    key = report_id("daily", at)
    delivered_at = at if status is DeliveryStatus.DELIVERED else None
    delivery = Delivery(report=key, number=0, target="1: x", status=status, delivered_at=delivered_at)
    return MadeReport(
        id=key, name="daily", scheduled_at=at, status=ReportStatus.MADE, by=by, made_at=at, deliveries=(delivery,)
    )


def test_moments_follow_the_wall_clock_of_the_time_zone() -> None:
    summer = datetime(2026, 3, 28, 12, tzinfo=UTC)

    assert next_moment(DAILY, SINCE) == SINCE + SIX
    assert next_moment(DAILY, summer) == datetime(2026, 3, 29, 5, tzinfo=UTC)


@pytest.mark.parametrize("after", [SINCE, SINCE + timedelta(minutes=29)])
def test_interval_counts_from_the_same_moment_for_everyone(after: datetime) -> None:
    assert next_moment(ScheduleSettings.model_validate({"every": "30m"}), after) == SINCE + timedelta(minutes=30)


def test_moments_of_years_are_found_by_looking_back_from_the_end() -> None:
    minutely = ScheduleSettings(cron="* * * * *")
    found = moments_until(minutely, SINCE - 4000 * DAY, SINCE)

    assert (len(found), found[-1]) == (MAX_MOMENTS, SINCE)
    assert moments_until(ScheduleSettings(cron="0 0 1 1 *"), SINCE - 4000 * DAY, SINCE)[-1] == datetime(
        2026, 1, 1, tzinfo=UTC
    )
    assert moments_until(DAILY, SINCE, SINCE + SIX) == [SINCE + SIX]
    assert moments_until(DAILY, SINCE + SIX, SINCE + SIX) == []


def test_report_is_due_at_its_moment_and_once() -> None:
    assert due_report(DAILY, SINCE, [], SINCE + SIX - timedelta(seconds=1)) is None
    assert due_report(DAILY, SINCE, [], SINCE + SIX) == DueReport(SINCE + SIX, ())
    assert due_report(DAILY, SINCE, [made(SINCE + SIX)], SINCE + SIX) is None
    assert due_report(None, SINCE, [], SINCE + DAY) is None


def test_only_the_newest_missed_report_is_due_and_names_the_others() -> None:
    due = due_report(DAILY, SINCE, [made(SINCE + SIX)], SINCE + 3 * DAY + SIX)

    assert due == DueReport(SINCE + 3 * DAY + SIX, (SINCE + DAY + SIX, SINCE + 2 * DAY + SIX))


def test_report_that_no_target_has_is_named_by_the_next() -> None:
    waiting = replace(made(SINCE + DAY + SIX, DeliveryStatus.PENDING), missed=(SINCE + SIX,))
    due = due_report(DAILY, SINCE, [waiting], SINCE + 2 * DAY + SIX)

    assert due == DueReport(SINCE + 2 * DAY + SIX, (SINCE + SIX, SINCE + DAY + SIX))


def test_report_that_was_sent_by_hand_takes_no_moment_of_the_schedule() -> None:
    by_hand = made(SINCE + timedelta(hours=5), by="ana")
    many = [made(SINCE + timedelta(hours=5, seconds=each), by="ana") for each in range(MAX_REPORTS)][::-1]

    assert due_report(DAILY, SINCE, [by_hand], SINCE + SIX) == DueReport(SINCE + SIX, ())
    assert due_report(DAILY, SINCE - 9 * DAY, many, SINCE + SIX) == DueReport(SINCE + SIX, ())


def test_making_that_was_interrupted_is_due_again_under_the_same_moment() -> None:
    key = report_id("daily", SINCE + SIX)
    again_at = SINCE + SIX + timedelta(minutes=1)
    begun = MadeReport(id=key, name="daily", scheduled_at=SINCE + SIX, attempts=1, next_attempt_at=again_at)

    assert due_report(DAILY, SINCE, [begun], again_at - timedelta(seconds=1)) is None
    assert due_report(DAILY, SINCE, [begun], again_at) == DueReport(SINCE + SIX, (), begun)
    assert due_report(DAILY, SINCE, [replace(begun, status=ReportStatus.FAILED)], again_at) is None


def test_report_of_a_wrong_clock_delays_the_next_one_by_one_moment_at_most() -> None:
    future = made(SINCE + 900 * DAY)

    assert due_report(DAILY, SINCE, [future], SINCE + SIX) is None
    assert next_moment(DAILY, SINCE + SIX) == SINCE + DAY + SIX


def test_delivery_waits_for_its_next_attempt() -> None:
    report = made(SINCE, DeliveryStatus.PENDING)
    (delivery,) = report.deliveries
    later = replace(report, deliveries=(replace(delivery, next_attempt_at=SINCE + DAY),))

    assert due_deliveries([report], SINCE) == [delivery]
    assert due_deliveries([later], SINCE) == []
    assert len(due_deliveries([later], SINCE + DAY)) == 1
    assert due_deliveries([made(SINCE), made(SINCE, DeliveryStatus.REFUSED)], SINCE) == []


def test_attempts_at_one_target_span_two_days() -> None:
    total = sum((retry_delay(each) for each in range(1, MAX_ATTEMPTS)), timedelta())

    assert timedelta(hours=24) < total < timedelta(hours=48)
    assert retry_delay(1) == timedelta(minutes=1)


def test_overdue_is_what_has_not_reached_all_its_targets() -> None:
    now = SINCE + SIX + timedelta(minutes=10)
    unchanged = replace(made(SINCE + SIX), status=ReportStatus.UNCHANGED, deliveries=())

    assert overdue_since(DAILY, SINCE, [], SINCE + timedelta(hours=1)) is None
    assert overdue_since(DAILY, SINCE, [], now) == SINCE + SIX
    assert overdue_since(DAILY, SINCE, [made(SINCE + SIX)], now) is None
    for status in (DeliveryStatus.PENDING, DeliveryStatus.REFUSED, DeliveryStatus.GIVEN_UP):
        assert overdue_since(DAILY, SINCE, [made(SINCE + SIX, status)], now) == SINCE + SIX
    assert overdue_since(DAILY, SINCE, [unchanged], now) is None
    assert overdue_since(DAILY, SINCE, [unchanged, made(SINCE, DeliveryStatus.PENDING)], now) == SINCE
    assert overdue_since(None, SINCE, [made(SINCE, DeliveryStatus.REFUSED)], now) == SINCE
