"""Guards with a history, over the real engine and client: the joint effect of several runs, an undo and other tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agent.engine.dryrun import dry_run
from agent.engine.planner import Planner, PlannerProtocol, ReadOnlyWorkspace
from agent.engine.request import FleetLimit, RunRequest, RunResult, WorkspaceContext
from agent.engine.sync import Sync
from agent.engine.undo import UndoPlanner
from agent.model import Kind, Mode, Plan, Policy, UnmanagedAction
from agent.model.approval import ApprovalPolicy
from agent.model.run import Trigger
from agent.plan_parser import describe_difference
from agent.ports.state import State
from agent.scim.client import ScimClient
from agent.store.state import SqlState
from connectors.base import Person, Source, Status, discard_progress
from connectors.http import Timer
from tests.factories import plan_of, some_limits
from tests.memory_state import MemoryState
from tests.migrated_state import new_sqlite_state
from tests.stepped_world import BASE, SteppedConnector, SteppedWorld


class Company:
    """Workspaces with a world each, and one state. People are of `okta`, in planners by default."""

    def __init__(self, state: State, worlds: Mapping[str, SteppedWorld]) -> None:
        self.state, self.worlds = state, worlds
        self.world = next(iter(worlds.values()))
        self.limits = some_limits(max_deactivations=1000, max_deactivations_percent=100, max_email_changes=1000)
        self.fleet_percent = 100.0
        self.unmanaged = UnmanagedAction.REPORT
        self.protect: tuple[str, ...] = ()
        self.require_approval: frozenset[Kind] = frozenset()
        self.approval_policy = ApprovalPolicy()

    def hire(self, *names: str, groups: tuple[str, ...] = ("planners",), world: SteppedWorld | None = None) -> None:
        for name in names:
            person = Person("okta", name, f"{name}@acme.com", name.title(), groups=groups)
            (world or self.world).people["okta", name] = person

    def change(self, *names: str, **changes: object) -> None:
        for name in names:
            self.world.people["okta", name] = replace(self.world.people["okta", name], **changes)  # type: ignore[arg-type]  # fields by name

    def pass_minutes(self, minutes: float) -> None:
        for world in self.worlds.values():
            world.pass_minutes(minutes)

    def _survey(self, name: str) -> tuple[Planner, ScimClient, Policy]:
        world = self.worlds[name]
        policy = Policy(
            name,
            (Source("okta", "app"),),
            mode=Mode.ENFORCE,
            protect=self.protect,
            limits=self.limits,
            unmanaged=self.unmanaged,
            require_approval=self.require_approval,
        )

        async def at_once(_seconds: float) -> None:
            await asyncio.sleep(0)

        timer = Timer(lambda: 0.0, at_once, world.moment.timestamp)
        client = ScimClient(name, BASE, [lambda: world.token], world.client(), timer=timer)
        connectors = {"okta": SteppedConnector(world, "okta")}
        return (
            Planner(
                connectors, self.state, world, FleetLimit(tuple(self.worlds), self.fleet_percent), discard_progress
            ),
            client,
            policy,
        )

    async def _for_ever(self, _seconds: float) -> None:
        await asyncio.Event().wait()

    async def plan(self, name: str = "latam") -> RunResult:
        survey, client, policy = self._survey(name)
        (result,) = await dry_run(survey, {name: ReadOnlyWorkspace(policy, client)}, [], RunRequest(Trigger.PLAN))
        return result

    async def sync(self, name: str = "latam", *, user: str = "", approve: bool = False) -> RunResult:
        digests = frozenset({(await self.plan(name)).digest} if approve else ())
        order = RunRequest(Trigger.SYNC, "ops", "why", user=user, approved_digests=digests)
        (result,) = await self.run(order, name)
        self.pass_minutes(1)
        return result

    async def run(self, request: RunRequest, *names: str) -> list[RunResult]:
        surveys = {name: self._survey(name) for name in names or self.worlds}
        contexts = {name: WorkspaceContext(policy, client) for name, (_, client, policy) in surveys.items()}
        planner = next(iter(surveys.values()))[0]
        return await self._sync(planner, contexts).run([], request)

    def _sync(self, planner: PlannerProtocol, contexts: dict[str, WorkspaceContext]) -> Sync:
        return Sync(
            planner,
            contexts,
            "one",
            self._for_ever,
            describe_difference,
            approval_policy=self.approval_policy,
        )

    async def undo(self, run_id: str, name: str = "latam", by: str = "ops") -> RunResult:
        _, client, policy = self._survey(name)
        survey = UndoPlanner(run_id, self.state, self.worlds[name], discard_progress)
        sync = self._sync(survey, {name: WorkspaceContext(policy, client)})
        (planned,) = await dry_run(survey, {name: ReadOnlyWorkspace(policy, client)}, [], RunRequest(Trigger.PLAN))
        approvals = frozenset({planned.digest})
        (result,) = await sync.run([], RunRequest(Trigger.UNDO, by, "why", approved_digests=approvals))
        self.pass_minutes(1)
        return result

    def active(self, world: SteppedWorld | None = None) -> set[str]:
        members = (world or self.world).space.members
        return {member.user_name.partition("@")[0] for member in members if member.active}


@pytest.fixture(params=["memory", "sqlite"])
async def company(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Company]:
    worlds = {"latam": SteppedWorld(), "emea": SteppedWorld()}
    now = worlds["latam"].now
    if request.param == "memory":
        yield Company(MemoryState(now), worlds)
        return
    state = await SqlState.open(new_sqlite_state(tmp_path), now)
    yield Company(state, worlds)
    await state.close()


def codes(result: RunResult) -> set[str]:
    return {hold.code for hold in plan_of(result).holds}


def messages(result: RunResult) -> list[str]:
    return [guard.message for guard in plan_of(result).guards] if isinstance(result.planned, Plan) else []


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"p{number}" for number in range(start, start + count)]


async def shrink(company: Company, *sizes: int) -> list[set[str]]:
    """Change the number of planners, with a run after each change, and return the codes of each run's holds."""
    found = []
    for size in sizes:
        planners = sorted(name for (_, name), person in company.world.people.items() if "planners" in person.groups)
        company.change(*planners[size:], groups=())
        found.append(codes(await company.sync()))
    return found


