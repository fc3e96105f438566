"""Read every source and the workspace side by side, decide, and guard. Nothing here can write to a workspace."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from agent.diff.explain import Subject, resembling, subject
from agent.diff.only import only
from agent.engine.confirm import Confirmation
from agent.engine.lookup import Lookups
from agent.engine.memory import with_state_note
from agent.engine.order import Decision, FleetLimit
from agent.errors import PigmentSyncError, UsageError
from agent.guard.emptied import emptied_groups, keep_groups, next_sightings
from agent.guard.hold import Fleet, guarded, guarded_fleet
from agent.guard.limit import History
from agent.guard.target import compare_targets
from agent.model import Plan, Policy, Reads, Unplanned
from agent.ports import Clock, State, WorkspaceReader
from agent.report.document import workspace_object
from connectors.base import Connector, CredentialsRefused, IncompleteRead, Progress, ReadError

__all__ = ["DAY", "WINDOW", "Deciding", "ReadSite", "Survey", "chosen", "failed_read"]

WINDOW = timedelta(minutes=60)
DAY = timedelta(hours=24)
"""How far back groups' sizes are compared with, and another tool's reactivations looked for."""
log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReadSite:
    """One workspace as a dry run knows it: what is wanted of it, and a way to read it."""

    policy: Policy
    workspace: WorkspaceReader


class Deciding(Protocol):
    """What reads and decides for the workspaces of one command, and can't write to them."""

    @property
    def state(self) -> State: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def progress(self) -> Progress: ...

    async def decide(self, sites: Sequence[ReadSite], user: str = "", /) -> list[Decision]:
        """Return one decision for each of *sites*, in their order. A failed read ends its own workspace only."""
        ...


@dataclass(frozen=True, slots=True)
class Survey:
    """Reads and decides for all workspaces of a command before the first is written to."""

    connectors: Mapping[str, Connector]
    state: State
    clock: Clock
    fleet: FleetLimit
    progress: Progress

    async def decide(self, sites: Sequence[ReadSite], user: str = "", /) -> list[Decision]:
        """Return one decision for each of *sites*, in their order. A failed read ends its own workspace only."""
        # A command that plans again, because its plan grew old, must not plan from the lists of the first time.
        for connector in self.connectors.values():
            connector.forget()
        read = await asyncio.gather(*(self._read(site) for site in sites))
        sure = Confirmation(self.connectors, Lookups(self.connectors))
        decisions = [await self._planned(site, outcome, sure, user) for site, outcome in zip(sites, read, strict=True)]
        if user:
            await self._refuse_unknown(user, decisions)
        return await self._guarded_fleet(decisions)

    async def _read(self, site: ReadSite) -> Reads | Unplanned:
        policy = site.policy
        name = policy.workspace
        listing = asyncio.ensure_future(site.workspace.listing(self.progress))
        sources = [asyncio.ensure_future(self._connector(each.connector).read(each)) for each in policy.sources]
        await asyncio.gather(listing, *sources, return_exceptions=True)
        try:
            snapshots = tuple(source.result() for source in sources)
            members = listing.result()
        except ReadError as error:
            log.warning("read.failed", workspace=name, code=error.code)
            return _unplanned(policy, error)
        except PigmentSyncError:
            raise
        except Exception as error:  # noqa: BLE001  (a bug that one system's answer met ends what was read of it)
            return _unplanned(policy, _unexpected(name, error))
        log.info("workspace.listed", workspace=name, members=len(members.members), pages=members.pages)
        for snapshot in snapshots:
            log.info("source.read", workspace=name, connector=snapshot.source.connector, people=len(snapshot.people))
        return Reads(snapshots, members, await self.state.memory(name))

    def _connector(self, name: str) -> Connector:
        return self.connectors[name]

    async def _planned(self, site: ReadSite, outcome: Reads | Unplanned, sure: Confirmation, user: str) -> Decision:
        policy = site.policy
        if isinstance(outcome, Unplanned):
            return _failed(policy, outcome, site.workspace.requests)

        async def narrow(plan: Plan, shown: Reads) -> Plan:
            return await self._only(plan, shown, policy, user)

        try:
            sightings = await self.state.sightings(policy.workspace)
            reads, unguarded = await sure.confirm(outcome, policy, sightings, self.clock.now(), narrow)
        except ReadError as error:
            return failed_read(policy, error, site.workspace.requests)
        except Exception as error:  # noqa: BLE001  (a bug that one workspace's people met ends its plan)
            return failed_read(policy, _unexpected(policy.workspace, error), site.workspace.requests)
        target = compare_targets(policy, await self.state.targets(), reads, unguarded)
        unguarded = await self._only(unguarded, reads, policy, user)
        pause = await self.state.paused(policy.workspace)
        now = self.clock.now()
        emptied = emptied_groups(reads.snapshots, sightings, now)
        unguarded = replace(unguarded, seen=keep_groups(unguarded.seen, reads.memory.links, emptied))
        history = replace(await self._history(policy.workspace), target=target, emptied=emptied)
        plan = with_state_note(guarded(unguarded, policy, history), reads)
        return Decision(
            policy,
            workspace_object(plan, pause),
            plan,
            unguarded,
            members={member.scim_id: member for member in reads.listing.members},
            taken=frozenset(link.scim_id for link in reads.memory.links),
            requests=site.workspace.requests,
            reads=reads,
            target=target,
            sightings=next_sightings(reads.snapshots, sightings, now),
            pause=pause,
        )

    async def _only(self, plan: Plan, reads: Reads, policy: Policy, user: str) -> Plan:
        """Return what *plan* holds for *user*; all of it where no one is named."""
        if not user:
            return plan
        meant = await self._meant(user, reads, policy)
        ids = {member.scim_id for member in meant.members}
        return only(plan, user, {each.key for each in meant.found}, ids)

    async def _meant(self, email: str, reads: Reads, policy: Policy) -> Subject:
        """Return the person that *email* means now, else the one it meant in an earlier action."""
        meant = subject(email, reads, policy)
        if meant.found or meant.members:
            return meant
        return subject(email, reads, policy, await self.state.actions(policy.workspace, email=email))

    async def _refuse_unknown(self, email: str, decisions: Sequence[Decision]) -> None:
        """Raise `UsageError` when all was read and no one has, wants or had *email*: it is misspelt, or all is done."""
        near: list[str] = []
        for decision in decisions:
            reads, plan = decision.reads, decision.plan
            if reads is None or plan is None or plan.changes or plan.holds:
                return
            meant = await self._meant(email, reads, decision.policy)
            if meant.found or meant.members:
                return
            near += await asyncio.to_thread(resembling, email, reads)
        names = ", ".join(decision.policy.workspace for decision in decisions)
        hint = "\n".join(["Did you mean:", *(f"  {each}" for each in dict.fromkeys(near))])
        raise UsageError(
            f"No person or member has {email} in {names}; nothing was written.",
            hint if near else "Check the spelling. A person is found by their current, wanted or previous address.",
        )

    async def _history(self, workspace: str) -> History:
        now = self.clock.now()
        recent = await self.state.recent(workspace, now - WINDOW)
        baselines = await self.state.baselines(workspace, now - DAY)
        return History(recent, baselines, await self.state.contested(workspace, now - DAY))

    async def _guarded_fleet(self, decisions: list[Decision]) -> list[Decision]:
        plans = [decision.plan for decision in decisions if decision.plan is not None]
        if len(self.fleet.workspaces) < 2 or not plans:
            return decisions
        here = {plan.workspace for plan in plans}
        since = self.clock.now() - WINDOW
        recent = {name: (await self.state.recent(name, since)).deactivated for name in self.fleet.workspaces}
        others = [await self.state.guarded(name) for name in self.fleet.workspaces if name not in here]
        fleet = Fleet(len(self.fleet.workspaces), sum(others), recent, self.fleet.percent)
        held = {plan.workspace: plan for plan in guarded_fleet(plans, fleet)}
        return [_with_plan(decision, held.get(decision.policy.workspace)) for decision in decisions]


