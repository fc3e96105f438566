"""A run that writes: lease, plan, approve, apply, record. One workspace's failure never stops the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog
from structlog.contextvars import bound_contextvars

from agent.apply.changes import Applier, ApplyResult
from agent.engine.approval import match_approvals, refuse_dry_run
from agent.engine.found_leavers import LeaverRecorder, leavers_of_plan
from agent.engine.freshness import ReplanningApplier
from agent.engine.lease import acquire_lease
from agent.engine.named_people import NamedInRun, end_read_people
from agent.engine.plan_approval import (
    ApprovalJudge,
    CommandApprovals,
    PlanApproval,
    refuse_incomplete,
    waiting_message,
)
from agent.engine.planner import PlannerProtocol, ReadOnlyWorkspace, select_workspaces
from agent.engine.records import new_run
from agent.engine.request import (
    Decision,
    DescribeDifference,
    RunRequest,
    RunResult,
    WorkspaceContext,
    is_awaiting_approval,
    planned_deactivations,
)
from agent.engine.run_recorder import OpenRun, RunRecorder
from agent.engine.shutdown import GracefulShutdown
from agent.errors import (
    ExitCode,
    LeaseLost,
    PigmentSyncError,
    StateError,
    TokensRefused,
    WorkspaceBusy,
    exit_code_for_read_error,
)
from agent.guard.hold import release_approved
from agent.guard.release import Release
from agent.guard.replan import ChangeContent, plan_contents
from agent.model import Mode, Plan, Policy, Unplanned
from agent.model.approval import ApprovalPolicy
from agent.model.codes import GuardCode
from agent.model.feed import FeedLag
from agent.model.policy import protected_pattern
from agent.model.run import RunStatus
from agent.model.server_facts import AS_ASSUMED, ServerFacts
from agent.model.verification import VerificationKind
from agent.ports.tracer import NO_TRACER, Tracer
from agent.report.document import plan_digest

# A run without a feed starts faster without its planner.
if TYPE_CHECKING:
    from agent.engine.feed_plan import FeedPlanner

__all__ = ["Sync"]

log = structlog.get_logger()
OTHER_WAITS = "Nothing was written: another approval of the same command waits for a second person."


@dataclass(frozen=True, slots=True)
class Sync:
    """Syncs workspaces. *holder* names this process to other holders of leases; *shutdown* ends runs early.

    *max_concurrent* bounds how many workspaces are applied to concurrently. A plan older than *max_plan_age_seconds*
    with changes left to send is computed again. *approval_policy* is what an approval needs. A run over everyone takes
    up the people whom a feed names meanwhile: *feed_planner* looks at them. At most *in_flight* changes of a workspace
    are made at once.
    """

    planner: PlannerProtocol
    contexts: Mapping[str, WorkspaceContext]
    holder: str
    sleep: Callable[[float], Awaitable[None]]
    describe_difference: DescribeDifference
    shutdown: GracefulShutdown = field(default_factory=GracefulShutdown)
    max_concurrent: int = 8
    max_plan_age_seconds: float = 900
    approval_policy: ApprovalPolicy = field(default_factory=ApprovalPolicy)
    tracer: Tracer = NO_TRACER
    feed_planner: FeedPlanner | None = None
    in_flight: int = 1

    @property
    def _pending(self) -> dict[str, frozenset[str]]:
        return {} if self.feed_planner is None else self.feed_planner.pending.members

    @property
    def recorder(self) -> RunRecorder:
        return RunRecorder(self.planner.state, self.planner.clock)

    async def run(self, names: Sequence[str], request: RunRequest) -> list[RunResult]:
        """Sync the named workspaces (all if *names* is empty) and return one result for each.

        Every workspace is planned before the first is written to. Raises `StalePlan`, with nothing written anywhere,
        if an approval is not the digest of a plan that was just computed; `UsageError` if it can't be one, or is for a
        workspace in mode dry-run; `AlreadyApproved` if its person approved the plan before and a second one must.
        """
        wanted = select_workspaces(self.contexts, names)
        refuse_dry_run((context.policy for context in wanted.values()), request)
        refuse_incomplete(request, self.approval_policy)
        async with AsyncExitStack() as leases:
            span = leases.enter_context(self.tracer.span("sync", {"pigment_sync.trigger": request.trigger.value}))
            started: list[OpenRun] = []
            results: dict[str, RunResult] = {}
            try:
                await self._open_runs(wanted.values(), request, leases, started, results)
                span.set({"pigment_sync.run_id": " ".join(each.run.id for each in started)})
                with bound_contextvars(run_id=" ".join(each.run.id for each in started)):
                    done = await self._plan_and_apply(started, request)
            except BaseException as error:
                await asyncio.shield(self.recorder.abandon(started, error))
                raise
            finally:
                for each in started:
                    self._pending.pop(each.policy.workspace, None)
            results.update((each.workspace, each) for each in done)
        return [results[name] for name in wanted]

    async def _plan_and_apply(self, started: Sequence[OpenRun], request: RunRequest) -> list[RunResult]:
        workspaces = [ReadOnlyWorkspace(each.policy, each.client) for each in started]
        for each in started:
            each.read_at = self.planner.clock.elapsed()
        decisions = await asyncio.to_thread(_for_writing, await self.planner.plan(workspaces, request.user))
        self._pending.update((each.policy.workspace, planned_deactivations(each)) for each in decisions)
        # Concurrently: while the state is away, each waits for it as long as its lease may last.
        unrecorded = await asyncio.gather(*map(self._unrecorded, started, decisions))
        approved_digests = await match_approvals(decisions, request, self.planner.state, self.describe_difference)
        judge = ApprovalJudge(self.approval_policy, self.planner.state, self.planner.clock.now)
        run_ids = {each.policy.workspace: each.run.id for each in started}
        approvals = await judge.judge(decisions, approved_digests, request, run_ids)
        bounded = asyncio.Semaphore(self.max_concurrent)
        self.shutdown.mark_writing()

        async def finish(each: OpenRun, decision: Decision, failed: RunResult | None) -> RunResult:
            if failed is not None:
                return failed
            with bound_contextvars(run_id=each.run.id, workspace=each.policy.workspace):
                async with bounded:
                    return await self._finish_or_abandon(each, decision, request, approvals)

        return list(await asyncio.gather(*map(finish, started, decisions, unrecorded)))

    async def _unrecorded(self, each: OpenRun, decision: Decision) -> RunResult | None:
        """Record a plan. If the lease or the state was lost, return the run's result; the other runs continue."""
        try:
            await self.recorder.record_plan(each, decision, None)
        except PigmentSyncError as error:
            return await self.recorder.fail(each, decision, error)
        return None

    async def _open_runs(
        self,
        contexts: Iterable[WorkspaceContext],
        request: RunRequest,
        leases: AsyncExitStack,
        started: list[OpenRun],
        results: dict[str, RunResult],
    ) -> None:
        """Add each run that begins to *started*, and the result of each that does not to *results*.

        Raises `StateError` where the state fails for more than one workspace, or for the only one: it is away.
        """
        failures: list[StateError] = []
        for context in contexts:
            try:
                opened = await self._open_run(context, request, leases)
            except StateError as error:
                failures.append(error)
                if not error.is_transient or len(failures) > 1:
                    raise
                opened = _unopened_result(context.policy, error)
            if isinstance(opened, OpenRun):
                started.append(opened)
            else:
                results[opened.workspace] = opened
        if failures and not started:
            raise failures[0]

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
            interrupted = await state.begin_run(run, held_lease.lease, request.claim)
        except LeaseLost as error:
            return replace(_busy_result(context.policy, error), is_unfinished=True)
        for closed in interrupted:
            log.warning("run.interrupted", workspace=name, interrupted=closed)
        log.info("run.started", workspace=name, run_id=run.id, trigger=request.trigger)
        return OpenRun(context.policy, context.client, held_lease, run)

    async def _finish_or_abandon(
        self, each: OpenRun, decision: Decision, request: RunRequest, approvals: CommandApprovals
    ) -> RunResult:
        """Finish one workspace's run. An error ends this run only."""
        attributes = {"pigment_sync.workspace": each.policy.workspace, "pigment_sync.run_id": each.run.id}
        with self.tracer.span("workspace.apply", attributes) as span:
            try:
                result = await self._finish_run(each, decision, request, approvals)
            except PigmentSyncError as error:
                span.fail(error.code)
                return await self.recorder.fail(each, decision, error)
            span.set({"pigment_sync.status": result.status.value})
            return result

    async def _finish_run(
        self, each: OpenRun, decision: Decision, request: RunRequest, approvals: CommandApprovals
    ) -> RunResult:
        """Apply what may be applied, and close the run."""
        state, policy = self.planner.state, decision.policy
        pause = await state.load_pause(policy.workspace)
        if decision.plan is None or decision.unguarded is None:
            return await self._close_unplanned(each, decision)
        if policy.mode is Mode.DRY_RUN or (pause is not None and not request.is_undo):
            if decision.plan.members.linked:
                await self.recorder.record_targets(each, decision)
            return await self.recorder.close(each, decision, RunStatus.PLANNED, ExitCode.DONE, pause=pause)
        plan, unguarded = decision.plan, decision.unguarded
        approval = approvals.by_workspace.get(policy.workspace)
        if approvals.is_waiting:
            return await self._close_waiting(each, decision, plan, approval)
        approved: frozenset[ChangeContent] = frozenset()
        if approval is not None:
            decision = await asyncio.to_thread(_released, decision, plan, unguarded, approval.release)
            await self.recorder.record_approval(each, approval, plan, decision)
            before, plan = plan, decision.plan or plan
            approved = await asyncio.to_thread(_new_contents, plan, before)
        if decision.target_check.holds_everything:
            # Not even members and groups are recorded: they would be those of another workspace.
            result = await self.recorder.close(each, decision, RunStatus.HELD, ExitCode.HELD)
            return replace(result, holds=plan.holds)
        await self.recorder.record_targets(each, decision)
        await self.recorder.record_reads(each, decision, plan)
        each.plan = plan
        release = approvals.release_of(policy.workspace)
        decision_to_apply = replace(decision, plan_to_apply=plan)
        applied, last = await self._apply_plan(each, decision_to_apply, request, approved, release)
        return await self._close_applied(each, applied, decision, last, request)

    async def _close_applied(
        self, each: OpenRun, applied: ApplyResult, decision: Decision, last: Decision, request: RunRequest
    ) -> RunResult:
        """Close a run that applied the plan of *decision*, and at the end that of *last*."""
        each.applied = applied
        if applied.state_error is not None:
            raise applied.state_error
        newest, unguarded = last.plan or decision.plan, last.unguarded or decision.unguarded
        if newest is None or unguarded is None:
            raise AssertionError("only a plan is applied")
        status, code = _final_status(newest, applied)
        lags: tuple[FeedLag, ...] = ()
        if code in {ExitCode.DONE, ExitCode.HELD} and request.is_for_everyone:
            await self.recorder.record_baselines(each, unguarded, newest)
            read = decision.unguarded or unguarded
            state, name = self.planner.state, each.policy.workspace
            await end_read_people(state, name, each.run.started_at, leavers_of_plan(read))
            lags = await self._record_leavers(each, read, applied)
        decision = replace(decision, members=last.members)
        result = await self.recorder.close(each, decision, status, code, applied=applied, pause=applied.pause)
        return replace(result, holds=newest.holds, lags=lags)

    async def _record_leavers(self, each: OpenRun, plan: Plan, applied: ApplyResult) -> tuple[FeedLag, ...]:
        feeds = self.feed_planner.feeds if self.feed_planner is not None else ()
        recorder = LeaverRecorder(self.planner.state, each.policy, feeds)
        return await recorder.record(each.lease, plan, each.run.started_at, applied.records)

    async def _close_unplanned(self, each: OpenRun, decision: Decision) -> RunResult:
        status = RunStatus(decision.unplanned.status) if decision.unplanned else RunStatus.INCOMPLETE
        code = exit_code_for_read_error(decision.unplanned.code if decision.unplanned else "")
        return await self.recorder.close(each, decision, status, code)

    async def _close_waiting(
        self, each: OpenRun, decision: Decision, plan: Plan, approval: PlanApproval | None
    ) -> RunResult:
        """Close a run that writes nothing, because an approval of the command waits for a second person."""
        if approval is not None and approval.approval is not None:
            await self.planner.state.record_approval(each.lease, approval.approval)
            log.info("approval.recorded", workspace=plan.workspace, missing=approval.missing_guards)
        waits = approval is not None and not approval.takes_effect
        each.waiting = waiting_message(plan, approval, self.approval_policy) if approval and waits else OTHER_WAITS
        is_held = waits or is_awaiting_approval(plan)
        status, code = (RunStatus.HELD, ExitCode.HELD) if is_held else (RunStatus.PLANNED, ExitCode.DONE)
        result = await self.recorder.close(each, decision, status, code)
        return replace(result, holds=plan.holds)

    async def _load_server_facts(self, policy: Policy) -> ServerFacts:
        probes = await self.planner.state.load_verifications(policy.workspace, VerificationKind.PROBE)
        if not probes:
            return AS_ASSUMED
        # Few workspaces were probed, and a run over the others starts faster without what reads a probe.
        from agent.model.probe import server_facts

        return server_facts(probes, policy.target)

    async def _apply_plan(
        self,
        each: OpenRun,
        decision: Decision,
        request: RunRequest,
        approved: frozenset[ChangeContent],
        release: Release,
    ) -> tuple[ApplyResult, Decision]:
        applier = Applier(
            each.client.writer_for(each.held_lease, await self._load_server_facts(each.policy)),
            self.planner.state,
            self.planner.clock,
            each.lease,
            each.run.id,
            self.planner.progress,
            lambda: self.shutdown.is_requested,
            not request.is_undo,
            each.held_lease.ensure_lease,
            protected_pattern(each.policy.protect),
            self.tracer,
            self.in_flight,
        )
        context = ReadOnlyWorkspace(each.policy, each.client)
        state, clock = self.planner.state, self.planner.clock
        taken_up = NamedInRun(state, clock, self.feed_planner, context, applier, each.run.started_at)
        try:
            if request.is_for_everyone:
                decision = await taken_up.before_writes(decision)
            application = ReplanningApplier(
                self.planner, context, applier, request, self.max_plan_age_seconds, each.read_at
            )
            applied, last = await application.apply(decision, approved, release)
            if request.is_for_everyone:
                applied = await taken_up.before_end(applied)
        except PigmentSyncError:
            # The state was lost between two changes: the report must not leave out what was sent.
            each.applied = applier.result_so_far
            raise
        return applied, last


