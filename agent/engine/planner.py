"""Read all sources and the workspace concurrently, plan, and guard. Nothing here can write to a workspace.

What takes long for many people runs in a thread: a lease is lost when the event loop does not renew it for 13 s.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog
from structlog.contextvars import bound_contextvars

from agent.engine.confirm import Confirmation
from agent.engine.finished_runs import load_planned_deactivations
from agent.engine.lookup import Lookups
from agent.engine.request import Decision, FleetLimit
from agent.engine.state_checks import with_state_note
from agent.errors import PigmentSyncError, UsageError
from agent.guard.empty_groups import (
    links_with_empty_groups,
    newly_empty_groups,
    next_sightings,
    undone_with_empty_groups,
)
from agent.guard.hold import FleetContext, apply_fleet_guard, apply_guards
from agent.guard.results import GuardHistory
from agent.guard.target import compare_targets
from agent.model import Inputs, Listing, Memory, Plan, Policy, Unplanned
from agent.model.run import Pause
from agent.model.verification import VerificationKind
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.ports.tracer import NO_TRACER, Tracer
from agent.ports.workspace import WorkspaceReader
from agent.report.document import plan_digest
from agent.report.group_sizes import shrunk_groups
from agent.report.hold_age import waiting_since, with_hold_ages
from connectors.base import Connector, CredentialsRefused, IncompleteRead, Progress, ReadError, Snapshot, Source

# Here and below: most runs are over everyone.
if TYPE_CHECKING:
    from agent.diff.explain import EmailMatches

__all__ = [
    "BASELINE_WINDOW",
    "RECENT_WINDOW",
    "Planner",
    "PlannerProtocol",
    "ReadOnlyWorkspace",
    "apply_fleet_limit",
    "failed_read_decision",
    "select_workspaces",
    "unexpected_read_error",
]

RECENT_WINDOW = timedelta(minutes=60)
BASELINE_WINDOW = timedelta(hours=24)
"""How far back group sizes are compared, and reactivations by other tools are searched."""
log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReadOnlyWorkspace:
    """One workspace as a dry run gets it: its policy, and a reader."""

    policy: Policy
    reader: WorkspaceReader


class PlannerProtocol(Protocol):
    """Reads and plans the workspaces of one command, and can't write to them."""

    @property
    def state(self) -> State: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def progress(self) -> Progress: ...

    async def plan(self, workspaces: Sequence[ReadOnlyWorkspace], user: str = "", /) -> list[Decision]:
        """Return one decision for each of *workspaces*, in order. A failed read affects its own workspace only."""
        ...


