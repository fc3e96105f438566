"""Tables: aligned for people, tab-separated for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from agent.model import Kind
from agent.model.run import Run, RunCounts, RunStatus, Trigger
from agent.report.history import RUN_HEADINGS, run_cells, run_row
from agent.report.table import format_table

HEADINGS = ("email", "name", "reason")
ROWS = [("ana@acme.com", "山田太郎", "left the group Pigment LatAm"), ("b@acme.com", "", "")]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN = Run(
    id="r1",
    workspace="latam",
    trigger=Trigger.SYNC,
    dry_run=False,
    started_at=NOW,
    status=RunStatus.DONE,
    finished_at=NOW + timedelta(seconds=125, milliseconds=900),
    by="ana",
    reason="why",
    tally=RunCounts(active=9, changes=4, held=2, failed=1),
)


def test_pipe_gets_tab_separated_values_with_a_heading() -> None:
    assert format_table(HEADINGS, [("a\tb", "\x1b[31m", "x\ny")], None) == (
        "email\tname\treason\na\\x09b\t\\x1b[31m\tx\\x0ay\n"
    )
    assert format_table(HEADINGS, [], None) == "email\tname\treason\n"


def test_terminal_gets_aligned_columns_and_only_the_last_is_wrapped() -> None:
    assert format_table(HEADINGS, ROWS, 80).splitlines() == [
        "email         name      reason",
        "ana@acme.com  山田太郎  left the group Pigment LatAm",
        "b@acme.com",
    ]
    assert format_table(HEADINGS, ROWS, 45).splitlines()[1:3] == [
        "ana@acme.com  山田太郎  left the group",
        "                        Pigment LatAm",
    ]
    assert all(cell_len(line) <= 45 for line in format_table(HEADINGS, ROWS, 45).splitlines())


def test_narrow_terminal_gets_whole_lines() -> None:
    assert format_table(HEADINGS, ROWS, 20) == format_table(HEADINGS, ROWS, 200)


def test_run_has_its_counts_and_duration() -> None:
    made = {Kind.CREATE: 1, Kind.DEACTIVATE: 2, Kind.UPDATE_NAME: 1, Kind.REACTIVATE: 3, Kind.ADOPT: 7}
    row = dict(zip(RUN_HEADINGS, run_cells(RUN, made), strict=True))

    assert [row[name] for name in ("created", "deactivated", "changed", "on_hold", "failed")] == list("12421")
    assert (row["started"], row["duration"], row["by"], row["reason"]) == (
        "2026-03-01 12:00:00",
        "2m 05s",
        "ana",
        "why",
    )
    assert run_row(RUN, made)["counts"] == {
        "created": 1,
        "deactivated": 2,
        "changed": 4,
        "matched": 7,
        "on_hold": 2,
        "failed": 1,
        "to_change": None,
    }
    assert run_row(RUN, made)["duration_seconds"] == 125.9


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.9, "0s"), (59, "59s"), (60, "1m 00s"), (3_599, "59m 59s"), (3_725, "1h 02m")]
)
def test_duration_is_short(seconds: float, shown: str) -> None:
    run = Run(
        id="r1",
        workspace="latam",
        trigger=Trigger.SYNC,
        dry_run=False,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=seconds),
    )
    assert run_cells(run, {})[5] == shown


def test_dry_run_shows_what_is_on_hold_and_claims_no_change() -> None:
    run = Run(
        id="r1",
        workspace="latam",
        trigger=Trigger.PLAN,
        dry_run=True,
        started_at=NOW,
        status=RunStatus.RUNNING,
        tally=RunCounts(active=9, changes=4, held=2),
    )
    assert run_cells(run, {})[2:11] == ("dry run", "running", "2026-03-01 12:00:00", "", "", "", "", "2", "")
    assert run_row(run, {})["counts"] == {
        "created": None,
        "deactivated": None,
        "changed": None,
        "matched": None,
        "on_hold": 2,
        "failed": None,
        "to_change": 4,
    }
