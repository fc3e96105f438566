"""Put back what one run did: the same steps as any run, with the journal in the place of the sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.diff.undo import compute_undo
from agent.engine.order import Decision
from agent.engine.survey import WINDOW, ReadSite, failed_read
from agent.guard.hold import guarded
from agent.guard.limit import History
from agent.ports import Clock, State
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
        plan = guarded(unguarded, policy, History(recent))
        return Decision(
            policy,
            workspace_object(plan),
            plan,
            unguarded,
            members={member.scim_id: member for member in listing.members},
            taken=frozenset(link.scim_id for link in memory.links),
            requests=site.workspace.requests,
        )
