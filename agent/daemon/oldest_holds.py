"""Since when the oldest hold of each workspace waits for a person, from the plan of its newest complete read."""

from __future__ import annotations

from datetime import datetime

from agent.model.run import Outcome, Run
from agent.ports.state import State
from agent.report.hold_age import has_plan, oldest_waiting

__all__ = ["OldestHolds"]


class OldestHolds:
    """Finds the oldest hold, and keeps it by run: a plan may be large, and `/metrics` asks several times a minute."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, datetime | None]] = {}

    async def find(self, state: State, run: Run | None) -> datetime | None:
        """Return since when the oldest hold that *run* left waits; None without one. Raises `StateError`."""
        if run is None or (run.tally is not None and not run.tally.held):
            return None
        run_id, oldest = self._found.get(run.workspace, ("", None))
        if run_id != run.id:
            oldest = await _load_oldest(state, run)
            self._found[run.workspace] = run.id, oldest
        return oldest


async def _load_oldest(state: State, run: Run) -> datetime | None:
    loaded = await state.load_run(run.id)
    if loaded is None or loaded.document is None or not has_plan(loaded.document):
        return None
    # The plan as it was approved lists what its approval released as holds.
    records = await state.load_changes(run.id) if run.approved_digest else []
    released = [record.change for record in records if record.outcome is not Outcome.HELD]
    return oldest_waiting(loaded.document, loaded.started_at, released)