def _for_writing(decisions: Sequence[Decision]) -> list[Decision]:
    return [decision.for_writing() for decision in decisions]


def _new_contents(plan: Plan, before: Plan) -> frozenset[ChangeContent]:
    return plan_contents(plan) - plan_contents(before)


def _released(decision: Decision, plan: Plan, unguarded: Plan, release: Release) -> Decision:
    """Return *decision* with what *release* lets through of *plan* to apply.

    The reviewed plan stays, with the new guards: their messages report the release.
    """
    plan, reviewed = release_approved(plan, unguarded, release), decision.planned
    shown = replace(reviewed, guards=plan.guards) if isinstance(reviewed, Plan) else reviewed
    return _accept_target(replace(decision, planned=shown, plan_to_apply=plan), release)


def _accept_target(decision: Decision, release: Release) -> Decision:
    """Return *decision* with its target accepted, if *release* has the approvals for that."""
    plan = decision.plan
    if plan is None or decision.target_check.mismatch or not release.status(GuardCode.WRONG_TARGET).is_released:
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


def _unopened_result(policy: Policy, error: StateError) -> RunResult:
    """Return the result of a workspace whose lease or run the state could not record, while it does those of others."""
    log.warning("run.not_begun", workspace=policy.workspace, error=error.message)
    unplanned = _unplanned(policy, error, "incomplete")
    digest = plan_digest(unplanned)
    return RunResult(
        policy.workspace, "", RunStatus.INTERRUPTED, error.exit_code, unplanned, digest, is_unfinished=True
    )


def _busy_result(policy: Policy, error: WorkspaceBusy | LeaseLost) -> RunResult:
    unplanned = _unplanned(policy, error, "busy")
    return RunResult(policy.workspace, "", RunStatus.BUSY, ExitCode.BUSY, unplanned, plan_digest(unplanned))


def _unplanned(policy: Policy, error: PigmentSyncError, status: str) -> Unplanned:
    return Unplanned(
        workspace=policy.workspace,
        mode=policy.mode,
        status=status,
        code=error.code,
        message=error.message,
        remedy=error.hint,
    )
