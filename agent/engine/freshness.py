"""Apply a plan, and plan again if it becomes too old while changes remain to be sent.

An approval covers the approved changes only: a new plan releases identical changes and no others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import structlog

from agent.apply.changes import Applier, ApplyResult, IsOutdated
from agent.engine.planner import PlannerProtocol, ReadOnlyWorkspace
from agent.engine.request import Decision, RunRequest
from agent.errors import PigmentSyncError
from agent.guard.release import Release
from agent.guard.replan import (
    ChangeContent,
    hold_message,
    people_in_grace,
    plan_contents,
    release_identical,
    restrict_to_continuation,
)
from agent.model import Change
from agent.model.run import Outcome, Trigger

__all__ = ["ReplanningApplier"]

log = structlog.get_logger()
# These apply exactly what was reviewed: newer changes are left to another run.
EXACT_TRIGGERS = frozenset({Trigger.APPLY, Trigger.UNDO, Trigger.FEED})


@dataclass(slots=True)
class ReplanningApplier:
    """Applies to one workspace. *read_at* is when its reads began, by `Clock.elapsed`."""

    planner: PlannerProtocol
    workspace: ReadOnlyWorkspace
    applier: Applier
    request: RunRequest
    max_age_seconds: float
    read_at: float

    async def apply(
        self, decision: Decision, approved: frozenset[ChangeContent], release: Release
    ) -> tuple[ApplyResult, Decision]:
        """Make the changes of *decision*; *approved* are those that guards had held and *release* let through.

        Return the outcome of all changes, and the newest decision that was applied.
        """
        first = decision
        if first.plan is None:
            raise AssertionError("only a plan is applied")
        begun: frozenset[ChangeContent] | None = None
        applied = await self._apply_once(decision, self.is_outdated, is_same_listing=True)
        while applied.remaining:
            if applied.has_idle_round:
                # Each plan must make progress, or a workspace that refuses everything would be read without end.
                return await self._record_untried(
                    applied, "No change of the plan could be made before it was too old."
                ), decision
            fresh = await self._replan()
            if isinstance(fresh, str) or fresh.plan is None or fresh.unguarded is None:
                why = fresh if isinstance(fresh, str) else fresh.unplanned.message if fresh.unplanned else ""
                return await self._record_untried(
                    applied, f"The plan was too old, and planning again failed. {why}"
                ), decision
            plan = release_identical(fresh.plan, fresh.unguarded, approved, release)
            if begun is None:
                # Only now: most plans never become too old, and the contents of many changes take memory.
                begun = await asyncio.to_thread(plan_contents, first.plan)
            plan = restrict_to_continuation(
                plan, begun, people_in_grace(first.plan), is_exact=self.request.trigger in EXACT_TRIGGERS
            )
            decision = replace(fresh, plan_to_apply=plan)
            await self._record_held(applied.remaining, decision)
            applied = await self._apply_once(decision, lambda tried: tried > 0 and self.is_outdated(tried))
        return applied, decision

    def is_outdated(self, _tried: int) -> bool:
        return self.planner.clock.elapsed() - self.read_at > self.max_age_seconds

    async def _apply_once(
        self, decision: Decision, is_old: IsOutdated, *, is_same_listing: bool = False
    ) -> ApplyResult:
        if decision.plan is None:
            raise AssertionError("only a plan is applied")
        return await self.applier.apply(
            decision.plan.changes, decision.members, decision.linked_ids, is_old, is_same_listing=is_same_listing
        )

    async def _replan(self) -> Decision | str:
        """Return the new decision, or the error's message: raising would hide the changes already made."""
        self.read_at = self.planner.clock.elapsed()
        log.info("plan.outdated", workspace=self.workspace.policy.workspace)
        try:
            (decision,) = await self.planner.plan([self.workspace], self.request.user)
        except PigmentSyncError as error:
            return error.message
        return await asyncio.to_thread(decision.for_writing)

    async def _record_untried(self, applied: ApplyResult, why: str) -> ApplyResult:
        return await self.applier.record_not_applied(applied.remaining, Outcome.NOT_TRIED, why)

    async def _record_held(self, left: tuple[tuple[int, Change], ...], decision: Decision) -> None:
        """Record what the new plan holds of the old one. A change that is no longer needed gets no record."""
        if decision.plan is None:
            raise AssertionError("only a plan is applied")
        for seq, change in left:
            if why := hold_message(change, decision.plan):
                words = f"The workspace was read and planned again, because its plan was too old. {why}"
                await self.applier.record_not_applied(((seq, change),), Outcome.HELD, words)
