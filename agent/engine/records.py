"""Build the journal's runs, written when a run begins and when a dry run ends, and delete old ones."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from agent.engine.request import Decision, RunRequest
from agent.errors import PigmentSyncError
from agent.model import Kind, Mode, Plan, Policy
from agent.model.provenance import Provenance
from agent.model.run import ChangeRecord, Outcome, Run, RunCounts, RunStatus
from agent.ports.clock import Clock
from agent.ports.state import State

__all__ = [
    "RETENTION",
    "admin_run",
    "finished_dry_run",
    "new_run",
    "new_run_id",
    "outcome_summary",
    "prune_old_runs",
    "run_counts",
]

log = structlog.get_logger()
RETENTION = timedelta(days=400)
"""How long runs are kept: long enough for an audit of the same month of last year."""


def new_run_id(now: datetime) -> str:
    """Return an id that sorts by time and is easy to read: `20260301-120000-3f9a1c`."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def new_run(policy: Policy, request: RunRequest, now: datetime) -> Run:
    """Return a run under a lease that starts now. In a workspace in dry-run mode it is a dry run."""
    is_dry = policy.mode is Mode.DRY_RUN
    run_id = request.run_ids.get(policy.workspace) or new_run_id(now)
    return Run(
        id=run_id,
        workspace=policy.workspace,
        trigger=request.trigger,
        dry_run=is_dry,
        started_at=now,
        by=request.by,
        reason=request.reason,
        user=request.user,
        target=policy.target,
        provenance=policy.provenance,
    )


def admin_run(workspace: str, request: RunRequest, now: datetime, provenance: Provenance) -> Run:
    """Return a run that only records who did something and why, such as a pause or a resume."""
    return Run(
        id=new_run_id(now),
        workspace=workspace,
        trigger=request.trigger,
        dry_run=False,
        started_at=now,
        status=RunStatus.DONE,
        finished_at=now,
        by=request.by,
        reason=request.reason,
        provenance=provenance,
    )


def finished_dry_run(decision: Decision, request: RunRequest, started_at: datetime, now: datetime) -> Run:
    """Return a dry run that ends now, without its document, which is recorded with it."""
    unplanned, plan = decision.unplanned, decision.plan
    return Run(
        id=request.run_ids.get(decision.policy.workspace) or new_run_id(now),
        workspace=decision.policy.workspace,
        trigger=request.trigger,
        dry_run=True,
        started_at=started_at,
        status=RunStatus(unplanned.status) if unplanned else RunStatus.PLANNED,
        finished_at=now,
        by=request.by,
        reason=request.reason,
        digest=decision.digest,
        error=unplanned.message if unplanned else "",
        guarded=plan.members.guarded if plan and not decision.target_check.holds_everything else None,
        requests=decision.requests,
        tally=run_counts(plan) if plan else None,
        user=request.user,
        target=decision.policy.target,
        provenance=decision.policy.provenance,
    )


def run_counts(plan: Plan, records: Sequence[ChangeRecord] | None = None) -> RunCounts:
    """Count the changes of *plan*, or with *records* their outcomes."""
    if records is None:
        planned = sum(change.kind is not Kind.ADOPT for change in plan.changes)
        return RunCounts(active=plan.members.active, changes=planned, held=len(plan.holds))
    outcomes = Counter(record.outcome for record in records if record.change.kind is not Kind.ADOPT)
    made, held = outcomes.pop(Outcome.DONE, 0), outcomes.pop(Outcome.HELD, 0)
    return RunCounts(active=plan.members.active, changes=made, held=len(plan.holds) + held, failed=outcomes.total())


def outcome_summary(records: Sequence[ChangeRecord]) -> str:
    """Return a sentence with the outcomes of an interrupted run's changes; empty if it tried none."""
    outcomes = Counter(record.outcome for record in records if record.change.kind is not Kind.ADOPT)
    total = outcomes.total()
    if not total:
        return ""
    words = {
        Outcome.DONE: "made",
        Outcome.UNKNOWN: "sent without a known answer",
        Outcome.NOT_TRIED: "not sent",
    }
    parts = [f"{outcomes.pop(outcome)} {word}" for outcome, word in words.items() if outcome in outcomes]
    parts += [f"{outcomes.total()} failed or held"] if outcomes else []
    return f"Of {total:,} changes: {', '.join(parts)}."


async def prune_old_runs(state: State, clock: Clock) -> None:
    """Delete runs and reports older than `RETENTION`, except what later ones need. Log a failure: it is tried again."""
    try:
        gone = await state.prune(clock.now() - RETENTION)
        await state.prune_reports(clock.now() - RETENTION)
    except PigmentSyncError as failure:
        log.warning("journal.not_pruned", error=failure.message)
    else:
        if gone:
            log.info("journal.pruned", runs=gone)
