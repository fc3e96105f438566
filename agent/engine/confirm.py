"""Confirm the sources' lists before they cause a deactivation: a list can be incomplete without an error.

Doubtful lists are read again in the same run. What stays doubtful is held: by the planner (`source-disagrees`) and by a
guard (`group-emptied`).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from agent.diff.plan import compute_plan, leavers_to_look_up
from agent.engine.lookup import Lookups
from agent.guard.empty_groups import GroupSightings, newly_empty_groups
from agent.model import Inputs, Plan, Policy
from connectors.base import Connector, LookupResult, PersonKey, ReadError, Snapshot, Source

__all__ = ["Confirmation", "compute_plan_without_gc"]

PlanFilter = Callable[[Plan, Inputs], Awaitable[Plan]]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Plans the workspaces of one command one after another, each from confirmed inputs."""

    connectors: Mapping[str, Connector]
    lookups: Lookups

    async def confirm(
        self,
        inputs: Inputs,
        policy: Policy,
        sightings: GroupSightings,
        now: datetime,
        restrict: PlanFilter | None = None,
    ) -> tuple[Inputs, Plan]:
        """Return the inputs to plan from, with the plan before any guard.

        *restrict* keeps the relevant part of a plan: only its leavers are looked up.

        A source is read again at most once: for groups that became empty, or for leavers that it still shows.
        """
        emptied = {connector for connector, _ in newly_empty_groups(inputs.snapshots, sightings, now)}
        inputs = await self._reread_sources(inputs, policy, emptied)
        inputs, plan = await self._look_up_leavers(inputs, policy, restrict, {})
        doubted = {key.connector for key, found in inputs.leaver_status.items() if found.is_assigned} - emptied
        again = await self._reread_sources(inputs, policy, doubted)
        if again is not inputs:
            settled = {key: found for key, found in inputs.leaver_status.items() if not found.is_assigned}
            inputs, plan = await self._look_up_leavers(replace(again, leaver_status={}), policy, restrict, settled)
        return inputs, plan

    async def _look_up_leavers(
        self, inputs: Inputs, policy: Policy, restrict: PlanFilter | None, settled: Mapping[PersonKey, LookupResult]
    ) -> tuple[Inputs, Plan]:
        """Look up the leavers that no snapshot shows. Leavers in *settled* are not looked up again."""
        plan = await _compute_plan(inputs, policy)
        leavers = leavers_to_look_up(await restrict(plan, inputs) if restrict else plan)
        if not leavers:
            return inputs, plan
        missing = [key for key in leavers if key not in settled]
        found = {**settled, **await self.lookups.look_up(missing, inputs.snapshots, policy)}
        inputs = replace(inputs, leaver_status={key: found[key] for key in leavers})
        return inputs, await _compute_plan(inputs, policy)

    async def _reread_sources(self, inputs: Inputs, policy: Policy, connectors: Set[str]) -> Inputs:
        """Return *inputs* with fresh snapshots of the sources on *connectors*.

        A source that can't be read again keeps its snapshot: the doubtful part is held, and the run continues.
        """
        sources = [source for source in policy.sources if source.connector in connectors]
        for source in sources:
            log.warning("source.doubted", workspace=policy.workspace, connector=source.connector, app=source.app)
        found = await asyncio.gather(*(self._reread_source(policy, source) for source in sources))
        fresh = {snapshot.source: snapshot for snapshot in found if snapshot is not None}
        if not fresh:
            return inputs
        return replace(inputs, snapshots=tuple(fresh.get(each.source, each) for each in inputs.snapshots))

    async def _reread_source(self, policy: Policy, source: Source) -> Snapshot | None:
        try:
            return await self.connectors[source.connector].read(source, fresh=True)
        except ReadError as error:
            log.warning("source.not_reread", workspace=policy.workspace, app=source.app, error=error.message)
            return None


async def _compute_plan(inputs: Inputs, policy: Policy) -> Plan:
    return await asyncio.to_thread(compute_plan_without_gc, inputs, policy)


def compute_plan_without_gc(inputs: Inputs, policy: Policy) -> Plan:
    """Return `compute_plan(inputs, policy)`.

    A plan of a million people makes tens of millions of values and no cycles. The collector would scan them repeatedly
    and find nothing, which costs a third of the time and grows faster than the number of people.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return compute_plan(inputs, policy)
    finally:
        if was_enabled:
            gc.enable()