@dataclass(frozen=True, slots=True)
class Planner:
    """Reads and plans all workspaces of a command before the first is written to."""

    connectors: Mapping[str, Connector]
    state: State
    clock: Clock
    fleet_limit: FleetLimit
    progress: Progress
    tracer: Tracer = NO_TRACER

    async def plan(self, workspaces: Sequence[ReadOnlyWorkspace], user: str = "", /) -> list[Decision]:
        """Return one decision for each of *workspaces*, in order. A failed read affects its own workspace only."""
        # A command that plans again because its plan became too old must not reuse the cached lists.
        for connector in self.connectors.values():
            connector.clear_cache()
        read = await asyncio.gather(*(self._read_workspace(workspace) for workspace in workspaces))
        # The snapshots hold what is needed of the lists, and the plan needs the memory.
        for connector in self.connectors.values():
            connector.clear_cache()
        confirmation = Confirmation(self.connectors, Lookups(self.connectors))
        decisions = [
            await self._plan_workspace(workspace, outcome, confirmation, user)
            for workspace, outcome in zip(workspaces, read, strict=True)
        ]
        if user:
            await self._refuse_unknown_user(user, decisions)
        guarded = await apply_fleet_limit(self.state, self.clock, self.fleet_limit, decisions)
        return [await self._with_hold_ages(decision) for decision in guarded]

    def after(self, finished_runs: tuple[str, ...]) -> Planner:
        """Return a planner that counts what *finished_runs*, which are of the same tick, would deactivate."""
        return replace(self, fleet_limit=replace(self.fleet_limit, finished_runs=finished_runs))

    async def _read_workspace(self, workspace: ReadOnlyWorkspace) -> Inputs | Unplanned:
        policy = workspace.policy
        name = policy.workspace
        with bound_contextvars(workspace=name), self.tracer.span("workspace.read", {"pigment_sync.workspace": name}):
            listing = asyncio.ensure_future(self._list_members(workspace))
            sources = [asyncio.ensure_future(self._read_source(each)) for each in policy.sources]
            await asyncio.gather(listing, *sources, return_exceptions=True)
        try:
            snapshots = tuple(source.result() for source in sources)
            members = listing.result()
        except ReadError as error:
            log.warning("read.failed", workspace=name, code=error.code)
            return _unplanned_from_error(policy, error)
        except PigmentSyncError:
            raise
        except Exception as error:  # noqa: BLE001  (a bug triggered by one system's answer fails this workspace only)
            return _unplanned_from_error(policy, unexpected_read_error(name, error))
        log.info("workspace.listed", workspace=name, members=len(members.members), pages=members.page_count)
        for snapshot in snapshots:
            log.info("source.read", workspace=name, connector=snapshot.source.connector, people=len(snapshot.people))
        return Inputs(snapshots, members, await self._load_memory(name, members))

    async def _load_memory(self, name: str, listing: Listing) -> Memory:
        memory = await self.state.load_memory(name, listing)
        probes = await self.state.load_verifications(name, VerificationKind.PROBE)
        if not probes:
            return memory
        # Few workspaces were probed, and the others are planned without what reads a probe.
        from agent.model.probe import canary_ids

        linked = (link.scim_id for link in memory.links)
        return replace(memory, canary_ids=canary_ids(probes, listing.members, linked))

    async def _list_members(self, workspace: ReadOnlyWorkspace) -> Listing:
        with self.tracer.span("members.list", {"pigment_sync.provider": "pigment"}) as span:
            listing = await workspace.reader.list_members(self.progress)
            span.set({"pigment_sync.members": len(listing.members)})
            return listing

    async def _read_source(self, source: Source) -> Snapshot:
        with self.tracer.span("source.read", {"pigment_sync.connector": source.connector}) as span:
            snapshot = await self.connectors[source.connector].read(source)
            span.set({"pigment_sync.people": len(snapshot.people)})
            return snapshot

    async def _plan_workspace(
        self, workspace: ReadOnlyWorkspace, outcome: Inputs | Unplanned, confirmation: Confirmation, user: str
    ) -> Decision:
        policy = workspace.policy
        if isinstance(outcome, Unplanned):
            return _failed_decision(policy, outcome, workspace.reader.requests)

        async def narrow(plan: Plan, used_inputs: Inputs) -> Plan:
            return await self._restrict_to_user(plan, used_inputs, policy, user)

        try:
            sightings = await self.state.load_sightings(policy.workspace)
            inputs, unguarded = await confirmation.confirm(outcome, policy, sightings, self.clock.now(), narrow)
        except ReadError as error:
            return failed_read_decision(policy, error, workspace.reader.requests)
        except PigmentSyncError:
            # The state's own failure, for example: no bug, and not this workspace's.
            raise
        except Exception as error:  # noqa: BLE001  (a bug triggered by one workspace's data fails its plan only)
            return failed_read_decision(
                policy, unexpected_read_error(policy.workspace, error), workspace.reader.requests
            )
        targets = await self.state.load_targets()
        target = await asyncio.to_thread(compare_targets, policy, targets, inputs, unguarded)
        unguarded = await self._restrict_to_user(unguarded, inputs, policy, user)
        pause = await self.state.load_pause(policy.workspace)
        now = self.clock.now()
        emptied = newly_empty_groups(inputs.snapshots, sightings, now)
        history = replace(await self._load_history(policy.workspace), target_check=target, newly_empty_groups=emptied)
        decision = await asyncio.to_thread(_decide, policy, inputs, unguarded, history, pause)
        return replace(
            decision,
            requests=workspace.reader.requests,
            sightings=next_sightings(inputs.snapshots, sightings, now),
        )

    async def _with_hold_ages(self, decision: Decision) -> Decision:
        """Return *decision* with the time since which each hold waits. Its digest does not cover them."""
        plan, policy = decision.planned, decision.policy
        if not isinstance(plan, Plan) or not plan.holds:
            return decision
        last = await self.state.load_last_plan(policy.workspace, policy.target)
        earlier = (
            await asyncio.to_thread(waiting_since, last.document, last.started_at) if last and last.document else {}
        )
        return replace(decision, planned=with_hold_ages(plan, earlier, self.clock.now()))

    async def _restrict_to_user(self, plan: Plan, inputs: Inputs, policy: Policy, user: str) -> Plan:
        """Return the part of *plan* that is about *user*; all of it if *user* is empty."""
        if not user:
            return plan
        from agent.diff.single_user import restrict_to_user

        matches = await self._find_subject(user, inputs, policy)
        ids = {member.scim_id for member in matches.members}
        return restrict_to_user(plan, user, {each.key for each in matches.people}, ids)

    async def _find_subject(self, email: str, inputs: Inputs, policy: Policy) -> EmailMatches:
        """Return who has *email* now, else who had it in an earlier change."""
        from agent.diff.explain import email_matches

        matches = email_matches(email, inputs, policy)
        if matches.people or matches.members:
            return matches
        return email_matches(email, inputs, policy, await self.state.load_member_changes(policy.workspace, email=email))

    async def _refuse_unknown_user(self, email: str, decisions: Sequence[Decision]) -> None:
        """Raise `UsageError` if everything was read and *email* matches no current, wanted or earlier address."""
        from agent.diff.explain import similar_entries

        similar: list[str] = []
        for decision in decisions:
            inputs, plan = decision.inputs, decision.plan
            if inputs is None or plan is None or plan.changes or plan.holds:
                return
            matches = await self._find_subject(email, inputs, decision.policy)
            if matches.people or matches.members:
                return
            similar += await asyncio.to_thread(similar_entries, email, inputs)
        names = ", ".join(decision.policy.workspace for decision in decisions)
        hint = "\n".join(["Did you mean:", *(f"  {each}" for each in dict.fromkeys(similar))])
        raise UsageError(
            f"No person or member has {email} in {names}; nothing was written.",
            hint if similar else "Check the spelling. A person is found by their current, wanted or previous address.",
        )

    async def _load_history(self, workspace: str) -> GuardHistory:
        now = self.clock.now()
        recent = await self.state.load_recent_changes(workspace, now - RECENT_WINDOW)
        baselines = await self.state.load_baselines(workspace, now - BASELINE_WINDOW)
        return GuardHistory(
            recent_changes=recent,
            baselines=baselines,
            contested_members=await self.state.load_contested_members(workspace, now - BASELINE_WINDOW),
        )


