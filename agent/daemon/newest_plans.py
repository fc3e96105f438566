"""The figures of each workspace's newest plan, and since when its oldest hold waits for a person."""

from __future__ import annotations

from agent.model.run import Outcome, Run
from agent.ports.state import State
from agent.report.hold_age import has_plan
from agent.report.plan_figures import PlanFigures, plan_figures

__all__ = ["NewestPlans"]


class NewestPlans:
    """Finds the figures, and keeps them by run: a plan may be large, and `/metrics` asks several times a minute."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, PlanFigures | None]] = {}

    async def find(self, state: State, run: Run | None) -> PlanFigures | None:
        """Return the figures of the plan that *run* made; None without one. Raises `StateError`."""
        if run is None:
            return None
        run_id, figures = self._found.get(run.workspace, ("", None))
        if run_id != run.id:
            figures = await _load_figures(state, run)
            self._found[run.workspace] = run.id, figures
        return figures


async def _load_figures(state: State, run: Run) -> PlanFigures | None:
    loaded = await state.load_run(run.id)
    if loaded is None or loaded.document is None or not has_plan(loaded.document):
        return None
    # The plan as it was approved lists what its approval released as holds.
    records = await state.load_changes(run.id) if run.approved_digest else []
    released = [record.change for record in records if record.outcome is not Outcome.HELD]
    return plan_figures(loaded.document, loaded.started_at, released)
