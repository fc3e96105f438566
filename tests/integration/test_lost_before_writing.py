"""A workspace that loses its lease or state before its first write ends its own run, and no other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.engine.planner import Planner
from agent.engine.request import FleetLimit, RunRequest, RunResult, WorkspaceContext
from agent.engine.sync import Sync
from agent.errors import ExitCode, StateError, lease_lost_error
from agent.model import Mode, Policy
from agent.model.run import Lease, Run, RunStatus, Trigger
from agent.plan_parser import describe_difference
from agent.ports.state import State
from agent.scim.client import ScimClient
from agent.store.state import SqlState
from connectors.base import Person, Snapshot, Source, discard_progress
from tests.factories import some_limits
from tests.memory_state import MemoryState
from tests.stepped_world import BASE, SteppedConnector, SteppedWorld

NAMES = ("latam", "emea", "apac")


@dataclass(frozen=True)
class Interrupted(SteppedConnector):
    """A connector that calls *during* in each read."""

    during: Callable[[], None]

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        self.during()
        return await super().read(source, fresh=fresh)


class Failing(MemoryState):
    """A state that can't take the plan of emea, in a moment neither unless *is_transient*."""

    is_transient = False

    async def record_plan(
        self, lease: Lease, run_id: str, digest: str, document: Iterable[bytes], approved_digest: str | None = None
    ) -> None:
        if lease.workspace == "emea":
            raise StateError("The state can't be used (a lock).", "Find who.", is_transient=self.is_transient)
        await super().record_plan(lease, run_id, digest, document, approved_digest)


class Blocked(MemoryState):
    """A state that can't take the beginning of a run of *names*."""

    names: Collection[str] = ()

    async def begin_run(self, run: Run, lease: Lease, claim: Lease | None = None) -> tuple[str, ...]:
        if lease.workspace in self.names:
            raise StateError("The state can't be used (a lock).", "Find who.", is_transient=True)
        return await super().begin_run(run, lease, claim)


class Overtaken(MemoryState):
    """A state in which another run takes the lease of emea as soon as it is ours."""

    async def begin_run(self, run: Run, lease: Lease, claim: Lease | None = None) -> tuple[str, ...]:
        if lease.workspace == "emea":
            raise lease_lost_error("emea")
        return await super().begin_run(run, lease, claim)


async def for_ever(_seconds: float) -> None:
    await asyncio.Event().wait()


@dataclass
class Harness:
    """Three workspaces, one newcomer in each, and one state."""

    state: State
    world: SteppedWorld
    worlds: dict[str, SteppedWorld]

    async def sync(self, during: Callable[[], None]) -> dict[str, RunResult]:
        connectors = {"okta": Interrupted(self.world, "okta", during)}
        survey = Planner(connectors, self.state, self.world, FleetLimit(NAMES, 10), discard_progress)
        sites = {}
        for name, world in self.worlds.items():
            policy = Policy(name, (Source("okta", f"app-{name}"),), limits=some_limits(), mode=Mode.ENFORCE)
            sites[name] = WorkspaceContext(policy, ScimClient(name, BASE, [lambda: "token"], world.client()))
        results = await Sync(survey, sites, "one", for_ever, describe_difference).run([], RunRequest(Trigger.SYNC))
        return {result.workspace: result for result in results}

    def members(self) -> dict[str, int]:
        return {name: len(world.space.members) for name, world in self.worlds.items()}


def harness(state: State, world: SteppedWorld) -> Harness:
    world.people["okta", "ann"] = Person("okta", "ann", "ann@acme.com", "Ann", groups=("planners",))
    return Harness(state, world, {name: SteppedWorld() for name in NAMES})


