"""Write an open run into the state: its plan, what it read, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from agent.apply.changes import ApplyResult
from agent.diff.drift import last_seen_members
from agent.engine.lease import HeldLease
from agent.engine.plan_approval import PlanApproval, approved_message
from agent.engine.planner import BASELINE_WINDOW
from agent.engine.records import outcome_summary, run_counts
from agent.engine.request import Decision, RunResult
from agent.errors import (
    ExitCode,
    LeaseLost,
    PigmentSyncError,
    StalePlan,
    UsageError,
    may_be_repeated,
    worst_exit_code,
)
from agent.guard.hold import next_baselines
from agent.guard.target import uncounted
from agent.model import Plan, Policy
from agent.model.approval import Approval
from agent.model.codes import GuardCode
from agent.model.run import ChangeRecord, Lease, Outcome, Pause, Run, RunOutcome, RunStatus, ended_run
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.ports.workspace import WorkspaceClient
from agent.report.document import plan_parts

__all__ = ["OpenRun", "RunRecorder"]

log = structlog.get_logger()


@dataclass(slots=True)
class OpenRun:
    """A workspace whose lease this process holds and whose run is in the journal.

    *approvals*, *approved* and *waiting* (why it writes nothing although it could): see `RunResult`.
    """

    policy: Policy
    client: WorkspaceClient
    held_lease: HeldLease
    run: Run
    is_closed: bool = False
    read_at: float = 0
    plan: Plan | None = None
    applied: ApplyResult | None = None
    approvals: tuple[Approval, ...] = ()
    waiting: str = ""
    approved: str = ""

    @property
    def lease(self) -> Lease:
        return self.held_lease.lease


@dataclass(frozen=True, slots=True)
class RunRecorder:
    """Records open runs, and closes each one, however it ends."""

    state: State
    clock: Clock

    async def record_plan(self, opened: OpenRun, decision: Decision, approved_digest: str | None) -> None:
        parts = plan_parts(decision.planned, decision.digest)
        await self.state.record_plan(opened.lease, opened.run.id, decision.digest, parts, approved_digest)
        opened.run = replace(opened.run, digest=decision.digest, approved_digest=approved_digest)

    async def record_approval(self, opened: OpenRun, given: PlanApproval, before: Plan, decision: Decision) -> None:
        """Record the approval that *decision* applies, and which approvals released what was held in *before*."""
        approval = given.approval
        if approval is not None:
            guards = {code for hold in before.holds if given.release.releases(hold.guards) for code in hold.guards}
            # Its release accepts the target, whether or not it held anything.
            guards |= {GuardCode.WRONG_TARGET}.intersection(given.named)
            opened.approved = approved_message(before, given)
            await self.state.record_approval(opened.lease, approval)
            await self.state.mark_approvals_applied(opened.lease, opened.run.id, given.release.applied(guards))
            opened.approvals = await self.state.load_run_approvals(opened.run.id)
            log.info("approval.recorded", workspace=approval.workspace, missing=given.missing_guards)
        await self.record_plan(opened, decision, given.given_digest)

    async def record_reads(self, opened: OpenRun, decision: Decision, plan: Plan) -> None:
        """Record what was read before anything is sent: after a link is written, row 12 can't detect a rename."""
        if decision.sightings:
            await self.state.record_sightings(opened.lease, decision.sightings)
        if plan.checked_creates:
            await self.state.record_create_checks(opened.lease, plan.checked_creates)
        seen = uncounted(plan.updated_links, decision.target_check)
        await self.state.update_memory(opened.lease, seen, plan.possible_renames, {}, plan.undone_changes)

    async def record_targets(self, opened: OpenRun, decision: Decision) -> None:
        if decision.target_check.accepted_targets and not decision.target_check.holds_everything:
            await self.state.record_targets(opened.lease, decision.target_check.accepted_targets)

    async def record_baselines(self, opened: OpenRun, unguarded: Plan, made: Plan) -> None:
        """Record the sizes of groups that later runs compare with, and the possible renames of the newest plan."""
        name, since = opened.policy.workspace, self.clock.now() - BASELINE_WINDOW
        baselines = await self.state.load_baselines(name, since)
        sizes = next_baselines(unguarded, made, baselines, opened.policy.grace_reads)
        await self.state.update_memory(opened.lease, (), made.possible_renames, sizes)

    async def fail(self, opened: OpenRun, decision: Decision, error: PigmentSyncError) -> RunResult:
        """Close the run that *error* ends, and return what it did before."""
        name = decision.policy.workspace
        log.warning("run.failed", workspace=name, run_id=opened.run.id, code=error.code, error=error.message)
        await self.abandon([opened], error)
        records = opened.applied.records if opened.applied else ()
        failure = " ".join(filter(None, [error.message, outcome_summary(records), error.hint]))
        untried = [ExitCode.FAILED] if opened.applied is not None and opened.applied.has_failures else []
        code = worst_exit_code([error.exit_code, *untried])
        return RunResult(
            name,
            opened.run.id,
            RunStatus.INTERRUPTED,
            code,
            decision.planned,
            decision.digest,
            records,
            error=failure,
            run=opened.run,
            approvals=opened.approvals,
            is_unfinished=may_be_repeated(error),
        )

    async def close(
        self,
        opened: OpenRun,
        decision: Decision,
        status: RunStatus,
        code: ExitCode,
        *,
        applied: ApplyResult | None = None,
        pause: Pause | None = None,
    ) -> RunResult:
        name, unplanned, plan = decision.policy.workspace, decision.unplanned, decision.plan
        is_ours = not decision.target_check.holds_everything
        guarded = plan.members.guarded if plan and is_ours else None
        # A run that wrote nothing saw the members too: differences next time are drift. But while an approval waits,
        # the plan must stay the same for the second person, with its notes of drift.
        if decision.is_partial:
            ours = applied.records if applied else ()
            guarded = None if guarded is None else guarded - sum(each.outcome is Outcome.DONE for each in ours)
        elif decision.plan is not None and is_ours and not opened.waiting:
            links = await self.state.load_links(name)
            newest = applied.newest_records if applied else ()
            left = await asyncio.to_thread(last_seen_members, decision.members, newest, links)
            await self.state.record_last_seen(opened.lease, opened.run.id, left)
            if applied:
                guarded = sum(member.active is True and member.person is not None for member in left)
        error = (
            unplanned.message
            if unplanned
            else applied.workspace_error.message
            if applied and applied.workspace_error
            else opened.waiting
        )
        requests = opened.client.requests
        # A run that ends as held without applying anything made nothing: its changes are not "changed".
        records_to_count = () if applied is None and status is RunStatus.HELD else None
        made = run_counts(plan, applied.records if applied else records_to_count) if plan else None
        now = self.clock.now()
        ending = RunOutcome(status, error, guarded=guarded, requests=requests, tally=made, finished_at=now)
        await self.state.end_run(opened.lease, opened.run.id, ending)
        opened.is_closed, opened.run = True, ended_run(opened.run, ending)
        log.info("run.finished", workspace=name, run_id=opened.run.id, status=status)
        records = applied.records if applied else ()
        return RunResult(
            name,
            opened.run.id,
            status,
            code,
            decision.planned,
            decision.digest,
            records,
            pause,
            requests,
            run=opened.run,
            approvals=opened.approvals,
            waiting=opened.waiting,
            approved=opened.approved,
        )

    async def abandon(self, started: Sequence[OpenRun], error: BaseException) -> None:
        """Close as much as possible of runs that end by an error or a stop."""
        message = error.message if isinstance(error, PigmentSyncError) else "The run was stopped."
        status = RunStatus.STALE if isinstance(error, StalePlan) else RunStatus.INTERRUPTED
        if isinstance(error, UsageError):
            # A mistake in the request: the workspace is fine, and nothing was written.
            status = RunStatus.PLANNED
        for opened in started:
            if opened.is_closed:
                continue
            made = run_counts(opened.plan, opened.applied.records) if opened.plan and opened.applied else None
            now, requests = self.clock.now(), opened.client.requests
            ending = RunOutcome(status, message, requests=requests, tally=made, finished_at=now)
            opened.is_closed, opened.run = True, ended_run(opened.run, ending)
            unrecorded = opened.applied.unrecorded if opened.applied else ()
            try:
                await self._end(opened, ending, unrecorded)
            except PigmentSyncError as failure:
                log.warning("run.not_closed", workspace=opened.policy.workspace, error=failure.message)

    async def _end(self, opened: OpenRun, ending: RunOutcome, unrecorded: Sequence[ChangeRecord]) -> None:
        if opened.applied is not None and isinstance(opened.applied.state_error, LeaseLost):
            await self.state.close_run_without_lease(opened.run.id, ending, unrecorded)
            return
        try:
            for record in unrecorded:
                await self.state.record_answer(opened.lease, record)
            await self.state.end_run(opened.lease, opened.run.id, ending)
        except LeaseLost:
            await self.state.close_run_without_lease(opened.run.id, ending, unrecorded)
