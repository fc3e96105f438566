"""Runs as the journal has them: what is written when one begins and when a dry run ends."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from agent.engine.order import Decision, Order
from agent.model import Kind, Mode, Plan, Policy
from agent.ports import ChangeRecord, Outcome, Run, RunStatus, Tally
from agent.report.document import encode_workspace

__all__ = ["begun", "counted", "finished", "new_run_id", "noted", "tally"]


def new_run_id(now: datetime) -> str:
    """Return an id that sorts by time and can be read aloud: `20260301-120000-3f9a1c`."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def begun(policy: Policy, order: Order, now: datetime) -> Run:
    """Return a run under a lease that starts now; a workspace in dry-run mode makes a dry run of it."""
    is_dry = policy.mode is Mode.DRY_RUN
    run_id = order.run_ids.get(policy.workspace) or new_run_id(now)
    return Run(
        run_id,
        policy.workspace,
        order.trigger,
        is_dry,
        started_at=now,
        by=order.by,
        reason=order.reason,
        user=order.user,
        target=policy.target,
    )


def noted(workspace: str, order: Order, now: datetime) -> Run:
    """Return a run that only says who did something and why: a pause, a resume."""
    return Run(
        new_run_id(now),
        workspace,
        order.trigger,
        dry_run=False,
        started_at=now,
        status=RunStatus.DONE,
        finished_at=now,
        by=order.by,
        reason=order.reason,
    )


def finished(decision: Decision, order: Order, now: datetime) -> Run:
    """Return a dry run that has ended, with its plan or why there is none."""
    unplanned, plan = decision.unplanned, decision.plan
    return Run(
        order.run_ids.get(decision.policy.workspace) or new_run_id(now),
        decision.policy.workspace,
        order.trigger,
        dry_run=True,
        started_at=now,
        status=RunStatus(unplanned.status) if unplanned else RunStatus.PLANNED,
        finished_at=now,
        by=order.by,
        reason=order.reason,
        digest=decision.object["digest"],
        document=encode_workspace(decision.object),
        error=unplanned.message if unplanned else "",
        guarded=plan.members.guarded if plan and not decision.target.holds_everything else None,
        requests=decision.requests,
        tally=tally(plan) if plan else None,
        user=order.user,
        target=decision.policy.target,
    )


def tally(plan: Plan, records: Sequence[ChangeRecord] | None = None) -> Tally:
    """Count *plan*, or with *records* what has become of it."""
    if records is None:
        planned = sum(change.kind is not Kind.ADOPT for change in plan.changes)
        return Tally(plan.members.active, planned, len(plan.holds))
    outcomes = Counter(record.outcome for record in records if record.change.kind is not Kind.ADOPT)
    made, held = outcomes.pop(Outcome.DONE, 0), outcomes.pop(Outcome.HELD, 0)
    return Tally(plan.members.active, made, len(plan.holds) + held, outcomes.total())


def counted(records: Sequence[ChangeRecord]) -> str:
    """Return a sentence with the outcome of the changes of a run that was cut off, empty when it tried none."""
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
