"""Details of plans that a person reads or a workspace is sent: names, sentences, numbers, limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agent.diff import messages
from agent.diff.drift import drift_notes, last_seen_members
from agent.diff.link_edits import rebind_plan
from agent.diff.plan import compute_plan
from agent.diff.undo import compute_undo
from agent.model import Change, Fields, GroupRef, Kind, LastSeen, Link, Listing, Member, Memory, Note, Plan
from agent.model.email import is_valid, normalize
from agent.model.run import ChangeRecord, Outcome
from connectors.base import PersonKey, ReadNote, Status
from tests.factories import ENTRA, OKTA, Nothing, a_policy, key, link, member, person, reads, snapshot

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_change(kind: Kind, after: Fields, email: str = "ann@acme.com", scim_id: str | None = "m-ann") -> Change:
    return Change(
        kind=kind,
        email=email,
        display_name="Ann",
        scim_id=scim_id,
        person=key("ann"),
        before=Fields(),
        after=after,
        code="code",
        reason="why",
    )


def record(change: Change, outcome: Outcome = Outcome.DONE, scim_id: str | None = "m-ann") -> ChangeRecord:
    return ChangeRecord(
        run_id="r1", seq=0, change=change, outcome=outcome, detail="", sent_at=NOW, answered_at=NOW, scim_id=scim_id
    )


def only_change(plan: Plan) -> Change:
    (change,) = plan.changes
    return change


def test_creation_carries_the_parts_of_the_name() -> None:
    change = only_change(compute_plan(reads([person("ann", given_name="Ann", family_name="Lee")]), a_policy()))
    assert (change.kind, change.given_name, change.family_name) == (Kind.CREATE, "Ann", "Lee")


def test_note_of_a_read_is_in_the_plan_unchanged() -> None:
    noted = replace(snapshot([person("ann")]), notes=(ReadNote("guest", "gus@acme.com", "Gus is a guest."),))
    given = replace(reads(), snapshots=(noted,))
    assert Note("guest", "gus@acme.com", "Gus is a guest.") in compute_plan(given, a_policy()).notes


def test_names_are_compared_unless_the_listing_shows_none() -> None:
    given = reads([person("ann")], [replace(member("ann"), display_name="")])

    def kinds(*, compares_names: bool) -> list[Kind]:
        return [each.kind for each in compute_plan(given, replace(a_policy(), compares_names=compares_names)).changes]

    assert kinds(compares_names=True) == [Kind.ADOPT, Kind.UPDATE_NAME]
    assert kinds(compares_names=False) == [Kind.ADOPT]


def test_possible_renames_are_remembered() -> None:
    given = reads([person("ann", "new@acme.com")], [member("ann", "old@acme.com")])
    assert compute_plan(given, a_policy()).possible_renames == frozenset({(key("ann"), "m-ann")})


def test_person_who_is_not_the_member_of_the_same_name_is_created() -> None:
    given = reads([person("ann", "new@acme.com")], [member("ann", "old@acme.com"), member("an", display_name="Ann")])
    memory = replace(given.memory, different_people=frozenset({(key("ann"), "m-ann")}))
    assert [hold.code for hold in compute_plan(replace(given, memory=memory), a_policy()).holds] == ["possible-rename"]
    memory = replace(memory, different_people=memory.different_people | {(key("ann"), "m-an")})
    plan = compute_plan(replace(given, memory=memory), a_policy())

    assert [(change.kind, change.email) for change in plan.changes] == [("create", "new@acme.com")]
    assert (plan.holds, plan.possible_renames) == ((), frozenset())


def test_member_without_a_name_is_shown_as_empty() -> None:
    plan = compute_plan(reads([person("ann")], [member("ann", display_name="")], [link("ann")]), a_policy())
    assert only_change(plan).reason.endswith("is Ann, not empty.")


def test_inactive_member_without_a_name_may_be_another_human() -> None:
    plan = compute_plan(reads([person("ann")], [member("ann", active=False, display_name="")]), a_policy())
    (hold,) = plan.holds
    assert "nothing, who may be another human" in hold.reason


def noted(was: LastSeen | None, now: Member | None) -> list[tuple[str, str]]:
    members = {} if now is None else {now.scim_id: now}
    memory = Memory(last_seen=() if was is None else (was,))
    return [(note.email, note.reason) for note in drift_notes(memory, members, frozenset(), Nothing())]


def test_drift_names_the_member_by_its_email() -> None:
    was = LastSeen(scim_id="m-ann", email="ann@acme.com", display_name="Ann", active=True)
    ann = member("ann")
    assert noted(was, None)[0][0] == "ann@acme.com"
    assert noted(was, replace(ann, email="new@acme.com"))[0][0] == "new@acme.com"
    assert noted(was, replace(ann, active=False))[0][0] == "ann@acme.com"
    nameless = "Ann was renamed from nothing since our last run, not by this agent."
    assert noted(replace(was, display_name=""), ann) == [("ann@acme.com", nameless)]


def test_members_are_left_as_the_last_of_several_changes_made_them() -> None:
    ann, bea = member("ann"), member("bea")
    records = [
        record(a_change(Kind.CREATE, Fields("x@acme.com", "X", True), scim_id=None), Outcome.FAILED, None),
        record(a_change(Kind.ADOPT, Fields(display_name="Other"))),
        record(a_change(Kind.UPDATE_EMAIL, Fields(email="new@acme.com"))),
        record(a_change(Kind.DEACTIVATE, Fields(active=False), scim_id="m-bea"), scim_id="m-bea"),
        record(a_change(Kind.CREATE, Fields("cat@acme.com", "Cat"), "cat@acme.com", None), scim_id="m-cat"),
    ]

    assert last_seen_members({"m-ann": ann, "m-bea": bea}, records, []) == (
        LastSeen(scim_id="m-ann", email="new@acme.com", display_name="Ann", active=True),
        LastSeen(scim_id="m-bea", email="bea@acme.com", display_name="Bea", active=False),
        LastSeen(scim_id="m-cat", email="cat@acme.com", display_name="Cat", active=True),
    )


def test_moved_link_names_a_group_that_no_read_shows_by_its_id() -> None:
    someone = person("a1", "ann@acme.com", connector=ENTRA.connector, groups=("hidden",))
    unseen = replace(snapshot([someone], ENTRA), groups=())
    found = rebind_plan(Memory((link("ann"),)), Listing((member("ann"),)), [unseen], "okta-main", "entra-eu")
    moved = found.edits[0][1].link

    assert moved == Link(PersonKey("entra-eu", "a1"), "m-ann", (GroupRef("hidden", "hidden"),))


def test_undo_counts_the_active_members() -> None:
    listing = Listing((member("ann"), member("bea"), member("cat", active=False)))
    assert compute_undo([], listing, Memory(), a_policy()).members.active == 2


def test_undo_goes_on_after_what_it_does_not_put_back() -> None:
    inactive = member("ann", active=False)
    listing = Listing((inactive,))
    records = [
        replace(record(a_change(Kind.DEACTIVATE, Fields(active=False))), seq=0),
        replace(record(a_change(Kind.UPDATE_NAME, Fields(display_name="X")), Outcome.FAILED), seq=1),
        replace(record(a_change(Kind.ADOPT, Fields())), seq=2),
    ]
    change = replace(records[0].change, before=Fields(active=True))
    plan = compute_undo([replace(records[0], change=change), *records[1:]], listing, Memory((link("ann"),)), a_policy())

    assert [each.kind for each in plan.changes] == [Kind.REACTIVATE]


def test_words_are_listed_as_people_do() -> None:
    assert [messages.format_list(each) for each in (["A"], ["A", "B"], ["A", "B", "C"])] == [
        "A",
        "A and B",
        "A, B and C",
    ]


def test_member_is_titled_by_the_first_thing_that_is_known() -> None:
    members = [
        Member("m1", "a@acme.com", "Ann", True),
        Member("m1", "a@acme.com", "", True),
        Member("m1", "", "", True),
    ]
    assert [messages.member_label(each) for each in members] == ["Ann", "a@acme.com", "member m1"]


@pytest.mark.parametrize(
    ("email", "is_one"),
    [
        ("ann\a@acme.com", False),
        ("ann\u2029lee@acme.com", False),
        ("ann\u2028lee@acme.com", False),
        ("ann\u00a0lee@acme.com", False),
        ("ann\u200dlee@acme.com", False),
        (f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com", True),
        (f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 58}.com", False),
        (f"{'a' * 65}@acme.com", False),
    ],
)
def test_address_is_one_within_its_limits(email: str, is_one: bool) -> None:
    assert is_valid(email) is is_one


def test_domain_is_what_stands_behind_the_last_at() -> None:
    assert normalize("Odd@Name@BÜCHER.example.com") == "odd@name@xn--bcher-kva.example.com"


def test_leaver_of_two_sources_without_a_link_is_deactivated_once() -> None:
    suspended = person("ann", status=Status.SUSPENDED)
    also = person("a1", "ann@acme.com", connector=ENTRA.connector, status=Status.SUSPENDED)
    plan = compute_plan(reads([suspended], [member("ann")], (), snapshot([also], ENTRA)), a_policy(OKTA, ENTRA))

    assert [change.kind for change in plan.changes] == [Kind.ADOPT, Kind.DEACTIVATE]


def test_person_assigned_individually_without_a_member_is_noted() -> None:
    plan = compute_plan(reads([person("ann", groups=())]), a_policy())
    assert [note.code for note in plan.notes] == ["individual-assignment"]
    assert plan.changes == ()


def test_member_that_answered_under_a_new_id_is_left_under_that_one_alone() -> None:
    moved = record(a_change(Kind.UPDATE_EMAIL, Fields(email="new@acme.com")), scim_id="m-new")

    assert last_seen_members({"m-ann": member("ann")}, [moved], []) == (
        LastSeen(scim_id="m-new", email="new@acme.com", display_name="Ann", active=True),
    )
