"""A dry run: read, decide, record. It is handed readers only, and imports nothing that writes to a workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from structlog.contextvars import bound_contextvars

from agent.engine.planner import PlannerProtocol, ReadOnlyWorkspace, select_workspaces
from agent.engine.records import finished_dry_run, new_run_id
from agent.engine.request import Decision, RunRequest, RunResult, has_pending_changes, is_awaiting_approval
from agent.errors import ExitCode, exit_code_for_read_error

__all__ = ["dry_run"]


async def dry_run(
    survey: PlannerProtocol,
    sites: Mapping[str, ReadOnlyWorkspace],
    names: Sequence[str],
    order: RunRequest,
    *,
    exit_code: bool = False,
) -> list[RunResult]:
    """Plan the named workspaces, all when none is named, and record each as a run. No lease is taken.

    With *exit_code* the results say whether a sync would change something, or a guard would hold something.
    """
    wanted, now = select_workspaces(sites, names), survey.clock.now()
    run_ids = {name: order.run_ids.get(name) or new_run_id(now) for name in wanted}
    order = replace(order, run_ids=run_ids)
    with bound_contextvars(run_id=" ".join(run_ids.values())):
        decisions = await survey.plan(list(wanted.values()), order.user)
    results = []
    for decision in decisions:
        run = finished_dry_run(decision, order, survey.clock.now())
        await survey.state.record_run(run)
        paused = await survey.state.load_pause(decision.policy.workspace)
        code = _exit_code(decision, exit_code=exit_code)
        results.append(
            RunResult(
                run.workspace,
                run.id,
                run.status,
                code,
                decision.planned,
                decision.digest,
                pause=paused,
                requests=run.requests,
            )
        )
    return results


def _exit_code(decision: Decision, *, exit_code: bool) -> ExitCode:
    if decision.plan is None:
        return exit_code_for_read_error(decision.unplanned.code if decision.unplanned else "")
    if exit_code and is_awaiting_approval(decision.plan):
        return ExitCode.HELD
    if exit_code and has_pending_changes(decision.plan):
        return ExitCode.WOULD_CHANGE
    return ExitCode.DONE