async def apply_fleet_limit(
    state: State,
    clock: Clock,
    fleet_limit: FleetLimit,
    decisions: Sequence[Decision],
    pending: Mapping[str, frozenset[str]] | None = None,
) -> list[Decision]:
    """Return *decisions* with the deactivations held of which all workspaces together would have too many.

    *pending* are members, by workspace, that other plans are about to deactivate.
    """
    plans = [decision.plan for decision in decisions if decision.plan is not None]
    if len(fleet_limit.workspaces) < 2 or not plans:
        return list(decisions)
    here = {plan.workspace for plan in plans}
    since = clock.now() - RECENT_WINDOW
    # All workspaces at once: one after another, each tick of many would cost as much as all of them.
    made = await state.load_recent_deactivations(fleet_limit.workspaces, since)
    recent = {name: found | (pending or {}).get(name, frozenset()) for name, found in made.items()}
    others = await state.count_all_guarded([name for name in fleet_limit.workspaces if name not in here])
    fleet = FleetContext(
        workspaces=len(fleet_limit.workspaces),
        percent=fleet_limit.percent,
        others=others,
        recent=recent,
        finished=await load_planned_deactivations(state, fleet_limit.finished_runs),
    )
    held = {plan.workspace: plan for plan in await asyncio.to_thread(apply_fleet_guard, plans, fleet)}
    return [
        await asyncio.to_thread(_decision_with_plan, decision, held.get(decision.policy.workspace))
        for decision in decisions
    ]


