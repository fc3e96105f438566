"""A run that writes: lease, survey, approval, apply, record; one workspace's failure never stops the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import structlog
from structlog.contextvars import bound_contextvars

from agent.apply.changes import Applied, Applier
from agent.diff.drift import members_left
from agent.engine.approval import approved, refuse_dry_run
from agent.engine.freshness import Application
from agent.engine.lease import HeldLease, held
from agent.engine.order import Decision, Order, Result, is_waiting
from agent.engine.run import begun, counted, tally
from agent.engine.stopping import Stopping
from agent.engine.survey import DAY, Deciding, ReadSite, chosen
from agent.errors import Busy, Exit, LeaseLost, PigmentSyncError, StalePlan, UsageError, unread, worst
from agent.guard.again import Content, contents
from agent.guard.hold import next_baselines, released
from agent.guard.target import WRONG_TARGET, uncounted
from agent.model import Mode, Plan, Policy, Unplanned
from agent.ports import ChangeRecord, Ending, Lease, Pause, Run, RunStatus, WorkspaceClient
from agent.report.document import encode_workspace, with_guards, workspace_object

__all__ = ["Site", "Sync"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Site:
    """One workspace with everything that a run over it needs."""

    policy: Policy
    workspace: WorkspaceClient


@dataclass(slots=True)
class Started:
    """A workspace whose lease is ours and whose run is in the journal."""

    site: Site
    held: HeldLease
    run: Run
    is_closed: bool = False
    read_at: float = 0
    plan: Plan | None = None
    applied: Applied | None = None

    @property
    def lease(self) -> Lease:
        return self.held.lease


@dataclass(frozen=True, slots=True)
class Sync:
    """Runs over workspaces. *holder* names this process to others that want the lease; *stopping* ends runs early.

    *at_once* bounds how many workspaces are applied to side by side. A plan that is older than *max_plan_age_seconds*
    while changes are still to be sent is made again.
    """

    survey: Deciding
    sites: Mapping[str, Site]
    holder: str
    sleep: Callable[[float], Awaitable[None]]
    stopping: Stopping = field(default_factory=Stopping)
    at_once: int = 8
    max_plan_age_seconds: float = 900

    async def run(self, names: Sequence[str], order: Order) -> list[Result]:
        """Bring the named workspaces in step, all when none is named, and return one result for each.

        Every workspace is planned before the first is written to. Raises `StalePlan`, with nothing written anywhere,
        when one of the order's approvals is not the digest of a plan that was just made; `UsageError` when it can't be
        one, or is for a workspace in mode dry-run.
        """
        wanted = chosen(self.sites, names)
        refuse_dry_run((site.policy for site in wanted.values()), order)
        async with AsyncExitStack() as leases:
            opened = [await self._open(site, order, leases) for site in wanted.values()]
            started = [each for each in opened if isinstance(each, Started)]
            results = {each.workspace: each for each in opened if isinstance(each, Result)}
            try:
                with bound_contextvars(run_id=" ".join(each.run.id for each in started)):
                    done = await self._over(started, order)
            except BaseException as error:
                await asyncio.shield(self._abandon(started, error))
                raise
            results.update((each.workspace, each) for each in done)
        return [results[name] for name in wanted]

    async def _over(self, started: Sequence[Started], order: Order) -> list[Result]:
        sites = [ReadSite(each.site.policy, each.site.workspace) for each in started]
        for each in started:
            each.read_at = self.survey.clock.elapsed()
        decisions = await self.survey.decide(sites, order.user)
        # Side by side: while the state is away, each waits for it as long as its lease may last.
        unrecorded = await asyncio.gather(*map(self._unrecorded, started, decisions))
        agreed = await approved([decision.object for decision in decisions], order, self.survey.state)
        bounded = asyncio.Semaphore(self.at_once)
        self.stopping.begin()

        async def one(each: Started, decision: Decision, failed: Result | None) -> Result:
            if failed is not None:
                return failed
            with bound_contextvars(run_id=each.run.id):
                async with bounded:
                    return await self._finished(each, decision, order, agreed.get(decision.policy.workspace))

        return list(await asyncio.gather(*map(one, started, decisions, unrecorded)))

    async def _unrecorded(self, each: Started, decision: Decision) -> Result | None:
        """Record a plan. Return how the run ended where the lease or the state was lost; the others go on."""
        try:
            await self._record_plan(each, decision, None)
        except PigmentSyncError as error:
            return await self._failed(each, decision, error)
        return None

    async def _record_plan(self, each: Started, decision: Decision, approval: str | None) -> None:
        raw = encode_workspace(decision.object)
        await self.survey.state.record_plan(each.lease, each.run.id, decision.object["digest"], raw, approval)

    async def _open(self, site: Site, order: Order, leases: AsyncExitStack) -> Started | Result:
        state, clock, name = self.survey.state, self.survey.clock, site.policy.workspace
        try:
            ours = await leases.enter_async_context(
                held(state, clock, self.sleep, (name, site.policy.target), self.holder, order.wait_seconds)
            )
        except Busy as error:
            return _busy(site.policy, error)
        run = begun(site.policy, order, clock.now())
        try:
            interrupted = await state.begin_run(run, ours.lease)
        except LeaseLost as error:
            return _busy(site.policy, error)
        for closed in interrupted:
            log.warning("run.interrupted", workspace=name, interrupted=closed)
        log.info("run.started", workspace=name, run_id=run.id, trigger=order.trigger)
        return Started(site, ours, run)

    async def _finished(self, each: Started, decision: Decision, order: Order, approval: str | None) -> Result:
        """Finish one workspace's run; what ends it is its own, and the others go on."""
        try:
            return await self._finish(each, decision, order, approval)
        except PigmentSyncError as error:
            return await self._failed(each, decision, error)

    async def _failed(self, each: Started, decision: Decision, error: PigmentSyncError) -> Result:
        """Close the run that *error* ends, and return what it had done before."""
        name = decision.policy.workspace
        log.warning("run.failed", workspace=name, run_id=each.run.id, code=error.code, error=error.message)
        await self._abandon([each], error)
        records = each.applied.records if each.applied else ()
        failure = " ".join(filter(None, [error.message, counted(records), error.hint]))
        untried = [Exit.FAILED] if each.applied is not None and each.applied.has_failures else []
        code = worst([error.exit, *untried])
        return Result(name, each.run.id, RunStatus.INTERRUPTED, code, decision.object, records, error=failure)

    async def _finish(self, each: Started, decision: Decision, order: Order, approval: str | None) -> Result:
        """Apply what may be applied, and close the run as what it was."""
        state, policy = self.survey.state, decision.policy
        pause = await state.paused(policy.workspace)
        if decision.plan is None or decision.unguarded is None:
            status = RunStatus(decision.unplanned.status) if decision.unplanned else RunStatus.INCOMPLETE
            code = unread(decision.unplanned.code if decision.unplanned else "")
            return await self._close(each, decision, status, code)
        if policy.mode is Mode.DRY_RUN or (pause is not None and not order.is_undo):
            if decision.plan.members.linked:
                await self._record_targets(each, decision)
            return await self._close(each, decision, RunStatus.PLANNED, Exit.DONE, pause=pause)
        plan, unguarded = decision.plan, decision.unguarded
        approved: frozenset[Content] = frozenset()
        if approval is not None:
            before = contents(plan)
            plan = released(plan, unguarded, order.by)
            decision = _known(replace(decision, plan=plan, object=with_guards(decision.object, plan)))
            approved = contents(decision.plan or plan) - before
            plan = decision.plan or plan
            await self._record_plan(each, decision, approval)
        if decision.target.holds_everything:
            # Not even the journal's memory of members and groups: it would be that of another workspace.
            return await self._close(each, decision, RunStatus.HELD, Exit.HELD)
        await self._record_targets(each, decision)
        await self._remember(each, decision, plan)
        each.plan = plan
        applied, last = await self._apply(each, replace(decision, plan=plan), order, approved)
        each.applied = applied
        if applied.lost is not None:
            raise applied.lost
        newest, unguarded = last.plan or plan, last.unguarded or unguarded
        status, code = _judged(newest, applied)
        if code in {Exit.DONE, Exit.HELD} and order.is_whole:
            baselines = await state.baselines(policy.workspace, self.survey.clock.now() - DAY)
            moved = next_baselines(unguarded, newest, baselines, policy.grace_reads)
            await state.remember(each.lease, (), newest.possible_renames, moved)
        decision = replace(decision, members=last.members)
        return await self._close(each, decision, status, code, applied=applied, pause=applied.pause)

    async def _remember(self, each: Started, decision: Decision, plan: Plan) -> None:
        """Write what was read, before anything is sent: once a link is written, row 12 can't notice a rename."""
        if decision.sightings:
            await self.survey.state.record_sightings(each.lease, decision.sightings)
        if plan.looked_for:
            await self.survey.state.saw_creates(each.lease, plan.looked_for)
        seen = uncounted(plan.seen, decision.target)
        await self.survey.state.remember(each.lease, seen, plan.possible_renames, {}, plan.undone)

    async def _record_targets(self, each: Started, decision: Decision) -> None:
        if decision.target.accepted and not decision.target.holds_everything:
            await self.survey.state.record_targets(each.lease, decision.target.accepted)

    async def _apply(
        self, each: Started, decision: Decision, order: Order, approved: frozenset[Content]
    ) -> tuple[Applied, Decision]:
        applier = Applier(
            each.site.workspace.writing(each.held),
            self.survey.state,
            self.survey.clock,
            each.lease,
            each.run.id,
            self.survey.progress,
            lambda: self.stopping.is_asked,
            not order.is_undo,
            each.held.secure,
        )
        site = ReadSite(each.site.policy, each.site.workspace)
        application = Application(self.survey, site, applier, order, self.max_plan_age_seconds, each.read_at)
        return await application.apply(decision, approved)

    async def _close(
        self,
        each: Started,
        decision: Decision,
        status: RunStatus,
        code: Exit,
        *,
        applied: Applied | None = None,
        pause: Pause | None = None,
    ) -> Result:
        name, unplanned, plan = decision.policy.workspace, decision.unplanned, decision.plan
        is_ours = not decision.target.holds_everything
        guarded = plan.members.guarded if plan and is_ours else None
        if decision.plan is not None and is_ours:
            # Also a run that wrote nothing saw the members: what differs next time is drift.
            links = (await self.survey.state.memory(name)).links
            left = members_left(decision.members, applied.newest if applied else (), links)
            await self.survey.state.leave(each.lease, each.run.id, left)
            if applied:
                guarded = sum(member.active is True and member.person is not None for member in left)
        error = unplanned.message if unplanned else applied.gone.message if applied and applied.gone else ""
        requests = each.site.workspace.requests
        made = tally(plan, applied.records if applied else None) if plan else None
        ending = Ending(status, error, guarded, requests, made)
        await self.survey.state.end_run(each.lease, each.run.id, ending)
        each.is_closed = True
        log.info("run.finished", workspace=name, run_id=each.run.id, status=status)
        records = applied.records if applied else ()
        return Result(name, each.run.id, status, code, decision.object, records, pause, requests)

    async def _abandon(self, started: Sequence[Started], error: BaseException) -> None:
        """Close what can be closed of runs that end by an error or by being stopped."""
        message = error.message if isinstance(error, PigmentSyncError) else "The run was stopped."
        status = RunStatus.STALE if isinstance(error, StalePlan) else RunStatus.INTERRUPTED
        if isinstance(error, UsageError):
            # Asked for by mistake: nothing is wrong with the workspace, and nothing was written.
            status = RunStatus.PLANNED
        for each in started:
            if each.is_closed:
                continue
            each.is_closed = True
            made = tally(each.plan, each.applied.records) if each.plan and each.applied else None
            ending = Ending(status, message, requests=each.site.workspace.requests, tally=made)
            unrecorded = each.applied.unrecorded if each.applied else ()
            try:
                await self._end(each, ending, unrecorded)
            except PigmentSyncError as failure:
                log.warning("run.not_closed", workspace=each.site.policy.workspace, error=failure.message)

    async def _end(self, each: Started, ending: Ending, unrecorded: Sequence[ChangeRecord]) -> None:
        state = self.survey.state
        if each.applied is not None and isinstance(each.applied.lost, LeaseLost):
            await state.close_lost(each.run.id, ending, unrecorded)
            return
        try:
            for record in unrecorded:
                await state.answered(each.lease, record)
            await state.end_run(each.lease, each.run.id, ending)
        except LeaseLost:
            await state.close_lost(each.run.id, ending, unrecorded)


def _known(decision: Decision) -> Decision:
    """Return an approved *decision* with its target accepted, unless the guard of targets still holds something."""
    plan = decision.plan
    if plan is None or decision.target.moved or any(hold.code == WRONG_TARGET for hold in plan.holds):
        return decision
    guards = tuple(guard for guard in plan.guards if guard.code != WRONG_TARGET)
    return replace(decision, plan=replace(plan, guards=guards), target=decision.target.released)


def _judged(plan: Plan, applied: Applied) -> tuple[RunStatus, Exit]:
    if applied.gone is not None and applied.gone.code == "credentials" and not applied.has_written:
        return RunStatus.CREDENTIALS, Exit.INCOMPLETE
    if applied.has_failures:
        return RunStatus.FAILED, Exit.FAILED
    if is_waiting(plan):
        return RunStatus.HELD, Exit.HELD
    return RunStatus.DONE, Exit.DONE


def _busy(policy: Policy, error: Busy | LeaseLost) -> Result:
    unplanned = Unplanned(policy.workspace, policy.mode, "busy", error.code, error.message, error.hint)
    return Result(policy.workspace, "", RunStatus.BUSY, Exit.BUSY, workspace_object(unplanned))
