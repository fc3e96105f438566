"""The ladder to enforce: what is proven before a workspace is written to, and the command for the next step. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agent.model.run import Run
from agent.model.verification import Verification, VerificationKind, VerificationResult

__all__ = [
    "CLEAN_DRY_RUNS",
    "LadderStep",
    "StepName",
    "StepState",
    "build_ladder",
]

CLEAN_DRY_RUNS = 3
"""How many of the newest dry runs in a row must be clean."""
OUTDATED_AFTER = timedelta(days=30)
"""After this time the vendors may answer in another way."""


class StepName(StrEnum):
    """The steps, in their order. Programs filter by it: a value never changes once released."""

    CHECKED = "checked"
    PROBED = "probed"
    COMPARED = "compared"
    DRY_RUNS = "dry-runs"
    APPROVED_RUN = "approved-run"


class StepState(StrEnum):
    DONE = "done"
    MISSING = "missing"
    FAILED = "failed"
    OUTDATED = "outdated"


@dataclass(frozen=True, slots=True)
class LadderStep:
    """One step. *at* is when it was tried last, None: never. *detail* is what was found. *command* makes it, and is
    empty once it is done."""

    name: StepName
    state: StepState
    at: datetime | None
    detail: str
    command: str


def build_ladder(
    workspace: str,
    now: datetime,
    verifications: Sequence[Verification],
    dry_runs: Sequence[tuple[Run, str]],
    approved: Run | None,
    other_reader: str,
) -> tuple[LadderStep, ...]:
    """Return the steps in their order.

    *verifications* and *dry_runs* are newest first. Each of *dry_runs* is a whole one, with the reason why it is not
    clean, empty if it is: not complete, or something was on hold by a guard. *approved* is the newest run with an
    approval that wrote. *other_reader* is the value of `--with` that fits the workspace.
    """
    name = shlex.quote(workspace)
    commands = {
        VerificationKind.CHECK: f"pigment-sync check --workspace {name}",
        VerificationKind.PROBE: f"pigment-sync probe --workspace {name} --as canary@acme.com",
        VerificationKind.COMPARE: f"pigment-sync compare --workspace {name} --with {other_reader}",
    }
    steps = {
        VerificationKind.CHECK: StepName.CHECKED,
        VerificationKind.PROBE: StepName.PROBED,
        VerificationKind.COMPARE: StepName.COMPARED,
    }
    return (
        *(_verification_step(step, kind, now, verifications, commands[kind]) for kind, step in steps.items()),
        _dry_run_step(now, dry_runs, f"pigment-sync plan --workspace {name}"),
        _approval_step(approved, f"pigment-sync sync --workspace {name} --approve DIGEST"),
    )


def _verification_step(
    step: StepName, kind: VerificationKind, now: datetime, verifications: Sequence[Verification], command: str
) -> LadderStep:
    newest = next((each for each in verifications if each.kind is kind), None)
    if newest is None:
        return LadderStep(step, StepState.MISSING, None, "", command)
    subject = f"with {newest.subject}" if newest.subject else ""
    match newest.result:
        case VerificationResult.PASSED:
            detail = subject
        case VerificationResult.DIFFERS if kind is VerificationKind.PROBE:
            # What a probe finds sets the matching switches: it has served its purpose.
            detail = f"{subject}, found differences".lstrip(", ")
        case VerificationResult.DIFFERS:
            return LadderStep(step, StepState.FAILED, newest.started_at, f"{subject}, found differences", command)
        case _:
            return LadderStep(step, StepState.FAILED, newest.started_at, subject, command)
    if now - newest.started_at > OUTDATED_AFTER:
        return LadderStep(step, StepState.OUTDATED, newest.started_at, detail, command)
    return LadderStep(step, StepState.DONE, newest.started_at, detail, "")


def _dry_run_step(now: datetime, dry_runs: Sequence[tuple[Run, str]], command: str) -> LadderStep:
    if not dry_runs:
        return LadderStep(StepName.DRY_RUNS, StepState.MISSING, None, f"0 of {CLEAN_DRY_RUNS}", command)
    newest, why = dry_runs[0]
    if why:
        return LadderStep(StepName.DRY_RUNS, StepState.FAILED, newest.started_at, f"run {newest.id} {why}", command)
    clean = next((place for place, (_, reason) in enumerate(dry_runs) if reason), len(dry_runs))
    detail = f"{min(clean, CLEAN_DRY_RUNS)} of {CLEAN_DRY_RUNS}"
    if clean < CLEAN_DRY_RUNS:
        return LadderStep(StepName.DRY_RUNS, StepState.MISSING, newest.started_at, detail, command)
    if now - newest.started_at > OUTDATED_AFTER:
        return LadderStep(StepName.DRY_RUNS, StepState.OUTDATED, newest.started_at, detail, command)
    return LadderStep(StepName.DRY_RUNS, StepState.DONE, newest.started_at, detail, "")


def _approval_step(approved: Run | None, command: str) -> LadderStep:
    """Return the last step. An approved run stays so, however long ago it was."""
    name = StepName.APPROVED_RUN
    if approved is None:
        return LadderStep(name, StepState.MISSING, None, "after `mode: enforce` and a plan, with its digest", command)
    detail = f"run {approved.id}" + (f" by {approved.by}" if approved.by else "")
    return LadderStep(name, StepState.DONE, approved.started_at, detail, "")
