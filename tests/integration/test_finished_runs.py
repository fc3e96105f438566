"""What the journal has of a finished plan, for the fleet guard of the rest of its tick."""

from __future__ import annotations

from dataclasses import replace

from agent.engine.finished_runs import load_planned_deactivations
from agent.guard.hold import FleetContext, apply_fleet_guard
from agent.report.document import encode_plan
from tests.memory_state import MemoryState
from tests.state_samples import Clock, a_run
from tests.unit.test_guard_details import leavers


async def test_deactivations_of_a_finished_plan_count_whether_made_or_held() -> None:
    state = MemoryState(Clock().now)
    free = leavers(2, 10, "latam")
    (held,) = apply_fleet_guard([leavers(3, 3, "emea")], FleetContext(workspaces=2, percent=1))
    assert held.holds
    assert not held.changes
    for run_id, plan in (("r1", free), ("r2", held)):
        await state.record_run(replace(a_run(run_id, plan.workspace), document=encode_plan(plan)))
    await state.record_run(a_run("r3", "apac"))

    found = await load_planned_deactivations(state, ["r1", "r2", "r3", "unknown"])
    assert {name: len(ids) for name, ids in found.items()} == {"latam": 2, "emea": 3}
    assert found["latam"] == {change.scim_id for change in free.changes}
