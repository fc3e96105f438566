"""The same promises for every state: the one in memory, SQLite, and a real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from agent.errors import LeaseLost
from agent.model import (
    Change,
    Fields,
    GroupSighting,
    Kind,
    KnownTarget,
    LastSeen,
    Link,
    Listing,
    Member,
    Memory,
    UnconfirmedCreate,
    UndoneChange,
    Written,
)
from agent.model.codes import GuardCode
from agent.model.provenance import Provenance
from agent.model.run import (
    Lease,
    LinkEdit,
    MemberHistory,
    Outcome,
    Pause,
    Run,
    RunCounts,
    RunOutcome,
    RunStatus,
    Trigger,
)
from agent.ports.state import State
from tests.factories import recent_changes
from tests.state_samples import ANN, BEA, NOW, PLANNERS, Clock, a_change, a_run, begun, done


async def test_run_of_a_dead_process_is_closed_as_interrupted(state: State) -> None:
    lease = await begun(state)
    await state.record_intent(lease, "r1", 0, a_change())
    await state.release_lease(lease)
    again = await state.take_lease("latam", "two")
    closed = await state.begin_run(a_run("r2", at=NOW + timedelta(minutes=1)), again)
    first = await state.load_run("r1")
    (record,) = await state.load_changes("r1")

    assert closed == ("r1",)
    assert first is not None
    assert first.status is RunStatus.INTERRUPTED
    assert (record.outcome, record.answered_at) == (Outcome.UNKNOWN, None)


async def test_adoptions_write_links_and_a_relinked_member_changes_its_person(state: State) -> None:
    lease = await begun(state)
    adopt = a_change(Kind.ADOPT)
    await state.record_adoptions(lease, "r1", [(0, adopt, Link(ANN, "m1", PLANNERS)), (1, adopt, Link(BEA, "m2"))])
    await state.record_adoptions(lease, "r1", [(2, adopt, Link(BEA, "m1"))])

    assert (await state.load_memory("latam")).links == (Link(BEA, "m1"),)
    assert [record.outcome for record in await state.load_changes("r1")] == [Outcome.DONE] * 3


async def test_person_who_is_adopted_twice_at_once_has_the_last_member(state: State) -> None:
    lease = await begun(state)
    adopt = a_change(Kind.ADOPT)
    await state.record_adoptions(lease, "r1", [(0, adopt, Link(ANN, "m1")), (1, adopt, Link(ANN, "m2"))])

    assert (await state.load_memory("latam")).links == (Link(ANN, "m2"),)


async def test_answer_writes_outcome_and_link_together(state: State) -> None:
    lease = await begun(state)
    change = a_change(Kind.CREATE, scim_id=None)
    await state.record_intent(lease, "r1", 0, change)
    answered = replace(done(change), scim_id="m9", detail="made")
    await state.record_answer(lease, answered, Link(ANN, "m9", PLANNERS))

    assert await state.load_changes("r1") == [answered]
    assert (await state.load_memory("latam")).links == (Link(ANN, "m9", PLANNERS),)


async def test_change_that_was_not_tried_is_journalled_without_an_intent(state: State) -> None:
    lease = await begun(state)
    record = done(a_change(), outcome=Outcome.NOT_TRIED)
    await state.record_answer(lease, record)

    assert await state.load_changes("r1") == [record]


async def test_recent_changes_include_possible_changes_within_the_window(state: State) -> None:
    lease = await begun(state)
    old, edge = NOW - timedelta(minutes=61), NOW - timedelta(minutes=60)
    deactivations = [a_change(scim_id=f"m{number}") for number in range(7)]
    records = [
        done(deactivations[0], 0, at=old),
        done(deactivations[1], 1, at=edge),
        done(deactivations[2], 2, Outcome.UNKNOWN),
        done(deactivations[3], 3, Outcome.NOT_PERSISTED),
        done(deactivations[4], 4, Outcome.FAILED),
        done(deactivations[5], 5, Outcome.NOT_TRIED),
        replace(done(a_change(Kind.CREATE, scim_id=None), 6), scim_id="m7"),
        done(a_change(Kind.UPDATE_EMAIL, scim_id="m8"), 7),
        done(a_change(Kind.ADOPT, scim_id="m9"), 8),
        done(replace(a_change(Kind.UPDATE_EMAIL, scim_id="m10"), kind=Kind.REACTIVATE), 9),
        done(a_change(Kind.UPDATE_NAME, scim_id="m11"), 10),
    ]
    for record in records:
        await state.record_answer(lease, record)
    await state.record_intent(lease, "r1", 11, deactivations[6])
    expected = recent_changes(
        max_deactivations={"m1", "m2", "m3", "m6"}, max_creates={ANN}, max_email_changes={"m8", "m10"}
    )

    assert await state.load_recent_changes("latam", edge) == expected
    assert await state.load_recent_changes("emea", edge) == recent_changes()
    await require_same_for_all(state, edge)


async def require_same_for_all(state: State, since: datetime) -> None:
    """Several workspaces at once have what each of them has."""
    names = ("latam", "emea", "brazil")
    single = {name: (await state.load_recent_changes(name, since))[GuardCode.MAX_DEACTIVATIONS] for name in names}
    assert await state.load_recent_deactivations(names, since) == single
    assert await state.load_recent_deactivations((), since) == {}
    assert await state.count_all_guarded(names) == sum([await state.count_guarded(name) for name in names])
    assert await state.count_all_guarded(()) == 0


async def test_recent_has_a_member_once_however_often_it_was_changed(state: State) -> None:
    lease = await begun(state)
    for seq in range(3):
        await state.record_answer(lease, done(a_change(), seq))
        await state.record_answer(lease, done(a_change(Kind.UPDATE_EMAIL), 3 + seq))
        await state.record_answer(lease, done(a_change(Kind.CREATE, f"ann{seq}@acme.com", scim_id=None), 6 + seq))

    assert await state.load_recent_changes("latam", NOW) == recent_changes(
        max_deactivations={"m1"}, max_creates={ANN}, max_email_changes={"m1"}
    )


async def test_member_is_contested_that_we_deactivated_twice_and_did_not_reactivate(state: State) -> None:
    lease = await begun(state)
    at = [NOW + timedelta(minutes=minute) for minute in range(10)]
    twice = [done(a_change(scim_id="m1"), 0, at=at[1]), done(a_change(scim_id="m1"), 1, at=at[3])]
    once = [done(a_change(scim_id="m2"), 2, at=at[1]), done(a_change(scim_id="m2"), 3, Outcome.UNKNOWN, at=at[2])]
    ours = [
        done(a_change(scim_id="m3"), 4, at=at[1]),
        done(a_change(Kind.REACTIVATE, scim_id="m3"), 5, Outcome.UNKNOWN, at=at[2]),
        done(a_change(scim_id="m3"), 6, at=at[3]),
    ]
    earlier = [done(a_change(scim_id="m4"), 7, at=at[0]), done(a_change(scim_id="m4"), 8, at=at[1])]
    again = [done(each.change, 9 + each.seq, at=at[5 + each.seq]) for each in (twice[0],)]
    # The reactivation took back the deactivation before it, which may have been made.
    third = [
        done(a_change(scim_id="m5"), 20, at=at[1]),
        done(a_change(scim_id="m5"), 21, at=at[2]),
        done(a_change(scim_id="m5"), 22, Outcome.UNKNOWN, at=at[3]),
        done(a_change(Kind.REACTIVATE, scim_id="m5"), 23, at=at[4]),
    ]
    for record in (*twice, *once, *ours, *earlier, *again, *third):
        await state.record_answer(lease, record)

    found = await state.load_contested_members("latam", at[1])
    assert found == {"m1": (at[1], at[3], at[5]), "m5": (at[1], at[2])}
    assert await state.load_contested_members("latam", at[4]) == {}
    assert await state.load_contested_members("emea", at[0]) == {}


HERE, THERE = "https://pigment.example.com/latam", "https://pigment.example.com/eu"


async def test_targets_are_known_by_key_and_connector_and_replaced(state: State, clock: Clock) -> None:
    lease = await begun(state)
    assert await state.load_targets() == ()
    await state.record_targets(lease, [("", HERE), ("okta-main", "okta https://acme.okta.com")])
    clock.pass_seconds(5)
    await state.record_targets(lease, [("", THERE)])

    assert await state.load_targets() == (
        KnownTarget("latam", "", THERE, clock.now()),
        KnownTarget("latam", "okta-main", "okta https://acme.okta.com", NOW),
    )


async def test_counts_unconfirmed_creates_and_members_are_those_of_the_target(state: State) -> None:
    """Changes to the previous target of a key do not count for its current target."""
    lease = await begun(state, replace(a_run(), target=HERE))
    await state.record_targets(lease, [("", HERE)])
    await state.record_answer(lease, done(a_change()))
    await state.record_intent(lease, "r1", 1, a_change(Kind.CREATE, scim_id=None))
    await state.record_last_seen(
        lease, "r1", [LastSeen(scim_id="m1", email="ann@acme.com", display_name="Ann Lee", active=True)]
    )
    before = await state.load_memory("latam")
    assert await state.load_recent_changes("latam", NOW) == recent_changes(max_deactivations={"m1"}, max_creates={ANN})
    await require_same_for_all(state, NOW)
    await state.record_targets(lease, [("", THERE)])
    after = await state.load_memory("latam")

    assert await state.load_recent_changes("latam", NOW) == recent_changes()
    await require_same_for_all(state, NOW)
    assert (len(before.unconfirmed_creates), before.last_seen) == (
        1,
        (LastSeen(scim_id="m1", email="ann@acme.com", display_name="Ann Lee", active=True),),
    )
    assert (after.unconfirmed_creates, after.last_seen) == ((), None)


async def test_counts_belong_to_the_target_whatever_key_it_was_under(state: State, clock: Clock) -> None:
    lease = await begun(state, replace(a_run(), target=HERE))
    await state.record_targets(lease, [("", HERE)])
    await state.record_answer(lease, done(a_change()))
    other = await state.take_lease("brazil", "two")
    await state.begin_run(replace(a_run("r2", "brazil"), target=HERE), other)
    await state.record_answer(other, done(a_change(scim_id="m2"), run="r2"))
    clock.pass_seconds(1)
    await state.record_targets(other, [("", HERE)])

    assert await state.load_recent_changes("brazil", NOW) == recent_changes(max_deactivations={"m1", "m2"})
    await require_same_for_all(state, NOW)


async def remembered(state: State) -> Lease:
    """Write one entry of each kind under the key latam, and return its lease."""
    lease = await begun(state, replace(a_run(), target=HERE))
    await state.record_targets(lease, [("", HERE), ("okta-main", "okta https://acme.okta.com")])
    await state.record_adoptions(lease, "r1", [(0, a_change(Kind.ADOPT), Link(ANN, "m1", PLANNERS))])
    await state.record_answer(lease, done(a_change(), 1))
    await state.update_memory(lease, (), frozenset({(BEA, "m7")}), {("okta-main", "g1"): ("Planners", 12)})
    await state.record_last_seen(
        lease, "r1", [LastSeen(scim_id="m1", email="ann@acme.com", display_name="Ann Lee", active=True)]
    )
    await state.end_run(lease, "r1", RunOutcome(RunStatus.DONE, guarded=7))
    await state.set_pause("latam", Pause(NOW, "ops", "why"))
    await state.set_notice("run:latam", "held")
    await state.set_notice("token:latam:0", "30")
    return lease


def by_hand(name: str, workspace: str) -> Run:
    return replace(
        a_run(name, workspace), trigger=Trigger.WORKSPACES, status=RunStatus.DONE, finished_at=NOW, reason="why"
    )


async def test_renamed_key_keeps_all_that_is_known(state: State) -> None:
    lease = await remembered(state)
    other = await state.take_lease("brazil", "two")
    await state.begin_run(replace(a_run("r2", "brazil"), target=HERE), other)
    await state.end_run(other, "r2", RunOutcome(RunStatus.HELD))
    await state.set_notice("run:brazil", "fine")
    before = await state.load_memory("latam")
    await state.rename_workspace(lease, other, by_hand("r3", "brazil"))

    assert await state.load_memory("brazil") == before
    assert before.last_seen is not None
    assert await state.load_memory("latam") == Memory()
    assert await state.load_recent_changes("brazil", NOW) == recent_changes(max_deactivations={"m1"})
    await require_same_for_all(state, NOW)
    assert await state.load_recent_changes("latam", NOW) == recent_changes()
    await require_same_for_all(state, NOW)
    assert await state.load_baselines("brazil", NOW) == {("okta-main", "g1"): ("Planners", 12)}
    assert await state.count_guarded("brazil") == 7
    assert await state.load_pause("brazil") == Pause(NOW, "ops", "why")
    assert await state.load_pause("latam") is None
    assert (await state.load_notice("run:brazil"), await state.load_notice("run:latam")) == ("held", None)
    assert await state.load_notice("token:brazil:0") == "30"
    assert {run.id for run in await state.load_runs(["brazil"])} == {"r1", "r2", "r3"}
    assert await state.load_runs(["latam"]) == []
    assert [record.change.kind for record in await state.load_member_changes("brazil")] == [Kind.DEACTIVATE, Kind.ADOPT]
    assert await state.load_last_seen("brazil", NOW) is not None
    assert {(each.workspace, each.connector) for each in await state.load_targets()} == {
        ("brazil", ""),
        ("brazil", "okta-main"),
    }


async def test_rename_needs_both_leases(state: State) -> None:
    lease = await remembered(state)
    other = await state.take_lease("brazil", "two")
    await state.release_lease(other)
    with pytest.raises(LeaseLost):
        await state.rename_workspace(lease, other, by_hand("r3", "brazil"))

    assert len((await state.load_memory("latam")).links) == 1
    assert await state.load_run("r3") is None


async def test_changes_that_were_made_are_counted_by_run_and_kind(state: State) -> None:
    lease = await remembered(state)
    done = await state.count_changes(["r1", "r9"])
    await state.begin_run(a_run("r2"), lease)
    (sent, *_) = await state.load_changes("r1")
    await state.record_intent(lease, "r2", 1, sent.change, respects_pause=False)

    assert done == {"r1": {Kind.ADOPT: 1, Kind.DEACTIVATE: 1}}
    assert await state.count_changes(["r1", "r2"]) == done, "one without an answer was not made, as far as is known"
    assert await state.count_changes([]) == {}


async def test_reset_forgets_all_but_the_journal_and_a_pause(state: State) -> None:
    lease = await remembered(state)
    await state.set_notice("run:latam", "held")
    dropped = await state.reset_workspace(lease, by_hand("r3", "latam"), THERE)

    assert dropped == (Link(ANN, "m1", PLANNERS),)
    assert await state.load_memory("latam") == Memory()
    assert await state.load_baselines("latam", NOW) == {}
    assert await state.load_recent_changes("latam", NOW) == recent_changes(), (
        "what was done to another workspace counts for nothing here"
    )
    assert await state.load_link_edits("r3") == [LinkEdit(None, Link(ANN, "m1", PLANNERS))]
    assert {run.id for run in await state.load_runs(["latam"])} == {"r1", "r3"}
    assert len(await state.load_member_changes("latam")) == 2
    assert await state.load_pause("latam") is not None
    assert [(each.connector, each.fingerprint) for each in await state.load_targets()] == [("", THERE)]


async def test_reset_for_the_same_target_keeps_the_counts_of_the_hour(state: State) -> None:
    lease = await remembered(state)
    await state.reset_workspace(lease, by_hand("r3", "latam"), HERE)

    assert await state.load_recent_changes("latam", NOW) == recent_changes(max_deactivations={"m1"})
    await require_same_for_all(state, NOW)
    assert (await state.load_memory("latam")).links == ()


async def test_reset_of_a_key_that_was_never_recorded_counts_nothing_of_before(state: State) -> None:
    lease = await begun(state)
    await state.record_answer(lease, done(a_change()))
    await state.reset_workspace(lease, by_hand("r3", "latam"), HERE)

    assert await state.load_recent_changes("latam", NOW) == recent_changes()
    await require_same_for_all(state, NOW)


async def test_key_that_is_forgotten_stands_for_nothing(state: State) -> None:
    lease = await remembered(state)
    await state.reset_workspace(lease, by_hand("r3", "latam"), "")

    assert await state.load_targets() == ()
    assert [(each.name, each.target, each.link_count) for each in await state.load_workspaces()] == [("latam", "", 0)]


async def test_retargeted_key_keeps_links_and_counts(state: State) -> None:
    lease = await remembered(state)
    before = await state.load_memory("latam")
    await state.retarget_workspace(lease, by_hand("r3", "latam"), THERE)

    assert await state.load_memory("latam") == before
    assert await state.load_recent_changes("latam", NOW) == recent_changes(max_deactivations={"m1"})
    await require_same_for_all(state, NOW)
    assert [each.fingerprint for each in await state.load_targets() if not each.connector] == [THERE]


async def test_workspaces_are_all_keys_that_something_is_known_of(state: State) -> None:
    await remembered(state)
    await state.record_run(a_run("r5", "emea", NOW + timedelta(minutes=1)))
    found = await state.load_workspaces()

    assert [(each.name, each.target, each.link_count) for each in found] == [("emea", "", 0), ("latam", HERE, 1)]
    assert [each.last_run.id if each.last_run else "" for each in found] == ["r5", "r1"]


async def test_runs_of_releases_that_knew_no_targets_count(state: State) -> None:
    lease = await begun(state)
    await state.record_answer(lease, done(a_change()))
    await state.record_targets(lease, [("", HERE)])

    assert await state.load_recent_changes("latam", NOW) == recent_changes(max_deactivations={"m1"})
    await require_same_for_all(state, NOW)


async def test_memory_is_updated_only_where_a_link_is(state: State) -> None:
    lease = await begun(state)
    await state.record_adoptions(lease, "r1", [(0, a_change(Kind.ADOPT), Link(ANN, "m1"))])
    seen = [Link(ANN, "m1", PLANNERS, 2), Link(BEA, "m2", PLANNERS, 1)]
    await state.update_memory(lease, seen, frozenset({(BEA, "m7")}), {("okta-main", "g1"): ("Planners", 12)})
    await state.update_memory(
        lease, [Link(ANN, "m8", (), 9)], frozenset({(BEA, "m8")}), {("okta-main", "g2"): ("X", 1)}
    )

    assert await state.load_memory("latam") == Memory(
        (Link(ANN, "m1", PLANNERS, 2),), possible_renames=frozenset({(BEA, "m8")})
    )
    sizes = {("okta-main", "g1"): ("Planners", 12), ("okta-main", "g2"): ("X", 1)}
    assert await state.load_baselines("latam", NOW) == sizes
    assert await state.load_memory("emea") == Memory()


async def test_links_are_those_of_the_memory(state: State) -> None:
    lease = await begun(state)
    links = (Link(ANN, "m2", PLANNERS), Link(BEA, "m1"))
    adoptions = [(seq, a_change(Kind.ADOPT, scim_id=link.scim_id), link) for seq, link in enumerate(links[::-1])]
    await state.record_adoptions(lease, "r1", adoptions)

    assert await state.load_links("latam") == (await state.load_memory("latam")).links == links
    assert await state.load_links("emea") == ()


async def test_baseline_is_the_largest_size_since_a_time_and_else_the_last(state: State, clock: Clock) -> None:
    lease = await begun(state)
    group, other = ("okta-main", "g1"), ("okta-main", "g2")
    for name, people in (("Planners", 24), ("Planners", 24), ("Planners", 12), ("Planning", 6)):
        await state.update_memory(lease, (), frozenset(), {group: (name, people), other: ("Readers", 1)})
        clock.pass_seconds(10)
        await state.renew_lease(lease)
    seen = [NOW + timedelta(seconds=seconds) for seconds in (0, 10, 20, 30, 40)]

    assert [(await state.load_baselines("latam", since))[group] for since in seen] == [
        ("Planning", 24),
        ("Planning", 24),
        ("Planning", 12),
        ("Planning", 6),
        ("Planning", 6),
    ]
    assert (await state.load_baselines("latam", NOW))[other] == ("Readers", 1)
    assert await state.load_baselines("emea", NOW) == {}


async def test_size_that_returns_is_of_its_last_time(state: State, clock: Clock) -> None:
    lease = await begun(state)
    group = ("okta-main", "g1")
    for people in (24, 12, 24, 12, 3):
        await state.update_memory(lease, (), frozenset(), {group: ("Planners", people)})
        clock.pass_seconds(10)
        await state.renew_lease(lease)

    assert await state.load_baselines("latam", NOW + timedelta(seconds=20)) == {group: ("Planners", 24)}
    assert await state.load_baselines("latam", NOW + timedelta(seconds=21)) == {group: ("Planners", 12)}
    assert await state.load_baselines("latam", NOW + timedelta(seconds=31)) == {group: ("Planners", 3)}


async def test_sightings_of_groups_replace_those_of_the_same_groups_only(state: State) -> None:
    lease = await begun(state)
    sales, board = ("okta-main", "g1"), ("okta-main", "g2")
    full, alone = GroupSighting("Sales", 9, "app-1"), GroupSighting("Board", 1, "app-1")
    await state.record_sightings(lease, {sales: full, board: alone})
    await state.record_sightings(lease, {sales: replace(full, empty_since=NOW)})

    assert await state.load_sightings("latam") == {sales: replace(full, empty_since=NOW), board: alone}
    assert await state.load_sightings("emea") == {}


async def test_sightings_of_groups_need_the_lease(state: State) -> None:
    lease = await begun(state)
    await state.release_lease(lease)
    with pytest.raises(LeaseLost):
        await state.record_sightings(lease, {("okta-main", "g1"): GroupSighting("Sales", 9)})
    assert await state.load_sightings("latam") == {}


async def test_link_edits_replace_and_delete_links(state: State) -> None:
    lease = await begun(state)
    await state.record_adoptions(
        lease, "r1", [(0, a_change(Kind.ADOPT), Link(ANN, "m1")), (1, a_change(Kind.ADOPT), Link(BEA, "m2"))]
    )
    run = replace(a_run("r2"), status=RunStatus.DONE, trigger=Trigger.LINKS, finished_at=NOW)
    await state.record_link_edits(
        lease, run, [LinkEdit(None, Link(BEA, "m2")), LinkEdit(Link(BEA, "m1"), Link(ANN, "m1"))]
    )

    assert (await state.load_memory("latam")).links == (Link(BEA, "m1"),)
    assert await state.load_run("r2") == run


async def test_runs_keep_what_they_were_made_with_and_when_they_ended(state: State) -> None:
    provenance = Provenance(version="1.2.3", commit="", config_sha256="ab" * 32)
    lease = await begun(state, replace(a_run(), provenance=provenance))
    ended_at = NOW - timedelta(seconds=3)
    await state.end_run(lease, "r1", RunOutcome(RunStatus.DONE, finished_at=ended_at))
    await state.record_run(a_run("r2"))
    first, second = await state.load_run("r1"), await state.load_run("r2")

    assert first is not None
    assert (first.provenance, first.finished_at) == (provenance, ended_at)
    assert second is not None
    assert second.provenance is None
    assert {run.id: run.provenance for run in await state.load_runs()} == {"r1": provenance, "r2": None}


async def test_different_people_are_remembered_until_a_reset_and_move_with_the_key(state: State) -> None:
    lease = await begun(state)
    await state.record_different_people(lease, a_run("r2"), [(ANN, "m1")])
    await state.record_different_people(lease, a_run("r3"), [(ANN, "m1"), (BEA, "m2")])
    both = frozenset({(ANN, "m1"), (BEA, "m2")})
    assert (await state.load_memory("latam")).different_people == both
    assert (await state.load_memory("eu")).different_people == frozenset()
    assert await state.load_run("r3") is not None

    new = await state.take_lease("americas", "one")
    await state.rename_workspace(lease, new, a_run("r4", "americas"))
    assert (await state.load_memory("americas")).different_people == both
    await state.reset_workspace(new, a_run("r5", "americas"), "")
    assert (await state.load_memory("americas")).different_people == frozenset()


async def test_last_plan_is_of_everyone_of_the_target_and_complete(state: State) -> None:
    plan, no_plan = b'{"status": "planned"}', b'{"status": "incomplete"}'
    planned = replace(a_run("r1"), status=RunStatus.DONE, document=plan, target=HERE)
    others = [
        replace(planned, user="ann@acme.com"),
        replace(planned, trigger=Trigger.UNDO),
        replace(planned, document=None),
        replace(planned, document=no_plan, status=RunStatus.STALE),
        replace(planned, document=no_plan, status=RunStatus.INCOMPLETE),
        replace(planned, target="https://elsewhere.example.com"),
        replace(planned, workspace="emea"),
    ]
    assert await state.load_last_plan("latam", HERE) is None
    for number, run in enumerate([planned, *others], 1):
        await state.record_run(replace(run, id=f"r{number}", started_at=NOW + timedelta(minutes=number)))
    last = await state.load_last_plan("latam", HERE)
    of_any_target = await state.load_last_plan("latam", "")

    assert last is not None
    assert (last.id, last.document) == ("r1", plan)
    assert of_any_target is not None
    assert of_any_target.id == "r7"


async def test_runs_keep_their_plan_and_are_found_by_its_digest(state: State) -> None:
    lease = await begun(state)
    await state.record_plan(lease, "r1", "sha256:a", [b'{"a"', b": 1}"], "sha256:a")
    await state.end_run(
        lease,
        "r1",
        RunOutcome(
            RunStatus.HELD, "held", guarded=12, requests=7, tally=RunCounts(active=14, changes=3, held=2, failed=1)
        ),
    )
    later = replace(
        a_run("r2", at=NOW + timedelta(hours=1), dry=True),
        digest="sha256:a",
        status=RunStatus.PLANNED,
        tally=RunCounts(active=15, changes=0, held=4),
        user="ann@acme.com",
    )
    await state.record_run(later)
    first, newest = await state.load_run("r1"), await state.load_run_by_digest("sha256:a")

    assert first is not None
    assert (first.document, first.approved_digest, first.guarded, first.requests) == (b'{"a": 1}', "sha256:a", 12, 7)
    assert (first.status, first.error, first.finished_at) == (RunStatus.HELD, "held", NOW)
    assert [run.tally for run in await state.load_runs()] == [
        RunCounts(active=15, changes=0, held=4),
        RunCounts(active=14, changes=3, held=2, failed=1),
    ]
    assert newest == later
    assert [run.id for run in await state.load_runs()] == ["r2", "r1"]
    assert [run.id for run in await state.load_runs(["latam"], NOW + timedelta(minutes=1))] == ["r2"]
    assert [run.id for run in await state.load_runs(limit=1)] == ["r2"]
    assert await state.load_runs(["emea"]) == []
    assert [run.id for run in await state.load_runs(ids=["r1", "r9"])] == ["r1"]
    assert await state.load_runs(ids=[]) == []
    assert await state.count_guarded("latam") == 12
    assert await state.count_all_guarded(["emea", "latam"]) == 12
    assert await state.count_guarded("emea") == 0
    assert await state.load_run("r9") is None
    assert await state.load_run_by_digest("sha256:z") is None


async def test_actions_are_found_by_either_address_and_by_member(state: State) -> None:
    lease = await begun(state)
    moved = done(a_change(Kind.UPDATE_EMAIL), 0)
    gone = done(a_change(email="bea@acme.com", scim_id="m2"), 1, at=NOW + timedelta(seconds=1))
    await state.record_answer(lease, moved)
    await state.record_answer(lease, gone)

    assert await state.load_member_changes("latam", email="ANN@acme.com") == [moved]
    assert await state.load_member_changes("latam", email="former@ACME.com") == [moved]
    assert await state.load_member_changes("latam", scim_id="m2") == [gone]
    assert await state.load_member_changes("latam", limit=1) == [gone]
    assert await state.load_member_changes("emea") == []


async def test_unconfirmed_creates_are_kept_even_if_the_person_is_linked_meanwhile(state: State) -> None:
    lease = await begun(state)
    lost, flying = a_change(Kind.CREATE, scim_id=None), a_change(Kind.CREATE, "bea@acme.com", scim_id=None)
    await state.record_answer(lease, done(lost, 0, Outcome.UNKNOWN))
    await state.record_intent(lease, "r1", 1, replace(flying, person=BEA))
    await state.record_answer(lease, done(a_change(Kind.CREATE), 2, Outcome.FAILED))
    await state.record_answer(lease, done(a_change(), 3, Outcome.UNKNOWN))
    ann = UnconfirmedCreate(
        person=ANN, email="ann@acme.com", display_name="Ann Lee", run_id="r1", may_appear=True, groups=PLANNERS
    )
    bea = UnconfirmedCreate(
        person=BEA, email="bea@acme.com", display_name="Ann Lee", run_id="r1", seq=1, may_appear=True, groups=PLANNERS
    )

    assert (await state.load_memory("latam")).unconfirmed_creates == (ann, bea)
    await state.record_adoptions(lease, "r1", [(4, a_change(Kind.ADOPT), Link(ANN, "m1"))])
    assert (await state.load_memory("latam")).unconfirmed_creates == (ann, bea)
    await state.record_create_checks(lease, [replace(ann, scim_id="m7"), bea])
    assert (await state.load_memory("latam")).unconfirmed_creates == (replace(ann, scim_id="m7"), bea)
    assert (await state.load_memory("emea")).unconfirmed_creates == ()


async def test_create_without_an_end_is_forgotten_after_a_week_and_three_listings_without_it(
    state: State, clock: Clock
) -> None:
    lease = await begun(state)
    for seq in range(2):
        await state.record_answer(lease, done(a_change(Kind.CREATE, scim_id=None), seq, Outcome.UNKNOWN))
    never, once = (await state.load_memory("latam")).unconfirmed_creates
    for seen in (None, None, "m7", None, None):
        await state.record_create_checks(lease, [never, replace(once, scim_id=seen)])

    assert len((await state.load_memory("latam")).unconfirmed_creates) == 2
    clock.pass_seconds(8 * 86_400)
    assert (await state.load_memory("latam")).unconfirmed_creates == (replace(once, scim_id="m7"),)


async def test_create_that_was_accepted_is_awaited_for_an_hour_and_three_listings(state: State, clock: Clock) -> None:
    lease = await begun(state)
    for seq, outcome in enumerate((Outcome.UNKNOWN, Outcome.NOT_PERSISTED)):
        record = done(a_change(Kind.CREATE, scim_id=None), seq, outcome)
        await state.record_answer(lease, replace(record, is_accepted=True))
        assert (await state.load_changes("r1"))[seq].is_accepted
    both = (await state.load_memory("latam")).unconfirmed_creates
    for _ in range(3):
        await state.record_create_checks(lease, both)

    assert [each.is_awaited for each in (await state.load_memory("latam")).unconfirmed_creates] == [True, True]
    clock.pass_seconds(3_601)
    assert [each.is_awaited for each in (await state.load_memory("latam")).unconfirmed_creates] == [False, False]


async def test_member_of_an_unknown_create_may_appear_for_an_hour_and_three_listings(
    state: State, clock: Clock
) -> None:
    lease = await begun(state)
    await state.record_answer(lease, done(a_change(Kind.CREATE, scim_id=None), 0, Outcome.UNKNOWN))
    (sent,) = (await state.load_memory("latam")).unconfirmed_creates
    assert (sent.is_awaited, sent.may_appear) == (False, True)
    for _ in range(3):
        await state.record_create_checks(lease, [sent])

    clock.pass_seconds(3_601)
    assert [each.may_appear for each in (await state.load_memory("latam")).unconfirmed_creates] == [False]


async def test_link_follows_its_member_to_a_new_id(state: State) -> None:
    lease = await begun(state)
    adopt = a_change(Kind.ADOPT)
    await state.record_adoptions(lease, "r1", [(0, adopt, Link(ANN, "m1", PLANNERS)), (1, adopt, Link(BEA, "m2"))])
    await state.record_intent(lease, "r1", 2, a_change(Kind.UPDATE_EMAIL))
    await state.record_answer(lease, replace(done(a_change(Kind.UPDATE_EMAIL), 2), scim_id="m9"))

    assert (await state.load_memory("latam")).links == (Link(ANN, "m9", PLANNERS), Link(BEA, "m2"))


async def test_members_are_remembered_as_each_run_left_them(state: State, clock: Clock) -> None:
    lease = await begun(state)
    one = (
        LastSeen(
            scim_id="m1", email="ann@acme.com", display_name="Ann Lee", active=True, person=ANN, groups=("Planners",)
        ),
        LastSeen(scim_id="m2", email="x@acme.com", display_name="", active=None),
    )
    two = (replace(one[0], active=False),)
    assert (await state.load_memory("latam")).last_seen is None
    await state.record_last_seen(lease, "r1", one)
    clock.pass_seconds(1)
    await state.begin_run(a_run("r2"), lease)
    await state.record_last_seen(lease, "r2", one)
    clock.pass_seconds(1)
    await state.begin_run(a_run("r3"), lease)
    await state.record_last_seen(lease, "r3", two)

    assert (await state.load_memory("latam")).last_seen == two
    assert await state.load_last_seen("latam", NOW + timedelta(seconds=1)) == (NOW, one)
    assert await state.load_last_seen("latam", NOW + timedelta(seconds=2)) == (NOW + timedelta(seconds=2), two)
    assert await state.load_last_seen("latam", NOW - timedelta(seconds=1)) is None
    assert (await state.load_memory("emea")).last_seen is None


async def test_members_that_the_listing_shows_as_they_were_left_are_left_out(state: State) -> None:
    lease = await begun(state)
    left = tuple(
        LastSeen(f"m{number}", f"p{number}@acme.com", "Ann Lee", active, ANN, ("Planners",))
        for number, active in enumerate([True, True, True, True, None, False])
    )
    same, *others, unread, inactive = (
        Member(each.scim_id, each.email, each.display_name, each.active) for each in left
    )
    listing = Listing(
        (
            same,
            replace(others[0], email="P1@acme.com"),
            replace(others[1], display_name="Ann"),
            replace(others[2], active=False),
            unread,
            replace(inactive, scim_id="m9"),
        )
    )
    assert (await state.load_memory("latam", listing)).last_seen is None
    await state.record_last_seen(lease, "r1", left)

    memory = await state.load_memory("latam", listing)

    assert (memory.last_seen, memory.new_ids) == ((*left[1:4], left[5]), frozenset({"m9"}))
    nothing = await state.load_memory("latam", Listing(()))
    assert nothing == replace(await state.load_memory("latam"), new_ids=frozenset())


async def test_what_our_runs_wrote_is_known_for_a_day_and_since_the_members_were_left(
    state: State, clock: Clock
) -> None:
    lease = await begun(state)
    day, minute = timedelta(hours=24), timedelta(minutes=1)
    renamed = replace(a_change(Kind.UPDATE_NAME, scim_id="m1"), after=Fields(display_name="Ann"))
    create = replace(a_change(Kind.CREATE, scim_id=None), after=Fields("ann@acme.com", "Ann Lee", active=True))
    matched = replace(done(create, 5, at=NOW + minute), scim_id="m5", detail="The member existed and is linked.")
    records = [
        done(renamed, 0, at=NOW - minute),
        done(renamed, 1),
        done(a_change(scim_id="m2"), 2, Outcome.UNKNOWN, at=NOW + minute),
        done(a_change(scim_id="m2"), 3, Outcome.NOT_PERSISTED, at=NOW + minute),
        replace(done(create, 4, at=NOW + minute), scim_id="m4"),
        matched,
        done(create, 6, Outcome.UNKNOWN, at=NOW + minute),
        done(a_change(scim_id="m6"), 7, Outcome.FAILED, at=NOW + minute),
        done(a_change(scim_id="m7"), 8, Outcome.NOT_TRIED, at=NOW + minute),
        done(a_change(Kind.ADOPT, scim_id="m8"), 9, at=NOW + minute),
    ]
    for record in records:
        await state.record_answer(lease, record)
    clock.pass_seconds(day.total_seconds())
    recent = (
        Written(scim_id="m1", email=None, display_name="Ann", active=None, sent_at=NOW, seq=1),
        Written(scim_id="m2", email=None, display_name=None, active=False, sent_at=NOW + minute, seq=2, is_sure=False),
        Written(scim_id="m2", email=None, display_name=None, active=False, sent_at=NOW + minute, seq=3, is_sure=False),
        Written(scim_id="m4", email="ann@acme.com", display_name="Ann Lee", active=True, sent_at=NOW + minute, seq=4),
        Written(scim_id="m5", email=None, display_name=None, active=None, sent_at=NOW + minute, seq=5),
    )
    assert (await state.load_memory("latam")).written == recent
    assert (await state.load_memory("emea")).written == ()

    left_at = NOW + day
    await state.release_lease(lease)
    lease = await state.take_lease("latam", "two")
    await state.record_last_seen(lease, "r1", ())
    await state.record_answer(lease, done(a_change(scim_id="m9"), 10, at=left_at))
    await state.record_answer(lease, done(a_change(scim_id="m9"), 11, at=left_at + minute))
    clock.pass_seconds(2 * day.total_seconds())

    assert (await state.load_memory("latam")).written == (
        Written(scim_id="m9", email=None, display_name=None, active=False, sent_at=left_at, seq=10, is_recent=False),
        Written(
            scim_id="m9",
            email=None,
            display_name=None,
            active=False,
            sent_at=left_at + minute,
            seq=11,
            is_recent=False,
            is_after_left=True,
        ),
    )


async def test_access_that_our_runs_did_not_give_has_no_beginning(state: State) -> None:
    lease = await begun(state)
    later, latest = NOW + timedelta(days=1), NOW + timedelta(days=2)
    await state.record_answer(lease, done(a_change(Kind.ADOPT), 0))
    await state.record_answer(lease, done(a_change(Kind.UPDATE_NAME), 1, at=later))
    await state.record_answer(lease, done(a_change(Kind.ADOPT, scim_id="m2"), 2))
    await state.record_answer(lease, done(a_change(Kind.REACTIVATE, scim_id="m2"), 3, at=later))
    await state.record_answer(lease, done(a_change(Kind.CREATE, scim_id="m3"), 4))
    await state.record_answer(lease, done(a_change(Kind.DEACTIVATE, scim_id="m3"), 5, at=later))
    await state.record_answer(lease, done(a_change(Kind.ADOPT, scim_id="m3"), 6, at=latest))

    assert await state.load_member_history("latam") == {
        "m1": MemberHistory(None, NOW, later, Kind.UPDATE_NAME),
        "m2": MemberHistory(later, NOW, later, Kind.REACTIVATE),
        "m3": MemberHistory(None, NOW, latest, Kind.ADOPT),
    }


async def test_member_was_first_seen_by_the_oldest_run_that_left_it(state: State, clock: Clock) -> None:
    lease = await begun(state)
    await state.record_last_seen(
        lease, "r1", (LastSeen(scim_id="m1", email="ann@acme.com", display_name="Ann Lee", active=True),)
    )
    later = NOW + timedelta(days=1)
    await state.record_answer(lease, done(a_change(Kind.ADOPT), 0, at=later))
    await state.record_answer(lease, done(a_change(Kind.ADOPT, scim_id="m2"), 1, at=later))

    assert await state.load_member_history("latam") == {
        "m1": MemberHistory(None, NOW, later, Kind.ADOPT),
        "m2": MemberHistory(None, later, later, Kind.ADOPT),
    }


async def test_members_have_a_history(state: State) -> None:
    lease = await begun(state)
    later = NOW + timedelta(minutes=1)
    await state.record_answer(lease, done(a_change(Kind.REACTIVATE), 0))
    await state.record_answer(lease, done(a_change(Kind.UPDATE_EMAIL), 1, at=later))
    await state.record_answer(lease, done(a_change(Kind.CREATE), 2, Outcome.FAILED, at=later))
    await state.record_answer(lease, done(a_change(Kind.UPDATE_NAME, scim_id="m2"), 3))

    assert await state.load_member_history("latam") == {
        "m1": MemberHistory(NOW, NOW, later, Kind.UPDATE_EMAIL),
        "m2": MemberHistory(None, NOW, NOW, Kind.UPDATE_NAME),
    }
    assert await state.load_member_history("emea") == {}


async def test_pause_is_kept_until_it_is_lifted(state: State) -> None:
    pause = Pause(NOW, "ops", "a mistake")
    await state.set_pause("latam", pause)
    await state.set_pause("latam", pause)

    assert await state.load_pause("latam") == pause
    assert await state.load_pause("emea") is None
    await state.set_pause("latam", None)
    assert await state.load_pause("latam") is None


async def test_notice_is_remembered_until_the_next(state: State) -> None:
    assert await state.load_notice("run:latam") is None
    await state.set_notice("run:latam", "held")
    await state.set_notice("run:emea", "failure")
    await state.set_notice("run:latam", "fine")

    assert await state.load_notice("run:latam") == "fine"
    assert await state.load_notice("run:emea") == "failure"


def an_undo(kind: Kind = Kind.DEACTIVATE, scim_id: str = "m1") -> Change:
    undoes = UndoneChange(
        scim_id=scim_id,
        kind=kind,
        person=ANN,
        code="left-groups",
        groups=("g1",),
        email="ann@acme.com",
        display_name="Ann Lee",
    )
    return replace(a_change(Kind.REACTIVATE, scim_id=scim_id), undone_change=undoes)


async def test_what_an_undo_puts_back_is_known_before_it_is_sent(state: State) -> None:
    lease = await begun(state)
    stranger = replace(an_undo(scim_id="m2"), person=None)
    assert stranger.undone_change is not None
    stranger = replace(stranger, undone_change=replace(stranger.undone_change, person=None, groups=()))
    assert stranger.undone_change is not None
    await state.record_intent(lease, "r1", 0, stranger)
    await state.record_intent(lease, "r1", 1, an_undo())
    await state.record_intent(lease, "r1", 2, a_change(Kind.REACTIVATE, scim_id="m3"))
    undone = an_undo().undone_change
    assert undone is not None

    assert (await state.load_memory("latam")).undone_changes == (
        replace(undone, run_id="r1"),
        replace(stranger.undone_change, run_id="r1"),
    )
    assert (await state.load_memory("emea")).undone_changes == ()


async def test_what_was_not_put_back_after_all_is_forgotten(state: State) -> None:
    lease = await begun(state)
    kept = []
    for seq, outcome in enumerate(Outcome):
        change = an_undo(scim_id=f"m{seq}")
        await state.record_intent(lease, "r1", seq, change)
        await state.record_answer(lease, done(change, seq, outcome))
        kept += [f"m{seq}"] if outcome in {Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED} else []
    await state.begin_run(a_run("r2"), lease)
    await state.record_answer(lease, done(an_undo(scim_id=kept[0]), 0, Outcome.NOT_TRIED, run="r2"))

    assert [each.scim_id for each in (await state.load_memory("latam")).undone_changes] == kept


async def test_undo_of_a_create_ends_its_link_and_no_other(state: State) -> None:
    lease = await begun(state)
    adopt = a_change(Kind.ADOPT)
    await state.record_adoptions(lease, "r1", [(0, adopt, Link(ANN, "m1")), (1, adopt, Link(BEA, "m2"))])
    refused, other = an_undo(Kind.CREATE), an_undo(Kind.REACTIVATE)
    await state.record_answer(lease, done(refused, 2, Outcome.FAILED))
    await state.record_answer(lease, done(refused, 3, Outcome.UNKNOWN))
    await state.record_answer(lease, done(other, 4))
    assert (await state.load_memory("latam")).links == (Link(ANN, "m1"), Link(BEA, "m2"))
    await state.record_answer(lease, done(refused, 5))

    assert (await state.load_memory("latam")).links == (Link(BEA, "m2"),)


async def test_last_undo_of_a_member_forgets_what_it_contradicts(state: State) -> None:
    lease = await begun(state)

    async def known(*kinds: Kind) -> set[Kind]:
        for seq, kind in enumerate(kinds):
            await state.record_intent(lease, "r1", seq + 10 * len(kinds), an_undo(kind))
        found = {each.kind for each in (await state.load_memory("latam")).undone_changes}
        await state.update_memory(lease, (), frozenset(), {}, ())
        return found

    assert await known(Kind.DEACTIVATE, Kind.UPDATE_NAME, Kind.UPDATE_EMAIL, Kind.REACTIVATE) == {
        Kind.UPDATE_NAME,
        Kind.UPDATE_EMAIL,
        Kind.REACTIVATE,
    }
    assert await known(Kind.REACTIVATE, Kind.CREATE, Kind.DEACTIVATE) == {Kind.DEACTIVATE}
    assert await known(Kind.DEACTIVATE, Kind.CREATE) == {Kind.CREATE}


async def test_undone_changes_are_replaced_only_where_asked(state: State) -> None:
    lease = await begun(state)
    await state.record_intent(lease, "r1", 0, an_undo())
    await state.update_memory(lease, (), frozenset(), {})
    (undone,) = (await state.load_memory("latam")).undone_changes
    await state.update_memory(lease, (), frozenset(), {}, (undone,))
    assert (await state.load_memory("latam")).undone_changes == (undone,)
    renamed = replace(undone, kind=Kind.UPDATE_NAME, display_name="Ann Ray")
    await state.update_memory(lease, (), frozenset(), {}, (undone, renamed))
    assert (await state.load_memory("latam")).undone_changes == (undone, renamed)
    await state.update_memory(lease, (), frozenset(), {}, ())

    assert (await state.load_memory("latam")).undone_changes == ()
