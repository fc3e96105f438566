"""The overview as a status page, and what a run offers besides its plan."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.model import Kind, Mode
from agent.model.run import ChangeRecord, Outcome, RunCounts, RunStatus, Trigger
from agent.report.document import encode_plan, plan_digest
from tests.golden.samples import a_leaver, a_plan
from tests.integration.test_health import RUN
from tests.integration.test_page_approvals import PageDaemon, Visitor, daemon, visitor
from tests.state_samples import a_change

__all__ = ["daemon", "visitor"]

HELD = replace(RUN, id="held", status=RunStatus.HELD, tally=RunCounts(active=405, changes=0, held=13))


async def test_summary_of_the_fleet_stands_first_and_holds_are_a_link(visitor: Visitor, daemon: PageDaemon) -> None:
    daemon.last = HELD
    shown = await visitor.read("/")
    page = (await visitor.client.get("/")).text

    for words in ("0 of 1 in sync", "13 on hold", "405 active members", "470 requests left now"):
        assert shown.index(words) < shown.index("Review 13 on hold")
    assert 'href="/runs/held#workspace-1-held">Review 13 on hold<' in page
    assert 'id="workspace-1-held"' in (await visitor.client.get("/runs/held")).text
    assert "Mode enforce" in shown
    assert "Not paused" in shown
    assert "No approval yet" in shown


async def test_dry_run_workspace_has_no_sync_button(visitor: Visitor, daemon: PageDaemon) -> None:
    for path in ("/", "/workspaces/latam"):
        daemon.mode = Mode.ENFORCE
        assert 'value="sync"' in (await visitor.client.get(path)).text
        daemon.mode = Mode.DRY_RUN
        page = (await visitor.client.get(path)).text
        assert 'value="sync"' not in page
        assert 'value="plan"' in page


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("report.html", "text/html"), ("report.json", "application/json"), ("report.csv", "text/csv")],
)
async def test_report_of_a_run_is_downloaded_whole(visitor: Visitor, name: str, media_type: str) -> None:
    page = (await visitor.client.get("/runs/held")).text
    answer = await visitor.client.get(f"/runs/held/{name}")

    assert f'href="/runs/held/{name}" download>' in page
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.headers["content-disposition"] == f'attachment; filename="held-{name}"'
    assert {email for email in (f"leaver{each}@acme.com" for each in range(12)) if email not in answer.text} == set()
    if name == "report.csv":
        assert {row["run"] for row in csv.DictReader(io.StringIO(answer.text))} == {"held"}


async def test_unknown_report_is_not_found(visitor: Visitor) -> None:
    for path in ("/runs/held/report.pdf", "/runs/held/journal.jsonl", "/runs/nothing/report.csv"):
        assert (await visitor.client.get(path)).status_code == 404


async def test_download_needs_a_login(visitor: Visitor) -> None:
    visitor.client.cookies.clear()
    assert (await visitor.client.get("/runs/held/report.csv")).status_code == 303


async def test_run_of_another_replica_is_shown_as_running(visitor: Visitor, daemon: PageDaemon) -> None:
    lease = await daemon.state.take_lease("latam", "another")
    await daemon.state.begin_run(replace(RUN, id="elsewhere", status=RunStatus.RUNNING, finished_at=None), lease)

    assert "The run is going on, on another replica." in await visitor.read("/runs/elsewhere")


async def test_timeline_has_changes_under_previous_addresses(visitor: Visitor, daemon: PageDaemon) -> None:
    lease = await daemon.state.take_lease("latam", "one")
    await daemon.state.begin_run(replace(RUN, id="moved", status=RunStatus.RUNNING, finished_at=None), lease)
    change = a_change(Kind.UPDATE_EMAIL)
    await daemon.state.record_intent(lease, "moved", 1, change)
    record = ChangeRecord(
        run_id="moved",
        seq=1,
        change=change,
        outcome=Outcome.DONE,
        detail="",
        sent_at=RUN.started_at,
        answered_at=RUN.started_at,
        scim_id="m1",
    )
    await daemon.state.record_answer(lease, record)
    for email in ("ann@acme.com", "former@acme.com"):
        shown = await visitor.read(f"/people?email={email}&view=timeline")
        assert "Former@acme.com → ann@acme.com" in shown, email
        assert "Change email, done" in shown
    assert "The journal has no change of this person." in await visitor.read(
        "/people?email=other@acme.com&view=timeline"
    )
    assert "x is not an email address" in await visitor.read("/people?email=x&view=timeline")


async def test_sources_show_their_groups_and_one_that_is_gone(visitor: Visitor, daemon: PageDaemon) -> None:
    lease = await daemon.state.take_lease("latam", "one")
    sizes = {("okta-main", "00g1"): ("Pigment LatAm", 345), ("okta-main", "00g9"): ("Pigment Andes", 45)}
    await daemon.state.update_memory(lease, (), frozenset(), sizes)
    daemon.last = HELD
    shown = await visitor.read("/workspaces/latam")

    for words in ("Pigment Andes okta-main 45 → 0", "Pigment LatAm okta-main 345 → 300"):
        assert words in shown, shown
    assert "Planners | EMEA & friends okta-main 112" in shown


async def test_there_are_two_charts(visitor: Visitor) -> None:
    for path in re.findall(r'<img class="chart" src="([^"]+)"', (await visitor.client.get("/workspaces/latam")).text):
        answer = await visitor.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert (await visitor.client.get("/workspaces/latam/chart.svg?chart=other")).status_code == 400


async def test_charts_show_the_runs_over_the_whole_workspace(visitor: Visitor, daemon: PageDaemon) -> None:
    async def count_points() -> int:
        return (await visitor.client.get("/workspaces/latam/chart.svg")).text.count("<circle")

    counted = RunCounts(active=40, changes=0, held=0)
    for hour in range(3):
        started = RUN.started_at - timedelta(hours=hour)
        await daemon.state.record_run(replace(RUN, id=f"whole-{hour}", started_at=started, tally=counted))
    assert await count_points() == 3

    for trigger, user in ((Trigger.SYNC, "ann@acme.com"), (Trigger.UNDO, ""), (Trigger.FEED, "")):
        run = replace(RUN, id=f"{trigger}-{user}", trigger=trigger, user=user, tally=counted)
        await daemon.state.record_run(run)
    assert await count_points() == 3


async def record_undo_plan(daemon: PageDaemon) -> str:
    """Record the run `r1`, which applied a plan, and the plan of its undo. Return its digest."""
    undo = a_plan("latam", changes=tuple(a_leaver(f"p{each}@acme.com", "P", each) for each in range(11)))
    applied = replace(RUN, id="r1", status=RunStatus.DONE, document=encode_plan(undo), digest=plan_digest(undo))
    await daemon.state.record_run(applied)
    await daemon.state.record_run(replace(applied, id="u1", trigger=Trigger.UNDO, dry_run=True))
    return plan_digest(undo)


async def test_undo_is_planned_shown_and_approved_by_itself(visitor: Visitor, daemon: PageDaemon) -> None:
    digest = await record_undo_plan(daemon)
    assert "Plan an undo of this run" in await visitor.read("/runs/r1")
    assert (await visitor.send("/runs/r1/undo"))[0] == 303
    shown = await visitor.read("/runs/r1/undo/u1")
    assert "Deactivate 11 accounts? The undo also pauses latam" in shown
    assert (await visitor.send("/runs/r1/undo/u1", digest=digest, confirm="11"))[0] == 303

    planned, applied = daemon.requests
    assert (planned.is_dry_run, planned.approved_digest) == (True, None)
    assert (applied.is_dry_run, applied.approved_digest, applied.reason) == (False, digest, "reviewed")
    assert [each.undone.id for each in daemon.requests if each.undone] == ["r1", "r1"]


@pytest.mark.parametrize(
    ("by", "mode", "fields", "status", "words"),
    [
        ("rea", Mode.ENFORCE, {}, 403, "this needs operate"),
        ("ann", Mode.DRY_RUN, {}, 409, "The workspace is in mode dry-run"),
        ("ann", Mode.ENFORCE, {"reason": " "}, 422, "An approval needs a reason"),
        ("ann", Mode.ENFORCE, {"confirm": "12"}, 422, "The typed number is not the number of deactivations, 11"),
        ("ann", Mode.ENFORCE, {"digest": "sha256:00000000"}, 409, "not the plan of the undo that was shown"),
    ],
)
async def test_refused_undo_queues_nothing(  # noqa: PLR0913  (the cells of a table)
    visitor: Visitor, daemon: PageDaemon, by: str, mode: Mode, fields: dict[str, str], status: int, words: str
) -> None:
    digest = await record_undo_plan(daemon)
    daemon.mode = mode
    await visitor.log_in(by)
    found, shown = await visitor.send("/runs/r1/undo/u1", **{"digest": digest, "confirm": "11", **fields})

    assert (found, words in shown) == (status, True), shown
    assert daemon.requests == []