async def founded(company: Company, planners: int = 24, readers: int = 30) -> list[str]:
    names = numbered(planners)
    company.hire(*names)
    company.hire(*(f"r{number}" for number in range(readers)), groups=("readers",))
    await company.sync()
    return names


async def test_group_that_shrinks_in_steps_is_held_once_more_than_half_are_gone(company: Company) -> None:
    await founded(company)

    held = {"group-shrink"}
    assert await shrink(company, 24, 12, 6, 3, 1, 0) == [set(), set(), held, held, held, {"group-emptied"}]
    assert len(company.active()) == 30 + 12
    assert "Planners has 0 people and had 24." in messages(await company.plan())


async def test_baseline_is_a_day_old_at_most_and_else_that_of_the_last_run(company: Company) -> None:
    await founded(company)
    assert await shrink(company, 13) == [set()]
    company.pass_minutes(25 * 60)
    await company.plan()

    assert await shrink(company, 7) == [set()], "no run within the day: the last one's 13"
    assert await shrink(company, 6) == [set()], "6 of 7 within the day, as what was 13 is forgotten"
    company.pass_minutes(60)
    assert await shrink(company, 5) == [set()]


async def test_neither_a_dry_run_nor_one_persons_run_moves_the_baseline(company: Company) -> None:
    names = await founded(company)
    company.change(*names[13:], groups=())
    for name in names[13:]:
        await company.plan()
        await company.sync(user=f"{name}@acme.com")
    assert len(company.active()) == 30 + 13
    company.pass_minutes(25 * 60)
    company.change(*names[11:13], groups=())

    assert codes(await company.sync()) == {"group-shrink"}


async def test_leaver_whom_another_tool_reactivates_uses_the_limit_once_and_is_held_alone(company: Company) -> None:
    names = await founded(company, readers=0)
    company.limits = some_limits(max_deactivations=3, max_deactivations_percent=100)
    company.change(names[0], groups=())
    for _ in range(2):
        await company.sync()
        company.world.space.admin_reactivate(f"{names[0]}@acme.com")
    contested = await company.sync()
    assert codes(contested) == {"contested-by-another-writer"}
    company.change(*names[1:3], groups=())
    others = await company.sync()

    assert codes(others) == {"contested-by-another-writer"}
    assert company.active() == {names[0], *names[3:]}
    approved = await company.sync(approve=True)
    assert messages(approved)[0].endswith("Released by an approval of ops.")
    assert company.active() == set(names[3:])
    company.pass_minutes(24 * 60)
    company.world.space.admin_reactivate(f"{names[0]}@acme.com")
    assert codes(await company.sync()) == set(), "a day later it is not known any more"


async def test_fleet_counts_the_members_that_each_workspace_was_left_with(company: Company) -> None:
    company.fleet_percent = 10
    for world in company.worlds.values():
        company.hire(*numbered(40), world=world)
    await company.sync("latam")
    await company.sync("emea")
    company.change(*numbered(9), groups=())
    held = await company.sync("latam")
    assert "fleet" in codes(held)
    assert messages(held) == [
        "9 members of 1 workspace would be deactivated; the limit is 8: 10 % of 80 active linked members of "
        "all workspaces (at least 3)."
    ]
    company.change("p0", "p1", groups=("planners",))
    assert codes(await company.sync("latam")) == set(), "7 of 80"
    assert [await company.state.count_guarded(name) for name in company.worlds] == [33, 40]
    company.world.space.admin_reactivate("p2@acme.com")
    assert codes(await company.sync("latam")) == set(), "one of the 7 again"
    company.change("p20", groups=())
    assert codes(await company.sync("latam")) == {"fleet"}


