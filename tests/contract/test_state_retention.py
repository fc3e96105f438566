"""Old runs can be deleted, without anything that a later run needs: for every state."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from agent.model import Kind, LastSeen, Link, UndoneChange
from agent.model.run import Lease, LinkEdit, Outcome, Pause, Run, RunOutcome, RunStatus, Trigger
from agent.store.state import SqlState
from tests.memory_state import MemoryState
from tests.state_samples import ANN, BEA, NOW, PLANNERS, Clock, a_change, a_run, begun, done

AnyState = MemoryState | SqlState
DAY = timedelta(days=1)


def a_dry_run(name: str, at: datetime) -> Run:
    return replace(a_run(name, at=at, dry=True), status=RunStatus.PLANNED, finished_at=at)


async def stored_run_ids(state: AnyState) -> set[str]:
    return {run.id for run in await state.load_runs()}


async def ended(state: AnyState, lease: Lease, run_id: str) -> None:
    await state.end_run(lease, run_id, RunOutcome(RunStatus.DONE))


async def test_old_runs_are_deleted_with_their_changes_and_link_edits(state: AnyState) -> None:
    lease = await begun(state, a_run(at=NOW - 40 * DAY))
    await state.record_answer(lease, done(a_change(), at=NOW - 40 * DAY))
    await ended(state, lease, "r1")
    edit_run = replace(a_run("r2", at=NOW - 40 * DAY), status=RunStatus.DONE, trigger=Trigger.LINKS)
    await state.record_link_edits(lease, edit_run, [LinkEdit(Link(ANN, "m1", PLANNERS), None)])
    await state.record_run(a_dry_run("r3", NOW - 30 * DAY))

    assert await state.prune(NOW - 30 * DAY) == 2
    assert await stored_run_ids(state) == {"r3"}
    assert await state.load_changes("r1") == []
    assert await state.load_link_edits("r2") == []
    assert await state.load_member_changes("latam", scim_id="m1") == []


async def test_links_baselines_pauses_and_leases_are_never_forgotten(state: AnyState) -> None:
    lease = await begun(state, a_run(at=NOW - 400 * DAY))
    await state.record_adoptions(lease, "r1", [(0, a_change(Kind.ADOPT), Link(ANN, "m1", PLANNERS))])
    await state.update_memory(lease, (), frozenset({(BEA, "m2")}), {("okta-main", "g1"): ("Planners", 12)})
    undone = UndoneChange(
        scim_id="m1",
        kind=Kind.DEACTIVATE,
        person=ANN,
        code="left-groups",
        groups=(),
        email="ann@acme.com",
        display_name="Ann Lee",
    )
    await state.record_intent(lease, "r1", 1, replace(a_change(Kind.REACTIVATE), undone_change=undone))
    pause = Pause(NOW, "ops", "a mistake")
    await state.set_pause("latam", pause)
    await ended(state, lease, "r1")
    before = await state.load_memory("latam")
    await state.prune(NOW + DAY)

    assert await stored_run_ids(state) == set()
    # The writes of a deleted run go with it: they only matter for changes since a recent run.
    assert await state.load_memory("latam") == replace(before, written=())
    assert before.undone_changes == (replace(undone, run_id="r1"),)
    assert before.links == (Link(ANN, "m1", PLANNERS),)
    assert await state.load_baselines("latam", NOW) == {("okta-main", "g1"): ("Planners", 12)}
    assert await state.load_pause("latam") == pause
    await state.renew_lease(lease)


async def test_runs_of_the_last_day_and_running_ones_stay_whatever_is_asked(state: AnyState) -> None:
    await begun(state, a_run(at=NOW - 9 * DAY))
    for hours in (23, 24, 25):
        await state.record_run(a_dry_run(f"h{hours}", NOW - timedelta(hours=hours)))

    assert await state.prune(NOW + 9 * DAY) == 1
    assert await stored_run_ids(state) == {"r1", "h23", "h24"}


async def test_newest_complete_run_of_each_workspace_stays(state: AnyState) -> None:
    for name, workspace, days in (("a", "latam", 60), ("b", "latam", 50), ("c", "emea", 70)):
        run = a_dry_run(name, NOW - days * DAY)
        await state.record_run(replace(run, workspace=workspace, guarded=days))

    assert await state.prune(NOW) == 1
    assert await stored_run_ids(state) == {"b", "c"}
    assert (await state.count_guarded("latam"), await state.count_guarded("emea")) == (50, 70)


async def test_members_of_past_days_can_still_be_reported(state: AnyState, clock: Clock) -> None:
    lefts = {}
    for days in (50, 40, 20):
        clock.moment = NOW - days * DAY
        lease = await begun(state, a_run(f"d{days}", at=clock.moment))
        lefts[days] = (LastSeen(scim_id=f"m{days}", email="ann@acme.com", display_name="Ann Lee", active=True),)
        await state.record_last_seen(lease, f"d{days}", lefts[days])
        await ended(state, lease, f"d{days}")
        await state.release_lease(lease)
    clock.moment = NOW

    assert await state.prune(NOW - 30 * DAY) == 1
    assert await state.load_last_seen("latam", NOW - 30 * DAY) == (NOW - 40 * DAY, lefts[40])
    assert (await state.load_memory("latam")).last_seen == lefts[20]
    assert await state.load_last_seen("latam", NOW - 45 * DAY) is None


async def test_creates_that_may_have_been_made_unseen_stay_until_listings_show_that_they_were_not(
    state: AnyState,
) -> None:
    for days in (6, 8, 9):
        lease = await begun(state, a_run(f"d{days}", at=NOW - days * DAY))
        unknown = done(a_change(Kind.CREATE, scim_id=None), 0, Outcome.UNKNOWN, NOW - days * DAY, f"d{days}")
        await state.record_answer(lease, unknown)
        if days != 9:
            for _ in range(3):
                await state.record_create_checks(lease, (await state.load_memory("latam")).unconfirmed_creates)
        await ended(state, lease, f"d{days}")
        await state.release_lease(lease)

    assert await state.prune(NOW) == 1
    assert await stored_run_ids(state) == {"d6", "d9"}
    assert [each.run_id for each in (await state.load_memory("latam")).unconfirmed_creates] == ["d9", "d6"]


async def test_more_runs_than_one_transaction_takes_are_forgotten(state: AnyState) -> None:
    for number in range(101):
        await state.record_run(a_dry_run(f"r{number}", NOW - 40 * DAY))

    assert await state.prune(NOW) == 101
    assert await stored_run_ids(state) == set()


async def test_link_edits_keep_the_previous_links(state: AnyState) -> None:
    lease = await begun(state)
    run = replace(a_run("r2"), status=RunStatus.DONE, trigger=Trigger.LINKS, finished_at=NOW)
    edits = [LinkEdit(None, Link(BEA, "m2")), LinkEdit(Link(BEA, "m1", PLANNERS), Link(ANN, "m1", (), 2))]
    await state.record_link_edits(lease, run, edits)

    assert await state.load_link_edits("r2") == edits
    assert await state.load_link_edits("r1") == []
