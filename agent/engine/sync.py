"""A run that writes: lease, plan, approve, apply, record. One workspace's failure never stops the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import structlog
from structlog.contextvars import bound_contextvars

from agent.apply.changes import Applier, ApplyResult
from agent.diff.drift import last_seen_members
from agent.engine.approval import match_approvals, refuse_dry_run
from agent.engine.freshness import ReplanningApplier
from agent.engine.lease import HeldLease, acquire_lease
from agent.engine.planner import BASELINE_WINDOW, PlannerProtocol, ReadOnlyWorkspace, select_workspaces
from agent.engine.records import new_run, outcome_summary, run_counts
from agent.engine.request import Decision, DescribeDifference, RunRequest, RunResult, is_awaiting_approval
from agent.engine.shutdown import GracefulShutdown
from agent.errors import (
    ExitCode,
    LeaseLost,
    PigmentSyncError,
    StalePlan,
    TokensRefused,
    UsageError,
    WorkspaceBusy,
    exit_code_for_read_error,
    worst_exit_code,
)
from agent.guard.hold import next_baselines, release_approved
from agent.guard.replan import ChangeContent, plan_contents
from agent.guard.target import uncounted
from agent.model import Mode, Plan, Policy, Unplanned
from agent.model.codes import GuardCode
from agent.model.policy import protected_pattern
from agent.model.run import ChangeRecord, Lease, Pause, Run, RunOutcome, RunStatus
from agent.ports.workspace import WorkspaceClient
from agent.report.document import encode_plan, plan_digest

__all__ = ["Sync", "WorkspaceContext"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkspaceContext:
    """One workspace with everything that a run over it needs."""

    policy: Policy
    client: WorkspaceClient


@dataclass(slots=True)
class OpenRun:
    """A workspace whose lease this process holds and whose run is in the journal."""

    context: WorkspaceContext
    held_lease: HeldLease
    run: Run
    is_closed: bool = False
    read_at: float = 0
    plan: Plan | None = None
    applied: ApplyResult | None = None

    @property
    def lease(self) -> Lease:
        return self.held_lease.lease


@dataclass(frozen=True, slots=True)
class Sync:
    """Syncs workspaces. *holder* names this process to other holders of leases; *shutdown* ends runs early.

    *max_concurrent* bounds how many workspaces are applied to concurrently. A plan older than *max_plan_age_seconds*
    with changes left to send is computed again.
    """

    planner: PlannerProtocol
    contexts: Mapping[str, WorkspaceContext]
    holder: str
    sleep: Callable[[float], Awaitable[None]]
    describe_difference: DescribeDifference
    shutdown: GracefulShutdown = field(default_factory=GracefulShutdown)
    max_concurrent: int = 8
    max_plan_age_seconds: float = 900

    async def run(self, names: Sequence[str], request: RunRequest) -> list[RunResult]:
        """Sync the named workspaces (all if *names* is empty) and return one result for each.

        Every workspace is planned before the first is written to. Raises `StalePlan`, with nothing written anywhere,
        if an approval is not the digest of a plan that was just computed; `UsageError` if it can't be one, or is for a
        workspace in mode dry-run.
        """
        wanted = select_workspaces(self.contexts, names)
        refuse_dry_run((context.policy for context in wanted.values()), request)
        async with AsyncExitStack() as leases:
            opened = [await self._open_run(context, request, leases) for context in wanted.values()]
            started = [each for each in opened if isinstance(each, OpenRun)]
            results = {each.workspace: each for each in opened if isinstance(each, RunResult)}
            try:
                with bound_contextvars(run_id=" ".join(each.run.id for each in started)):
                    done = await self._plan_and_apply(started, request)
            except BaseException as error:
                await asyncio.shield(self._abandon_runs(started, error))
                raise
            results.update((each.workspace, each) for each in done)
        return [results[name] for name in wanted]

    async def _plan_and_apply(self, started: Sequence[OpenRun], request: RunRequest) -> list[RunResult]:
        workspaces = [ReadOnlyWorkspace(each.context.policy, each.context.client) for each in started]
        for each in started:
            each.read_at = self.planner.clock.elapsed()
        decisions = await self.planner.plan(workspaces, request.user)
        # Concurrently: while the state is away, each waits for it as long as its lease may last.
        unrecorded = await asyncio.gather(*map(self._unrecorded, started, decisions))
        approved_digests = await match_approvals(decisions, request, self.planner.state, self.describe_difference)
        bounded = asyncio.Semaphore(self.max_concurrent)
        self.shutdown.mark_writing()

        async def finish(each: OpenRun, decision: Decision, failed: RunResult | None) -> RunResult:
            if failed is not None:
                return failed
            with bound_contextvars(run_id=each.run.id):
                async with bounded:
                    return await self._finish_or_abandon(
                        each, decision, request, approved_digests.get(decision.policy.workspace)
                    )

        return list(await asyncio.gather(*map(finish, started, decisions, unrecorded)))

    async def _unrecorded(self, each: OpenRun, decision: Decision) -> RunResult | None:
        """Record a plan. If the lease or the state was lost, return the run's result; the other runs continue."""
        try:
            await self._record_plan(each, decision, None)
        except PigmentSyncError as error:
            return await self._failed(each, decision, error)
        return None

    async def _record_plan(self, each: OpenRun, decision: Decision, approved_digest: str | None) -> None:
        raw = encode_plan(decision.planned)
        await self.planner.state.record_plan(each.lease, each.run.id, decision.digest, raw, approved_digest)

    async def _open_run(
        self, context: WorkspaceContext, request: RunRequest, leases: AsyncExitStack
    ) -> OpenRun | RunResult:
        state, clock, name = self.planner.state, self.planner.clock, context.policy.workspace
        try:
            held_lease = await leases.enter_async_context(
                acquire_lease(
                    state, clock, self.sleep, (name, context.policy.target), self.holder, request.wait_seconds
                )
            )
        except WorkspaceBusy as error:
            return _busy_result(context.policy, error)
        run = new_run(context.policy, request, clock.now())
        try:
            interrupted = await state.begin_run(run, held_lease.lease)
        except LeaseLost as error:
            return _busy_result(context.policy, error)
        for closed in interrupted:
            log.warning("run.interrupted", workspace=name, interrupted=closed)
        log.info("run.started", workspace=name, run_id=run.id, trigger=request.trigger)
        return OpenRun(context, held_lease, run)

    async def _finish_or_abandon(
        self, each: OpenRun, decision: Decision, request: RunRequest, approved_digest: str | None
    ) -> RunResult:
        """Finish one workspace's run. An error ends this run only."""
        try:
            return await self._finish_run(each, decision, request, approved_digest)
        except PigmentSyncError as error:
            return await self._failed(each, decision, error)

    async def _failed(self, each: OpenRun, decision: Decision, error: PigmentSyncError) -> RunResult:
        """Close the run that *error* ends, and return what it did before."""
        name = decision.policy.workspace
        log.warning("run.failed", workspace=name, run_id=each.run.id, code=error.code, error=error.message)
        await self._abandon_runs([each], error)
        records = each.applied.records if each.applied else ()
        failure = " ".join(filter(None, [error.message, outcome_summary(records), error.hint]))
        untried = [ExitCode.FAILED] if each.applied is not None and each.applied.has_failures else []
        code = worst_exit_code([error.exit_code, *untried])
        return RunResult(
            name, each.run.id, RunStatus.INTERRUPTED, code, decision.planned, decision.digest, records, error=failure
        )

    async def _finish_run(
        self, each: OpenRun, decision: Decision, request: RunRequest, approved_digest: str | None
    ) -> RunResult:
        """Apply what may be applied, and close the run."""
        state, policy = self.planner.state, decision.policy
        pause = await state.load_pause(policy.workspace)
        if decision.plan is None or decision.unguarded is None:
            status = RunStatus(decision.unplanned.status) if decision.unplanned else RunStatus.INCOMPLETE
            code = exit_code_for_read_error(decision.unplanned.code if decision.unplanned else "")
            return await self._close_run(each, decision, status, code)
        if policy.mode is Mode.DRY_RUN or (pause is not None and not request.is_undo):
            if decision.plan.members.linked:
                await self._record_targets(each, decision)
            return await self._close_run(each, decision, RunStatus.PLANNED, ExitCode.DONE, pause=pause)
        plan, unguarded = decision.plan, decision.unguarded
        approved: frozenset[ChangeContent] = frozenset()
        if approved_digest is not None:
            before = plan_contents(plan)
            plan = release_approved(plan, unguarded, request.by)
            decision = _accept_target(_with_released(decision, plan))
            approved = plan_contents(decision.plan or plan) - before
            plan = decision.plan or plan
            await self._record_plan(each, decision, approved_digest)
        if decision.target_check.holds_everything:
            # Not even members and groups are recorded: they would be those of another workspace.
            return await self._close_run(each, decision, RunStatus.HELD, ExitCode.HELD)
        await self._record_targets(each, decision)
        await self._record_reads(each, decision, plan)
        each.plan = plan
        applied, last = await self._apply_plan(each, replace(decision, plan_to_apply=plan), request, approved)
        each.applied = applied
        if applied.state_error is not None:
            raise applied.state_error
        newest, unguarded = last.plan or plan, last.unguarded or unguarded
        status, code = _final_status(newest, applied)
        if code in {ExitCode.DONE, ExitCode.HELD} and request.is_for_everyone:
            baselines = await state.load_baselines(policy.workspace, self.planner.clock.now() - BASELINE_WINDOW)
            moved = next_baselines(unguarded, newest, baselines, policy.grace_reads)
            await state.update_memory(each.lease, (), newest.possible_renames, moved)
        decision = replace(decision, members=last.members)
        return await self._close_run(each, decision, status, code, applied=applied, pause=applied.pause)

    async def _record_reads(self, each: OpenRun, decision: Decision, plan: Plan) -> None:
        """Record what was read before anything is sent: after a link is written, row 12 can't detect a rename."""
        if decision.sightings:
            await self.planner.state.record_sightings(each.lease, decision.sightings)
        if plan.checked_creates:
            await self.planner.state.record_create_checks(each.lease, plan.checked_creates)
        seen = uncounted(plan.updated_links, decision.target_check)
        await self.planner.state.update_memory(each.lease, seen, plan.possible_renames, {}, plan.undone_changes)

    async def _record_targets(self, each: OpenRun, decision: Decision) -> None:
        if decision.target_check.accepted_targets and not decision.target_check.holds_everything:
            await self.planner.state.record_targets(each.lease, decision.target_check.accepted_targets)

    async def _apply_plan(
        self, each: OpenRun, decision: Decision, request: RunRequest, approved: frozenset[ChangeContent]
    ) -> tuple[ApplyResult, Decision]:
        applier = Applier(
            each.context.client.writer_for(each.held_lease),
            self.planner.state,
            self.planner.clock,
            each.lease,
            each.run.id,
            self.planner.progress,
            lambda: self.shutdown.is_requested,
            not request.is_undo,
            each.held_lease.ensure_lease,
            protected_pattern(each.context.policy.protect),
        )
        context = ReadOnlyWorkspace(each.context.policy, each.context.client)
        application = ReplanningApplier(
            self.planner, context, applier, request, self.max_plan_age_seconds, each.read_at
        )
        return await application.apply(decision, approved)

    async def _close_run(
        self,
        each: OpenRun,
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
        if decision.plan is not None and is_ours:
            # A run that wrote nothing saw the members too: differences next time are drift.
            links = (await self.planner.state.load_memory(name)).links
            left = last_seen_members(decision.members, applied.newest_records if applied else (), links)
            await self.planner.state.record_last_seen(each.lease, each.run.id, left)
            if applied:
                guarded = sum(member.active is True and member.person is not None for member in left)
        error = (
            unplanned.message
            if unplanned
            else applied.workspace_error.message
            if applied and applied.workspace_error
            else ""
        )
        requests = each.context.client.requests
        made = run_counts(plan, applied.records if applied else None) if plan else None
        ending = RunOutcome(status, error, guarded=guarded, requests=requests, tally=made)
        await self.planner.state.end_run(each.lease, each.run.id, ending)
        each.is_closed = True
        log.info("run.finished", workspace=name, run_id=each.run.id, status=status)
        records = applied.records if applied else ()
        return RunResult(name, each.run.id, status, code, decision.planned, decision.digest, records, pause, requests)

    async def _abandon_runs(self, started: Sequence[OpenRun], error: BaseException) -> None:
        """Close as much as possible of runs that end by an error or a stop."""
        message = error.message if isinstance(error, PigmentSyncError) else "The run was stopped."
        status = RunStatus.STALE if isinstance(error, StalePlan) else RunStatus.INTERRUPTED
        if isinstance(error, UsageError):
            # A mistake in the request: the workspace is fine, and nothing was written.
            status = RunStatus.PLANNED
        for each in started:
            if each.is_closed:
                continue
            each.is_closed = True
            made = run_counts(each.plan, each.applied.records) if each.plan and each.applied else None
            ending = RunOutcome(status, message, requests=each.context.client.requests, tally=made)
            unrecorded = each.applied.unrecorded if each.applied else ()
            try:
                await self._end_run(each, ending, unrecorded)
            except PigmentSyncError as failure:
                log.warning("run.not_closed", workspace=each.context.policy.workspace, error=failure.message)

    async def _end_run(self, each: OpenRun, ending: RunOutcome, unrecorded: Sequence[ChangeRecord]) -> None:
        state = self.planner.state
        if each.applied is not None and isinstance(each.applied.state_error, LeaseLost):
            await state.close_run_without_lease(each.run.id, ending, unrecorded)
            return
        try:
            for record in unrecorded:
                await state.record_answer(each.lease, record)
            await state.end_run(each.lease, each.run.id, ending)
        except LeaseLost:
            await state.close_run_without_lease(each.run.id, ending, unrecorded)


def _with_released(decision: Decision, plan: Plan) -> Decision:
    """Return *decision* with *plan*, which an approval released, to apply.

    The reviewed plan stays, with the guards of *plan*: their messages report the release.
    """
    reviewed = decision.planned
    shown = replace(reviewed, guards=plan.guards) if isinstance(reviewed, Plan) else reviewed
    return replace(decision, planned=shown, plan_to_apply=plan)


def _accept_target(decision: Decision) -> Decision:
    """Return an approved *decision* with its target accepted, unless the target guard still holds something."""
    plan = decision.plan
    if (
        plan is None
        or decision.target_check.mismatch
        or any(hold.code == GuardCode.WRONG_TARGET for hold in plan.holds)
    ):
        return decision
    guards = tuple(guard for guard in plan.guards if guard.code != GuardCode.WRONG_TARGET)
    return replace(
        decision, plan_to_apply=replace(plan, guards=guards), target_check=decision.target_check.after_approval
    )


def _final_status(plan: Plan, applied: ApplyResult) -> tuple[RunStatus, ExitCode]:
    if isinstance(applied.workspace_error, TokensRefused) and not applied.has_written:
        return RunStatus.CREDENTIALS, ExitCode.INCOMPLETE
    if applied.has_failures:
        return RunStatus.FAILED, ExitCode.FAILED
    if is_awaiting_approval(plan):
        return RunStatus.HELD, ExitCode.HELD
    return RunStatus.DONE, ExitCode.DONE


def _busy_result(policy: Policy, error: WorkspaceBusy | LeaseLost) -> RunResult:
    unplanned = Unplanned(
        workspace=policy.workspace,
        mode=policy.mode,
        status="busy",
        code=error.code,
        message=error.message,
        remedy=error.hint,
    )
    return RunResult(policy.workspace, "", RunStatus.BUSY, ExitCode.BUSY, unplanned, plan_digest(unplanned))
