"""The age of a hold over real runs: dry runs count, runs for one person do not, and deleted runs do not matter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.daemon.newest_plans import NewestPlans
from agent.engine.request import RunResult
from agent.model import Kind
from agent.model.run import Pause, RunStatus
from agent.plan_parser import parse_workspace
from agent.report.plan_figures import PlanFigures, SourceFigures
from agent.store.state import SqlState
from connectors.base import Status
from tests.factories import plan_of, some_limits
from tests.integration.test_guard_history import Company
from tests.integration.test_plan_approvals import LEAVERS, approve, with_leavers
from tests.memory_state import MemoryState
from tests.migrated_state import new_sqlite_state
from tests.stepped_world import SteppedWorld


@pytest.fixture(params=["memory", "sqlite"])
async def company(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Company]:
    worlds = {"latam": SteppedWorld(), "emea": SteppedWorld()}
    now = worlds["latam"].now
    if request.param == "memory":
        yield await with_leavers(Company(MemoryState(now), worlds))
        return
    state = await SqlState.open(new_sqlite_state(tmp_path), now)
    yield await with_leavers(Company(state, worlds))
    await state.close()


def times(result: RunResult) -> dict[str, datetime | None]:
    return {hold.email: hold.since for hold in plan_of(result).holds}


async def test_hold_keeps_the_time_of_the_first_run_that_planned_it(company: Company) -> None:
    first_at = company.world.now()
    first = await company.plan()
    company.pass_minutes(90)
    held = await company.sync()
    company.pass_minutes(60 * 24)
    later = await company.plan()

    assert set(times(first).values()) == {first_at}
    assert len(times(first)) == len(LEAVERS)
    assert times(held) == times(later) == times(first)
    assert first.digest == later.digest
    run = await company.state.load_run(later.run_id)
    assert run is not None
    assert run.document is not None
    planned = parse_workspace(run.document)
    assert planned["status"] == "planned"
    assert planned["held_since"] == [f"{first_at:%Y-%m-%dT%H:%M:%SZ}"] * len(LEAVERS)


async def test_holds_that_are_left_have_their_time_and_a_run_that_writes_nothing_shows_none(company: Company) -> None:
    company.require_approval = frozenset({Kind.UPDATE_NAME})
    company.change("p5", display_name="Five")
    first_at = company.world.now()
    planned = await company.plan()
    company.pass_minutes(90)
    held = await company.sync()
    partly = await approve(company, "ann", "max-deactivations")
    await company.state.set_pause("latam", Pause(company.world.now(), "ops", ""))
    paused = await company.sync()

    assert (planned.holds, paused.holds) == (None, None)
    assert held.holds is not None
    assert {hold.since for hold in held.holds} == {first_at}
    assert len(held.holds) == len(LEAVERS) + 1
    assert partly.holds is not None
    assert [(hold.email, hold.code, hold.since) for hold in partly.holds] == [
        ("p5@acme.com", "approval-required", first_at)
    ]


async def test_hold_that_was_gone_for_a_run_begins_again(company: Company) -> None:
    await company.plan()
    company.pass_minutes(10)
    company.change("p0", groups=("planners",))
    await company.plan()
    company.pass_minutes(10)
    company.change("p0", groups=())
    again = await company.plan()

    assert times(again)["p0@acme.com"] == company.world.now()
    assert times(again)["p1@acme.com"] == company.world.now() - timedelta(minutes=20)


async def test_run_for_one_person_shows_ages_and_changes_no_other(company: Company) -> None:
    # A limit would hold fewer changes of one person than of everyone.
    company.limits = some_limits(max_deactivations=1000, max_deactivations_percent=100)
    company.require_approval = frozenset({Kind.DEACTIVATE})
    first = await company.plan()
    company.pass_minutes(10)
    alone = await company.sync(user="p0@acme.com")
    later = await company.plan()

    assert times(alone) == {"p0@acme.com": times(first)["p0@acme.com"]}
    assert times(later) == times(first)


async def test_ages_outlive_a_read_that_failed_and_the_runs_that_are_deleted(company: Company) -> None:
    first = await company.plan()
    company.pass_minutes(60 * 24 * 300)
    company.world.failing = {"okta"}
    assert (await company.plan()).status is RunStatus.INCOMPLETE
    company.world.failing = set()
    second = await company.plan()
    company.pass_minutes(60 * 24 * 300)
    await company.plan()
    await company.state.prune(company.world.now() - timedelta(days=200))
    later = await company.plan()

    assert await company.state.load_run(first.run_id) is None
    assert times(second) == times(later) == times(first)


async def test_approved_holds_are_gone_and_those_left_keep_their_time(company: Company) -> None:
    first = await company.plan()
    company.pass_minutes(30)
    done = await approve(company)
    assert done.status is RunStatus.DONE
    assert times(done) == times(first), "the plan that was approved had them"
    assert done.holds == (), "nothing is left"
    assert times(await company.plan()) == {}


async def test_oldest_hold_of_the_newest_plan_is_found_without_what_an_approval_released(company: Company) -> None:
    plans, first_at = NewestPlans(), company.world.now()

    async def oldest(result: RunResult) -> datetime | None:
        (run,) = [each for each in await company.state.load_runs(["latam"]) if each.id == result.run_id]
        found = await plans.find(company.state, run)
        assert await plans.find(company.state, run) == found
        assert await NewestPlans().find(company.state, run) == found
        assert found is not None
        return found.oldest_hold

    assert await plans.find(company.state, None) is None
    assert await oldest(await company.plan()) == first_at
    company.pass_minutes(30)
    company.require_approval = frozenset({Kind.UPDATE_NAME})
    company.change("p5", display_name="Five")
    later_at = company.world.now()
    assert await oldest(await company.sync()) == first_at
    assert await oldest(await approve(company, "ann", "max-deactivations")) == later_at
    company.pass_minutes(1)
    assert await oldest(await company.sync()) == later_at
    assert await oldest(await approve(company)) is None
    company.pass_minutes(1)
    assert await oldest(await company.sync()) is None


async def test_figures_of_the_newest_plan_are_those_of_a_dry_run_too(company: Company) -> None:
    async def figures(result: RunResult) -> PlanFigures:
        (run,) = [each for each in await company.state.load_runs(["latam"]) if each.id == result.run_id]
        found = await NewestPlans().find(company.state, run)
        assert found is not None
        return found

    company.hire("new", "out")
    company.change("out", status=Status.SUSPENDED)
    planned = await company.plan()
    dry, plan = await figures(planned), plan_of(planned)

    assert dry.changes == {kind: int(kind is Kind.CREATE) for kind in Kind}
    assert (dry.members, dry.active, dry.linked) == (plan.members.total, plan.members.active, plan.members.linked)
    assert dry.in_sync == plan.in_sync > 0
    (source,) = plan.sources
    assert dry.sources == {"okta": SourceFigures(source.people, source.entitled)}
    assert source.people > source.entitled > 0
    assert dry.guards == ("max-deactivations",)
    assert dry.holds == {"max-deactivations": len(LEAVERS)}
    approved = await figures(await approve(company))
    assert (approved.guards, approved.holds) == ((), {})
    after = await figures(await company.sync())
    assert after.in_sync == after.members == dry.members + 1


async def test_run_that_could_not_read_everything_has_no_figures(company: Company) -> None:
    company.world.failing = {"okta"}
    failed = await company.plan()
    (run,) = [each for each in await company.state.load_runs(["latam"]) if each.id == failed.run_id]

    assert await NewestPlans().find(company.state, run) is None
