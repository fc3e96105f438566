"""A change that the workspace makes and answers with an error counts as one that may have been made."""

from __future__ import annotations

import httpx

from agent.model import Plan
from agent.model.run import Outcome
from tests.integration.test_guard_history import Company
from tests.memory_state import MemoryState
from tests.stepped_world import SteppedWorld


class Erring(httpx.AsyncBaseTransport):
    """Makes each change, and answers 500 to it."""

    def __init__(self, world: SteppedWorld) -> None:
        self._pigment = SteppedWorld.transport(world)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._pigment.handle_async_request(request)
        return httpx.Response(500, request=request) if request.method == "PATCH" else response


class ErringWorld(SteppedWorld):
    is_erring = False

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=Erring(self)) if self.is_erring else super().client()


async def company_with_a_leaver() -> tuple[Company, ErringWorld, str]:
    """Return a company after a run, and that run's id: its one deactivation was made but answered with 500."""
    world = ErringWorld()
    company = Company(MemoryState(world.now), {"latam": world})
    company.hire("ann", "bea")
    await company.sync()
    company.change("ann", groups=())
    world.is_erring = True
    result = await company.sync()
    world.is_erring = False
    assert [record.outcome for record in result.records] == [Outcome.UNKNOWN]
    assert company.active() == {"bea"}
    return company, world, result.run_id


async def test_it_is_not_taken_for_another_tools_by_the_next_run() -> None:
    company, _, _ = await company_with_a_leaver()

    result = await company.sync()

    assert isinstance(result.planned, Plan)
    assert [note for note in result.planned.notes if note.code in {"another-writer", "drift"}] == []
    assert result.records == ()


async def test_it_is_put_back_by_an_undo() -> None:
    company, _, run_id = await company_with_a_leaver()

    await company.undo(run_id)

    assert company.active() == {"ann", "bea"}
