"""What the fleet guard reads: each tick of one workspace needs figures of all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from agent.engine.planner import apply_fleet_limit
from agent.engine.request import Decision, FleetLimit
from agent.ports.state import State
from tests.factories import a_policy
from tests.golden.samples import a_plan
from tests.memory_state import MemoryState
from tests.state_samples import Clock


class StillClock(Clock):
    def elapsed(self) -> float:
        return 0.0


@dataclass
class CountedState:
    """A state that counts the calls to it."""

    state: MemoryState
    calls: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self.state, name)


async def count_calls(workspaces: int) -> Counter[str]:
    clock = StillClock()
    counted = CountedState(MemoryState(clock.now))
    names = tuple(f"w{number}" for number in range(workspaces))
    plan = a_plan("w0")
    decisions = [Decision(a_policy(), plan, "sha256:0", unguarded=plan)]
    limited = await apply_fleet_limit(cast("State", counted), clock, FleetLimit(names, 10), decisions)
    assert [each.planned for each in limited] == [plan]
    return counted.calls


async def test_reads_of_the_fleet_guard_do_not_grow_with_the_workspaces() -> None:
    few = await count_calls(2)

    assert few
    assert await count_calls(200) == few
