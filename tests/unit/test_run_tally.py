"""A run in four numbers, as lists and charts show it."""

from __future__ import annotations

from agent.engine.records import run_counts
from agent.model import Change, Hold, Kind, MemberCounts, Mode, Plan
from agent.model.run import Outcome, RunCounts
from tests.state_samples import a_change, done


def a_hold(change: Change) -> Hold:
    return Hold(change.kind, "max-deactivations", change.email, "Too many.", "Approve it.", change=change)


CHANGES = (a_change(Kind.ADOPT), a_change(Kind.DEACTIVATE), a_change(Kind.CREATE), a_change(Kind.UPDATE_EMAIL))
PLAN = Plan("latam", Mode.ENFORCE, (), MemberCounts(9, 7, 6, 6), 3, CHANGES, (a_hold(a_change()),), ())


def test_tally_of_a_dry_run_counts_what_it_would_do() -> None:
    assert run_counts(PLAN) == RunCounts(7, 3, 1)


def test_tally_of_a_run_counts_what_became_of_it() -> None:
    outcomes = (Outcome.DONE, Outcome.DONE, Outcome.HELD, Outcome.NOT_TRIED)
    records = [done(change, seq, outcome) for seq, (change, outcome) in enumerate(zip(CHANGES, outcomes, strict=True))]

    assert run_counts(PLAN, records) == RunCounts(7, 1, 2, 1)
