"""All implementations of the state, for the contract tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.store.state import SqlState
from tests.memory_state import MemoryState
from tests.migrated_state import new_sqlite_state, postgres_state
from tests.state_samples import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def state(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> AsyncIterator[MemoryState | SqlState]:
    if request.param == "memory":
        yield MemoryState(clock.now)
        return
    with ExitStack() as stack:
        if request.param == "postgresql":
            url = stack.enter_context(postgres_state(request.getfixturevalue("postgres_server")))
        else:
            url = new_sqlite_state(tmp_path)
        opened = await SqlState.open(url, clock.now)
        yield opened
        await opened.close()
