"""Plan the undo of one run: the same steps as any run, with the journal instead of the sources."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.diff.undo import compute_undo
from agent.engine.planner import RECENT_WINDOW, ReadOnlyWorkspace, failed_read_decision
from agent.engine.request import Decision
from agent.guard.hold import apply_guards
from agent.guard.results import GuardHistory
from agent.guard.target import compare_targets
from agent.model import Inputs, Policy, TargetCheck
from agent.model.run import Run
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.report.document import plan_digest
from connectors.base import Progress, ReadError

__all__ = ["UndoPlanner"]


@dataclass(frozen=True, slots=True)
class UndoPlanner:
    """Plans from a run's journal and a fresh listing. Implements `PlannerProtocol`, and can't write either."""

    run_id: str
    state: State
    clock: Clock
    progress: Progress

    async def plan(self, workspaces: Sequence[ReadOnlyWorkspace], _user: str = "", /) -> list[Decision]:
        """Return the reversal for the one workspace of the run."""
        return [await self._plan_undo(workspace) for workspace in workspaces]

    async def _plan_undo(self, workspace: ReadOnlyWorkspace) -> Decision:
        policy = workspace.policy
        try:
            listing = await workspace.reader.list_members(self.progress)
        except ReadError as error:
            return failed_read_decision(policy, error, workspace.reader.requests)
        memory = await self.state.load_memory(policy.workspace)
        changes = await self.state.load_changes(self.run_id)
        unguarded = await asyncio.to_thread(compute_undo, changes, listing, memory, policy)
        recent = await self.state.load_recent_changes(policy.workspace, self.clock.now() - RECENT_WINDOW)
        target = compare_targets(policy, await self.state.load_targets(), Inputs((), listing, memory), unguarded)
        # An undo reads no source, so it can't accept the tenant of one.
        target = replace(target, moved_tenants=(), accepted_targets=(), pending_targets=())
        run = await self.state.load_run(self.run_id)
        if run is not None and run.target and policy.target not in {"", run.target}:
            target = _wrong_target_check(run, policy)
        history = GuardHistory(recent_changes=recent, target_check=target)
        plan = await asyncio.to_thread(apply_guards, unguarded, policy, history)
        return Decision(
            policy,
            plan,
            await asyncio.to_thread(plan_digest, plan),
            unguarded,
            members=listing.by_id,
            linked_ids=frozenset(link.scim_id for link in memory.links),
            requests=workspace.reader.requests,
            target_check=target,
        )


def _wrong_target_check(run: Run, policy: Policy) -> TargetCheck:
    """Return the check result: *run* was for another workspace than its key refers to now."""
    return TargetCheck(
        f"The run {run.id} wrote to {run.target}, and the scim_url of {policy.workspace} is now {policy.target}.",
        "An undo goes to the workspace of the run: undo it with a configuration that has that scim_url. "
        "An approval does not release it.",
    )
