"""The guards beyond one workspace and one plan: fleets, baselines, floors, and what an approval releases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.diff.plan import compute_plan, leavers_to_look_up
from agent.guard.count_guards import percent_limit
from agent.guard.hold import FleetContext, apply_fleet_guard, apply_guards, next_baselines, release_approved
from agent.guard.results import GuardHistory
from agent.model import GroupRef, Kind, Link, Plan, RecentChanges, Toggles, UnmanagedAction
from connectors.base import PersonKey, Status
from tests.factories import (
    ENTRA,
    OKTA,
    a_policy,
    approved_by,
    key,
    link,
    member,
    person,
    reads,
    recent_changes,
    snapshot,
    some_limits,
)

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def leavers(count: int, of: int, workspace: str = "latam", joining: tuple[str, ...] = ()) -> Plan:
    """Return the plan of a workspace in which *count* of its *of* members leave, and people *joining* get one."""
    names = [f"p{number}" for number in range(of)]
    people = [person(name) for name in (*names[count:], *joining)]
    given = reads(people, [member(name) for name in names], [link(name) for name in names])
    return compute_plan(given, replace(a_policy(), workspace=workspace))


def test_percentage_never_goes_below_the_floor_nor_above_itself() -> None:
    assert percent_limit(10, 10) == 3
    assert percent_limit(10, 30) == 3
    assert percent_limit(10, 40) == 4
    assert percent_limit(0, 1000) == 3
    assert percent_limit(12.5, 100) == 12.5


@pytest.mark.parametrize(
    ("count", "of", "is_held"), [(3, 5, False), (4, 40, False), (5, 40, True), (25, 250, False), (26, 500, True)]
)
def test_deactivations_are_held_over_count_or_percentage(count: int, of: int, is_held: bool) -> None:
    plan = apply_guards(leavers(count, of), a_policy(), GuardHistory())

    assert [guard.code for guard in plan.guards] == (["max-deactivations"] if is_held else [])
    assert len(plan.changes) == (0 if is_held else count)
    assert len(plan.holds) == (count if is_held else 0)


def ids(count: int) -> frozenset[str]:
    """Return SCIM ids of members that no plan here is about."""
    return frozenset(f"gone-{number}" for number in range(count))


def recent(gone: int = 0, made: int = 0, moved: int = 0) -> RecentChanges:
    return recent_changes(max_deactivations=ids(gone), max_creates=map(key, ids(made)), max_email_changes=ids(moved))


def test_guard_shows_its_numbers_and_the_affected_emails() -> None:
    (guard,) = apply_guards(leavers(5, 40), a_policy(), GuardHistory(recent_changes=recent(2))).guards

    assert (guard.count, guard.recent) == (5, 2)
    assert guard.affected == tuple(f"p{number}@acme.com" for number in range(5))
    assert guard.message == (
        "5 members (7 with the 2 of the last 60 minutes) would be deactivated; the limit is 4: the lower of "
        "25 and 10 % of 40 (at least 3)."
    )


def test_limits_count_what_the_journal_shows_only_when_there_is_something_to_hold() -> None:
    full = GuardHistory(recent_changes=recent(100, 100, 100))

    assert apply_guards(leavers(0, 5), a_policy(limits=some_limits(max_creates=0)), full).guards == ()


def test_member_that_the_last_hour_counted_counts_once() -> None:
    """A leaver that another tool reactivates uses the limit once; so does a create that is tried again."""
    policy = a_policy(limits=some_limits(max_deactivations=25, max_deactivations_percent=100, max_creates=2))
    gone = recent_changes(max_deactivations={"m-p0", *ids(22)})
    made = recent_changes(max_creates={key("p0"), key("p1")})
    moved = recent_changes(max_email_changes={"m-p0", "m-p1"})

    assert apply_guards(leavers(3, 40), policy, GuardHistory(recent_changes=gone)).guards == ()
    (guard,) = apply_guards(leavers(4, 40), policy, GuardHistory(recent_changes=gone)).guards
    assert (guard.count, guard.recent) == (4, 22)
    assert guard.message.startswith("4 members (26 with the 22 of the last 60 minutes)")
    assert apply_guards(joiners(2), policy, GuardHistory(recent_changes=made)).guards == ()
    assert apply_guards(joiners(3), policy, GuardHistory(recent_changes=made)).guards != ()
    strict = a_policy(limits=some_limits(max_email_changes=2))
    assert apply_guards(movers(2), strict, GuardHistory(recent_changes=moved)).guards == ()
    assert apply_guards(movers(3), strict, GuardHistory(recent_changes=moved)).guards != ()


@pytest.mark.parametrize(
    ("count", "of", "percent", "is_held"),
    [(2, 3, 10, False), (3, 3, 10, True), (1, 1, 10, True), (3, 3, 100, False), (3, 4, 10, False)],
)
def test_floor_never_covers_all_members_of_a_workspace(count: int, of: int, percent: float, is_held: bool) -> None:
    policy = a_policy(limits=some_limits(max_deactivations_percent=percent))
    plan = apply_guards(leavers(count, of, joining=("new",)), policy, GuardHistory())

    assert [guard.code for guard in plan.guards] == (["max-deactivations"] if is_held else [])
    if is_held:
        assert plan.guards[0].message == (
            f"{'1 member' if count == 1 else f'{count} members'} would be deactivated; "
            f"the limit is 0: the lower of 25 and 10 % of {of} (this would deactivate every member of the workspace)."
        )


def strangers(count: int, adopted: int, linked: int) -> Plan:
    """Return a plan that deactivates *count* unmanaged members next to people who are adopted and ones with a link."""
    names = [f"p{number}" for number in range(adopted + linked)]
    members = [member(name) for name in [*names, *(f"x{number}" for number in range(count))]]
    given = reads([person(name) for name in names], members, [link(name) for name in names[adopted:]])
    return compute_plan(given, a_policy(unmanaged=UnmanagedAction.DEACTIVATE))


@pytest.mark.parametrize(
    ("count", "adopted", "linked", "is_held"),
    [(1, 0, 0, True), (1, 5, 0, True), (1, 10, 0, False), (2, 10, 0, True), (3, 0, 1, False), (3, 5, 1, False)],
)
def test_floor_never_covers_unmanaged_members_of_a_workspace_without_links(
    count: int, adopted: int, linked: int, is_held: bool
) -> None:
    plan = apply_guards(strangers(count, adopted, linked), a_policy(), GuardHistory())

    assert [guard.code for guard in plan.guards if guard.code != "empty-source"] == (
        ["max-deactivations"] if is_held else []
    )


def test_floor_of_the_fleet_covers_neither_a_whole_workspace_nor_strangers_of_a_new_one() -> None:
    whole, large = leavers(2, 2, "one"), leavers(0, 10, "two")
    held = apply_fleet_guard([whole, large], FleetContext(workspaces=2, percent=10))
    new = apply_fleet_guard([strangers(1, 1, 0), large], FleetContext(workspaces=2, percent=5))
    own = apply_fleet_guard(
        [apply_guards(leavers(1, 1, "one"), a_policy(), GuardHistory()), leavers(1, 10, "two")],
        FleetContext(workspaces=2, percent=10),
    )

    assert held[0].guards[0].message == (
        "2 members of 1 workspace would be deactivated; the limit is 1: 10 % of 12 active linked members of "
        "all workspaces (this would deactivate every member of the workspace)."
    )
    assert [hold.code for hold in new[0].holds] == ["fleet"]
    assert apply_fleet_guard([leavers(1, 2, "one"), large], FleetContext(workspaces=2, percent=5))[0].guards == ()
    assert own[1].guards == (), "what its own guard holds takes no floor from others"


def test_fleet_counts_what_finished_workspaces_of_the_tick_wait_for() -> None:
    plan = leavers(2, 10, "two")
    alone = FleetContext(workspaces=2, percent=15, others=20)
    waiting = frozenset({"a", "b", "c"})
    (free,) = apply_fleet_guard([plan], alone)
    (held,) = apply_fleet_guard([plan], replace(alone, finished={"one": waiting}))
    # Those that were made are in the journal too, and are counted once.
    (once,) = apply_fleet_guard([plan], replace(alone, recent={"one": waiting}, finished={"one": waiting}))

    assert free.guards == ()
    assert [hold.code for hold in held.holds] == ["fleet", "fleet"]
    assert "and 3 were in the last 60 minutes or wait in workspaces that this tick has finished" in (
        held.guards[0].message
    )
    assert once == held


def test_fleet_counts_deactivations_only() -> None:
    joined = leavers(1, 5, "one", joining=tuple(f"new{number}" for number in range(5)))
    moved = replace(movers(5), workspace="three")
    plans = [joined, leavers(1, 10, "two"), moved]

    assert apply_fleet_guard(plans, FleetContext(workspaces=3, percent=5)) == tuple(plans)


def test_fleet_counts_a_member_of_the_last_hour_once() -> None:
    plans = [leavers(3, 25, "one"), leavers(2, 25, "two")]
    again = {"one": frozenset({"m-p0", "m-p1"}), "two": frozenset({"m-p0"})}
    namesake = {"three": frozenset({"m-p0"})}

    assert apply_fleet_guard(plans, FleetContext(workspaces=3, others=0, recent=again, percent=10)) == tuple(plans)
    assert apply_fleet_guard(plans, FleetContext(workspaces=3, others=0, recent=namesake, percent=10))[0].guards != ()


def test_member_that_another_tool_reactivates_is_held_alone_and_uses_up_no_limit() -> None:
    contested = {"m-p0": [AT - timedelta(hours=1), AT, AT + timedelta(minutes=20)], "m-p9": [AT, AT], "gone": [AT, AT]}
    limits = some_limits(max_deactivations=2)
    plan = apply_guards(leavers(3, 40), a_policy(limits=limits), GuardHistory(contested_members=contested))

    assert [change.scim_id for change in plan.changes] == ["m-p1", "m-p2"]
    (hold,) = plan.holds
    assert (hold.kind, hold.code, hold.scim_id) == (Kind.DEACTIVATE, "contested-by-another-writer", "m-p0")
    assert hold.reason.endswith(
        " pigment-sync deactivated this member at 2026-03-01 12:00:00 UTC and 2026-03-01 12:20:00 UTC, and it is "
        "active again: another tool reactivates it."
    )
    assert "the identity provider's own provisioning into Pigment" in hold.remedy
    (guard,) = plan.guards
    assert (guard.code, guard.count, guard.affected) == ("contested-by-another-writer", 1, ("p0@acme.com",))
    assert guard.message.startswith("1 member was deactivated by pigment-sync twice within 24 hours")
    assert release_approved(plan, leavers(3, 40), approved_by("ops")).changes == leavers(3, 40).changes


def test_contested_members_count_for_no_other_guard() -> None:
    contested = {f"m-p{number}": [AT, AT] for number in range(4)}
    plan = apply_guards(leavers(5, 40), a_policy(), GuardHistory(contested_members=contested))
    other = leavers(3, 30, "two")
    fleet = apply_fleet_guard([plan, other], FleetContext(workspaces=2, percent=10))

    assert [guard.message.split(" within")[0] for guard in plan.guards] == [
        "4 members were deactivated by pigment-sync twice"
    ]
    assert [len(each.changes) for each in fleet] == [1, 3]
    assert apply_guards(joiners(1), a_policy(), GuardHistory(contested_members=contested)).guards == ()


def test_group_that_shrinks_in_steps_is_held_once_more_than_half_are_gone() -> None:
    """The largest size of the last day is the baseline, so that small steps do not bypass the guard."""
    history = GuardHistory(baselines={("okta-main", "planners"): ("Planners", 24)})
    names = [f"p{number}" for number in range(12)]

    def shrunk(to: int) -> Plan:
        given = reads(
            [person(name) for name in names[:to]], [member(name) for name in names], [link(name) for name in names]
        )
        return apply_guards(
            compute_plan(given, a_policy(limits=some_limits(max_deactivations=25, max_deactivations_percent=100))),
            a_policy(limits=some_limits(max_deactivations=25, max_deactivations_percent=100)),
            history,
        )

    assert [guard.code for guard in shrunk(12).guards] == []
    assert [guard.code for guard in shrunk(11).guards] == ["group-shrink"]
    assert len(shrunk(6).holds) == 6


def test_fleet_of_one_workspace_has_no_guard_of_its_own() -> None:
    plan = leavers(3, 5)

    assert apply_fleet_guard([plan], FleetContext(workspaces=1, percent=0)) == (plan,)


def test_fleet_holds_the_deactivations_of_all_workspaces_together() -> None:
    plans = [leavers(3, 30, "one"), leavers(3, 30, "two"), leavers(0, 20, "three")]
    held = apply_fleet_guard(plans, FleetContext(workspaces=3, others=0, recent={"one": ids(3)}, percent=10))

    assert [len(plan.changes) for plan in held] == [0, 0, 0]
    assert [[guard.code for guard in plan.guards] for plan in held] == [["fleet"], ["fleet"], []]
    assert held[0].guards[0].message == (
        "6 members of 2 workspaces would be deactivated, and 3 were in the last 60 minutes; the limit is 8: 10 % of "
        "80 active linked members of all workspaces (at least 3)."
    )
    assert {hold.code for plan in held for hold in plan.holds} == {"fleet"}
    assert held[2] is plans[2]


@pytest.mark.parametrize(("others", "before", "is_held"), [(0, 0, False), (0, 1, True), (10, 1, False), (10, 2, True)])
def test_fleet_counts_the_other_workspaces_and_the_last_hour(others: int, before: int, is_held: bool) -> None:
    plans = [leavers(3, 25, "one"), leavers(2, 25, "two")]
    held = apply_fleet_guard(
        plans, FleetContext(workspaces=3, others=others, recent={"three": ids(before)}, percent=10)
    )

    assert bool(held[0].guards) is is_held


def test_fleet_counts_deactivations_that_an_own_guard_holds() -> None:
    own = apply_guards(leavers(5, 40, "one"), replace(a_policy(), workspace="one"), GuardHistory())
    held = apply_fleet_guard([own, leavers(3, 30, "two")], FleetContext(workspaces=2, percent=10))

    assert [hold.code for hold in held[1].holds] == ["fleet"] * 3
    assert {(hold.code, hold.guards) for hold in held[0].holds} == {
        ("max-deactivations", ("fleet", "max-deactivations"))
    }
    assert [(guard.code, guard.count) for guard in held[0].guards] == [("max-deactivations", 5), ("fleet", 5)]


def test_approval_releases_in_the_order_of_applying() -> None:
    unguarded = leavers(5, 40)
    plan = apply_guards(unguarded, a_policy(), GuardHistory())

    approved = release_approved(plan, unguarded, approved_by("ops@acme.com", "ann", needed=2))
    assert release_approved(plan, unguarded, approved_by("ops")).changes == approved.changes == unguarded.changes
    assert approved.holds == ()
    guard = approved.guards[0]
    assert guard.message == f"{plan.guards[0].message} Released by an approval of ops@acme.com and ann."
    assert guard.released_by == ("ops@acme.com", "ann")


def test_first_of_two_people_releases_nothing() -> None:
    unguarded = leavers(5, 40)
    plan = apply_guards(unguarded, a_policy(), GuardHistory())

    assert release_approved(plan, unguarded, approved_by("ann", "ANN ", needed=2)) == plan


def test_change_that_two_guards_hold_needs_the_approval_of_both() -> None:
    unguarded = leavers(5, 40)
    policy = a_policy(require_approval=frozenset({Kind.DEACTIVATE}))
    plan = apply_guards(unguarded, policy, GuardHistory())
    one = release_approved(plan, unguarded, approved_by("ops", guards=["max-deactivations"]))
    both = release_approved(plan, unguarded, approved_by("ops", guards=["max-deactivations", "approval-required"]))

    assert {hold.guards for hold in plan.holds} == {("approval-required", "max-deactivations")}
    assert (one.changes, one.holds) == (plan.changes, plan.holds)
    assert [guard.released_by for guard in one.guards] == [("ops",), ()]
    assert (both.changes, both.holds) == (unguarded.changes, ())


def test_change_that_waits_for_another_needs_the_approval_of_its_guards_too() -> None:
    given = reads([person("ann", "x@acme.com"), person("new", "ann@acme.com")], [member("ann")], [link("ann")])
    policy = a_policy(require_approval=frozenset({Kind.UPDATE_EMAIL}), limits=some_limits(max_creates=0))
    unguarded = compute_plan(given, policy)
    plan = apply_guards(unguarded, policy, GuardHistory())

    assert {(hold.kind, hold.code): hold.guards for hold in plan.holds} == {
        ("update-email", "approval-required"): ("approval-required",),
        ("create", "max-creates"): ("approval-required", "max-creates"),
    }
    assert release_approved(plan, unguarded, approved_by("ops", guards=["max-creates"])).changes == ()
    narrowed = release_approved(plan, unguarded, approved_by("ops", guards=["approval-required"]))
    assert [change.kind for change in narrowed.changes] == ["update-email"]


def test_change_that_a_toggle_holds_is_never_offered_for_approval() -> None:
    """Neither is one that another guard holds too, or that waits for it."""
    given = reads([person("ann", "x@acme.com"), person("new", "ann@acme.com")], [member("ann")], [link("ann")])
    policy = a_policy(
        toggles=Toggles(update=False),
        require_approval=frozenset({Kind.UPDATE_EMAIL}),
        limits=some_limits(max_creates=0),
    )
    unguarded = compute_plan(given, policy)
    plan = apply_guards(unguarded, policy, GuardHistory())

    assert {(hold.kind, hold.code, hold.change, hold.guards) for hold in plan.holds} == {
        ("update-email", "toggle-off", None, ()),
        ("create", "waits-for-held", None, ()),
    }
    assert release_approved(plan, unguarded, approved_by("ops")).changes == ()


def test_guard_that_an_approval_does_not_release_is_not_called_released() -> None:
    policy = a_policy(toggles=Toggles(create=False), require_approval=frozenset({Kind.DEACTIVATE}))
    names = [f"p{number}" for number in range(20)]
    given = reads([person("new"), *map(person, names[1:])], [member(name) for name in names], list(map(link, names)))
    unguarded = compute_plan(given, policy)
    off, required = release_approved(
        apply_guards(unguarded, policy, GuardHistory()), unguarded, approved_by("ops")
    ).guards

    assert "Released" not in off.message
    assert required.message.endswith("(require_approval: deactivate). Released by an approval of ops.")


def baselines(
    plan: Plan, made: Plan | None = None, before: dict[str, int] | None = None, grace: int = 1
) -> dict[str, int]:
    known = {("okta-main", group): (group.title(), size) for group, size in (before or {}).items()}
    return {group: size for (_, group), (_, size) in next_baselines(plan, made or plan, known, grace).items()}


def test_each_run_sets_the_baseline_whether_the_group_has_changed_or_not() -> None:
    assert baselines(leavers(0, 5)) == {"planners": 5}
    assert baselines(leavers(0, 5), before={"planners": 5}) == {"planners": 5}
    assert baselines(leavers(0, 5), before={"planners": 9}) == {"planners": 5}


def test_group_that_is_no_longer_assigned_has_size_zero() -> None:
    assert baselines(leavers(0, 5), before={"removed": 12, "long-gone": 0}) == {"removed": 0, "planners": 5}


def test_group_keeps_its_baseline_while_a_leaver_of_it_is_held() -> None:
    unguarded = leavers(5, 40)
    plan = apply_guards(unguarded, a_policy(), GuardHistory())

    assert baselines(unguarded, plan, {"planners": 40}) == {}
    assert baselines(unguarded, release_approved(plan, unguarded, approved_by("ops")), {"planners": 40}) == {
        "planners": 35
    }
    assert baselines(unguarded, plan) == {"planners": 35}, "a group without a baseline gets its first"


def test_group_keeps_its_baseline_while_a_leaver_of_it_is_in_grace() -> None:
    given = reads([person("bea")], [member("ann"), member("bea")], [link("ann"), link("bea")])
    plan = compute_plan(given, a_policy(grace_reads=3))

    assert baselines(plan, before={"planners": 9}, grace=3) == {}
    assert baselines(plan, before={"planners": 9}, grace=1) == {"planners": 1}


def test_at_most_25_leavers_are_looked_up_and_only_those_no_source_shows() -> None:
    suspended = person("sue", status=Status.SUSPENDED)
    names = [f"p{number:02}" for number in range(30)]
    given = reads([suspended], [member(name) for name in [*names, "sue"]], [link(name) for name in [*names, "sue"]])
    leavers = leavers_to_look_up(compute_plan(given, a_policy()))

    assert leavers == tuple(key(name) for name in names[:25])
    assert leavers_to_look_up(compute_plan(reads([], [member("eve")]), a_policy())) == ()


def test_shrunken_group_of_a_removed_connector_holds_nothing() -> None:
    history = GuardHistory(baselines={("removed", "planners"): ("Planners", 50)})

    assert apply_guards(leavers(3, 30), a_policy(), history).guards == ()


def test_group_of_one_connector_does_not_count_for_its_namesake_in_another() -> None:
    gone = Link(PersonKey("entra-eu", "eve"), "m-eve", (GroupRef("planners", "Planners"),))
    shown = snapshot([person("sue", connector="entra-eu", groups=("planners",))], ENTRA)
    given = reads([person("ann")], [member("ann"), member("eve"), member("sue")], [link("ann"), gone], shown)
    policy = a_policy(OKTA, ENTRA)
    plan = apply_guards(
        compute_plan(given, policy), policy, GuardHistory(baselines={("okta-main", "planners"): ("Planners", 40)})
    )

    assert [change.scim_id for change in plan.changes if change.kind is Kind.DEACTIVATE] == ["m-eve"]


def joiners(count: int) -> Plan:
    return compute_plan(reads([person(f"p{number}") for number in range(count)]), a_policy())


def movers(count: int) -> Plan:
    names = [f"p{number}" for number in range(count)]
    people = [person(name, f"new-{name}@acme.com") for name in names]
    return compute_plan(reads(people, [member(name) for name in names], [link(name) for name in names]), a_policy())


@pytest.mark.parametrize(("count", "before", "is_held"), [(2, 0, False), (3, 0, True), (2, 1, True), (0, 9, False)])
def test_creates_and_email_changes_are_held_beyond_their_limit_and_not_at_it(
    count: int, before: int, is_held: bool
) -> None:
    policy = a_policy(limits=some_limits(max_creates=2, max_email_changes=2))
    made = apply_guards(joiners(count), policy, GuardHistory(recent_changes=recent(made=before)))
    moved = apply_guards(movers(count), policy, GuardHistory(recent_changes=recent(moved=before)))

    assert [guard.code for guard in made.guards] == (["max-creates"] if is_held else [])
    assert [guard.code for guard in moved.guards] == (["max-email-changes"] if is_held else [])


def test_messages_show_the_last_hour_only_where_it_had_changes() -> None:
    policy = a_policy(limits=some_limits(max_creates=0, max_email_changes=0))
    (made,) = apply_guards(joiners(1), policy, GuardHistory(recent_changes=recent(made=3))).guards
    (moved,) = apply_guards(movers(2), policy, GuardHistory(recent_changes=recent(moved=3))).guards
    (fleet,) = apply_fleet_guard([leavers(4, 10, "one"), leavers(0, 1, "two")], FleetContext(workspaces=2, percent=10))[
        0
    ].guards

    assert made.message == "1 member (4 with the 3 of the last 60 minutes) would be created; the limit is 0."
    assert moved.message == ("2 members (5 with the 3 of the last 60 minutes) would get a new email; the limit is 0.")
    assert fleet.message.startswith("4 members of 1 workspace would be deactivated; the limit is 3: 10 % of 11 active")


def test_every_empty_source_and_every_shrunken_group_is_named() -> None:
    given = reads([], [member("ann")], [link("ann")], snapshot((), ENTRA))
    policy = a_policy(OKTA, ENTRA, limits=some_limits(max_deactivations_percent=100))
    plan = compute_plan(given, policy)
    (empty, shrunk) = apply_guards(
        plan,
        policy,
        GuardHistory(
            baselines={("okta-main", "planners"): ("Planners", 12), ("entra-eu", "planners"): ("Finance", 10)}
        ),
    ).guards

    assert empty.message == ("No one is entitled in okta-main 0oapigment, entra-eu sp-pigment.")
    assert shrunk.message == "Finance has 0 people and had 10; Planners has 0 people and had 12."


def test_groups_are_compared_by_id_and_not_by_name() -> None:
    history = GuardHistory(baselines={("okta-main", "planners"): ("Former name", 10)})

    assert apply_guards(leavers(3, 12), a_policy(), history).guards == ()


def test_baseline_moves_though_a_create_is_held_or_a_link_changed_its_groups() -> None:
    unguarded = joiners(1)
    plan = apply_guards(unguarded, a_policy(limits=some_limits(max_creates=0)), GuardHistory())
    regrouped = compute_plan(reads([person("ann", groups=("readers",))], [member("ann")], [link("ann")]), a_policy())

    assert baselines(unguarded, plan, {"planners": 9}) == {"planners": 1}
    assert [each.missed_reads for each in regrouped.updated_links] == [0]
    assert baselines(regrouped, before={"planners": 9, "readers": 9}) == {"planners": 0, "readers": 1}


def test_approval_never_releases_a_possible_rename() -> None:
    people = [person("zed", display_name="Zed"), person("ann", display_name="Ann"), person("bob", display_name="Bob")]
    listed = [member("x", display_name="zed"), member("y", display_name="ann"), member("bob")]
    unguarded = compute_plan(reads(people, listed), a_policy())
    plan = apply_guards(unguarded, a_policy(), GuardHistory())

    assert [hold.code for hold in plan.holds] == ["possible-rename", "possible-rename"]
    assert [hold.change for hold in plan.holds] == [None, None]
    assert "pigment-sync links new y@acme.com --workspace latam --person okta-main:ann" in plan.holds[0].remedy
    assert release_approved(plan, unguarded, approved_by("ops")) == plan
