"""Whether a key, a workspace and its connectors match the state: what is held, and what releases it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent.diff.plan import compute_plan
from agent.engine.request import is_awaiting_approval
from agent.guard.hold import apply_guards, release_approved
from agent.guard.results import GuardHistory
from agent.guard.target import compare_targets, uncounted
from agent.model import (
    Inputs,
    Kind,
    KnownTarget,
    Memory,
    MovedTenant,
    Plan,
    Policy,
    TargetCheck,
    UnconfirmedCreate,
    UnmanagedAction,
)
from connectors.base import Source, Status
from tests.factories import OKTA, a_policy, approved_by, key, link, member, person, reads, snapshot

HERE, THERE = "https://pigment.example.com/latam/scim/v2", "https://pigment.example.com/eu/scim/v2"
OKTA_NOW, OKTA_BEFORE = "okta https://acme.okta.com", "okta https://acme.oktapreview.com"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ("ann", "bea", "cal", "dan", "eve")


def policy(target: str = HERE, **more: object) -> Policy:
    return replace(a_policy(), target=target, tenants=(("okta-main", OKTA_NOW),), **more)  # type: ignore[arg-type]  # a helper of tests


def known(workspace: str = "latam", target: str = HERE, connector: str = "", minutes: int = 0) -> KnownTarget:
    return KnownTarget(workspace, connector, target, NOW + timedelta(minutes=minutes))


def everyone(*, missing: int = 0) -> Inputs:
    """Five linked people; the first *missing* of them have no member in the listing; eve left her groups."""
    people = [person(name) for name in NAMES if name != "eve"]
    return reads(people, [member(name) for name in NAMES[missing:]], [link(name) for name in NAMES])


def found_by(given: Policy, state: tuple[KnownTarget, ...], read: Inputs) -> TargetCheck:
    return compare_targets(given, state, read, compute_plan(read, given))


def judged(given: Policy, state: tuple[KnownTarget, ...], read: Inputs) -> tuple[TargetCheck, Plan, Plan]:
    """Return the finding, the guarded plan and the plan as an approval leaves it."""
    found = found_by(given, state, read)
    unguarded = compute_plan(read, given)
    plan = apply_guards(unguarded, given, GuardHistory(target_check=found))
    return found, plan, release_approved(plan, unguarded, approved_by("ops"))


def test_key_of_another_workspace_holds_everything_and_no_approval_releases_it() -> None:
    given = policy(THERE, unmanaged=UnmanagedAction.DEACTIVATE)
    read = reads([person("new")], [member("ann"), member("stranger")], [link("ann")])
    found, plan, approved = judged(given, (known(),), read)

    assert found.holds_everything
    assert plan.changes == approved.changes == ()
    assert {hold.code for hold in plan.holds} == {"wrong-target"}
    assert len(plan.holds) == 3
    assert is_awaiting_approval(plan)
    assert "latam" in plan.holds[0].reason
    assert HERE in plan.holds[0].reason
    assert THERE in plan.holds[0].reason
    assert "pigment-sync workspaces reset latam" in plan.holds[0].remedy
    assert "pigment-sync workspaces rename latam latam" in plan.holds[0].remedy
    assert "An approval does not release it" in plan.holds[0].remedy
    assert found.accepted_targets == found.pending_targets == ()


def test_workspace_known_by_another_key_holds_everything_until_it_is_renamed() -> None:
    found, plan, approved = judged(policy(), (known("brazil"),), reads([person("ann")], [member("ann")]))

    assert plan.changes == approved.changes == ()
    assert [(hold.kind, hold.code) for hold in plan.holds] == [(Kind.ADOPT, "wrong-target")], "links are held too"
    assert "pigment-sync workspaces rename brazil latam" in plan.holds[0].remedy
    assert found.accepted_targets == ()


def test_swapped_urls_hold_everything_and_name_the_other_key() -> None:
    _, plan, _ = judged(policy(THERE), (known(), known("eu", THERE)), everyone())

    assert plan.changes == ()
    assert "which the state knows as eu" in plan.holds[0].reason
    assert "rename" not in plan.holds[0].remedy


def test_wrong_target_trips_also_where_there_is_nothing_to_hold() -> None:
    _, plan, _ = judged(policy(THERE), (known(),), reads())

    assert plan.holds == ()
    assert is_awaiting_approval(plan)
    assert "pigment-sync workspaces reset latam" in plan.guards[0].message


def test_fingerprint_belongs_to_the_key_it_was_recorded_for_last() -> None:
    state = (known("brazil"), known("latam", minutes=1))

    assert not found_by(policy(), state, everyone()).mismatch
    assert found_by(policy(), (known("latam"), known("brazil", minutes=1)), everyone()).mismatch


def test_state_from_before_fingerprints_goes_on_and_records_them() -> None:
    found, plan, _ = judged(policy(), (), everyone())

    assert [change.kind for change in plan.changes] == [Kind.DEACTIVATE]
    assert plan.guards == ()
    assert found.accepted_targets == (("", HERE), ("okta-main", OKTA_NOW))


def test_known_targets_are_not_recorded_again() -> None:
    found = found_by(policy(), (known(), known(connector="okta-main", target=OKTA_NOW)), everyone())

    assert (found.accepted_targets, found.pending_targets) == ((), ())


def test_most_linked_members_missing_holds_everything_until_an_approval() -> None:
    found, plan, approved = judged(policy(), (), everyone(missing=3))

    assert {hold.code for hold in plan.holds if hold.change is not None} == {"wrong-target"}
    assert plan.changes == ()
    assert "3 of 5 linked members are not in the listing of latam" in plan.guards[0].message
    assert HERE in plan.guards[0].message
    assert approved.changes
    assert found.accepted_targets == ()
    assert found.pending_targets == (("", HERE), ("okta-main", OKTA_NOW)), "recorded once it was approved"
    assert found.after_approval.accepted_targets == found.pending_targets
    assert not found.after_approval.holds_everything


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
    assert found.moved_tenants == (MovedTenant("okta-main", OKTA_BEFORE, OKTA_NOW),)
    assert found.accepted_targets == (), "an unapproved run records nothing"
    assert found.pending_targets == (("okta-main", OKTA_NOW),)


def test_connector_that_still_shows_every_linked_person_is_accepted() -> None:
    read = reads([person("ann"), person("bea")], [member("ann"), member("bea")], [link("ann"), link("bea")])
    found, plan, _ = judged(policy(), TENANT_BEFORE, read)

    assert found.accepted_targets == (("okta-main", OKTA_NOW),)
    assert plan.guards == ()


def test_people_who_left_long_ago_do_not_keep_a_tenant_from_being_accepted() -> None:
    members, links = [member("ann"), member("bea", active=False)], [link("ann"), link("bea", missed_reads=1)]
    found = found_by(policy(), TENANT_BEFORE, reads([person("ann")], members, links))

    assert found.accepted_targets == (("okta-main", OKTA_NOW),)


def test_leavers_in_grace_keep_a_tenant_from_being_accepted() -> None:
    read = reads([], [member("ann")], [link("ann")])
    found, plan, _ = judged(policy(grace_reads=3), TENANT_BEFORE, read)

    assert found.accepted_targets == ()
    assert is_awaiting_approval(plan)


def test_people_with_an_inactive_or_unlisted_member_keep_a_tenant_from_being_accepted() -> None:
    for members in ([member("ann", active=False)], []):
        found = found_by(policy(), TENANT_BEFORE, reads([], members, [link("ann")]))

        assert found.accepted_targets == (), "the member may be active at the next run"
        assert found.pending_targets == (("okta-main", OKTA_NOW),)


def test_person_with_an_unconfirmed_create_keeps_a_tenant_from_being_accepted_listed_or_not() -> None:
    memory = Memory(
        unconfirmed_creates=(UnconfirmedCreate(person=key("ann"), email="ann@acme.com", display_name="Ann"),)
    )
    for members in ([member("ann", display_name="Ann")], []):
        read = replace(reads([person("new1")], members), memory=memory)
        found, plan, _ = judged(policy(), TENANT_BEFORE, read)

        assert found.accepted_targets == ()
        assert Kind.DEACTIVATE not in {change.kind for change in plan.changes}
    shown = replace(reads([person("ann")]), memory=memory)
    assert found_by(policy(), TENANT_BEFORE, shown).accepted_targets == (("okta-main", OKTA_NOW),)


def test_create_that_was_lost_for_a_person_of_another_connector_is_no_matter() -> None:
    memory = Memory(
        unconfirmed_creates=(
            UnconfirmedCreate(person=key("ann", "entra-eu"), email="ann@acme.com", display_name="Ann"),
        )
    )

    assert found_by(policy(), TENANT_BEFORE, replace(reads(), memory=memory)).accepted_targets == (
        ("okta-main", OKTA_NOW),
    )


def test_tenant_because_of_which_anyone_would_be_deactivated_is_not_accepted() -> None:
    suspended = reads([person("ann", status=Status.SUSPENDED)], [member("ann")])
    unmanaged = reads([person("eve")], [member("ann"), member("eve")], [link("eve")])
    removing = policy(unmanaged=UnmanagedAction.DEACTIVATE)

    for given, read in ((policy(), suspended), (removing, unmanaged)):
        found, plan, _ = judged(given, TENANT_BEFORE, read)
        assert found.accepted_targets == (), "a link of eve may be from while deactivations were held"
        assert {hold.code for hold in plan.holds if hold.kind is Kind.DEACTIVATE} == {"wrong-target"}
    assert found_by(policy(), TENANT_BEFORE, unmanaged).accepted_targets == (("okta-main", OKTA_NOW),)


def test_deactivation_because_of_another_connector_does_not_keep_a_tenant_from_being_accepted() -> None:
    entra = Source("entra-eu", "app-entra")
    given = replace(policy(), sources=(OKTA, entra))
    empty = snapshot(source=entra)
    read = replace(reads([], [member("ann")], [link("ann", connector="entra-eu")]), snapshots=(snapshot(), empty))

    assert found_by(given, TENANT_BEFORE, read).accepted_targets == (("okta-main", OKTA_NOW),)


def test_missed_reads_of_a_connector_that_reads_another_tenant_are_not_counted() -> None:
    read = reads([person("bea")], [member("ann"), member("bea")], [link("ann"), link("bea", missed_reads=1)])
    found, plan, _ = judged(policy(), TENANT_BEFORE, read)
    counted = {each.person.id: each.missed_reads for each in plan.updated_links}

    assert counted == {"ann": 1, "bea": 0}
    assert [each.person.id for each in uncounted(plan.updated_links, found)] == ["bea"], "she is there, and not missed"
    assert uncounted(plan.updated_links, found.after_approval) == plan.updated_links


def test_other_sources_applications_and_groups_are_an_ordinary_change() -> None:
    known_before = (known(), known(connector="okta-main", target=OKTA_NOW))
    found = found_by(policy(), known_before, reads([person("ann")], [member("ann")], [link("ann")]))
    added = replace(policy(), tenants=(("entra-eu", "entra t https://graph.microsoft.com"), ("okta-main", OKTA_NOW)))
    more = found_by(added, known_before, Inputs((snapshot([person("ann")]),), everyone().listing))

    assert not found.moved_tenants
    assert not more.moved_tenants
    assert more.accepted_targets == (("entra-eu", "entra t https://graph.microsoft.com"),)
