"""A stale approval explains itself: what is new, gone or changed between the approved plan and the fresh one."""

from __future__ import annotations

from dataclasses import replace

from agent.model import Fields, Mode, Note, Plan, Unplanned
from agent.report.diff import diff_lines
from agent.report.document import workspace_object
from tests.golden.samples import (
    a_create,
    a_foreigner,
    a_guarded_leaver,
    a_leaver,
    a_marriage,
    a_plan,
    a_rename,
    an_adoption,
    latam,
)

GONE = Unplanned(
    workspace="pigment-latam",
    mode=Mode.ENFORCE,
    status="credentials",
    code="credentials",
    message="Okta answered 401.",
    remedy="Renew it.",
)


def lines(approved: Plan | Unplanned, fresh: Plan | Unplanned) -> tuple[str, ...]:
    return diff_lines(workspace_object(approved), workspace_object(fresh))


def test_same_plan_has_no_difference() -> None:
    assert lines(latam(), latam()) == ()


def test_new_change_is_shown_with_its_reason() -> None:
    found = lines(a_plan(changes=(a_create(),)), a_plan(changes=(a_create(), a_leaver())))
    assert found == (
        "change is new: deactivate bob.roe@acme.com: Bob Roe left the group Pigment LatAm and has no other assignment.",
    )


def test_change_that_is_no_longer_planned_is_shown() -> None:
    assert lines(a_plan(changes=(a_create(), a_leaver())), a_plan(changes=(a_create(),))) == (
        "change is gone: deactivate bob.roe@acme.com",
    )


def test_change_of_the_same_person_is_shown_field_by_field() -> None:
    moved = replace(a_marriage(), after=replace(a_marriage().after, email="m.lima@acme.com"), email="m.lima@acme.com")
    assert lines(a_plan(changes=(a_marriage(),)), a_plan(changes=(moved,))) == (
        "change differs: update-email m.lima@acme.com",
        "  - email: maria.lima@acme.com",
        "  + email: m.lima@acme.com",
        "  - after: email maria.lima@acme.com, name Maria Lima",
        "  + after: email m.lima@acme.com, name Maria Lima",
    )


def test_change_that_differs_in_status_groups_or_ids_is_described_in_words() -> None:
    leaver = a_leaver()
    moved = replace(leaver, scim_id=None, before=Fields(active=False), after=Fields(active=True), group_refs=())
    assert lines(a_plan(changes=(leaver,)), a_plan(changes=(moved,))) == (
        "change differs: deactivate bob.roe@acme.com",
        "  - scim id: scim-2",
        "  + scim id: nothing",
        "  - before: status active",
        "  + before: status inactive",
        "  - after: status inactive",
        "  + after: status active",
        "  - groups: Pigment LatAm",
        "  + groups: nothing",
    )


def test_change_that_is_held_now_is_gone_and_a_new_hold() -> None:
    held = a_guarded_leaver(1)
    assert held.change is not None
    found = lines(a_plan(changes=(held.change,)), a_plan(holds=(held,)))
    assert found == (
        "change is gone: deactivate leaver1@acme.com",
        "hold is new: deactivate max-deactivations leaver1@acme.com: "
        "Leaver 1 left the group Pigment LatAm and has no other assignment. More than 25 people would be deactivated.",
    )


def test_note_that_is_gone_is_shown_by_its_code() -> None:
    note = Note("unmanaged", "robot@acme.com", "Nobody knows it.")
    assert lines(a_plan(notes=(note,)), a_plan()) == ("note is gone: unmanaged robot@acme.com",)


def test_two_equal_notes_of_which_one_is_gone_are_one_line() -> None:
    note = Note("unidentified", "", "A row has no id.")
    assert len(lines(a_plan(notes=(note, note)), a_plan(notes=(note,)))) == 1


def test_other_order_of_applying_is_shown() -> None:
    changes = (a_rename(), an_adoption())
    assert lines(a_plan(changes=changes), a_plan(changes=changes[::-1])) == ("the changes are made in another order",)


def test_numbers_of_what_was_read_are_shown() -> None:
    plan = a_plan()
    source = replace(plan.sources[0], people=413, groups=(("00g1", "Pigment LatAm", 301), ("00g3", "New", 1)))
    fresh = replace(plan, sources=(source,), members=replace(plan.members, active=404), in_sync=397)
    assert lines(plan, fresh) == (
        "members active: was 405, is 404",
        "members in sync: was 398, is 397",
        "source okta-main/0oa1b2c3d4, people: was 412, is 413",
        "source okta-main/0oa1b2c3d4, group: was Pigment LatAm with 300, is Pigment LatAm with 301",
        "source okta-main/0oa1b2c3d4, group: was not there, is New with 1",
        "source okta-main/0oa1b2c3d4, group: was Planners | EMEA & friends with 112, is not there",
    )


def test_source_that_is_new_or_gone_is_shown() -> None:
    plan = a_plan()
    other = replace(plan, sources=(replace(plan.sources[0], connector="entra-eu"),))
    assert lines(plan, other) == ("source entra-eu/0oa1b2c3d4 is new", "source okta-main/0oa1b2c3d4 is gone")


def test_mode_that_changed_is_shown() -> None:
    assert lines(a_plan(), a_plan(mode=Mode.DRY_RUN)) == ("mode: was enforce, is dry-run",)


def test_workspace_that_can_no_longer_be_planned_gives_the_reason() -> None:
    assert lines(a_plan(), GONE) == (
        "status: was planned, is credentials",
        "could not be planned now: Okta answered 401.",
    )
    assert lines(GONE, a_plan())[-1] == "could not be planned then: Okta answered 401."


def test_two_hundred_differences_are_fifty_lines_and_a_count() -> None:
    plan = a_plan(changes=tuple(a_create(f"p{number}@acme.com", "P", number) for number in range(200)))
    found = lines(a_plan(), plan)
    assert len(found) == 51
    assert found[-1] == "and 150 more differences"


def test_hostile_names_are_shown_harmlessly() -> None:
    hold = replace(a_foreigner(), email="\x1b[2Jx@acme.com", reason="\u202ereversed")
    assert lines(a_plan(), a_plan(holds=(hold,))) == (
        "hold is new: create domain-not-allowed \\x1b[2Jx@acme.com: ⟦U+202E⟧reversed",
    )


def test_difference_that_no_line_names_is_still_a_difference() -> None:
    plan = workspace_object(a_plan())
    other = workspace_object(a_plan())
    other["digest"] = "sha256:other"
    assert diff_lines(plan, other) == ("the plans differ in details that a report does not show",)
