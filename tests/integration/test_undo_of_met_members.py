"""An undo reverses exactly what the run did to members that its creates found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from agent.engine.request import RunResult
from agent.model import Link
from agent.store.state import SqlState
from tests.integration.test_guard_history import Company, codes
from tests.memory_state import MemoryState
from tests.migrated_state import new_sqlite_state
from tests.stepped_world import SteppedWorld


class Raced(httpx.AsyncBaseTransport):
    """Another writer makes ann just before our create arrives, and may leave her inactive."""

    def __init__(self, world: RacedWorld) -> None:
        self._world = world
        self._pigment = SteppedWorld.transport(world)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and self._world.is_raced:
            await self._pigment.handle_async_request(request)
            if self._world.leaves_inactive:
                self._world.space.admin_deactivate("ann@acme.com")
        if request.method in {"POST", "PATCH", "PUT"}:
            self._world.writes.append(request.method)
        return await self._pigment.handle_async_request(request)


class RacedWorld(SteppedWorld):
    is_raced = True
    leaves_inactive = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.writes: list[str] = []

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=Raced(self))


@dataclass
class Harness:
    company: Company
    world: RacedWorld

    async def hire(self) -> RunResult:
        self.company.hire("ann")
        result = await self.company.sync()
        self.world.writes.clear()
        return result

    async def links(self) -> tuple[Link, ...]:
        return (await self.company.state.load_memory("latam")).links


@pytest.fixture(params=["memory", "sqlite"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    world = RacedWorld()
    if request.param == "memory":
        yield Harness(Company(MemoryState(world.now), {"latam": world}), world)
        return
    state = await SqlState.open(new_sqlite_state(tmp_path), world.now)
    yield Harness(Company(state, {"latam": world}), world)
    await state.close()


async def test_active_member_that_was_met_stays_active_and_loses_its_link(harness: Harness) -> None:
    made = await harness.hire()
    assert [record.detail for record in made.records] == ["The member existed and is linked; nothing was changed."]
    assert len(await harness.links()) == 1

    undone = await harness.company.undo(made.run_id)

    assert [(record.change.kind, record.outcome) for record in undone.records] == [("adopt", "done")]
    assert (harness.world.writes, harness.company.active()) == ([], {"ann"})
    assert await harness.links() == ()


async def test_member_that_lost_its_link_is_adopted_again_only_by_an_approval(harness: Harness) -> None:
    made = await harness.hire()
    await harness.company.undo(made.run_id)

    held = await harness.company.sync()
    assert (codes(held), await harness.links()) == ({"undone"}, ())
    await harness.company.sync(approve=True)
    assert len(await harness.links()) == 1
    assert harness.world.writes == []


async def test_inactive_member_that_was_met_and_reactivated_is_deactivated(harness: Harness) -> None:
    harness.world.leaves_inactive = True
    made = await harness.hire()
    assert [record.detail for record in made.records] == ["The member existed and was reactivated."]
    assert harness.company.active() == {"ann"}

    await harness.company.undo(made.run_id)

    assert (harness.world.writes, harness.company.active()) == (["PATCH"], set())
    assert await harness.links() == ()


@pytest.mark.parametrize("leaves_inactive", [True, False])
async def test_protected_member_that_was_met_gets_no_change(harness: Harness, leaves_inactive: bool) -> None:
    harness.company.protect = ("ann@*",)
    harness.world.leaves_inactive = leaves_inactive
    made = await harness.hire()

    assert [record.detail for record in made.records] == [
        "ann@acme.com belongs to a protected member; see the next plan."
    ]
    assert (harness.company.active(), await harness.links()) == (set() if leaves_inactive else {"ann"}, ())


async def test_created_member_is_deactivated_as_before(harness: Harness) -> None:
    harness.world.is_raced = False
    made = await harness.hire()

    await harness.company.undo(made.run_id)

    assert (harness.world.writes, harness.company.active()) == (["PATCH"], set())