async def expect_others_done(place: Harness, results: dict[str, RunResult]) -> None:
    lost = results.pop("emea")
    assert {(each.status, each.exit_code) for each in results.values()} == {(RunStatus.DONE, ExitCode.DONE)}
    assert place.members() == {"latam": 1, "emea": 0, "apac": 1}
    run = await place.state.load_run(lost.run_id)
    assert run is not None
    assert (run.status, lost.status, lost.records) == (RunStatus.INTERRUPTED, RunStatus.INTERRUPTED, ())
    assert run.error
    assert run.error in lost.error


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_lease_of_one_workspace_that_is_lost_while_all_are_read_leaves_the_others_their_runs(
    kind: str, tmp_path: Path
) -> None:
    world, file = SteppedWorld(), tmp_path / "state.db"
    if kind == "memory":
        memory = MemoryState(world.now)
        place = harness(memory, world)

        def take_over() -> None:
            memory.held["emea"].renewed_at = None

        results = await place.sync(take_over)
    else:
        state = await SqlState.open(f"sqlite:///{file}", world.now)
        place = harness(state, world)

        def take_over() -> None:
            with sqlite3.connect(file) as other:
                other.execute("UPDATE leases SET fence = fence + 1 WHERE workspace = 'emea'")

        results = await place.sync(take_over)

    assert results["emea"].exit_code is ExitCode.BUSY
    assert "lost its lease of emea" in results["emea"].error
    assert results["emea"].is_unfinished
    await expect_others_done(place, results)
    if kind == "sqlite":
        await state.close()


@pytest.mark.parametrize("is_transient", [False, True])
async def test_plan_that_the_state_does_not_take_leaves_the_other_workspaces_their_runs(*, is_transient: bool) -> None:
    world = SteppedWorld()
    state = Failing(world.now)
    state.is_transient = is_transient
    place = harness(state, world)

    results = await place.sync(lambda: None)

    assert results["emea"].exit_code is ExitCode.UNEXPECTED
    assert results["emea"].error == "The state can't be used (a lock). Find who."
    assert {name for name, each in results.items() if each.is_unfinished} == ({"emea"} if is_transient else set())
    await expect_others_done(place, results)


async def test_run_that_the_state_does_not_take_leaves_the_other_workspaces_their_runs() -> None:
    world = SteppedWorld()
    state = Blocked(world.now)
    state.names = {"emea"}
    place = harness(state, world)

    results = await place.sync(lambda: None)

    failed = results.pop("emea")
    assert (failed.status, failed.exit_code, failed.is_unfinished) == (RunStatus.INTERRUPTED, ExitCode.UNEXPECTED, True)
    assert "a lock" in str(failed.planned)
    assert {each.exit_code for each in results.values()} == {ExitCode.DONE}
    assert place.members() == {"latam": 1, "emea": 0, "apac": 1}


@pytest.mark.parametrize("names", [("emea", "apac"), NAMES])
async def test_state_that_takes_no_runs_ends_the_command_and_those_that_have_begun(names: Collection[str]) -> None:
    world = SteppedWorld()
    state = Blocked(world.now)
    state.names = names
    place = harness(state, world)

    with pytest.raises(StateError):
        await place.sync(lambda: None)

    assert place.members() == dict.fromkeys(NAMES, 0)
    assert [run.status for run in await state.load_runs()] == [RunStatus.INTERRUPTED] * (len(NAMES) - len(names))
    assert [await state.load_lease(name) for name in NAMES] == [None] * len(NAMES)


async def test_lease_that_is_lost_before_its_run_is_on_record_leaves_the_others_their_runs() -> None:
    world = SteppedWorld()
    place = harness(Overtaken(world.now), world)

    results = await place.sync(lambda: None)

    lost = results.pop("emea")
    assert (lost.status, lost.exit_code, lost.is_unfinished) == (RunStatus.BUSY, ExitCode.BUSY, True)
    assert "lost its lease of emea" in str(lost.planned)
    assert {each.exit_code for each in results.values()} == {ExitCode.DONE}
    assert place.members() == {"latam": 1, "emea": 0, "apac": 1}
