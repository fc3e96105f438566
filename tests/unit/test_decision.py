"""What a run keeps of a decision while it writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.engine.request import Decision
from agent.model import Fields, Inputs, Listing
from agent.scim.payloads import replace_payload
from tests.factories import a_policy, member
from tests.golden.samples import a_guarded_leaver, a_leaver, a_plan, a_rename, an_adoption

NAMES = ("renamed", "adopted", "held", "unguarded", "other")
MEMBERS = {each.scim_id: each for each in (replace(member(name), resource=b'{"locale":"de"}') for name in NAMES)}


def a_decision() -> Decision:
    hold = a_guarded_leaver(1)
    assert hold.change is not None
    held = replace(hold, change=replace(hold.change, scim_id="m-held"))
    changes = (replace(a_rename(), scim_id="m-renamed"), replace(an_adoption(), scim_id="m-adopted"))
    unguarded = a_plan(changes=(*changes, replace(a_leaver(), scim_id="m-unguarded")))
    inputs = Inputs((), Listing(tuple(MEMBERS.values())))
    plan = a_plan(changes=changes, holds=(held,))
    return Decision(a_policy(), plan, "sha256:0", unguarded=unguarded, members=MEMBERS, inputs=inputs)


def test_writing_keeps_the_resources_of_members_that_a_change_may_be_about() -> None:
    kept = a_decision().for_writing()

    assert kept.inputs is None
    assert kept.members == MEMBERS
    whole = {scim_id for scim_id, each in kept.members.items() if each.resource == MEMBERS[scim_id].resource}
    assert whole == {"m-renamed", "m-held", "m-unguarded"}


def test_nothing_can_be_built_on_a_member_whose_resource_was_not_kept() -> None:
    kept = a_decision().for_writing()

    with pytest.raises(AssertionError, match="keeps the resource"):
        replace_payload(kept.members["m-other"], Fields(display_name="Bea"), active=True)


def test_decision_without_changes_keeps_its_members_as_they_are() -> None:
    plan = a_plan(changes=())
    kept = replace(a_decision(), planned=plan, unguarded=plan).for_writing()

    assert {each.resource for each in kept.members.values()} == {b'{"locale":"de"}'}
