"""Undo: the changes of a run are reversed, and members changed since are left alone and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given

from agent.diff.plan import compute_plan
from agent.diff.undo import compute_undo
from agent.guard.guards import repeats_of_undone
from agent.guard.hold import apply_guards, release_approved
from agent.guard.results import GuardHistory
from agent.model import (
    Change,
    Fields,
    Inputs,
    Kind,
    Link,
    Listing,
    Member,
    Memory,
    Mode,
    Plan,
    Policy,
    Toggles,
    UndoneChange,
)
from agent.model.email import normalize
from agent.model.run import ChangeRecord, Outcome
from connectors.base import Person, PersonKey, Status
from tests.factories import a_policy, approved_by, key, link, member, person, reads
from tests.unit.test_plan_laws import after, worlds

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def change(kind: Kind, before: Fields, now: Fields, name: str = "ann") -> Change:
    email = now.email or f"{name}@acme.com"
    return Change(
        kind=kind,
        email=email,
        display_name=now.display_name or "Ann",
        scim_id=f"m-{name}",
        person=key(name),
        before=before,
        after=now,
        code="code",
        reason="The reason.",
    )


def undone(
    *records: Change, members: list[Member], protect: tuple[str, ...] = (), outcome: Outcome = Outcome.DONE
) -> Plan:
    journal = [
        ChangeRecord(
            run_id="r1",
            seq=seq,
            change=each,
            outcome=outcome,
            detail="",
            sent_at=NOW,
            answered_at=NOW,
            scim_id=each.scim_id,
        )
        for seq, each in enumerate(records)
    ]
    memory = Memory(
        tuple(link(each.scim_id.removeprefix("m-")) for each in members), possible_renames=frozenset({(key("x"), "m9")})
    )
    return compute_undo(journal, Listing(tuple(members)), memory, a_policy(protect=protect))


def shown(plan: Plan) -> list[tuple[str, str | None, Fields, Fields]]:
    return [(each.kind, each.scim_id, each.before, each.after) for each in plan.changes]


def test_deactivation_is_undone_by_a_reactivation() -> None:
    plan = undone(
        change(Kind.DEACTIVATE, Fields(active=True), Fields(active=False)), members=[member("ann", active=False)]
    )

    assert shown(plan) == [("reactivate", "m-ann", Fields(active=False), Fields(active=True))]
    (only,) = plan.changes
    assert (only.code, only.reason) == (
        "undo-deactivate",
        "Undoes the deactivation of 2026-03-01 12:00 UTC. Reason then: The reason.",
    )
    assert (only.email, only.display_name, only.person) == ("ann@acme.com", "Ann", key("ann"))
    assert plan.possible_renames == frozenset({(key("x"), "m9")})
    assert (plan.workspace, plan.mode, plan.sources, plan.in_sync) == ("latam", Mode.ENFORCE, (), 0)


def test_rename_and_email_are_put_back() -> None:
    moved = change(Kind.UPDATE_EMAIL, Fields("old@acme.com", "Old"), Fields("ann@acme.com", "Ann"))
    plan = undone(moved, members=[member("ann")])

    assert shown(plan) == [("update-email", "m-ann", Fields("ann@acme.com", "Ann"), Fields("old@acme.com", "Old"))]
    assert (plan.changes[0].email, plan.changes[0].display_name) == ("old@acme.com", "Old")
    named = undone(change(Kind.UPDATE_NAME, Fields(None, "Old"), Fields(None, "Ann")), members=[member("ann")])
    assert shown(named) == [("update-name", "m-ann", Fields(None, "Ann"), Fields(None, "Old"))]


def test_created_member_and_reactivated_one_are_deactivated() -> None:
    made = change(Kind.CREATE, Fields(), Fields("ann@acme.com", "Ann", True))
    back = change(Kind.REACTIVATE, Fields("was@acme.com", None, False), Fields("bea@acme.com", None, True), "bea")
    plan = undone(made, back, members=[member("ann"), member("bea")])

    assert shown(plan) == [
        ("deactivate", "m-ann", Fields(active=True), Fields(active=False)),
        ("deactivate", "m-bea", Fields("bea@acme.com", None, True), Fields("was@acme.com", None, False)),
    ]
    assert plan.members.guarded == 2


def test_active_member_that_a_create_met_loses_its_link_and_nothing_else() -> None:
    matched = change(Kind.CREATE, Fields(active=True), Fields("ann@acme.com", "Ann Lee", True))
    plan = undone(matched, members=[member("ann", display_name="Renamed Since")])

    assert shown(plan) == [("adopt", "m-ann", Fields(), Fields())]
    (only,) = plan.changes
    assert (only.code, only.person) == ("undo-create", key("ann"))
    assert "existed before the run" in only.reason
    assert only.undone_change is not None
    assert (only.undone_change.kind, only.undone_change.scim_id) == (Kind.CREATE, "m-ann")


def test_active_member_that_a_create_met_and_that_lost_its_link_is_only_named() -> None:
    matched = replace(change(Kind.CREATE, Fields(active=True), Fields("ann@acme.com", "Ann", True)), person=key("bea"))
    plan = undone(matched, members=[member("ann")])

    assert plan.changes == ()
    assert [note.code for note in plan.notes] == ["changed-since"]
    assert "that link no longer exists" in plan.notes[0].reason


def test_inactive_member_that_a_create_met_and_reactivated_is_deactivated() -> None:
    matched = change(Kind.CREATE, Fields(active=False), Fields("ann@acme.com", "ANN", True))
    plan = undone(matched, members=[member("ann", display_name="ANN")])

    assert shown(plan) == [("deactivate", "m-ann", Fields(active=True), Fields(active=False))]


def test_leavers_come_first_then_emails_then_the_rest() -> None:
    named = change(Kind.UPDATE_NAME, Fields(None, "Old"), Fields(None, "Ann"))
    deactivation = change(Kind.DEACTIVATE, Fields(active=True), Fields(active=False), "bea")
    made = change(Kind.CREATE, Fields(), Fields("cat@acme.com", "Ann", True), "cat")
    moved = change(Kind.UPDATE_EMAIL, Fields("was@acme.com"), Fields("dan@acme.com"), "dan")
    members = [member("ann"), member("bea", active=False), member("cat", display_name="Ann"), member("dan")]
    plan = undone(named, deactivation, made, moved, members=members)

    assert [each.kind for each in plan.changes] == ["deactivate", "update-email", "reactivate", "update-name"]


def test_chain_of_moves_is_undone_from_its_other_end() -> None:
    first = change(Kind.UPDATE_EMAIL, Fields("b@acme.com"), Fields("c@acme.com"), "bea")
    second = change(Kind.UPDATE_EMAIL, Fields("a@acme.com"), Fields("b@acme.com"), "ann")
    plan = undone(first, second, members=[member("bea", "c@acme.com"), member("ann", "b@acme.com")])

    assert [(each.scim_id, each.after.email, each.waits_for) for each in plan.changes] == [
        ("m-ann", "a@acme.com", None),
        ("m-bea", "b@acme.com", "m-ann"),
    ]


def test_address_that_another_member_has_now_is_held() -> None:
    moved = change(Kind.UPDATE_EMAIL, Fields("old@acme.com"), Fields("ann@acme.com"))
    plan = undone(moved, members=[member("ann"), member("eve", "OLD@acme.com")])

    assert plan.changes == ()
    (hold,) = plan.holds
    assert (hold.kind, hold.code, hold.email, hold.wanted) == (
        "update-email",
        "email-taken",
        "ann@acme.com",
        "old@acme.com",
    )
    assert (hold.scim_id, hold.person, hold.change) == ("m-ann", key("ann"), None)
    assert hold.reason == "old@acme.com now belongs to Eve."
    assert hold.remedy == "Give that member another email first, or leave this one as it is."


def test_spelling_alone_can_be_put_back() -> None:
    moved = change(Kind.UPDATE_EMAIL, Fields("Ann@acme.com"), Fields("ann@acme.com"))

    assert [each.after.email for each in undone(moved, members=[member("ann")]).changes] == ["Ann@acme.com"]


def test_member_that_was_changed_since_is_left_and_named() -> None:
    deactivation = change(Kind.DEACTIVATE, Fields(active=True), Fields(active=False))
    named = change(Kind.UPDATE_NAME, Fields(None, "Old"), Fields(None, "Other"), "bea")
    moved = change(Kind.UPDATE_EMAIL, Fields("was@acme.com"), Fields("new@acme.com"), "cat")
    lost = change(Kind.UPDATE_NAME, Fields(None, "Old"), Fields(None, "Dan"), "dan")
    plan = undone(
        deactivation, named, moved, lost, members=[member("ann"), member("bea"), member("cat", display_name="")]
    )

    assert plan.changes == ()
    assert [(note.code, note.email, note.reason) for note in plan.notes] == [
        ("changed-since", "ann@acme.com", "Ann was changed by someone else after the run."),
        ("changed-since", "bea@acme.com", "Bea was changed by someone else after the run."),
        ("changed-since", "cat@acme.com", "cat@acme.com was changed by someone else after the run."),
        ("changed-since", "dan@acme.com", "The member is no longer in the listing."),
    ]


def test_protected_members_stay_as_they_are() -> None:
    deactivation = change(Kind.DEACTIVATE, Fields(active=True), Fields(active=False))
    plan = undone(deactivation, members=[member("ann", active=False)], protect=("ann@*",))

    assert plan.changes == ()
    assert [(note.code, note.email, note.reason) for note in plan.notes] == [
        ("protected", "ann@acme.com", "The member is protected: nothing is changed.")
    ]


def test_only_what_was_or_may_have_been_made_is_undone() -> None:
    deactivation = change(Kind.DEACTIVATE, Fields(active=True), Fields(active=False))
    members = [member("ann", active=False)]
    for outcome, count in [
        (Outcome.DONE, 1),
        (Outcome.UNKNOWN, 1),
        (Outcome.NOT_PERSISTED, 1),
        (Outcome.FAILED, 0),
        (Outcome.NOT_TRIED, 0),
        (Outcome.HELD, 0),
    ]:
        assert len(undone(deactivation, members=members, outcome=outcome).changes) == count
    assert (
        undone(replace(deactivation, kind=Kind.ADOPT, before=Fields(), after=Fields()), members=members).changes == ()
    )


def run_and_undo(reads: Inputs, policy: Policy) -> tuple[Inputs, Plan, Inputs, dict[PersonKey | None, str]]:
    """Apply the plan of *reads* and undo it: the world between, the undo, the world after, the ids of new members."""
    plan = compute_plan(reads, policy)
    changed = after(reads, plan, plan.changes)
    ids: dict[PersonKey | None, str] = {
        change.person: found.scim_id
        for change in plan.changes
        if change.kind is Kind.CREATE
        for found in changed.memory.links
        if found.person == change.person
    }
    journal = [
        ChangeRecord(
            run_id="r",
            seq=seq,
            change=each,
            outcome=Outcome.DONE,
            detail="",
            sent_at=NOW,
            answered_at=NOW,
            scim_id=each.scim_id or ids.get(each.person),
        )
        for seq, each in enumerate(plan.changes)
    ]
    undo = compute_undo(journal, changed.listing, changed.memory, policy)
    back = after(changed, undo, undo.changes)
    links = tuple(link for link in back.memory.links if link.scim_id not in ids.values())
    facts = tuple(change.undone_change for change in undo.changes if change.undone_change is not None)
    return changed, undo, replace(back, memory=replace(back.memory, links=links, undone_changes=facts)), ids


def shows(reads: Inputs) -> dict[str, tuple[str, str, bool | None]]:
    return {each.scim_id: (each.email, each.display_name, each.active) for each in reads.listing.members}


@given(worlds())
def test_applied_and_undone_every_member_is_as_before_or_held(world: tuple[Inputs, Policy]) -> None:
    """An address that the run freed and a new member has stays taken: who had it is held, and so is who waits for that.

    They are as the run left them. What the run made is inactive.
    """
    reads, policy = world
    changed, undo, undone, ids = run_and_undo(reads, replace(policy, protect=()))
    before, between, back = shows(reads), shows(changed), shows(undone)
    held = {hold.scim_id for hold in undo.holds}

    assert {hold.code for hold in undo.holds} <= {"email-taken"}
    for scim_id in before:
        assert back[scim_id] == (between if scim_id in held else before)[scim_id]
    assert not any(back[scim_id][2] for scim_id in ids.values())
    holders = {normalize(email): scim_id for scim_id, (email, _, _) in back.items()}
    assert {holders[normalize(hold.wanted or "")] for hold in undo.holds} <= {*ids.values(), *held}


def test_address_that_a_move_freed_and_a_new_member_has_can_not_be_put_back() -> None:
    moved = change(Kind.UPDATE_EMAIL, Fields("a@acme.com"), Fields("b@acme.com"), "ann")
    made = change(Kind.CREATE, Fields(), Fields("a@acme.com", "New", True), "new")
    members = [member("ann", "b@acme.com"), member("new", "a@acme.com", display_name="New")]
    plan = undone(moved, made, members=members)

    assert shown(plan) == [("deactivate", "m-new", Fields(active=True), Fields(active=False))]
    assert [(hold.code, hold.scim_id, hold.wanted) for hold in plan.holds] == [("email-taken", "m-ann", "a@acme.com")]


@given(worlds())
def test_what_was_undone_stays_undone_while_the_sources_show_the_same(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    policy = replace(policy, protect=(), toggles=Toggles(), require_approval=frozenset())
    _, undo, undone, _ = run_and_undo(reads, policy)
    unguarded = compute_plan(undone, policy)
    plan = apply_guards(unguarded, policy, GuardHistory())
    later = shows(after(undone, plan, plan.changes))
    put_back = {change.scim_id for change in undo.changes}
    approved = release_approved(plan, unguarded, approved_by("ops"))

    assert {scim_id: later[scim_id] for scim_id in put_back if scim_id} == {
        scim_id: shows(undone)[scim_id] for scim_id in put_back if scim_id
    }
    assert {change for change in approved.changes if change in repeats_of_undone(plan, unguarded.changes)} == set(
        repeats_of_undone(plan, unguarded.changes)
    )


PUT_BACK = UndoneChange(
    scim_id="m-ann",
    kind=Kind.DEACTIVATE,
    person=key("ann"),
    code="left-groups",
    groups=("planners",),
    email="",
    display_name="Ann",
    run_id="r1",
)


def standing(undone: UndoneChange, *people: Person, grace: int = 1, active: bool = True) -> tuple[UndoneChange, ...]:
    """Return what still counts as undone when the sources show *people*; Ann and Bea have members and links."""
    given = reads(people, [member("ann", active=active), member("bea")], [link("ann"), link("bea")])
    given = replace(given, memory=replace(given.memory, undone_changes=(undone,)))
    return compute_plan(given, a_policy(grace_reads=grace)).undone_changes


def test_undone_deactivation_stands_until_the_person_is_assigned_again_or_gone_for_another_reason() -> None:
    suspended = person("ann", status=Status.SUSPENDED, groups=())
    pending = person("ann", pending=True)

    assert standing(PUT_BACK, person("bea")) == (PUT_BACK,)
    assert standing(PUT_BACK, person("bea"), grace=3) == (PUT_BACK,), "in grace: not judged yet"
    assert standing(PUT_BACK, person("bea"), active=False) == (PUT_BACK,), "the member was deactivated by hand"
    assert standing(PUT_BACK, person("bea"), pending) == (replace(PUT_BACK, email="ann@acme.com"),)
    assert standing(PUT_BACK, person("bea"), person("ann")) == ()
    assert standing(PUT_BACK, person("bea"), suspended) == ()


def test_undone_deactivation_ends_when_the_person_leaves_another_group() -> None:
    suspended = person("ann", status=Status.SUSPENDED, groups=())
    of_a_feed = replace(PUT_BACK, code="suspended", groups=("planners", "readers"))
    in_no_group = replace(of_a_feed, groups=())

    assert [each.groups for each in standing(of_a_feed, person("bea"), suspended)] == [("planners", "readers")]
    assert standing(in_no_group, person("bea"), suspended) == ()


def test_address_of_a_leaver_is_learnt_where_the_source_still_shows_them() -> None:
    suspended = person("ann", "Ann.Lee@acme.com", status=Status.SUSPENDED)
    undone = replace(PUT_BACK, code="suspended", groups=())
    known = replace(undone, email="ann.lee@acme.com")

    assert standing(undone, person("bea"), suspended) == (known,)
    assert standing(known, person("bea"), suspended) == (known,)
    assert standing(known, person("bea"), replace(suspended, email="ann.ray@acme.com")) == ()
    assert standing(known, person("bea"), replace(suspended, email=None)) == ()


def test_undone_create_stands_while_nothing_may_be_concluded_of_its_person() -> None:
    made = replace(PUT_BACK, kind=Kind.CREATE, code="assigned", email="ann@acme.com")

    assert standing(made, person("ann")) == (made,)
    assert standing(made, person("ann", status=Status.UNKNOWN)) == (made,)
    assert standing(made, person("bea")) == ()
    assert standing(made, person("ann", "ann.lee@acme.com")) == ()
    assert standing(made, person("ann", groups=("planners", "readers"))) == ()


def test_undone_deactivation_of_a_stranger_applies_while_the_member_is_unmanaged() -> None:
    stranger = replace(PUT_BACK, scim_id="m-cat", person=None, groups=())

    def left(*people: Person, listed: bool = True) -> tuple[UndoneChange, ...]:
        members = [member("ann"), *([member("cat")] if listed else [])]
        given = reads((person("ann"), *people), members, [link("ann")])
        return compute_plan(
            replace(given, memory=replace(given.memory, undone_changes=(stranger,))), a_policy()
        ).undone_changes

    assert left() == (stranger,)
    assert left(listed=False) == ()
    assert left(person("cat")) == ()
    assert standing(replace(stranger, scim_id="m-ann")) == (), "linked"


def test_approval_ends_what_it_decides_and_no_other_undone_change() -> None:
    other = UndoneChange(
        scim_id="m-bea",
        kind=Kind.UPDATE_NAME,
        person=key("bea"),
        code="name-changed",
        groups=("planners",),
        email="bea@acme.com",
        display_name="Bea",
        run_id="r1",
    )
    given = reads([person("bea")], [member("ann"), member("bea")], [link("ann"), link("bea")])
    unguarded = compute_plan(replace(given, memory=replace(given.memory, undone_changes=(PUT_BACK, other))), a_policy())
    plan = apply_guards(unguarded, a_policy(), GuardHistory())

    assert (unguarded.undone_changes, [hold.code for hold in plan.holds]) == ((PUT_BACK, other), ["undone"])
    assert release_approved(plan, unguarded, approved_by("ops")).undone_changes == (other,)


def test_counts_are_of_the_listing_and_the_links() -> None:
    members = (member("ann"), member("bea", active=False), member("cat"), member("dan", active=None))
    links = (link("ann"), link("bea"), Link(key("gone"), "m-gone"))
    plan = compute_undo([], Listing(members), Memory(links), a_policy())

    assert (plan.members.total, plan.members.active, plan.members.linked, plan.members.guarded) == (4, 2, 2, 1)
