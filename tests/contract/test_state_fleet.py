"""What one read returns of many workspaces is what the reads of each return."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent.daemon.newest_runs import OUTLINES, load_newest_runs
from agent.ladder import load_ladder
from agent.model import Mode
from agent.model.approval import Approval
from agent.model.ladder import StepName, StepState
from agent.model.run import Pause, Run, RunCounts, RunFilter, RunOutline, RunStatus, Trigger
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.ports.state import State
from tests.state_samples import NOW, a_run

NAMES = ("latam", "emea", "brazil")
NOTHING_HELD = RunCounts(active=405, changes=0, held=0)


def a_whole_run(name: str, minutes: int, status: RunStatus, **changes: Any) -> Run:
    run = a_run(name, at=NOW + timedelta(minutes=minutes))
    return replace(run, status=status, finished_at=run.started_at, **changes)


async def test_outlines_are_the_newest_runs_for_everyone(state: State) -> None:
    counted = RunCounts(active=405, changes=1, held=0)
    runs = [
        a_whole_run("r1", 1, RunStatus.DONE, tally=counted),
        a_whole_run("r2", 2, RunStatus.PLANNED, dry_run=True),
        a_whole_run("r3", 3, RunStatus.INCOMPLETE),
        a_whole_run("feed", 4, RunStatus.DONE, trigger=Trigger.FEED, tally=counted),
        a_whole_run("one", 5, RunStatus.DONE, user="ann@acme.com", tally=counted),
        a_whole_run("other", 6, RunStatus.DONE, workspace="emea"),
    ]
    for run in runs:
        await state.record_run(run)

    found = await state.load_outlines(NAMES, 2)
    everything = await state.load_outlines(["latam"], 9)

    third = RunOutline("r3", runs[2].started_at, RunStatus.INCOMPLETE, dry_run=False, active=None)
    second = RunOutline("r2", runs[1].started_at, RunStatus.PLANNED, dry_run=True, active=None)
    first = RunOutline("r1", runs[0].started_at, RunStatus.DONE, dry_run=False, active=405)
    other = RunOutline("other", runs[5].started_at, RunStatus.DONE, dry_run=False, active=None)
    assert found == {"latam": (third, second), "emea": (other,), "brazil": ()}
    assert everything == {"latam": (third, second, first)}


async def test_newest_run_with_a_status_is_found_however_old_it_is(state: State) -> None:
    runs = [
        a_whole_run("applied", 1, RunStatus.HELD),
        a_whole_run("read", 2, RunStatus.PLANNED, dry_run=True),
        a_whole_run("feed", 3, RunStatus.DONE, trigger=Trigger.FEED),
        a_whole_run("failed", 4, RunStatus.INCOMPLETE),
        a_whole_run("other", 5, RunStatus.DONE, workspace="emea", dry_run=True),
    ]
    for run in runs:
        await state.record_run(run)
    statuses = {RunStatus.HELD, RunStatus.DONE, RunStatus.PLANNED}

    assert await state.find_newest_runs(NAMES, statuses, only_applied=False) == {"latam": "read", "emea": "other"}
    assert await state.find_newest_runs(NAMES, statuses, only_applied=True) == {"latam": "applied"}
    assert await state.find_newest_runs((), statuses, only_applied=False) == {}


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.DRY_RUN])
async def test_hundreds_of_failures_hide_neither_the_last_read_nor_what_was_applied(mode: Mode, state: State) -> None:
    await state.record_run(a_whole_run("applied", 0, RunStatus.DONE))
    await state.record_run(a_whole_run("read", 1, RunStatus.FAILED))
    for minute in range(OUTLINES + 2):
        await state.record_run(a_whole_run(f"failure-{minute}", 2 + minute, RunStatus.INCOMPLETE))

    newest = (await load_newest_runs(state, {"latam": mode, "emea": mode}))["latam"]

    assert newest.last_run is not None
    assert newest.last_run.id == f"failure-{OUTLINES + 1}"
    assert newest.last_read is not None
    assert newest.last_read.id == "read"
    # A workspace that only plans is not asked for what it never applies.
    assert (newest.last_applied.id if newest.last_applied else None) == ("applied" if mode is Mode.ENFORCE else None)


@pytest.mark.parametrize(("where", "expected"), [
    (RunFilter(), ["user", "feed", "dry", "ended"]),
    (RunFilter(triggers=frozenset({Trigger.FEED, Trigger.UNDO})), ["feed"]),
    (RunFilter(statuses=frozenset({RunStatus.HELD, RunStatus.FAILED})), ["ended"]),
    (RunFilter(is_dry=True), ["dry"]),
    (RunFilter(is_dry=False, is_whole=True), ["ended"]),
    (RunFilter(is_whole=True), ["dry", "ended"]),
    (RunFilter(is_approved=True), ["ended"]),
    (RunFilter(is_approved=True, is_dry=True), []),
])  # fmt: skip
async def test_runs_that_are_not_asked_for_hide_none(where: RunFilter, expected: list[str], state: State) -> None:
    runs = [
        a_whole_run("ended", 1, RunStatus.HELD, approved_digest="sha256:1"),
        a_whole_run("dry", 2, RunStatus.PLANNED, dry_run=True),
        a_whole_run("feed", 3, RunStatus.DONE, trigger=Trigger.FEED),
        a_whole_run("user", 4, RunStatus.DONE, user="ann@acme.com"),
    ]
    for run in runs:
        await state.record_run(run)

    assert [run.id for run in await state.load_runs(["latam"], where=where)] == expected
    assert [run.id for run in await state.load_runs(limit=1, where=where)] == expected[:1]


async def test_steps_of_the_ladder_are_found_behind_hundreds_of_runs(state: State) -> None:
    await state.record_run(a_whole_run("dry", 0, RunStatus.PLANNED, dry_run=True, tally=NOTHING_HELD))
    await state.record_run(a_whole_run("approved", 1, RunStatus.DONE, approved_digest="sha256:1"))
    for minute in range(210):
        await state.record_run(a_whole_run(f"r{minute}", 2 + minute, RunStatus.DONE))

    steps = await load_ladder(state, "latam", NOW + timedelta(hours=4), "okta-sdk")

    found = {step.name: (step.state, step.detail) for step in steps}
    assert found[StepName.DRY_RUNS] == (StepState.MISSING, "1 of 3")
    assert found[StepName.APPROVED_RUN] == (StepState.DONE, "run approved by ops")


async def test_newest_approval_of_each_workspace(state: State) -> None:
    given = []
    for number, name in enumerate(["latam", "latam", "emea"]):
        lease = await state.take_lease(name, "one")
        await state.begin_run(a_run(f"r{number}", name, NOW + timedelta(minutes=number)), lease)
        at = NOW + timedelta(minutes=number)
        approval = Approval(workspace=name, digest=f"sha256:{number}", by="ana", at=at, reason="", run_id=f"r{number}")
        await state.record_approval(lease, approval)
        await state.release_lease(lease)
        given.append(approval)

    assert await state.load_newest_approvals(NAMES) == {"latam": given[1], "emea": given[2]}
    assert await state.load_newest_approvals(()) == {}


async def test_leases_and_pauses_are_those_of_each_workspace(state: State) -> None:
    await state.take_lease("emea", "two")
    await state.take_lease("latam", "one")
    await state.release_lease(await state.take_lease("brazil", "three"))
    await state.set_pause("latam", Pause(NOW, "ops", "an upgrade"))

    single = [await state.load_lease(name) for name in ("emea", "latam")]
    assert await state.load_leases(NAMES) == tuple(single)
    assert await state.load_leases(()) == ()
    assert await state.load_pauses() == {"latam": await state.load_pause("latam")}


async def test_verifications_of_several_workspaces_are_newest_first(state: State) -> None:
    def made(workspace: str, minutes: int, kind: VerificationKind = VerificationKind.COMPARE) -> Verification:
        at = NOW + timedelta(minutes=minutes)
        return Verification(workspace=workspace, kind=kind, started_at=at, result=VerificationResult.PASSED)

    recorded = [made("latam", 1), made("emea", 2), made("latam", 3), made("latam", 4, VerificationKind.CHECK)]
    for each in (*recorded, made("other", 5)):
        await state.record_verification(each)

    found = await state.load_all_verifications(NAMES, VerificationKind.COMPARE)
    assert found == (recorded[2], recorded[1], recorded[0])
