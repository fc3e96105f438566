"""Whether a key, a workspace and its connectors are what the state knows: what is held, by what it is released."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent.diff.plan import compute_plan
from agent.engine.order import is_waiting
from agent.guard.hold import guarded, released
from agent.guard.limit import History
from agent.guard.target import compare_targets
from agent.model import Kind, KnownTarget, MovedTenant, Plan, Policy, Reads, TargetCheck, Unmanaged
from tests.factories import a_policy, link, member, person, reads, snapshot

HERE, THERE = "https://pigment.example.com/latam/scim/v2", "https://pigment.example.com/eu/scim/v2"
OKTA_NOW, OKTA_BEFORE = "okta https://acme.okta.com", "okta https://acme.oktapreview.com"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ("ann", "bea", "cal", "dan", "eve")


def policy(target: str = HERE, **more: object) -> Policy:
    return replace(a_policy(), target=target, tenants=(("okta-main", OKTA_NOW),), **more)  # type: ignore[arg-type]  # a helper of tests


def known(workspace: str = "latam", target: str = HERE, connector: str = "", minutes: int = 0) -> KnownTarget:
    return KnownTarget(workspace, connector, target, NOW + timedelta(minutes=minutes))


def everyone(*, missing: int = 0) -> Reads:
    """Five linked people; the first *missing* of them have no member in the listing; eve left her groups."""
    people = [person(name) for name in NAMES if name != "eve"]
    return reads(people, [member(name) for name in NAMES[missing:]], [link(name) for name in NAMES])


def judged(given: Policy, state: tuple[KnownTarget, ...], read: Reads) -> tuple[TargetCheck, Plan, Plan]:
    """Return the finding, the guarded plan and the plan as an approval leaves it."""
    found = compare_targets(given, state, read)
    unguarded = compute_plan(read, given)
    plan = guarded(unguarded, given, History(target=found))
    return found, plan, released(plan, unguarded)


def test_key_of_another_workspace_holds_everything_and_no_approval_releases_it() -> None:
    given = policy(THERE, unmanaged=Unmanaged.DEACTIVATE)
    read = reads([person("new")], [member("ann"), member("stranger")], [link("ann")])
    found, plan, approved = judged(given, (known(),), read)

    assert found.holds_everything
    assert plan.changes == approved.changes == ()
    assert {hold.code for hold in plan.holds} == {"wrong-target"}
    assert len(plan.holds) == 3
    assert is_waiting(plan)
    assert "latam" in plan.holds[0].reason
    assert HERE in plan.holds[0].reason
    assert THERE in plan.holds[0].reason
    assert "pigment-sync workspaces reset latam" in plan.holds[0].remedy
    assert "pigment-sync workspaces rename latam latam" in plan.holds[0].remedy
    assert "An approval does not release it" in plan.holds[0].remedy
    assert found.accepted == found.pending == ()


def test_workspace_known_by_another_key_holds_everything_until_it_is_renamed() -> None:
    found, plan, approved = judged(policy(), (known("brazil"),), reads([person("ann")], [member("ann")]))

    assert plan.changes == approved.changes == ()
    assert [(hold.kind, hold.code) for hold in plan.holds] == [(Kind.ADOPT, "wrong-target")], "links are held too"
    assert "pigment-sync workspaces rename brazil latam" in plan.holds[0].remedy
    assert found.accepted == ()


def test_swapped_urls_hold_everything_and_name_the_other_key() -> None:
    _, plan, _ = judged(policy(THERE), (known(), known("eu", THERE)), everyone())

    assert plan.changes == ()
    assert "which the state knows as eu" in plan.holds[0].reason
    assert "rename" not in plan.holds[0].remedy


def test_wrong_target_waits_for_somebody_also_where_there_is_nothing_to_hold() -> None:
    _, plan, _ = judged(policy(THERE), (known(),), reads())

    assert plan.holds == ()
    assert is_waiting(plan)
    assert "pigment-sync workspaces reset latam" in plan.guards[0].message


def test_wrong_target_lets_no_hold_of_the_table_be_released() -> None:
    read = reads([person("ann", "anna@acme.com")], [member("ann")])
    unguarded = compute_plan(read, policy())
    assert [hold.code for hold in unguarded.holds] == ["possible-rename"]
    assert unguarded.holds[0].change is not None, "an approval releases it otherwise"
    _, plan, approved = judged(policy(), (known("brazil"),), read)

    assert approved.changes == ()
    assert [hold.change for hold in plan.holds] == [None]


def test_key_belongs_to_whom_it_was_recorded_for_last() -> None:
    state = (known("brazil"), known("latam", minutes=1))

    assert not compare_targets(policy(), state, everyone()).moved
    assert compare_targets(policy(), (known("latam"), known("brazil", minutes=1)), everyone()).moved


def test_state_from_before_fingerprints_goes_on_and_records_them() -> None:
    found, plan, _ = judged(policy(), (), everyone())

    assert [change.kind for change in plan.changes] == [Kind.DEACTIVATE]
    assert plan.guards == ()
    assert found.accepted == (("", HERE), ("okta-main", OKTA_NOW))


def test_known_targets_are_not_recorded_again() -> None:
    found = compare_targets(policy(), (known(), known(connector="okta-main", target=OKTA_NOW)), everyone())

    assert (found.accepted, found.pending) == ((), ())


def test_most_linked_members_missing_holds_everything_until_an_approval() -> None:
    found, plan, approved = judged(policy(), (), everyone(missing=3))

    assert {hold.code for hold in plan.holds if hold.change is not None} == {"wrong-target"}
    assert plan.changes == ()
    assert "3 of 5 linked members are not in the listing of latam" in plan.guards[0].message
    assert HERE in plan.guards[0].message
    assert approved.changes
    assert found.accepted == ()
    assert found.pending == (("", HERE), ("okta-main", OKTA_NOW)), "recorded once it was approved"
    assert found.released.accepted == found.pending
    assert not found.released.holds_everything


def test_half_of_the_linked_members_or_fewer_than_four_are_no_wrong_target() -> None:
    assert not TargetCheck(linked=4, missing=2).is_mostly_missing
    assert not TargetCheck(linked=3, missing=3).is_mostly_missing
    assert TargetCheck(linked=4, missing=3).is_mostly_missing


TENANT_BEFORE = (known(), known(connector="okta-main", target=OKTA_BEFORE))


def test_connector_that_reads_another_tenant_holds_all_deactivations_of_however_few() -> None:
    read = reads([person("new1")], [member("ann"), member("bea")], [link("ann"), link("bea")])
    found, plan, approved = judged(policy(), TENANT_BEFORE, read)

    assert [(change.kind, change.email) for change in plan.changes] == [(Kind.CREATE, "new1@acme.com")]
    assert {(hold.kind, hold.code) for hold in plan.holds} == {(Kind.DEACTIVATE, "wrong-target")}
    assert OKTA_BEFORE in plan.holds[0].reason
    assert OKTA_NOW in plan.holds[0].reason
    assert sum(change.kind is Kind.DEACTIVATE for change in approved.changes) == 2
    assert found.tenants == (MovedTenant("okta-main", OKTA_BEFORE, OKTA_NOW),)
    assert found.accepted == (), "an unapproved run records nothing"
    assert found.pending == (("okta-main", OKTA_NOW),)


def test_connector_that_still_shows_every_linked_person_is_accepted() -> None:
    read = reads([person("ann"), person("bea")], [member("ann"), member("bea")], [link("ann"), link("bea")])
    found, plan, _ = judged(policy(), TENANT_BEFORE, read)

    assert found.accepted == (("okta-main", OKTA_NOW),)
    assert plan.guards == ()


def test_people_who_left_long_ago_do_not_keep_a_tenant_from_being_accepted() -> None:
    members = [member("ann"), member("bea", active=False)]
    found = compare_targets(policy(), TENANT_BEFORE, reads([person("ann")], members, [link("ann"), link("bea")]))

    assert found.accepted == (("okta-main", OKTA_NOW),)


def test_leavers_in_grace_keep_a_tenant_from_being_accepted() -> None:
    read = reads([], [member("ann")], [link("ann")])
    found, plan, _ = judged(policy(grace_reads=3), TENANT_BEFORE, read)

    assert found.accepted == ()
    assert is_waiting(plan)


def test_other_sources_applications_and_groups_are_an_ordinary_change() -> None:
    known_before = (known(), known(connector="okta-main", target=OKTA_NOW))
    found = compare_targets(policy(), known_before, reads([person("ann")], [member("ann")], [link("ann")]))
    added = replace(policy(), tenants=(("entra-eu", "entra t https://graph.microsoft.com"), ("okta-main", OKTA_NOW)))
    more = compare_targets(added, known_before, Reads((snapshot([person("ann")]),), everyone().listing))

    assert not found.tenants
    assert not more.tenants
    assert more.accepted == (("entra-eu", "entra t https://graph.microsoft.com"),)
