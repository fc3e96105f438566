"""The requests of commands and schedules to the engine, and the results for each workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.errors import ExitCode
from agent.guard.empty_groups import GroupSightings
from agent.model import TARGET_UNCHANGED, Hold, Inputs, Kind, Member, Plan, Policy, TargetCheck, Unplanned
from agent.model.approval import Approval
from agent.model.codes import GuardCode, waits_for_person
from agent.model.feed import FeedLag
from agent.model.run import ChangeRecord, Lease, Outcome, Pause, Run, RunStatus, Trigger
from agent.ports.workspace import WorkspaceClient

__all__ = [
    "Decision",
    "DescribeDifference",
    "FleetLimit",
    "PendingDeactivations",
    "ReviewedPlan",
    "RunRequest",
    "RunResult",
    "WorkspaceContext",
    "detailed_exit_code",
    "has_approvable_holds",
    "has_pending_changes",
    "is_awaiting_approval",
    "planned_deactivations",
    "wrong_target_message",
]

NO_RESOURCE = b""
"""Not even JSON, so that nothing is built on it."""

NON_APPROVABLE_GUARDS = frozenset({GuardCode.TOGGLE_OFF})


DescribeDifference = Callable[[bytes, Plan | Unplanned], Sequence[str]]
"""Returns in lines how a plan differs from one that was reviewed, which is given as the journal keeps it."""


@dataclass(frozen=True, slots=True)
class WorkspaceContext:
    """One workspace with everything that a run over it needs."""

    policy: Policy
    client: WorkspaceClient


@dataclass(frozen=True, slots=True)
class ReviewedPlan:
    """A plan that a human has seen. *document* is the workspace's object of the plan document (JSON)."""

    workspace: str
    digest: str
    document: bytes


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Who requested a run, how and why. *approved_digests* are digests of workspaces or of a whole document.
    *approved_guards* narrow the approval to those guards; empty: all.

    *reviewed_plans* are the plans that a file holds, to show what has changed since. *user* keeps only one person's
    changes. *wait_seconds* is how long to wait for another run's lease. *run_ids* are ids that were
    returned to a caller before the runs began, by workspace. *claim* is the lease of the job that the runs are for, if
    any: none begins without it. *finished_runs* are runs of the same tick that ended in another process.
    """

    trigger: Trigger
    by: str = ""
    reason: str = ""
    user: str = ""
    approved_digests: frozenset[str] = frozenset()
    wait_seconds: float = 0
    reviewed_plans: tuple[ReviewedPlan, ...] = ()
    run_ids: Mapping[str, str] = field(default_factory=dict)
    approved_guards: frozenset[str] = frozenset()
    claim: Lease | None = None
    finished_runs: tuple[str, ...] = ()

    @property
    def is_undo(self) -> bool:
        """Whether to write to a paused workspace too: the pause keeps the schedule from redoing the mistake."""
        return self.trigger is Trigger.UNDO

    @property
    def is_for_everyone(self) -> bool:
        """Whether the run covers everyone. Only such a run updates the group sizes to compare with next time."""
        return not self.user and self.trigger not in {Trigger.UNDO, Trigger.FEED}


@dataclass(frozen=True, slots=True)
class FleetLimit:
    """All configured workspaces, and how many percent of their members one command may deactivate.

    *finished_runs* are runs of the same tick that ended in another process: what they held counts too.
    """

    workspaces: tuple[str, ...]
    percent: float
    finished_runs: tuple[str, ...] = ()


@dataclass(slots=True)
class PendingDeactivations:
    """The members that runs of this process are about to deactivate, by workspace; the journal may lack them yet.

    Several workspaces are planned and written to at once, and the limit over all workspaces counts them together.
    *lock* is held while one plan is counted.
    """

    members: dict[str, frozenset[str]] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was read of one workspace and decided, before anything is written.

    *planned* is the guarded plan that is reported and journalled, or the reason why there is no plan. An approval names
    its *digest*. *plan_to_apply* replaces it once an approval has released holds, or only a part may continue.
    *unguarded* is the plan before any guard. *members* are the listing by SCIM id. *target_check* is whether this is
    the workspace that the state knows, and what may be recorded of it. *sightings* are what an enforcing run must
    remember of the groups it read. *is_partial*: only some members were read, so nothing is recorded of the others.
    """

    policy: Policy
    planned: Plan | Unplanned
    digest: str
    unguarded: Plan | None = None
    plan_to_apply: Plan | None = None
    members: Mapping[str, Member] = field(default_factory=dict)
    linked_ids: frozenset[str] = frozenset()
    requests: int = 0
    inputs: Inputs | None = None
    target_check: TargetCheck = TARGET_UNCHANGED
    sightings: GroupSightings = field(default_factory=dict)
    is_partial: bool = False

    @property
    def plan(self) -> Plan | None:
        """The plan to apply, if any."""
        if self.plan_to_apply is not None:
            return self.plan_to_apply
        return self.planned if isinstance(self.planned, Plan) else None

    @property
    def unplanned(self) -> Unplanned | None:
        return self.planned if isinstance(self.planned, Unplanned) else None

    def for_writing(self) -> Decision:
        """Return the decision without what no write needs, because writing may take hours.

        The inputs are dropped, and the *resource* of each member without a change. A write built on such a member
        fails before it is sent, so it can't erase anything.
        """
        plans = [plan for plan in (self.plan, self.unguarded) if plan is not None]
        changes = [change for plan in plans for change in plan.changes if change.kind is not Kind.ADOPT]
        changes += [hold.change for plan in plans for hold in plan.holds if hold.change is not None]
        if not any(plan.changes for plan in plans):
            return replace(self, inputs=None)
        about = {change.scim_id for change in changes}
        members = {
            scim_id: member if scim_id in about else replace(member, resource=NO_RESOURCE)
            for scim_id, member in self.members.items()
        }
        return replace(self, inputs=None, members=members)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How one workspace's run ended. *records* are its changes with their outcomes, empty for a dry run.

    *planned* is the plan as it was reviewed, or the reason why there is no plan, and *digest* its digest. *error* is a
    failure after planning: the state or the lease was lost. *run* is the run as it ended, None where none began, and
    *approvals* are those that the journal has for it. *waiting* is why nothing was written yet: an approval of the
    command waits for a second person. *approved* is a sentence with who approved what. *holds* are those that are left
    at its end, without what an approval released; None where the run could write nothing: a dry run, a pause, no plan.
    *is_for_everyone* is False for a run for one person, whose numbers describe only a part of the workspace. *lags*
    are how late the deactivations were of people whom a change feed had named. *is_unfinished*: the state failed for a
    moment or the lease ended, and another run may do the rest at once.
    """

    workspace: str
    run_id: str
    status: RunStatus
    exit_code: ExitCode
    planned: Plan | Unplanned
    digest: str
    records: tuple[ChangeRecord, ...] = ()
    pause: Pause | None = None
    requests: int = 0
    error: str = ""
    is_for_everyone: bool = True
    run: Run | None = None
    approvals: tuple[Approval, ...] = ()
    waiting: str = ""
    approved: str = ""
    holds: tuple[Hold, ...] | None = None
    lags: tuple[FeedLag, ...] = ()
    is_unfinished: bool = False


def planned_deactivations(decision: Decision) -> frozenset[str]:
    """Return the members (SCIM ids) that the plan to apply deactivates."""
    changes = decision.plan.changes if decision.plan is not None else ()
    return frozenset(each.scim_id for each in changes if each.kind is Kind.DEACTIVATE and each.scim_id)


def detailed_exit_code(result: RunResult) -> ExitCode:
    """Return the exit code of a run with `--exit-code`.

    In place of 0: 4 if anything on hold waits for a person, also by the planning table; else 3 if something was
    written.
    """
    if result.exit_code is not ExitCode.DONE:
        return result.exit_code
    if any(waits_for_person(hold.code) for hold in result.holds or ()) or any(
        record.outcome is Outcome.HELD for record in result.records
    ):
        return ExitCode.HELD
    is_written = any(
        record.outcome is Outcome.DONE and record.change.kind is not Kind.ADOPT for record in result.records
    )
    return ExitCode.WOULD_CHANGE if is_written else ExitCode.DONE


def is_awaiting_approval(plan: Plan) -> bool:
    """Return whether a guard holds something that an approval would release (exit code 4)."""
    guards = {guard.code for guard in plan.guards} - NON_APPROVABLE_GUARDS
    return GuardCode.WRONG_TARGET in guards or any(hold.code in guards for hold in plan.holds)


def has_approvable_holds(planned: Plan | Unplanned) -> bool:
    """Return whether an approval would release any hold of this plan."""
    return isinstance(planned, Plan) and any(hold.change is not None for hold in planned.holds)


def wrong_target_message(planned: Plan | Unplanned) -> str:
    """Return the message of the target guard, with the command that settles it; empty if it did not trip."""
    guards = planned.guards if isinstance(planned, Plan) else ()
    return next((guard.message for guard in guards if guard.code == GuardCode.WRONG_TARGET), "")


def has_pending_changes(plan: Plan) -> bool:
    """Return whether a sync would change something in Pigment (exit code 3): adopting alone does not."""
    return any(change.kind is not Kind.ADOPT for change in plan.changes)
