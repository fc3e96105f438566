"""Samples for tests of the state: a clock that tests move, a run, a change and its record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent.model import NO_FIELDS, Change, Fields, GroupRef, Kind
from agent.model.run import ChangeRecord, Lease, Outcome, Run, Trigger
from agent.ports.state import State
from connectors.base import PersonKey

__all__ = ["ANN", "BEA", "NOW", "PLANNERS", "Clock", "a_change", "a_run", "begun", "done"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BEA = PersonKey("okta-main", "ann"), PersonKey("okta-main", "bea")
PLANNERS = (GroupRef("g1", "Planners"),)


class Clock:
    """A clock that a test moves. PostgreSQL judges leases by its own clock, which no test can move."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment

    def pass_seconds(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


def a_run(name: str = "r1", workspace: str = "latam", at: datetime = NOW, *, dry: bool = False) -> Run:
    return Run(id=name, workspace=workspace, trigger=Trigger.SYNC, dry_run=dry, started_at=at, by="ops", reason="why")


def a_change(kind: Kind = Kind.DEACTIVATE, email: str = "ann@acme.com", scim_id: str | None = "m1") -> Change:
    before, after = Fields(active=True), Fields(active=False)
    if kind is Kind.UPDATE_EMAIL:
        before, after = Fields("Former@acme.com"), Fields(email)
    if kind is Kind.ADOPT:
        before = after = NO_FIELDS
    return Change(
        kind=kind,
        email=email,
        display_name="Ann Lee",
        scim_id=scim_id,
        person=ANN,
        before=before,
        after=after,
        code="left-groups",
        reason="She left.",
        group_refs=PLANNERS,
    )


def done(
    change: Change, seq: int = 0, outcome: Outcome = Outcome.DONE, at: datetime = NOW, run: str = "r1"
) -> ChangeRecord:
    return ChangeRecord(
        run_id=run,
        seq=seq,
        change=change,
        outcome=outcome,
        detail="",
        sent_at=at,
        answered_at=at,
        scim_id=change.scim_id,
    )


async def begun(state: State, run: Run | None = None) -> Lease:
    lease = await state.take_lease("latam", "one")
    await state.begin_run(run or a_run(), lease)
    return lease
