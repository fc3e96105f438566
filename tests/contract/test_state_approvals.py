"""Approvals in the state: kept with the runs that gave and applied them, and bound to the target of the workspace."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.errors import LeaseLost
from agent.model.approval import Approval
from agent.model.run import RunOutcome, RunStatus
from agent.ports.state import State
from tests.state_samples import NOW, Clock, a_run, begun


def an_approval(run_id: str = "r1", by: str = "ann", *guards: str) -> Approval:
    return Approval(
        workspace="latam", digest="sha256:aa", by=by, at=NOW, reason="reviewed", guards=guards, run_id=run_id
    )


async def test_approval_is_kept_with_its_run_and_found_by_the_digest(state: State, clock: Clock) -> None:
    lease = await begun(state)
    first, second = (
        an_approval("r1", "ann", "fleet", "max-creates"),
        replace(an_approval("r2", "bea"), at=NOW + timedelta(hours=1)),
    )
    await state.record_approval(lease, first)
    await state.record_approval(lease, first)
    await state.begin_run(a_run("r2"), lease)
    await state.record_approval(lease, second)

    assert await state.load_approvals("latam", "sha256:aa") == (first, second)
    assert await state.load_approvals("latam", "sha256:bb") == ()
    assert await state.load_approvals("eu", "sha256:aa") == ()
    assert await state.load_run_approvals("r1") == (first,)

    await state.mark_approvals_applied(lease, "r2", [first, second])
    applied = replace(first, applied_in="r2"), replace(second, applied_in="r2")
    assert await state.load_approvals("latam", "sha256:aa") == applied
    assert await state.load_run_approvals("r2") == applied
    assert await state.load_run_approvals("r1") == applied[:1]


async def test_approval_needs_the_lease(state: State, clock: Clock) -> None:
    lease = await begun(state)
    await state.record_approval(lease, an_approval())
    await state.release_lease(lease)

    with pytest.raises(LeaseLost):
        await state.record_approval(lease, an_approval("r2"))
    with pytest.raises(LeaseLost):
        await state.mark_approvals_applied(lease, "r1", [an_approval()])
    assert await state.load_approvals("latam", "sha256:aa") == (an_approval(),)


async def test_approval_of_a_previous_target_is_not_of_this_one(state: State) -> None:
    lease = await begun(state, a_run())
    await state.record_targets(lease, [("", "https://a.example.com")])
    await state.begin_run(replace(a_run("r2"), target="https://a.example.com"), lease)
    await state.record_approval(lease, an_approval("r2"))
    assert await state.load_approvals("latam", "sha256:aa") == (an_approval("r2"),)

    await state.reset_workspace(lease, a_run("r3"), "https://b.example.com")

    assert await state.load_approvals("latam", "sha256:aa") == ()
    assert await state.load_run_approvals("r2") == (an_approval("r2"),), "the journal keeps it"


async def test_approval_moves_with_its_workspace(state: State) -> None:
    lease = await begun(state)
    await state.record_approval(lease, an_approval())
    new = await state.take_lease("americas", "one")

    await state.rename_workspace(lease, new, a_run("r2", "americas"))

    assert await state.load_approvals("americas", "sha256:aa") == (replace(an_approval(), workspace="americas"),)
    assert await state.load_approvals("latam", "sha256:aa") == ()


async def test_approval_is_deleted_with_its_run_only(state: State, clock: Clock) -> None:
    lease = await begun(state)
    await state.record_approval(lease, an_approval())
    await state.end_run(lease, "r1", RunOutcome(RunStatus.HELD))

    assert await state.prune(NOW - timedelta(days=1)) == 0
    assert await state.load_run_approvals("r1") == (an_approval(),)
    clock.pass_seconds(timedelta(days=3).total_seconds())
    assert await state.prune(NOW + timedelta(hours=1)) == 1
    assert await state.load_run_approvals("r1") == ()
