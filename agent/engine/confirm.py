"""Confirm the sources' lists before anyone is deactivated because of them: a list can be short without an error.

What is doubtful is read once more in the same run. What stays doubtful is held: by the planner (`source-disagrees`)
and by a guard (`group-emptied`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from agent.diff.plan import leavers_to_look_up
from agent.engine.lookup import Lookups
from agent.engine.planning import compute_plan_without_gc
from agent.guard.empty_groups import GroupSightings, newly_empty_groups
from agent.model import Inputs, Plan, Policy
from connectors.base import Connector, LookupResult, PersonKey, ReadError, Snapshot, Source

__all__ = ["Confirmation"]

PlanFilter = Callable[[Plan, Inputs], Awaitable[Plan]]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Plans one workspace after another of a command, each from reads that were confirmed as far as they can be."""

    connectors: Mapping[str, Connector]
    lookups: Lookups

    async def confirm(
        self, reads: Inputs, policy: Policy, sightings: GroupSightings, now: datetime, narrow: PlanFilter | None = None
    ) -> tuple[Inputs, Plan]:
        """Return the reads to decide from, with the plan before any guard.

        *narrow* returns of a plan what matters: only those leavers are looked up.

        A connector is read again once at most, for groups that have become empty or for leavers that it still shows.
        """
        emptied = {connector for connector, _ in newly_empty_groups(reads.snapshots, sightings, now)}
        reads = await self._reread_sources(reads, policy, emptied)
        reads, plan = await self._look_up_leavers(reads, policy, narrow, {})
        doubted = {key.connector for key, found in reads.leaver_status.items() if found.is_assigned} - emptied
        again = await self._reread_sources(reads, policy, doubted)
        if again is not reads:
            settled = {key: found for key, found in reads.leaver_status.items() if not found.is_assigned}
            reads, plan = await self._look_up_leavers(replace(again, leaver_status={}), policy, narrow, settled)
        return reads, plan

    async def _look_up_leavers(
        self, reads: Inputs, policy: Policy, narrow: PlanFilter | None, settled: Mapping[PersonKey, LookupResult]
    ) -> tuple[Inputs, Plan]:
        """Look up the leavers that no snapshot shows. Those whose answer is *settled* are not looked up again."""
        plan = await _compute_plan(reads, policy)
        leavers = leavers_to_look_up(await narrow(plan, reads) if narrow else plan)
        if not leavers:
            return reads, plan
        asked = [key for key in leavers if key not in settled]
        found = {**settled, **await self.lookups.look_up(asked, reads.snapshots, policy)}
        reads = replace(reads, leaver_status={key: found[key] for key in leavers})
        return reads, await _compute_plan(reads, policy)

    async def _reread_sources(self, reads: Inputs, policy: Policy, connectors: Set[str]) -> Inputs:
        """Return *reads* with fresh snapshots of the sources on *connectors*.

        One that can't be read again stays as it was: what is doubtful of it is held, and the rest of the run goes on.
        """
        sources = [source for source in policy.sources if source.connector in connectors]
        for source in sources:
            log.warning("source.doubted", workspace=policy.workspace, connector=source.connector, app=source.app)
        found = await asyncio.gather(*(self._reread_source(policy, source) for source in sources))
        fresh = {snapshot.source: snapshot for snapshot in found if snapshot is not None}
        if not fresh:
            return reads
        return replace(reads, snapshots=tuple(fresh.get(each.source, each) for each in reads.snapshots))

    async def _reread_source(self, policy: Policy, source: Source) -> Snapshot | None:
        try:
            return await self.connectors[source.connector].read(source, fresh=True)
        except ReadError as error:
            log.warning("source.not_reread", workspace=policy.workspace, app=source.app, error=error.message)
            return None


async def _compute_plan(reads: Inputs, policy: Policy) -> Plan:
    return await asyncio.to_thread(compute_plan_without_gc, reads, policy)
