"""Load what the state knows of a workspace's ladder to enforce."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from agent.errors import UsageError
from agent.model.codes import GuardCode
from agent.model.ladder import CLEAN_DRY_RUNS, LadderStep, build_ladder
from agent.model.run import Run, RunFilter, RunStatus
from agent.plan_parser import parse_workspace
from agent.ports.journal import Journal
from agent.ports.verifications import Verifications

__all__ = ["EvidenceState", "load_ladder"]

ENDED_DRY_RUN = RunFilter(is_dry=True, is_whole=True, statuses=frozenset(set(RunStatus) - {RunStatus.RUNNING}))
APPROVED_RUN = RunFilter(
    is_approved=True, is_dry=False, statuses=frozenset({RunStatus.DONE, RunStatus.HELD, RunStatus.FAILED})
)
SETTINGS = frozenset({GuardCode.APPROVAL_REQUIRED, GuardCode.TOGGLE_OFF})
"""Guards that hold by configuration alone, whatever the plan is."""


class EvidenceState(Journal, Verifications, Protocol):
    """What the ladder is built from."""


async def load_ladder(state: EvidenceState, workspace: str, now: datetime, other_reader: str) -> tuple[LadderStep, ...]:
    """Return the ladder of *workspace*. *other_reader* is the value of `compare --with` that fits it.

    Raises `StateError`.
    """
    newest = await state.load_runs([workspace], limit=CLEAN_DRY_RUNS, where=ENDED_DRY_RUN)
    dry_runs = [(run, await _why_not_clean(state, run)) for run in newest]
    approved = next(iter(await state.load_runs([workspace], limit=1, where=APPROVED_RUN)), None)
    return build_ladder(workspace, now, await state.load_verifications(workspace), dry_runs, approved, other_reader)


async def _why_not_clean(state: EvidenceState, run: Run) -> str:
    """Return why *run* is not clean, empty if it is complete and no guard holds anything in it."""
    if run.status is not RunStatus.PLANNED:
        return f"was not complete ({run.status})"
    if run.tally is not None and not run.tally.held:
        return ""
    whole = await state.load_run(run.id)
    if whole is None or whole.document is None:
        return "has no plan any more"
    try:
        planned = parse_workspace(whole.document)
    except UsageError:
        return "has a plan that this release can't read"
    if planned["status"] != "planned":
        return f"was not complete ({planned['status']})"
    # A hold shows the first of its guards alone, and another may hold it too.
    codes = {each["code"] for each in (*planned["holds"], *planned["guards"])}
    guards = sorted(codes & (set(GuardCode) - SETTINGS))
    return f"was held by {', '.join(guards)}" if guards else ""
