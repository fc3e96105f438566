"""The ladder to enforce: each step is done, missing, failed or outdated, with the command that does it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.ladder import load_ladder
from agent.model.codes import GuardCode, HoldCode
from agent.model.ladder import LadderStep, StepName, StepState, build_ladder
from agent.model.run import Run, RunCounts, RunStatus, Trigger
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.report.check import check_text, ladder_json
from agent.report.document import encode_plan
from tests.golden.samples import a_guarded_leaver, a_plan
from tests.memory_state import MemoryState
from tests.state_samples import NOW, Clock, a_run

KINDS = {
    VerificationKind.CHECK: StepName.CHECKED,
    VerificationKind.PROBE: StepName.PROBED,
    VerificationKind.COMPARE: StepName.COMPARED,
}


def verified(
    kind: VerificationKind, result: VerificationResult = VerificationResult.PASSED, days_ago: int = 1
) -> Verification:
    at = NOW - timedelta(days=days_ago)
    return Verification(workspace="latam", kind=kind, started_at=at, result=result, subject="someone")


def dry(number: int, **more: object) -> Run:
    run = a_run(f"r{number}", at=NOW - timedelta(hours=number), dry=True)
    tally = RunCounts(active=9, changes=1, held=0)
    return replace(run, status=RunStatus.PLANNED, tally=tally, **more)  # type: ignore[arg-type]  # fields of a run


def ladder(
    verifications: list[Verification] | None = None,
    dry_runs: list[tuple[Run, str]] | None = None,
    approved: Run | None = None,
) -> dict[StepName, LadderStep]:
    steps = build_ladder("latam", NOW, verifications or [], dry_runs or [], approved, "okta-sdk")
    assert [step.name for step in steps] == list(StepName)
    return {step.name: step for step in steps}


def test_new_workspace_has_every_step_before_it_with_its_command() -> None:
    steps = ladder()
    assert {step.state for step in steps.values()} == {StepState.MISSING}
    assert [step.command for step in steps.values()] == [
        "pigment-sync check --workspace latam",
        "pigment-sync probe --workspace latam --as canary@acme.com",
        "pigment-sync compare --workspace latam --with okta-sdk",
        "pigment-sync plan --workspace latam",
        "pigment-sync sync --workspace latam --approve DIGEST",
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("result", "state"),
    [
        (VerificationResult.PASSED, StepState.DONE),
        (VerificationResult.FAILED, StepState.FAILED),
        (VerificationResult.RUNNING, StepState.FAILED),
    ],
)
def test_newest_verification_decides(kind: VerificationKind, result: VerificationResult, state: StepState) -> None:
    older = VerificationResult.FAILED if state is StepState.DONE else VerificationResult.PASSED
    step = ladder([verified(kind, result), verified(kind, older, 2)])[KINDS[kind]]
    assert (step.state, step.at) == (state, NOW - timedelta(days=1))
    assert bool(step.command) is (state is not StepState.DONE)


def test_probe_that_found_differences_is_done_and_a_comparison_is_not() -> None:
    found = [verified(kind, VerificationResult.DIFFERS) for kind in (VerificationKind.PROBE, VerificationKind.COMPARE)]
    steps = ladder(found)
    assert (steps[StepName.PROBED].state, steps[StepName.COMPARED].state) == (StepState.DONE, StepState.FAILED)
    assert "found differences" in steps[StepName.PROBED].detail


@pytest.mark.parametrize(("days", "state"), [(30, StepState.DONE), (31, StepState.OUTDATED)])
def test_verification_is_outdated_after_thirty_days(days: int, state: StepState) -> None:
    step = ladder([verified(VerificationKind.CHECK, days_ago=days)])[StepName.CHECKED]
    assert (step.state, bool(step.command)) == (state, state is StepState.OUTDATED)


@pytest.mark.parametrize(
    ("reasons", "state", "detail"),
    [
        ([], StepState.MISSING, "0 of 3"),
        (["", ""], StepState.MISSING, "2 of 3"),
        (["", "", ""], StepState.DONE, "3 of 3"),
        (["", "", "was held by fleet"], StepState.MISSING, "2 of 3"),
        (["was held by fleet", "", "", ""], StepState.FAILED, "run r0 was held by fleet"),
    ],
)
def test_three_clean_dry_runs_in_a_row_are_needed(reasons: list[str], state: StepState, detail: str) -> None:
    step = ladder(dry_runs=[(dry(number), why) for number, why in enumerate(reasons)])[StepName.DRY_RUNS]
    assert (step.state, step.detail) == (state, detail)


def test_old_dry_runs_are_outdated_and_an_approved_run_never_is() -> None:
    long_ago = NOW - timedelta(days=400)
    runs = [(replace(dry(number), started_at=long_ago), "") for number in range(3)]
    approved = replace(a_run("r9", at=long_ago), approved_digest="sha256:1")
    steps = ladder(dry_runs=runs, approved=approved)
    assert steps[StepName.DRY_RUNS].state is StepState.OUTDATED
    assert (steps[StepName.APPROVED_RUN].state, steps[StepName.APPROVED_RUN].detail) == (
        StepState.DONE,
        "run r9 by ops",
    )


async def loaded(*runs: Run) -> dict[StepName, LadderStep]:
    state = MemoryState(Clock().now)
    for run in runs:
        await state.record_run(run)
    return {step.name: step for step in await load_ladder(state, "latam", NOW, "okta-sdk")}


async def test_only_whole_dry_runs_that_planned_count() -> None:
    steps = await loaded(
        dry(1),
        dry(2, user="ana@acme.com"),
        dry(3, workspace="other"),
        replace(dry(4), dry_run=False),
        replace(dry(5), trigger=Trigger.UNDO),
        dry(6),
    )
    assert steps[StepName.DRY_RUNS].detail == "2 of 3"


async def test_incomplete_dry_run_is_not_clean() -> None:
    steps = await loaded(replace(dry(1), status=RunStatus.INCOMPLETE), dry(2), dry(3))
    assert (steps[StepName.DRY_RUNS].state, steps[StepName.DRY_RUNS].detail) == (
        StepState.FAILED,
        "run r1 was not complete (incomplete)",
    )


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (GuardCode.MAX_DEACTIVATIONS, StepState.FAILED),
        (GuardCode.APPROVAL_REQUIRED, StepState.DONE),
        (GuardCode.TOGGLE_OFF, StepState.DONE),
        (HoldCode.DOMAIN_NOT_ALLOWED, StepState.DONE),
    ],
)
async def test_dry_run_in_which_a_guard_holds_is_not_clean(code: str, state: StepState) -> None:
    plan = a_plan("latam", holds=(replace(a_guarded_leaver(1), code=code, guards=(code,)),))
    held = replace(dry(1), tally=RunCounts(active=9, changes=1, held=1), document=encode_plan(plan))
    step = (await loaded(held, dry(2), dry(3)))[StepName.DRY_RUNS]
    assert (step.state, "was held by max-deactivations" in step.detail) == (state, state is StepState.FAILED)


async def test_approved_run_must_have_written() -> None:
    refused = replace(a_run("r1"), approved_digest="sha256:1", status=RunStatus.STALE)
    wrote = replace(a_run("r2", at=NOW - timedelta(hours=1)), approved_digest="sha256:1", status=RunStatus.DONE)
    assert (await loaded(refused))[StepName.APPROVED_RUN].state is StepState.MISSING
    assert (await loaded(refused, wrote))[StepName.APPROVED_RUN].detail == "run r2 by ops"


def test_text_shows_the_command_of_the_next_step_alone() -> None:
    steps = list(ladder([verified(VerificationKind.CHECK)]).values())
    lines = check_text([], "ascii", colour=False, ladders={"latam": steps}).splitlines()
    assert lines == [
        "Ladder to enforce of latam:",
        "ok checked: done, 2026-02-28 12:00 UTC (with someone)",
        "-  probed: missing",
        "     pigment-sync probe --workspace latam --as canary@acme.com",
        "-  compared: missing",
        "-  dry-runs: missing (0 of 3)",
        "-  approved-run: missing (after `mode: enforce` and a plan, with its digest)",
        "0 ok, 0 warnings, 0 errors",
    ]
    assert ladder_json(steps)[0] == {
        "step": "checked",
        "state": "done",
        "at": "2026-02-28T12:00:00Z",
        "detail": "with someone",
        "command": "",
    }
