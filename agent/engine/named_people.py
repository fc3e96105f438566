"""Settle the people that a feed named, by what looks at them showed and what runs made of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent.apply.changes import Applier, ApplyResult
from agent.engine.planner import ReadOnlyWorkspace
from agent.engine.request import Decision, planned_deactivations
from agent.model import Change, Kind
from agent.model.feed import FeedLag, NamedPerson
from agent.model.run import ChangeRecord, Outcome
from agent.ports.clock import Clock
from agent.ports.state import State
from connectors.base import PersonKey
from connectors.feed import Standing

# A run without a feed starts faster without its planner.
if TYPE_CHECKING:
    from agent.engine.feed_plan import FeedPlanner, Look

__all__ = ["LEFT_OUT", "LOOK_AGAIN_AFTER", "NamedInRun", "Settled", "end_read_people", "settle_looks"]

LOOK_AGAIN_AFTER = (timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=40))
"""When a person is looked at again whose first, second, third look proved nothing. Then a run over everyone is due."""
LAGS_FOR = sum(LOOK_AGAIN_AFTER, timedelta())
"""How long after an event a read may still show what was before it, and how far the clocks of two daemons differ."""
RETRY_AFTER = timedelta(seconds=60)
OVERTAKEN = "The person left after the source was read: the change feed named them, and they were looked at again."
UNPROVEN = (
    "The change feed named the person after the source was read, and a look did not prove that they stay. The next run "
    "decides."
)
BLOCKED = "The member that has the address does not change it in this run."
LEFT_OUT = frozenset({OVERTAKEN, UNPROVEN, BLOCKED})
"""Why changes of a plan are not made, in their records."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of named people. *deactivated* are with their records; *left_to_run* need a run over everyone.

    *unproven* of those could be proven neither to have left nor to stay, in any look. *failure* is why no one could be
    looked at; *is_busy*: because another run holds the workspace.
    """

    deactivated: tuple[tuple[NamedPerson, ChangeRecord], ...] = ()
    left_to_run: tuple[NamedPerson, ...] = ()
    unproven: int = 0
    failure: str = ""
    is_busy: bool = False

    @property
    def lags(self) -> tuple[FeedLag, ...]:
        """How long after the provider's event each of *deactivated* was done."""
        return tuple(
            FeedLag(
                named.workspace,
                named.person,
                record.answered_at,
                max(0.0, (record.answered_at - named.event_at).total_seconds()),
            )
            for named, record in self.deactivated
            if record.outcome is Outcome.DONE and named.event_at is not None and record.answered_at is not None
        )


async def settle_looks(
    state: State,
    looks: Sequence[Look],
    records: Collection[ChangeRecord],
    now: datetime,
    held: AbstractSet[PersonKey] = frozenset(),
    *,
    may_leave: bool = True,
) -> Settled:
    """Record how the people of *looks* go on. *records* are the changes of the run that looked, *held* whom it held.

    Without *may_leave* those who need a run over everyone stay named: no one would ask for such a run.
    """
    made = {record.change.person: record for record in records if record.change.kind is Kind.DEACTIVATE}
    ended: list[NamedPerson] = []
    again: list[NamedPerson] = []
    left: list[NamedPerson] = []
    deactivated: list[tuple[NamedPerson, ChangeRecord]] = []
    unproven = 0
    for look in looks:
        named, record = look.named, made.get(look.named.person)
        pause = _pause_before_next(look, record)
        if pause is not None:
            again.append(replace(named, looks=named.looks + 1, due_at=now + pause))
        elif look.standing is Standing.LEFT and named.person not in held and _is_done(record):
            ended.append(named)
            if record is not None:
                deactivated.append((named, record))
        elif may_leave:
            # Also those who are entitled: the event is about something else than leaving, such as a new name. And those
            # whose deactivation failed each time: only a run over everyone tries it again.
            left.append(named)
            unproven += look.standing is Standing.UNKNOWN and not look.is_conclusive
    await state.record_look(again)
    # In one transaction: a process that ends in between must not leave them to no one.
    words = {named.workspace: named.word for named in reversed(left)}
    wanted = {name: f"a person whom the feed named ({word})" for name, word in words.items()}
    await state.end_named([*ended, *left], wanted)
    return Settled(tuple(deactivated), tuple(left), unproven)


def _is_done(record: ChangeRecord | None) -> bool:
    """Return whether nothing is left to do: the change was made, or the member needed none."""
    return record is None or record.outcome is Outcome.DONE


def _pause_before_next(look: Look, record: ChangeRecord | None) -> timedelta | None:
    """Return when to look at the person again, None for not again."""
    looks = look.named.looks
    if looks >= len(LOOK_AGAIN_AFTER):
        return None
    if look.standing is Standing.LEFT and record is not None and record.outcome is not Outcome.DONE:
        return RETRY_AFTER
    if not look.is_conclusive:
        return LOOK_AGAIN_AFTER[looks]
    return None


