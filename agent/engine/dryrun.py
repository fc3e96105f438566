"""A dry run: read, decide, record. It gets readers only, and imports nothing that writes to a workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from structlog.contextvars import bound_contextvars

from agent.engine.planner import PlannerProtocol, ReadOnlyWorkspace, select_workspaces
from agent.engine.records import finished_dry_run, new_run_id
from agent.engine.request import Decision, RunRequest, RunResult, has_pending_changes, is_awaiting_approval
from agent.errors import ExitCode, exit_code_for_read_error
from agent.ports.tracer import NO_TRACER, Tracer
from agent.report.document import plan_parts

__all__ = ["dry_run", "exit_code_of_plan"]


async def dry_run(
    planner: PlannerProtocol,
    workspaces: Mapping[str, ReadOnlyWorkspace],
    names: Sequence[str],
    request: RunRequest,
    *,
    exit_code: bool = False,
    tracer: Tracer = NO_TRACER,
) -> list[RunResult]:
    """Plan the named workspaces (all if *names* is empty) and record each as a run. No lease is taken.

    With *exit_code* the results report whether a sync would change something or a guard holds something.
    """
    selected, now = select_workspaces(workspaces, names), planner.clock.now()
    run_ids = {name: request.run_ids.get(name) or new_run_id(now) for name in selected}
    request = replace(request, run_ids=run_ids)
    shown_ids = " ".join(run_ids.values())
    attributes = {"pigment_sync.trigger": request.trigger.value, "pigment_sync.run_id": shown_ids}
    with bound_contextvars(run_id=shown_ids), tracer.span("plan", attributes):
        decisions = await planner.plan(list(selected.values()), request.user)
    results = []
    for decision in decisions:
        run = finished_dry_run(decision, request, now, planner.clock.now())
        await planner.state.record_run(run, plan_parts(decision.planned, decision.digest))
        paused = await planner.state.load_pause(decision.policy.workspace)
        code = exit_code_of_plan(decision, exit_code=exit_code)
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
                run=run,
            )
        )
    return results


def exit_code_of_plan(decision: Decision, *, exit_code: bool) -> ExitCode:
    """Return the exit code of a dry run that ended with *decision*; 3 and 4 only if *exit_code* asks for them."""
    if decision.plan is None:
        return exit_code_for_read_error(decision.unplanned.code if decision.unplanned else "")
    if exit_code and is_awaiting_approval(decision.plan):
        return ExitCode.HELD
    if exit_code and has_pending_changes(decision.plan):
        return ExitCode.WOULD_CHANGE
    return ExitCode.DONE