async def test_many_small_runs_trip_what_one_big_run_would(company: Company) -> None:
    names = await founded(company, readers=0)
    company.pass_minutes(60)
    company.limits = some_limits(max_deactivations=3, max_deactivations_percent=100, max_creates=1, max_email_changes=1)
    company.change(*names[:5], groups=())
    held = [codes(await company.sync(user=f"{name}@acme.com")) for name in names[:5]]
    assert held == [set(), set(), set(), {"max-deactivations"}, {"max-deactivations"}]
    company.hire("new1", "new2")
    company.change(names[10], email="a@acme.com")
    company.change(names[11], email="b@acme.com")
    assert codes(await company.sync(user="new1@acme.com")) == set()
    assert codes(await company.sync(user="new2@acme.com")) == {"max-creates"}
    assert codes(await company.sync(user="a@acme.com")) == set()
    assert codes(await company.sync(user="b@acme.com")) == {"max-email-changes"}


async def test_undone_deactivations_stay_undone_until_the_person_changes_at_the_source(company: Company) -> None:
    names = await founded(company, readers=3)
    company.change(*names[:5], groups=())
    mistake = await company.sync()
    assert (await company.undo(mistake.run_id)).exit_code == 0
    assert company.active() >= set(names)

    resumed = await company.sync()
    assert (codes(resumed), resumed.exit_code) == ({"undone"}, 4)
    assert company.active() >= set(names)
    (hold, *_) = plan_of(resumed).holds
    assert "This change was undone" in hold.reason
    company.change(names[5], groups=())
    assert (codes(await company.sync()), names[5] in company.active()) == ({"undone"}, False)
    company.change(names[0], status=Status.SUSPENDED)
    company.change(names[1], groups=("planners",))
    await company.sync()
    assert company.active() & set(names[:2]) == {names[1]}, "suspended since: gone; assigned again: in sync"
    company.change(names[1], groups=())
    await company.sync()
    assert names[1] not in company.active(), "a later departure is no repetition"
    approved = await company.sync(approve=True)
    assert approved.exit_code == 0
    assert messages(approved) == ["3 changes would repeat undone changes. Released by an approval of ops."]
    assert not company.active() & set(names[:6])
    company.world.space.admin_reactivate(f"{names[2]}@acme.com")
    await company.sync()
    assert names[2] not in company.active(), "who approved it decided"


async def test_undo_of_a_create_ends_the_link_and_the_next_plan_does_not_reactivate(company: Company) -> None:
    await founded(company, 3, 0)
    company.hire("new")
    made = await company.sync(approve=True)
    assert (await company.undo(made.run_id)).exit_code == 0
    assert {link.person.id for link in (await company.state.load_memory("latam")).links} == {"p0", "p1", "p2"}

    for _ in range(2):
        again = await company.sync()
        assert [(hold.kind, hold.code) for hold in plan_of(again).holds] == [
            ("adopt", "undone"),
            ("reactivate", "undone"),
        ]
    assert company.active() == {"p0", "p1", "p2"}
    company.change("new", groups=("planners", "readers"))
    assert codes(await company.sync()) == set()
    assert company.active() == {"p0", "p1", "p2", "new"}
    assert (await company.state.load_memory("latam")).undone_changes == ()


async def test_undone_addresses_and_names_stay_undone_until_they_change_at_the_source(company: Company) -> None:
    names = await founded(company, 4, 0)
    company.change(names[0], email="wrong@acme.com")
    company.change(names[1], display_name="Wrong Name")
    mistake = await company.sync()
    assert (await company.undo(mistake.run_id)).exit_code == 0

    held = await company.sync()
    assert {(hold.kind, hold.code) for hold in plan_of(held).holds} == {
        ("update-email", "undone"),
        ("update-name", "undone"),
    }
    company.change(names[0], email="right@acme.com")
    company.change(names[1], display_name="Right Name")
    assert codes(await company.sync()) == set()
    shown = {(member.user_name, member.display_name) for member in company.world.space.members}
    assert {("right@acme.com", "P0"), ("p1@acme.com", "Right Name")} <= shown


async def test_undone_deactivation_of_an_unmanaged_member_stays_undone(company: Company) -> None:
    await founded(company, 4, 0)
    company.world.space.admin_create("stranger@acme.com", "Stranger")
    company.unmanaged = UnmanagedAction.DEACTIVATE
    mistake = await company.sync()
    assert "stranger" not in company.active()
    await company.undo(mistake.run_id)

    assert codes(await company.sync()) == {"undone"}
    assert "stranger" in company.active()
    company.hire("stranger")
    assert codes(await company.sync()) == set()
    assert (await company.state.load_memory("latam")).undone_changes == ()


async def test_undo_of_an_undo_holds_nothing_of_the_first(company: Company) -> None:
    names = await founded(company, 4, 0)
    company.change(names[0], groups=())
    result = await company.sync()
    back = await company.undo(result.run_id)
    again = await company.undo(back.run_id)
    assert (codes(again), codes(await company.sync())) == (set(), set())
    assert names[0] not in company.active()
    company.world.space.admin_reactivate(f"{names[0]}@acme.com")

    assert codes(await company.sync()) == set()
    assert names[0] not in company.active()
