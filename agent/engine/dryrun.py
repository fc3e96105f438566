"""A dry run: read, decide, record. It is handed readers only, and imports nothing that writes to a workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from structlog.contextvars import bound_contextvars

from agent.engine.order import Decision, Order, Result, is_waiting, would_change
from agent.engine.run import finished, new_run_id
from agent.engine.survey import Deciding, ReadSite, chosen
from agent.errors import Exit, unread

__all__ = ["dry_run"]


async def dry_run(
    survey: Deciding, sites: Mapping[str, ReadSite], names: Sequence[str], order: Order, *, exit_code: bool = False
) -> list[Result]:
    """Plan the named workspaces, all when none is named, and record each as a run. No lease is taken.

    With *exit_code* the results say whether a sync would change something, or a guard would hold something.
    """
    wanted, now = chosen(sites, names), survey.clock.now()
    run_ids = {name: order.run_ids.get(name) or new_run_id(now) for name in wanted}
    order = replace(order, run_ids=run_ids)
    with bound_contextvars(run_id=" ".join(run_ids.values())):
        decisions = await survey.decide(list(wanted.values()), order.user)
    results = []
    for decision in decisions:
        run = finished(decision, order, survey.clock.now())
        await survey.state.record_run(run)
        paused = await survey.state.paused(decision.policy.workspace)
        code = _exit(decision, exit_code=exit_code)
        results.append(
            Result(run.workspace, run.id, run.status, code, decision.object, pause=paused, requests=run.requests)
        )
    return results


def _exit(decision: Decision, *, exit_code: bool) -> Exit:
    if decision.plan is None:
        return unread(decision.unplanned.code if decision.unplanned else "")
    if exit_code and is_waiting(decision.plan):
        return Exit.HELD
    if exit_code and would_change(decision.plan):
        return Exit.WOULD_CHANGE
    return Exit.DONE
