"""Groups that a list suddenly shows empty: whole runs over a workspace, with a clock that the tests set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from agent.engine.dryrun import dry_run
from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.request import FleetLimit, RunRequest, RunResult, WorkspaceContext
from agent.engine.sync import Sync
from agent.engine.undo import UndoPlanner
from agent.errors import ExitCode
from agent.model import Kind, Mode, Policy
from agent.model.run import Trigger
from agent.plan_parser import describe_difference
from agent.scim.client import ScimClient
from connectors.base import (
    Connector,
    Finding,
    Group,
    IncompleteRead,
    LookupResult,
    Person,
    PersonKey,
    Snapshot,
    Source,
    Status,
    discard_progress,
)
from tests.factories import plan_of, some_limits
from tests.memory_state import MemoryState
from tests.stepped_world import BASE, SteppedWorld

SOURCE, OTHER = Source("entra-eu", "app-1"), Source("okta-main", "app-2")
SALES = {f"s{number}" for number in range(9)}


@dataclass
class Directory:
    """A connector. *hidden* are the groups shown empty, for each coming read; *hidden_for_good* for all reads.

    *lookups*: a lookup shows a person's groups too; *is_down* makes fresh reads fail.
    """

    name: str = "entra-eu"
    people: dict[str, Person] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    hidden: list[set[str]] = field(default_factory=list)
    hidden_for_good: set[str] = field(default_factory=set)
    lookups: bool = False
    is_down: bool = False
    reads: int = 0
    looked_up: list[str] = field(default_factory=list)

    def hire(self, name: str, *groups: str) -> None:
        self.groups |= {group: group.title() for group in groups}
        self.people[name] = Person(self.name, name, f"{name}@acme.com", name.title(), groups=groups)

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        self.reads += 1
        if fresh and self.is_down:
            raise IncompleteRead("The provider broke off.", "Run again.", 503)
        hidden = self.hidden_for_good | (self.hidden.pop(0) if self.hidden else set())
        shown = [
            replace(each, groups=tuple(group for group in each.groups if group not in hidden))
            for each in self.people.values()
        ]
        listed = tuple(each for each in shown if each.groups)
        groups = tuple(
            Group(key, name, sum(key in each.groups for each in listed))
            for key, name in self.groups.items()
            if not source.groups or key in source.groups
        )
        return Snapshot(source, "Pigment", groups, listed)

    def clear_cache(self) -> None:
        """Do nothing: this connector caches nothing."""

    async def lookup(self, person_id: str, _source: Source, /) -> LookupResult:
        self.looked_up.append(person_id)
        person = self.people.get(person_id)
        if person is None:
            return LookupResult(Status.DELETED)
        return LookupResult(person.status, groups=frozenset(person.groups) if self.lookups else None)

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        raise AssertionError(sources)


class Scene:
    """A workspace in sync with twenty people of a larger group and nine who are in Sales only."""

    def __init__(self, **policy: object) -> None:
        self.world = SteppedWorld()
        self.state = MemoryState(self.world.now)
        self.directory = Directory()
        self.policy = replace(
            Policy(
                "latam",
                (SOURCE,),
                mode=Mode.ENFORCE,
                limits=some_limits(max_deactivations=25, max_deactivations_percent=60),
            ),
            **policy,  # type: ignore[arg-type]  # each test gives what Policy takes
        )
        self.connectors: dict[str, Connector] = {SOURCE.connector: self.directory}
        for number in range(20):
            self.directory.hire(f"p{number}", "everyone")
        for name in sorted(SALES):
            self.directory.hire(name, "sales")

    def parts(self) -> tuple[Planner, Sync, dict[str, ReadOnlyWorkspace]]:
        async def for_ever(_seconds: float) -> None:
            await asyncio.Event().wait()

        workspace = ScimClient("latam", BASE, [lambda: self.world.token], self.world.client())
        survey = Planner(self.connectors, self.state, self.world, FleetLimit(("latam",), 10), discard_progress)
        sync = Sync(
            survey, {"latam": WorkspaceContext(self.policy, workspace)}, "process", for_ever, describe_difference
        )
        return survey, sync, {"latam": ReadOnlyWorkspace(self.policy, workspace)}

    async def run(self, minutes: float = 0, **order: object) -> RunResult:
        """Run once, *minutes* after the previous event."""
        self.world.pass_minutes(minutes)
        (result,) = await self.parts()[1].run([], RunRequest(Trigger.SYNC, **order))  # type: ignore[arg-type]  # as Order
        return result

    async def plan(self, minutes: float = 0) -> RunResult:
        self.world.pass_minutes(minutes)
        survey, _, sites = self.parts()
        (result,) = await dry_run(survey, sites, [], RunRequest(Trigger.PLAN))
        return result

    async def in_step(self) -> Scene:
        assert (await self.run()).exit_code is ExitCode.DONE
        self.directory.reads = 0
        self.world.pass_minutes(15)
        return self

    def inactive(self) -> set[str]:
        return {member.user_name.partition("@")[0] for member in self.world.space.members if not member.active}


def held(result: RunResult, code: str = "group-emptied") -> set[str]:
    return {hold.email.partition("@")[0] for hold in plan_of(result).holds if hold.code == code}


async def test_group_that_one_answer_shows_empty_costs_no_one_access() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden = [{"sales"}]
    result = await scene.run()
    assert (result.exit_code, result.records, held(result)) == (ExitCode.DONE, (), set())
    assert scene.directory.reads == 2
    assert scene.inactive() == set()


@pytest.mark.parametrize("minutes", [5, 60 * 24])
async def test_group_that_stays_empty_is_believed_by_a_run_five_minutes_on(minutes: float) -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    first = await scene.run()
    assert (first.exit_code, held(first), scene.inactive()) == (ExitCode.HELD, SALES, set())
    assert held(await scene.run(4)) == SALES
    last = await scene.run(minutes)
    assert (last.exit_code, held(last), scene.inactive()) == (ExitCode.DONE, set(), SALES)


async def test_hold_shows_which_group_how_large_it_was_until_when_and_how_to_go_on() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    result = await scene.run()
    (hold, *_) = plan_of(result).holds
    assert "Sales of entra-eu is empty and had 9 people at the last read" in hold.reason
    assert "at least 5 minutes" in hold.remedy
    assert "approve this plan by its digest" in hold.remedy
    assert "held until a run 5 minutes on reads the same" in str(result.planned)
    first, again = scene.world.moment, plan_of(await scene.run(1))
    assert f"held until a run after {first + timedelta(minutes=5):%Y-%m-%d %H:%M}" in str(again)
    assert [(guard.code, guard.count) for guard in again.guards] == [("group-emptied", 9)]


async def test_group_of_one_person_is_guarded_too() -> None:
    scene = Scene()
    scene.directory.hire("solo", "board")
    await scene.in_step()
    scene.directory.hidden_for_good = {"board"}
    result = await scene.run()
    assert held(result) == {"solo"}
    assert "had 1 person" in plan_of(result).holds[0].reason
    await scene.run(5)
    assert scene.inactive() == {"solo"}


@pytest.mark.parametrize("leave", ["suspend", "delete"])
async def test_person_whose_own_status_shows_that_they_left_is_not_held(leave: str) -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    person = scene.directory.people["s1"]
    if leave == "delete":
        del scene.directory.people["s1"]
    else:
        scene.directory.people["s1"] = replace(person, status=Status.SUSPENDED)
    result = await scene.run()
    assert held(result) == SALES - {"s1"}
    assert scene.inactive() == {"s1"}


async def test_leavers_of_other_groups_go_at_once() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    del scene.directory.people["p7"]
    assert held(await scene.run()) == SALES
    assert scene.inactive() == {"p7"}


async def test_who_is_in_another_group_too_keeps_access_and_is_not_held() -> None:
    scene = Scene()
    scene.directory.hire("both", "sales", "everyone")
    await scene.in_step()
    scene.directory.hidden_for_good = {"sales"}
    assert held(await scene.run()) == SALES


async def test_group_that_filled_again_starts_again() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    await scene.run()
    scene.directory.hidden_for_good = set()
    assert (await scene.run(4)).exit_code is ExitCode.DONE
    scene.directory.hidden_for_good = {"sales"}
    assert held(await scene.run(4)) == SALES
    assert held(await scene.run(4)) == SALES
    assert scene.inactive() == set()
    await scene.run(1)
    assert scene.inactive() == SALES


async def test_approval_releases_it_as_any_guard() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    digest = (await scene.plan()).digest
    result = await scene.run(1, by="ops", reason="why", approved_digests=frozenset({digest}))
    assert result.exit_code is ExitCode.DONE
    assert scene.inactive() == SALES


async def test_dry_run_reads_the_state_and_moves_nothing() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    assert held(await scene.plan()) == SALES
    assert held(await scene.plan(10)) == SALES
    assert held(await scene.run(10)) == SALES
    assert held(await scene.plan(10)) == set()
    assert scene.inactive() == set()


async def test_workspace_in_dry_run_mode_moves_nothing() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    scene.policy = replace(scene.policy, mode=Mode.DRY_RUN)
    assert held(await scene.run()) == SALES
    scene.policy = replace(scene.policy, mode=Mode.ENFORCE)
    assert held(await scene.run(10)) == SALES


async def test_run_for_one_person_holds_them_and_counts_as_a_reading() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    assert held(await scene.run(user="s3@acme.com")) == {"s3"}
    assert (await scene.run(5, user="s3@acme.com")).exit_code is ExitCode.DONE
    assert scene.inactive() == {"s3"}


async def test_run_for_one_person_looks_up_that_person_alone() -> None:
    scene = await Scene().in_step()
    for name in ("p3", "p4", "p5"):
        scene.directory.people[name] = replace(scene.directory.people[name], groups=())
    assert (await scene.run(user="p4@acme.com")).exit_code is ExitCode.DONE
    assert (scene.directory.looked_up, scene.inactive()) == (["p4"], {"p4"})


async def test_grace_and_emptied_group_both_have_to_be_over() -> None:
    scene = await Scene(grace_reads=3).in_step()
    scene.directory.hidden_for_good = {"sales"}
    for _ in range(2):
        result = await scene.run(1)
        assert (held(result), {note.code for note in plan_of(result).notes}) == (set(), {"in-grace"})
    assert held(await scene.run(1)) == SALES
    await scene.run(5)
    assert scene.inactive() == SALES


async def test_person_whom_a_lookup_still_shows_in_the_group_stays_held() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good, scene.directory.lookups = {"sales"}, True
    assert held(await scene.run(), "source-disagrees") == SALES
    assert scene.directory.reads == 2
    assert held(await scene.run(60), "source-disagrees") == SALES
    assert scene.inactive() == set()


async def test_second_reading_that_fails_holds_and_lets_the_rest_of_the_run_go_on() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good, scene.directory.is_down = {"sales"}, True
    del scene.directory.people["p7"]
    result = await scene.run()
    assert (result.exit_code, held(result), scene.inactive()) == (ExitCode.HELD, SALES, {"p7"})


async def test_group_that_the_application_does_not_list_any_more_counts_as_empty() -> None:
    scene = await Scene().in_step()
    del scene.directory.groups["sales"]
    scene.directory.hidden_for_good = {"sales"}
    assert held(await scene.run()) == SALES
    await scene.run(5)
    assert scene.inactive() == SALES


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: replace(scene.policy, sources=(replace(SOURCE, groups=("everyone",)),)),
        lambda scene: replace(scene.policy, sources=(replace(SOURCE, app="app-9"),)),
    ],
    ids=["groups", "app"],
)
async def test_group_that_the_config_does_not_count_any_more_is_an_ordinary_change(
    change: Callable[[Scene], Policy],
) -> None:
    scene = await Scene().in_step()
    scene.policy = change(scene)
    del scene.directory.groups["sales"]
    scene.directory.hidden_for_good = {"sales"}
    assert held(await scene.run()) == set()
    assert scene.inactive() == SALES


async def test_empty_group_that_was_believed_costs_no_second_reading_any_more() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    await scene.run()
    await scene.run(5)
    scene.directory.reads = 0
    await scene.run(5)
    assert scene.directory.reads == 1


async def test_time_to_come_in_the_state_does_not_hold_for_longer() -> None:
    scene = await Scene().in_step()
    scene.directory.hidden_for_good = {"sales"}
    scene.world.pass_minutes(600_000)
    await scene.run()
    scene.world.pass_minutes(-600_000)
    assert held(await scene.run()) == SALES
    await scene.run(5)
    assert scene.inactive() == SALES


async def test_who_is_entitled_through_another_source_moves_there_and_is_not_held() -> None:
    scene = Scene(sources=(SOURCE, OTHER))
    other = Directory(OTHER.connector)
    scene.connectors[OTHER.connector] = other
    other.hire("s1", "planners")
    await scene.in_step()
    scene.directory.hidden_for_good = {"sales"}
    result = await scene.run()
    assert held(result) == SALES - {"s1"}
    assert [(each.change.kind, each.change.code) for each in result.records] == [(Kind.ADOPT, "relinked")]
    assert PersonKey(OTHER.connector, "s1") in scene.state.links["latam"]
    scene.directory.hidden_for_good = set()
    assert (await scene.run(15)).exit_code is ExitCode.DONE
    assert scene.inactive() == set()


async def test_emptied_group_of_one_source_holds_no_one_of_the_other() -> None:
    scene = Scene(sources=(SOURCE, OTHER))
    other = Directory(OTHER.connector)
    scene.connectors[OTHER.connector] = other
    for name in ("x1", "x2"):
        other.hire(name, "sales")
    await scene.in_step()
    scene.directory.hidden_for_good = {"sales"}
    del other.people["x1"]
    assert held(await scene.run()) == SALES
    assert scene.inactive() == {"x1"}


async def test_person_who_leaves_another_group_while_theirs_is_shown_empty_is_held() -> None:
    scene = Scene()
    scene.directory.hire("twice", "sales", "board")
    scene.directory.hire("rest", "board")
    await scene.in_step()
    scene.directory.hidden_for_good = {"sales"}
    assert (await scene.run(1)).exit_code is ExitCode.HELD

    # Sales still holds them, and no read shows it.
    scene.directory.people["twice"] = replace(scene.directory.people["twice"], groups=("sales",))
    held = await scene.run(1)

    assert "twice" not in scene.inactive()
    assert "group-emptied" in {hold.code for hold in plan_of(held).holds if hold.email == "twice@acme.com"}


async def test_change_that_was_undone_stays_undone_while_one_run_reads_its_group_as_empty() -> None:
    scene = await Scene().in_step()
    scene.directory.hire("new", "sales")
    created = await scene.run()
    _, sync, _ = scene.parts()
    undo = replace(sync, planner=UndoPlanner(created.run_id, scene.state, scene.world, discard_progress))
    (undone,) = await undo.run(["latam"], RunRequest(Trigger.UNDO, by="ana@acme.com", reason="a mistake"))
    assert (undone.exit_code, scene.inactive()) == (ExitCode.DONE, {"new"})

    scene.directory.hidden_for_good = {"sales"}
    await scene.run(1)
    scene.directory.hidden_for_good = set()
    last = await scene.run(1)

    assert held(last, "undone") == {"new"}
    assert scene.inactive() == {"new"}
