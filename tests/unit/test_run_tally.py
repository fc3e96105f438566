"""A run in four numbers, as lists and charts show it."""

from __future__ import annotations

from agent.engine.records import run_counts
from agent.model import Change, Hold, Kind, MemberCounts, Mode, Plan
from agent.model.run import Outcome, RunCounts
from tests.state_samples import a_change, done


def a_hold(change: Change) -> Hold:
    return Hold(
        kind=change.kind,
        code="max-deactivations",
        email=change.email,
        reason="Too many.",
        remedy="Approve it.",
        change=change,
    )


CHANGES = (a_change(Kind.ADOPT), a_change(Kind.DEACTIVATE), a_change(Kind.CREATE), a_change(Kind.UPDATE_EMAIL))
PLAN = Plan(
    workspace="latam",
    mode=Mode.ENFORCE,
    sources=(),
    members=MemberCounts(total=9, active=7, linked=6, guarded=6),
    in_sync=3,
    changes=CHANGES,
    holds=(a_hold(a_change()),),
    notes=(),
)


def test_tally_of_a_dry_run_counts_what_it_would_do() -> None:
    assert run_counts(PLAN) == RunCounts(active=7, changes=3, held=1)


def test_tally_of_a_run_counts_what_became_of_it() -> None:
    outcomes = (Outcome.DONE, Outcome.DONE, Outcome.HELD, Outcome.NOT_TRIED)
    records = [done(change, seq, outcome) for seq, (change, outcome) in enumerate(zip(CHANGES, outcomes, strict=True))]

    assert run_counts(PLAN, records) == RunCounts(active=7, changes=1, held=2, failed=1)