@dataclass(frozen=True, slots=True)
class NamedInRun:
    """Takes up, inside a run over everyone, the people whom a feed named since the run's read began.

    Without this a leaver would wait until a long run has written everything, or even be reactivated by it. The run
    itself began to read after *began_at*.
    """

    state: State
    clock: Clock
    planner: FeedPlanner | None
    workspace: ReadOnlyWorkspace
    applier: Applier
    began_at: datetime

    async def before_writes(self, decision: Decision) -> Decision:
        """Deactivate those who left, and return *decision* without any other change for them.

        Nor is another change left for those who may have left since the read: where no look proves that they stay.
        """
        plan = decision.plan
        if plan is None:
            return decision
        taken_up = await self._deactivate(planned_deactivations(decision), decision.linked_ids)
        left, unproven = taken_up.left, await self._find_unproven(taken_up.looks)
        others = [each for each in plan.changes if each.kind is not Kind.DEACTIVATE]
        overtaken = [each for each in others if each.person in left]
        doubtful = [each for each in others if each.person in unproven - left]
        blocked = _waiting_for([*overtaken, *doubtful], others)
        await self.applier.record_overtaken(overtaken, OVERTAKEN)
        await self.applier.record_overtaken(doubtful, UNPROVEN)
        await self.applier.record_overtaken(blocked, BLOCKED)
        # A deactivation that was approved for this plan stays in it: the guards may hold what the feed asks for.
        made = taken_up.made & left
        done = {each for each in plan.changes if each.kind is Kind.DEACTIVATE and each.person in made}
        dropped = done.union(overtaken, doubtful, blocked)
        kept = tuple(each for each in plan.changes if each not in dropped)
        return replace(decision, plan_to_apply=replace(plan, changes=kept))

    async def before_end(self, applied: ApplyResult) -> ApplyResult:
        """Deactivate those who were named while the run wrote, and return the outcome of the whole run."""
        if applied.state_error is not None or applied.workspace_error is not None or applied.pause is not None:
            return applied
        more = await self._deactivate(frozenset(), frozenset())
        return more.applied or applied

    async def _deactivate(self, going: frozenset[str], linked_ids: frozenset[str]) -> _TakenUp:
        """Deactivate those of the due people who left, and return what the looks showed."""
        name = self.workspace.policy.workspace
        if self.planner is None or not await self.state.load_named_people(name, self.clock.now()):
            return _TakenUp()
        decision = await self.planner.plan_named(self.workspace, going)
        if decision.plan is None:
            return _TakenUp()
        looks = self.planner.looks[name]
        applied = await self.applier.apply(
            decision.plan.changes, decision.members, linked_ids or decision.linked_ids, is_same_listing=True
        )
        held = frozenset(hold.person for hold in decision.plan.holds if hold.person is not None)
        now = self.clock.now()
        await settle_looks(self.state, looks, applied.records, now, held, may_leave=False)
        # What this run read about them is newer than the event, and the look shows the same.
        agreed = [look.named for look in looks if look.is_conclusive and look.standing is Standing.ENTITLED]
        await self.state.end_named([each for each in agreed if each.named_at <= self.began_at])
        return _TakenUp(applied, tuple(looks))

    async def _find_unproven(self, looks: Sequence[Look]) -> frozenset[PersonKey]:
        """Return whom a feed named since the read, or shortly before, and no one of *looks* proves to stay.

        All of them are here when the looks failed, and those who are not due for one.
        """
        if self.planner is None:
            return frozenset()
        now, shown = self.clock.now(), {(look.named.person, look.named.named_at): look for look in looks}
        # A person may have been named again since the look, and settling may have forgotten the first naming.
        named = await self.state.load_named_people(self.workspace.policy.workspace)
        return frozenset(
            each.person
            for each in [*named, *(look.named for look in looks)]
            if self._may_have_left(each, shown.get((each.person, each.named_at)), now)
        )

    def _may_have_left(self, named: NamedPerson, look: Look | None, now: datetime) -> bool:
        if named.named_at > self.began_at:
            return look is None or look.standing is not Standing.ENTITLED or not look.is_conclusive
        # The read is newer, but another daemon's clock may be behind, and a read may show what was before.
        is_recent = named.named_at > self.began_at - LAGS_FOR
        return is_recent and (named.due_at <= now if look is None else look.standing is Standing.UNKNOWN)


@dataclass(frozen=True, slots=True)
class _TakenUp:
    """What became of named people inside a run. *applied* is the outcome of the run so far, None: no one was looked at.

    *looks* is empty when they failed.
    """

    applied: ApplyResult | None = None
    looks: tuple[Look, ...] = ()

    @property
    def made(self) -> frozenset[PersonKey | None]:
        records = self.applied.records if self.applied is not None else ()
        return frozenset(each.change.person for each in records if each.outcome is Outcome.DONE)

    @property
    def left(self) -> frozenset[PersonKey]:
        return frozenset(look.named.person for look in self.looks if look.standing is Standing.LEFT)


def _waiting_for(left_out: Sequence[Change], others: Sequence[Change]) -> list[Change]:
    """Return which of *others* wait for an address that *left_out*, or a change that waits itself, would have freed."""
    kept = {each.scim_id for each in left_out} - {None}
    found: list[Change] = []
    remaining = [each for each in others if each not in left_out]
    while following := [each for each in remaining if each.waits_for in kept]:
        found += following
        kept |= {each.scim_id for each in following} - {None}
        remaining = [each for each in remaining if each not in following]
    return found


async def end_read_people(state: State, workspace: str, began_at: datetime, leavers: Collection[PersonKey]) -> None:
    """Forget the people about whom a run over everyone decided: it found them among *leavers*, or read long after they
    were named.

    Just after the event its read may still show what was before: then the feed's next look decides.
    """
    named = await state.load_named_people(workspace)
    ended = [each for each in named if each.named_at <= began_at - LAGS_FOR]
    ended += [each for each in named if began_at - LAGS_FOR < each.named_at <= began_at and each.person in leavers]
    if ended:
        await state.end_named(ended)