class UnexpectedRead(IncompleteRead):
    """A bug of ours, met by what one system answered."""

    code = "unexpected"


def _unexpected(workspace: str, error: Exception) -> UnexpectedRead:
    """Return the error of a workspace whose data met a bug: nothing is concluded of it, and the others go on.

    Else whoever runs one server, or names one person, could keep the leavers of all workspaces in.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}"
    log.error("read.crashed", workspace=workspace, error=f"{type(error).__name__}: {error}", where=where)
    return UnexpectedRead(
        f"unexpected error: {type(error).__name__} at {where}.",
        "This is a bug: report it with the line read.crashed of the log. Nothing is written to this workspace.",
    )


def _with_plan(decision: Decision, plan: Plan | None) -> Decision:
    if plan is None or plan is decision.plan:
        return decision
    return replace(decision, plan=plan, object=workspace_object(plan, decision.pause))


def _unplanned(policy: Policy, error: ReadError) -> Unplanned:
    status = "credentials" if isinstance(error, CredentialsRefused) or error.code == "credentials" else "incomplete"
    return Unplanned(policy.workspace, policy.mode, status, error.code, error.message, error.hint)


def _failed(policy: Policy, unplanned: Unplanned, requests: int) -> Decision:
    return Decision(policy, workspace_object(unplanned), unplanned=unplanned, requests=requests)


def failed_read(policy: Policy, error: ReadError, requests: int) -> Decision:
    """Return the decision of a workspace whose read was not complete: nothing."""
    return _failed(policy, _unplanned(policy, error), requests)


def chosen(sites: Mapping[str, T], names: Sequence[str]) -> dict[str, T]:
    """Return the named workspaces in the order of the file, all when none is named."""
    unknown = sorted(set(names) - set(sites))
    if unknown:
        raise UsageError(
            f"There is no workspace {', '.join(unknown)}.", f"The config has: {', '.join(sites) or 'none at all'}."
        )
    return {name: site for name, site in sites.items() if not names or name in names}
