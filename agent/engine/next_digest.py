"""Find the digest that approves what a run left on hold. Reads only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agent.engine.planner import PlannerProtocol, ReadOnlyWorkspace
from agent.engine.request import RunResult

__all__ = ["FindDigest", "find_next_digest", "unchanged_digest"]

FindDigest = Callable[[RunResult], Awaitable[str]]
"""Returns the digest that approves what a run left on hold; empty: not known."""


async def unchanged_digest(result: RunResult) -> str:
    """Return the digest of the run's own plan, if the run made none of its changes."""
    return "" if result.records else result.digest


async def find_next_digest(planner: PlannerProtocol, workspace: ReadOnlyWorkspace, result: RunResult) -> str:
    """Return the digest of the plan that follows *result*; empty if that plan holds anything else.

    What a run made is no part of the next plan, so the digest of its own plan is stale. The workspace is read again
    only then. A reader has seen the holds of *result*: a plan with others must be reviewed first.
    """
    if not result.records:
        return result.digest
    if result.holds is None or not result.is_for_everyone:
        return ""
    (decision,) = await planner.plan([workspace])
    plan = decision.plan
    return decision.digest if plan is not None and frozenset(plan.holds) == frozenset(result.holds) else ""
