"""The status of a workspace on the page, and its chart."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date, timedelta

import pytest

from agent.daemon.interface import ActiveRun, WorkspaceStatus
from agent.model import Mode
from agent.model.run import Run, RunCounts, RunOutline, RunStatus, Trigger
from agent.report.document import encode_plan
from agent.report.plan_figures import plan_figures
from agent.web.chart import render_chart
from agent.web.status import fleet_summary, format_ago, format_until, status_card, trend_points, worst_first
from tests.golden.samples import latam
from tests.state_samples import NOW

RUN = Run(
    id="r1",
    workspace="latam",
    trigger=Trigger.SCHEDULE,
    dry_run=False,
    started_at=NOW,
    status=RunStatus.DONE,
    finished_at=NOW,
    tally=RunCounts(active=40, changes=2, held=0),
)
STATUS = WorkspaceStatus(
    "latam", Mode.ENFORCE, "every 15m", NOW, NOW + timedelta(minutes=30), None, None, RUN, RUN, RUN
)


@pytest.mark.parametrize(
    ("run", "word", "tone"),
    [
        (None, "never run", "none"),
        (RUN, "in sync", "good"),
        (
            replace(RUN, status=RunStatus.HELD, tally=RunCounts(active=40, changes=2, held=1200)),
            "1,200 on hold",
            "warn",
        ),
        (
            replace(RUN, status=RunStatus.FAILED, tally=RunCounts(active=40, changes=2, held=1, failed=3)),
            "3 failed",
            "bad",
        ),
        (replace(RUN, status=RunStatus.PLANNED, dry_run=True), "2 to change", "warn"),
        (replace(RUN, status=RunStatus.PLANNED), "2 to change", "warn"),
        (
            replace(RUN, status=RunStatus.PLANNED, dry_run=True, tally=RunCounts(active=40, changes=0, held=0)),
            "in sync",
            "good",
        ),
        (replace(RUN, status=RunStatus.INCOMPLETE, tally=None), "not read", "bad"),
        (replace(RUN, status=RunStatus.CREDENTIALS, tally=None), "check credentials", "bad"),
        (replace(RUN, status=RunStatus.INTERRUPTED), "interrupted", "bad"),
        (replace(RUN, status=RunStatus.DONE, tally=None), "done", "warn"),
    ],
)
def test_status_label_follows_the_last_run(run: Run | None, word: str, tone: str) -> None:
    shown = status_card(replace(STATUS, last_run=run), (), NOW)
    assert (shown.label, shown.tone) == (word, tone)


def test_workspace_that_was_not_read_in_time_is_overdue() -> None:
    early, late = NOW + timedelta(minutes=29), NOW + timedelta(minutes=31)
    assert [status_card(STATUS, (), when).is_overdue for when in (early, late)] == [False, True]
    assert not status_card(replace(STATUS, stale_after=None), (), late).is_overdue


def test_token_that_expires_soon_is_marked() -> None:
    days = [
        status_card(replace(STATUS, token_expires=date(2026, 3, 1) + timedelta(days=each)), (), NOW)
        for each in (31, 30, -1)
    ]
    assert [(each.expires_in_days, each.expires_soon) for each in days] == [(31, False), (30, True), (-1, True)]


def test_problems_come_before_healthy_workspaces_and_the_fleet_is_summed() -> None:
    held = replace(RUN, status=RunStatus.HELD, tally=RunCounts(active=40, changes=2, held=3))
    lost = replace(RUN, status=RunStatus.INCOMPLETE, tally=None)
    simulated = replace(RUN, status=RunStatus.PLANNED, dry_run=True)
    states = {"fine": RUN, "simulated": simulated, "held": held, "lost": lost, "late": RUN}
    cards = [
        status_card(
            replace(STATUS, name=name, last_run=run, stale_after=NOW - timedelta(hours=name == "late")), (), NOW
        )
        for name, run in states.items()
    ]
    found = fleet_summary(cards, 470)

    assert [card.status.name for card in worst_first(cards)] == ["late", "lost", "held", "simulated", "fine"]
    assert (found.workspaces, found.in_sync, found.failing, found.held, found.members) == (5, 1, 2, 3, 160)
    assert (found.oldest_hold, found.budget_left) == (None, 470)


def test_oldest_hold_of_the_fleet_is_the_oldest_of_those_that_wait_for_a_person() -> None:
    """A workspace of which every hold waits for no one has no time, as in the metric."""
    figures = plan_figures(encode_plan(latam()), NOW, ())
    times = (NOW, NOW - timedelta(days=2), None)
    cards = [status_card(replace(STATUS, figures=replace(figures, oldest_hold=each)), (), NOW) for each in times]
    assert fleet_summary(cards, 470).oldest_hold == NOW - timedelta(days=2)
    assert fleet_summary(cards[2:], 470).oldest_hold is None


def test_trend_ends_with_the_newest_run() -> None:
    runs = [
        RunOutline(RUN.id, NOW - timedelta(hours=each), RunStatus.DONE, dry_run=False, active=active)
        for each, active in ((0, 40), (1, 20), (4, 20))
    ]

    assert trend_points(runs) == "0.0,12.0 90.0,12.0 120.0,1.0"
    assert trend_points([*runs[:1], runs[1]._replace(active=None)]) == ""


def test_card_shows_its_own_runs() -> None:
    runs = [ActiveRun(name, name, Trigger.PAGE, True, "ana", NOW) for name in ("latam", "eu")]
    assert [each.run_id for each in status_card(STATUS, runs, NOW).active_runs] == ["latam"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "119 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_times_are_shown_in_their_largest_unit(seconds: int, text: str) -> None:
    assert format_ago(NOW - timedelta(seconds=seconds), NOW) == f"{text} ago"
    assert format_until(NOW + timedelta(seconds=seconds), NOW) == f"in {text}"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "lines"), [("members", 1), ("changes", 2)])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_chart_is_a_self_contained_image(theme: str, name: str, lines: int, count: int) -> None:
    runs = [replace(RUN, started_at=NOW - timedelta(hours=each)) for each in range(count)]
    drawn = render_chart([*runs, replace(RUN, tally=None)], name, theme)
    root = ET.fromstring(drawn)  # noqa: S314 - our own

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [each for each in root.iter() if each.tag.endswith("script")]
    assert b"http" not in drawn.replace(b"http://www.w3.org", b"")
    assert b"style" not in drawn
    assert drawn.count(b"<circle") == lines * count
    assert (b"No run with a plan yet" in drawn) == (count == 0)


def test_chart_places_runs_by_their_time_and_the_newest_at_the_right_edge() -> None:
    few = RunCounts(active=20, changes=0, held=0)
    earlier = [replace(RUN, started_at=NOW - timedelta(hours=each), tally=few) for each in (3, 4)]
    drawn = render_chart([RUN, *earlier], "members", "light").decode()

    assert 'points="48.0,66.0 142.0,66.0 424.0,24.0 "' in drawn
