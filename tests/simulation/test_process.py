"""The pretend database is away as the real one is: what a run reads is read again, the rest is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest

from agent.errors import StateError
from agent.model import Memory
from agent.ports.state import State
from tests.memory_state import MemoryState
from tests.simulation.loop import run_virtually
from tests.simulation.process import (
    DATABASE,
    FEED_POINTS,
    POINTS,
    RARE_POINTS,
    REPEATED,
    Fate,
    Happening,
    Process,
    watched,
)


async def _read_while_away(happening: Happening, seconds: float) -> tuple[Memory, float]:
    """Return what a run reads of the state, and after how many seconds. Another call is refused meanwhile."""
    process = Process(Counter(), (Fate("state load_runs", 1, happening, seconds),))
    state = watched(MemoryState(lambda: datetime(2026, 3, 1, tzinfo=UTC)), process)
    with pytest.raises(StateError):
        await state.load_runs()
    return await state.load_memory("latam"), asyncio.get_running_loop().time()


def test_read_of_a_run_outlasts_a_database_that_is_away_shortly() -> None:
    memory, seconds = run_virtually(_read_while_away(Happening.CUT, 3), ())

    assert (memory, seconds) == (Memory(), 3)


@pytest.mark.parametrize("happening", [Happening.CUT, Happening.SILENCE])
def test_read_of_a_run_ends_by_a_database_that_stays_away(happening: Happening) -> None:
    with pytest.raises(StateError):
        run_virtually(_read_while_away(happening, 60), ())


def test_points_and_repeated_reads_are_methods_of_the_state() -> None:
    at_points = {point.split()[1] for point in (*POINTS, *RARE_POINTS, *FEED_POINTS) if point.startswith(DATABASE)}

    assert [name for name in sorted(at_points | REPEATED) if not hasattr(State, name)] == []
