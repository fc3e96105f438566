"""`links new`: a person and a member of the same name are two people, and the person gets a member of their own."""

from __future__ import annotations

import pytest

from agent.engine.links import LinkEditor
from agent.engine.planner import ReadOnlyWorkspace
from agent.engine.request import RunRequest
from agent.errors import UsageError
from agent.model.run import Trigger
from connectors.base import IncompleteRead, PersonKey
from tests.factories import plan_of
from tests.integration.test_guard_history import Company, codes
from tests.memory_state import MemoryState
from tests.stepped_world import SteppedWorld

ANN = PersonKey("okta", "ann")
REQUEST = RunRequest(Trigger.LINKS, "ops", "two people", "ann.lee@acme.com")


@pytest.fixture
async def company() -> Company:
    """The workspace has no links, and a member of Ann's name under an address that no person has."""
    world = SteppedWorld()
    company = Company(MemoryState(world.now), {"latam": world})
    company.hire("ann")
    world.space.admin_create("ann.lee@acme.com", "Ann")
    return company


def editor(company: Company) -> LinkEditor:
    planner, client, policy = company._survey("latam")
    return LinkEditor(planner, ReadOnlyWorkspace(policy, client), "one", company._for_ever)


async def test_person_gets_a_member_and_the_other_one_stays_as_it_is(company: Company) -> None:
    assert codes(await company.sync(approve=True)) == {"possible-rename"}, "an approval does not release it"
    links = editor(company)
    await links.write_new(await links.plan_new("Ann.Lee@acme.com", ANN), REQUEST)
    run = (await company.state.load_runs(limit=1))[0]
    done = await company.sync()

    assert (run.trigger, run.by, run.reason, run.user) == (Trigger.LINKS, "ops", "two people", "ann.lee@acme.com")
    assert [change.kind for change in plan_of(done).changes] == ["create"]
    assert company.active() == {"ann", "ann.lee"}
    assert codes(await company.sync()) == set()


async def test_pair_that_is_not_held_is_refused(company: Company) -> None:
    for email, person in (("else@acme.com", ANN), ("ann.lee@acme.com", PersonKey("okta", "bea"))):
        with pytest.raises(UsageError, match="No possible-rename of latam holds okta:"):
            await editor(company).plan_new(email, person)


async def test_incomplete_read_decides_nothing(company: Company) -> None:
    company.world.failing = {"okta"}
    with pytest.raises(IncompleteRead, match="okta broke off"):
        await editor(company).plan_new("ann.lee@acme.com", ANN)


async def test_decision_of_the_page_is_for_the_hold_that_was_shown(company: Company) -> None:
    (hold,) = [each for each in plan_of(await company.sync()).holds if each.code == "possible-rename"]
    links = editor(company)
    member = await links.find_held_rename(ANN, hold.reason)
    assert member.email == "ann.lee@acme.com"
    with pytest.raises(UsageError, match="latam no longer holds okta:ann for this reason"):
        await links.find_held_rename(ANN, "another reason")
    with pytest.raises(UsageError, match="latam no longer holds okta:bea for this reason"):
        await links.find_held_rename(PersonKey("okta", "bea"), hold.reason)

    company.world.space.admin_create("ann.poe@acme.com", "Ann")
    (several,) = [each for each in plan_of(await company.sync()).holds if each.code == "possible-rename"]
    with pytest.raises(UsageError, match="2 members of latam have this name"):
        await links.find_held_rename(ANN, several.reason)
    assert company.active() == {"ann.lee", "ann.poe"}
