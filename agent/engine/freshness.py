"""Apply a plan; once it is too old while changes are still to be sent, read and plan again, and go on with that.

What a human approved stays bound to what was approved: of a new plan only the very same changes are released.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from agent.apply.changes import Applied, Applier, IsOld
from agent.engine.order import Decision, Order
from agent.engine.survey import Deciding, ReadSite
from agent.errors import PigmentSyncError
from agent.guard.again import Content, contents, in_grace, only_again, released_again, still_held
from agent.model import Change
from agent.ports import Outcome, Trigger

__all__ = ["Application"]

log = structlog.get_logger()
# These were asked for as they were reviewed: what has come up since is for another run.
EXACT = frozenset({Trigger.APPLY, Trigger.UNDO})


@dataclass(slots=True)
class Application:
    """Applies to one workspace. *read_at* is when its reads began, by `Clock.elapsed`."""

    survey: Deciding
    site: ReadSite
    applier: Applier
    order: Order
    max_age_seconds: float
    read_at: float

    async def apply(self, decision: Decision, approved: frozenset[Content]) -> tuple[Applied, Decision]:
        """Make the changes of *decision*; *approved* are those that guards had held.

        Returns the outcome of all changes, and the newest decision that was followed.
        """
        first = decision
        if first.plan is None:
            raise AssertionError("only a plan is applied")
        begun, waiting = contents(first.plan), in_grace(first.plan)
        applied = await self._round(decision, self.is_old)
        while applied.left:
            if applied.has_idle_round:
                # Each plan must get something done, or a workspace that refuses all would be read for ever.
                return await self._end(applied, "Nothing of the plan could be made before it was too old."), decision
            fresh = await self._plan_again()
            if isinstance(fresh, str) or fresh.plan is None or fresh.unguarded is None:
                why = fresh if isinstance(fresh, str) else fresh.unplanned.message if fresh.unplanned else ""
                return await self._end(applied, f"The plan was too old to go on with. {why}"), decision
            plan = released_again(fresh.plan, fresh.unguarded, approved)
            plan = only_again(plan, begun, waiting, is_exact=self.order.trigger in EXACT)
            decision = replace(fresh, plan=plan)
            await self._account(applied.left, decision)
            applied = await self._round(decision, lambda tried: tried > 0 and self.is_old(tried))
        return applied, decision

    def is_old(self, _tried: int) -> bool:
        return self.survey.clock.elapsed() - self.read_at > self.max_age_seconds

    async def _round(self, decision: Decision, is_old: IsOld) -> Applied:
        if decision.plan is None:
            raise AssertionError("only a plan is applied")
        return await self.applier.apply(decision.plan.changes, decision.members, decision.taken, is_old)

    async def _plan_again(self) -> Decision | str:
        """Return the new decision, or why it could not be made: an error must not hide the changes made before."""
        self.read_at = self.survey.clock.elapsed()
        log.info("plan.outdated", workspace=self.site.policy.workspace)
        try:
            return (await self.survey.decide([self.site], self.order.user))[0]
        except PigmentSyncError as error:
            return error.message

    async def _end(self, applied: Applied, why: str) -> Applied:
        return await self.applier.leave(applied.left, Outcome.NOT_TRIED, why)

    async def _account(self, left: tuple[tuple[int, Change], ...], decision: Decision) -> None:
        """Record what the new plan holds of the old one; what it does not need any more has no record."""
        if decision.plan is None:
            raise AssertionError("only a plan is applied")
        for seq, change in left:
            if why := still_held(change, decision.plan):
                words = f"The workspace was read and planned again, because its plan was too old. {why}"
                await self.applier.leave(((seq, change),), Outcome.HELD, words)
