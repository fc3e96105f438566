"""Scheduled reports in the state: kept with files until every target has them, and with facts until the next one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from agent.errors import LeaseLost
from agent.model.report import Delivery, DeliveryStatus, MadeReport, ReportStatus, report_id
from agent.model.run import Lease
from agent.ports.reports import report_lease_key
from agent.ports.state import State
from tests.state_samples import NOW, Clock

DAY = timedelta(days=1)


def a_report(at: datetime = NOW, *, targets: int = 2) -> MadeReport:
    key = report_id("weekly", at)
    return MadeReport(
        id=key,
        name="weekly",
        scheduled_at=at,
        status=ReportStatus.MADE,
        attempts=1,
        made_at=at + timedelta(seconds=5),
        digest="sha256:aa",
        title="Zoë’s report",
        summary="2 new",
        facts=b'{"entries": []}',
        files={f"{key}.csv": b"a,b\n", f"{key}.html": b"<p>\x00\xff</p>"},
        missed=(at - DAY,),
        deliveries=tuple(Delivery(report=key, number=each, target=f"{each + 1}: x") for each in range(targets)),
    )


def delivered(report: MadeReport, number: int) -> Delivery:
    at = report.scheduled_at + timedelta(minutes=1)
    return replace(report.deliveries[number], status=DeliveryStatus.DELIVERED, attempts=2, delivered_at=at)


async def taken(state: State) -> Lease:
    return await state.take_lease(report_lease_key("weekly"), "one")


async def test_name_is_known_since_the_first_time(state: State) -> None:
    assert await state.begin_report_name("weekly", NOW) == NOW
    assert await state.begin_report_name("weekly", NOW + DAY) == NOW
    assert await state.begin_report_name("daily", NOW + DAY) == NOW + DAY


async def test_report_is_kept_whole_until_every_target_has_it(state: State) -> None:
    report, lease = a_report(), await taken(state)
    await state.record_report(lease, report)
    assert await state.load_report(report.id) == report
    assert await state.load_last_delivered("weekly") is None

    await state.record_delivery(lease, delivered(report, 0))
    half = await state.load_report(report.id)
    assert half is not None
    assert half.files == report.files
    assert half.deliveries == (delivered(report, 0), report.deliveries[1])

    refused = replace(report.deliveries[1], status=DeliveryStatus.REFUSED, attempts=1, error="too large")
    await state.record_delivery(lease, refused)
    whole = await state.load_report(report.id)
    assert whole == replace(report, files={}, deliveries=(delivered(report, 0), refused))
    assert await state.load_last_delivered("weekly") == whole
    assert await state.load_reports("weekly") == [replace(whole, facts=b"")]
    assert await state.load_report("weekly-20200101T000000Z") is None


async def test_report_in_the_making_is_replaced_by_the_made_one(state: State) -> None:
    report, lease = a_report(), await taken(state)
    started = MadeReport(
        id=report.id, name="weekly", scheduled_at=NOW, attempts=1, next_attempt_at=NOW + DAY, by="ana", error="died"
    )
    await state.record_report(lease, started)
    assert await state.load_report(report.id) == started
    await state.record_report(lease, report)
    assert await state.load_report(report.id) == report


async def test_newer_report_supersedes_what_older_ones_wait_for(state: State) -> None:
    older, newer, lease = a_report(), a_report(NOW + DAY), await taken(state)
    unmade = MadeReport(id="weekly-x", name="weekly", scheduled_at=NOW - DAY)
    for each in (unmade, older):
        await state.record_report(lease, each)
    await state.record_delivery(lease, delivered(older, 0))
    await state.record_report(lease, newer)
    await state.supersede_reports(lease, "weekly", newer.id)

    found = await state.load_reports("weekly")
    assert [each.id for each in found] == [newer.id, older.id, "weekly-x"]
    assert [each.status for each in found[1].deliveries] == [DeliveryStatus.DELIVERED, DeliveryStatus.SUPERSEDED]
    assert [each.status for each in found[0].deliveries] == [DeliveryStatus.PENDING] * 2
    assert found[2].status is ReportStatus.FAILED
    old, new = await state.load_report(older.id), await state.load_report(newer.id)
    assert (old and old.files, new and new.files) == ({}, newer.files)


async def test_facts_are_kept_for_the_last_delivered_report_only(state: State) -> None:
    older, newer, lease = a_report(), a_report(NOW + DAY), await taken(state)
    for each in (older, newer):
        await state.record_report(lease, each)
        await state.record_delivery(lease, delivered(each, 0))

    last, old = await state.load_last_delivered("weekly"), await state.load_report(older.id)
    assert (last and last.id, last and last.facts) == (newer.id, newer.facts)
    assert (old and old.facts) == b""


async def test_report_is_written_under_its_lease_only(state: State, clock: Clock) -> None:
    report, lease = a_report(), await taken(state)
    await state.record_report(lease, report)
    await state.release_lease(lease)
    with pytest.raises(LeaseLost):
        await state.record_report(lease, report)
    with pytest.raises(LeaseLost):
        await state.record_delivery(lease, delivered(report, 0))
    with pytest.raises(LeaseLost):
        await state.supersede_reports(lease, "weekly", report.id)


async def test_old_reports_are_deleted_but_not_the_newest_and_the_last_delivered(state: State) -> None:
    lease = await taken(state)
    for day in range(5):
        report = a_report(NOW + day * DAY)
        await state.record_report(lease, report)
        if day in {0, 1}:
            await state.record_delivery(lease, delivered(report, 0))

    assert await state.prune_reports(NOW + 3 * DAY) == 2
    found = await state.load_reports("weekly")
    assert [each.scheduled_at for each in found] == [NOW + 4 * DAY, NOW + 3 * DAY, NOW + DAY]
    assert await state.prune_reports(NOW + 10 * DAY) == 1
