"""Explaining one address: why this person is in or out."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime

from agent.diff.explain import explain
from agent.diff.plan import compute_plan
from agent.model import Change, Fields, Inputs, Kind, Mode, Unplanned
from agent.model.access import Explanation, MemberView, PersonView
from agent.model.run import ChangeRecord, Outcome, Pause
from agent.web.schemas import person_to_schema
from connectors.base import Status
from tests.factories import a_policy, key, link, member, person, reads

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def explained(email: str, given: Inputs, *actions: ChangeRecord) -> Explanation:
    policy = a_policy()
    return explain(email, given, policy, compute_plan(given, policy), actions)


def test_linked_person_is_in_sync() -> None:
    explanation = explained("ANN@acme.com", reads([person("ann")], [member("ann")], [link("ann")]))

    assert "okta-main:ann" in explanation.source[0]
    assert "through Planners" in explanation.source[0]
    assert explanation.scope == ("Ann: In scope: assigned through a group, and active.",)
    assert "matched by link to okta-main:ann" in explanation.match[0]
    assert explanation.decision == ("No change: in sync.",)
    assert explanation.actions == ("No changes yet.",)


def test_explanation_has_people_and_members_as_values() -> None:
    given = reads(
        [person("ann", source_status="ACTIVE")],
        [member("ann"), member("old", active=False)],
        [link("ann"), link("old")],
    )
    explanation = explained("ann@acme.com", given)

    assert explanation.people == (
        PersonView(
            connector="okta-main",
            id="ann",
            email="ann@acme.com",
            display_name="Ann",
            status="ACTIVE",
            entitlement="entitled",
            groups=("Planners",),
            is_individual=False,
        ),
    )
    assert explanation.members == (
        MemberView(
            scim_id="m-ann",
            email="ann@acme.com",
            active=True,
            matched_by="link",
            linked_connector="okta-main",
            linked_person="ann",
        ),
    )
    (unmanaged,) = explained("eve@acme.com", reads([], [member("eve", active=None)])).members
    assert (unmanaged.active, unmanaged.matched_by) == (None, "")
    (by_email,) = explained("ann@acme.com", reads([person("ann")], [member("ann")])).members
    assert (by_email.matched_by, by_email.linked_person) == ("email", "")


def test_api_shows_an_explanation_as_the_json_of_the_command_does() -> None:
    given = reads([person("ann", source_status="ACTIVE")], [member("ann"), member("old", active=None)], [link("ann")])
    known, unknown = explained("ann@acme.com", given), explained("unknown@acme.com", given)
    shown = person_to_schema("ann@acme.com", [known, unknown]).model_dump(mode="json")

    assert known.people
    assert known.members
    for explanation, sent in zip((known, unknown), shown["workspaces"], strict=True):
        assert sent.pop("error") == ""
        assert sent == json.loads(json.dumps(asdict(explanation)))


def test_api_shows_only_the_error_of_a_workspace_that_could_not_be_read() -> None:
    failed = Unplanned(
        workspace="latam", mode=Mode.ENFORCE, status="incomplete", code="read", message="No answer.", remedy="Wait."
    )
    (sent,) = person_to_schema("ann@acme.com", [failed]).model_dump(mode="json")["workspaces"]

    assert {name: value for name, value in sent.items() if value} == {
        "workspace": "latam",
        "error": "No answer. Wait.",
    }


def test_suspended_person_would_be_deactivated_with_the_reason() -> None:
    given = reads(
        [person("ann", status=Status.SUSPENDED, source_status="SUSPENDED"), person("bea")],
        [member("ann"), member("bea")],
        [link("ann"), link("bea")],
    )
    explanation = explained("ann@acme.com", given)

    assert explanation.scope == ("Ann: Not in scope: not active at the source.",)
    assert explanation.decision[0].startswith("A sync would deactivate (suspended)")


def test_person_is_found_by_the_address_that_their_member_still_has() -> None:
    explanation = explained("old@acme.com", reads([person("ann")], [member("ann", "old@acme.com")], [link("ann")]))

    assert "okta-main:ann" in explanation.source[0]
    assert explanation.decision[0].startswith("A sync would update-email")


def test_hold_is_explained_with_its_remedy() -> None:
    explanation = explained("ann@acme.com", reads([person("ann", display_name="")], []))

    assert "missing-display-name" in explanation.decision[0]
    assert "Give" in explanation.decision[0]


def test_person_is_found_by_what_was_done_to_them() -> None:
    change = Change(
        kind=Kind.UPDATE_EMAIL,
        email="ann@acme.com",
        display_name="Ann",
        scim_id="m-ann",
        person=key("ann"),
        before=Fields("former@acme.com"),
        after=Fields("ann@acme.com"),
        code="email-changed",
        reason="She married.",
    )
    record = ChangeRecord(
        run_id="r1",
        seq=0,
        change=change,
        outcome=Outcome.DONE,
        detail="",
        sent_at=NOW,
        answered_at=NOW,
        scim_id="m-ann",
    )
    explanation = explained("former@acme.com", reads([person("ann")], [member("ann")], [link("ann")]), record)

    assert "okta-main:ann" in explanation.source[0]
    assert explanation.actions == ("2026-03-01 12:00 UTC update-email done (run r1) She married.",)


def test_stranger_gets_near_misses_by_address_and_by_name() -> None:
    given = reads([person("ann", "ann.souza@acme.com", display_name="Ann Souza")], [member("eve")])

    assert explained("an.souza@acme.com", given).near == ("Ann Souza <ann.souza@acme.com> in okta-main",)
    assert explained("ann.souza@other.example", given).near == ("Ann Souza <ann.souza@acme.com> in okta-main",)
    stranger = explained("nobody@elsewhere.example", given)
    assert stranger.near == ()
    assert stranger.decision == ("No change.",)


def test_unmanaged_member_has_no_person() -> None:
    explanation = explained("eve@acme.com", reads([person("ann")], [member("eve")]))

    assert "no assigned person has this account (unmanaged)" in explanation.match[0]
    assert explanation.decision[0].startswith("Note unmanaged")


def test_individual_assignment_is_explained() -> None:
    explanation = explained("ann@acme.com", reads([person("ann", groups=(), individual=True)], []))

    assert "assigned individually" in explanation.source[0]
    assert explanation.scope == ("Ann: Not in scope: assigned individually, not through a group.",)


def test_member_whose_address_is_contested_is_not_called_in_sync() -> None:
    given = reads(
        [person("ann", "new@acme.com"), person("bea", "new@acme.com")],
        [member("ann"), member("bea", "new@acme.com")],
        [link("ann"), link("bea")],
    )
    explanation = explained("bea@acme.com", given), explained("new@acme.com", given)

    assert [each.found for each in explanation] == [False, True]
    assert "in sync" not in " ".join(explanation[1].decision)
    assert "contested-email" in " ".join(explanation[1].decision)


def test_member_that_a_newcomer_may_be_is_part_of_the_hold() -> None:
    given = reads([person("ann", "ann.lee@acme.com", display_name="Ann Lee")], [member("old", display_name="Ann Lee")])
    explanation = explained("old@acme.com", given)

    assert any(each.startswith("Part of a hold for another person") for each in explanation.decision)
    assert "possible-rename" in explanation.decision[0]


def test_workspace_that_is_not_written_to_is_named_with_the_decision() -> None:
    given = reads([person("ann", display_name="Ann Lee")], [member("ann")], [link("ann")])
    policy = replace(a_policy(), mode=Mode.DRY_RUN)
    explanation = explain(
        "ann@acme.com", given, policy, compute_plan(given, policy), (), Pause(NOW, "ops", "a mistake")
    )

    assert explanation.decision[-2:] == (
        "The workspace is in mode dry-run: nothing is written to it.",
        "The workspace is paused by ops: nothing is written to it until it is resumed.",
    )
