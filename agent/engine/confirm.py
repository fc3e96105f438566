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

from agent.diff.plan import vanished
from agent.engine.lookup import Lookups
from agent.engine.planning import planned
from agent.guard.emptied import Sightings, emptied_groups
from agent.model import Plan, Policy, Reads
from connectors.base import Connector, PersonKey, ReadError, Snapshot, Source, Whereabouts

__all__ = ["Confirmation"]

Narrow = Callable[[Plan, Reads], Awaitable[Plan]]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Plans one workspace after another of a command, each from reads that were confirmed as far as they can be."""

    connectors: Mapping[str, Connector]
    lookups: Lookups

    async def confirm(
        self, reads: Reads, policy: Policy, sightings: Sightings, now: datetime, narrow: Narrow | None = None
    ) -> tuple[Reads, Plan]:
        """Return the reads to decide from, with the plan before any guard.

        *narrow* returns of a plan what matters: only those leavers are looked up.

        A connector is read again once at most, for groups that have become empty or for leavers that it still shows.
        """
        emptied = {connector for connector, _ in emptied_groups(reads.snapshots, sightings, now)}
        reads = await self._read_again(reads, policy, emptied)
        reads, plan = await self._look_up(reads, policy, narrow, {})
        doubted = {key.connector for key, found in reads.whereabouts.items() if found.is_assigned} - emptied
        again = await self._read_again(reads, policy, doubted)
        if again is not reads:
            settled = {key: found for key, found in reads.whereabouts.items() if not found.is_assigned}
            reads, plan = await self._look_up(replace(again, whereabouts={}), policy, narrow, settled)
        return reads, plan

    async def _look_up(
        self, reads: Reads, policy: Policy, narrow: Narrow | None, settled: Mapping[PersonKey, Whereabouts]
    ) -> tuple[Reads, Plan]:
        """Look up the leavers that no snapshot shows. Those whose answer is *settled* are not looked up again."""
        plan = await _plan(reads, policy)
        leavers = vanished(await narrow(plan, reads) if narrow else plan)
        if not leavers:
            return reads, plan
        asked = [key for key in leavers if key not in settled]
        found = {**settled, **await self.lookups.ask(asked, reads.snapshots, policy)}
        reads = replace(reads, whereabouts={key: found[key] for key in leavers})
        return reads, await _plan(reads, policy)

    async def _read_again(self, reads: Reads, policy: Policy, connectors: Set[str]) -> Reads:
        """Return *reads* with fresh snapshots of the sources on *connectors*.

        One that can't be read again stays as it was: what is doubtful of it is held, and the rest of the run goes on.
        """
        sources = [source for source in policy.sources if source.connector in connectors]
        for source in sources:
            log.warning("source.doubted", workspace=policy.workspace, connector=source.connector, app=source.app)
        found = await asyncio.gather(*(self._fresh(policy, source) for source in sources))
        fresh = {snapshot.source: snapshot for snapshot in found if snapshot is not None}
        if not fresh:
            return reads
        return replace(reads, snapshots=tuple(fresh.get(each.source, each) for each in reads.snapshots))

    async def _fresh(self, policy: Policy, source: Source) -> Snapshot | None:
        try:
            return await self.connectors[source.connector].read(source, fresh=True)
        except ReadError as error:
            log.warning("source.not_reread", workspace=policy.workspace, app=source.app, error=error.message)
            return None


async def _plan(reads: Reads, policy: Policy) -> Plan:
    return await asyncio.to_thread(planned, reads, policy)
