"""The link updates that a plan requests, and which of them belong to one person."""

from __future__ import annotations

from agent.diff.plan import compute_plan
from agent.diff.single_user import restrict_to_user
from agent.model import GroupRef, Kind, Link, Plan
from tests.factories import a_policy, key, link, member, person, reads

FINANCE = (GroupRef("finance", "Finance"),)


def seen(plan: Plan) -> list[Link]:
    return list(plan.updated_links)


def test_missed_read_is_counted_by_one_until_the_grace_is_over() -> None:
    policy = a_policy(grace_reads=3)
    counted = [seen(compute_plan(reads((), [member("ann")], [link("ann", missed_reads=n)]), policy)) for n in range(5)]

    assert counted == [[link("ann", missed_reads=n)] for n in (1, 2, 3)] + [[], []]


def test_groups_that_have_changed_are_remembered_with_their_link() -> None:
    plan = compute_plan(reads([person("ann", groups=("finance",))], [member("ann")], [link("ann")]), a_policy())

    assert seen(plan) == [Link(key("ann"), "m-ann", FINANCE)]


def test_plan_of_one_person_has_their_holds_and_notes_alone() -> None:
    people = [person("ann", groups=()), person("bea", groups=()), person("cat", groups=()), person("dan", groups=())]
    plan = compute_plan(reads(people, [member("ann"), member("bea")], [link("ann"), link("bea")]), a_policy())
    assert {hold.email for hold in plan.holds} == {"ann@acme.com", "bea@acme.com"}
    assert {note.email for note in plan.notes} == {"cat@acme.com", "dan@acme.com"}

    ann, cat = restrict_to_user(plan, "Ann@acme.com"), restrict_to_user(plan, "cat@acme.com")
    assert ([hold.email for hold in ann.holds], ann.notes) == (["ann@acme.com"], ())
    assert (cat.holds, [note.email for note in cat.notes]) == ((), ["cat@acme.com"])


def test_hold_that_names_only_the_person_or_only_the_member_is_still_theirs() -> None:
    wanting = person("ann", "nowhere@elsewhere.example.com")
    plan = compute_plan(reads([wanting]), a_policy(allowed_domains=frozenset({"acme.com"})))
    assert [hold.kind for hold in restrict_to_user(plan, "nowhere@elsewhere.example.com").holds] == [Kind.CREATE]
    assert restrict_to_user(plan, "other@acme.com").holds == ()