class UnexpectedRead(IncompleteRead):
    """A bug in the agent, triggered by one system's answer."""

    code = "unexpected"


def unexpected_read_error(workspace: str, error: Exception) -> UnexpectedRead:
    """Return the error of a workspace whose data triggered a bug. Nothing is planned for it; the others continue.

    Otherwise one bad server, or one crafted name, could keep leavers active in all workspaces.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}"
    log.error("read.crashed", workspace=workspace, error=f"{type(error).__name__}: {error}", where=where)
    return UnexpectedRead(
        f"unexpected error: {type(error).__name__} at {where}.",
        "This is a bug: report it with the line read.crashed of the log. Nothing is written to this workspace.",
    )


def _decide(policy: Policy, inputs: Inputs, unguarded: Plan, history: GuardHistory, pause: Pause | None) -> Decision:
    """Return the decision on *unguarded*, the plan of *inputs*: its guarded plan and the digest. Takes seconds."""
    emptied, memory = history.newly_empty_groups, inputs.memory
    unguarded = replace(
        unguarded,
        updated_links=links_with_empty_groups(unguarded.updated_links, memory.links, emptied),
        undone_changes=undone_with_empty_groups(unguarded.undone_changes, memory.undone_changes, emptied),
    )
    plan = replace(
        with_state_note(apply_guards(unguarded, policy, history), inputs),
        pause=pause,
        shrunk_groups=shrunk_groups(unguarded.sources, history.baselines),
    )
    return Decision(
        policy,
        plan,
        plan_digest(plan),
        unguarded,
        members=inputs.listing.by_id,
        linked_ids=frozenset(link.scim_id for link in memory.links),
        inputs=inputs,
        target_check=history.target_check,
    )


def _decision_with_plan(decision: Decision, plan: Plan | None) -> Decision:
    if plan is None or plan is decision.plan:
        return decision
    return replace(decision, planned=plan, digest=plan_digest(plan))


def _unplanned_from_error(policy: Policy, error: ReadError) -> Unplanned:
    status = "credentials" if isinstance(error, CredentialsRefused) else "incomplete"
    return Unplanned(
        workspace=policy.workspace,
        mode=policy.mode,
        status=status,
        code=error.code,
        message=error.message,
        remedy=error.hint,
    )


def _failed_decision(policy: Policy, unplanned: Unplanned, requests: int) -> Decision:
    return Decision(policy, unplanned, plan_digest(unplanned), requests=requests)


def failed_read_decision(policy: Policy, error: ReadError, requests: int) -> Decision:
    """Return the decision of a workspace whose read was incomplete: it has no plan."""
    return _failed_decision(policy, _unplanned_from_error(policy, error), requests)


def select_workspaces(workspaces: Mapping[str, T], names: Sequence[str]) -> dict[str, T]:
    """Return the named workspaces in the order of the file; all if *names* is empty."""
    unknown = sorted(set(names) - set(workspaces))
    if unknown:
        raise UsageError(
            f"There is no workspace {', '.join(unknown)}.", f"The config has: {', '.join(workspaces) or 'none'}."
        )
    return {name: workspace for name, workspace in workspaces.items() if not names or name in names}
