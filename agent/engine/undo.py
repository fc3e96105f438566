"""Put back what one run did: the same steps as any run, with the journal in the place of the sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.diff.undo import compute_undo
from agent.engine.order import Decision
from agent.engine.survey import WINDOW, ReadSite, failed_read
from agent.guard.hold import guarded
from agent.guard.limit import History
from agent.guard.target import compare_targets
from agent.model import Policy, Reads, TargetCheck
from agent.ports import Clock, Run, State
from agent.report.document import workspace_object
from connectors.base import Progress, ReadError

__all__ = ["UndoSurvey"]


@dataclass(frozen=True, slots=True)
class UndoSurvey:
    """Decides from a run's journal and a fresh listing. Stands where `Survey` stands, and can write as little."""

    run_id: str
    state: State
    clock: Clock
    progress: Progress

    async def decide(self, sites: Sequence[ReadSite], _user: str = "", /) -> list[Decision]:
        """Return the reversal for the one workspace of the run."""
        return [await self._decided(site) for site in sites]

    async def _decided(self, site: ReadSite) -> Decision:
        policy = site.policy
        try:
            listing = await site.workspace.listing(self.progress)
        except ReadError as error:
            return failed_read(policy, error, site.workspace.requests)
        memory = await self.state.memory(policy.workspace)
        unguarded = compute_undo(await self.state.changes(self.run_id), listing, memory, policy)
        recent = await self.state.recent(policy.workspace, self.clock.now() - WINDOW)
        target = compare_targets(policy, await self.state.targets(), Reads((), listing, memory), unguarded)
        # An undo reads no source, so it can't accept the tenant of one.
        target = replace(target, tenants=(), accepted=(), pending=())
        run = await self.state.run(self.run_id)
        if run is not None and run.target and policy.target not in {"", run.target}:
            target = _elsewhere(run, policy)
        plan = guarded(unguarded, policy, History(recent, target=target))
        return Decision(
            policy,
            workspace_object(plan),
            plan,
            unguarded,
            members={member.scim_id: member for member in listing.members},
            taken=frozenset(link.scim_id for link in memory.links),
            requests=site.workspace.requests,
            target=target,
        )


def _elsewhere(run: Run, policy: Policy) -> TargetCheck:
    """Return the finding that *run* was for another workspace than its key stands for now."""
    return TargetCheck(
        f"The run {run.id} wrote to {run.target}, and the scim_url of {policy.workspace} is now {policy.target}.",
        "An undo goes to the workspace of the run: undo it with a configuration that has that scim_url. "
        "An approval does not release it.",
    )
