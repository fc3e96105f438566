"""Make the changes of one plan in their order. One person's failure is theirs; a lost workspace or lease ends it.

Whatever ends it, each change has a record: the report must never leave out what was sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import structlog

from agent.apply.write import Answered, send
from agent.errors import LeaseLost, PigmentSyncError, StateError, WorkspaceGone, WriteStopped, lease_lost
from agent.model import Change, Fields, Kind, Link, Member
from agent.ports import ChangeRecord, Clock, Lease, Outcome, Pause, State, Workspace
from connectors.base import Progress

__all__ = ["Applied", "Applier", "IsOld"]

log = structlog.get_logger()
IsOld = Callable[[int], bool]
"""Returns whether the plan is too old to go on with, now that so many of its changes were tried."""


def never(_tried: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of every change of a plan, in its order.

    *gone*, *lost* or *pause* is why the rest was not tried: the workspace, the lease or the state, or a human.
    *unrecorded* are the records that the journal lacks once the state is lost. *left* are the changes, with their
    numbers, that the age of the plan left over; the newest plan's begin with number *since*.
    """

    records: tuple[ChangeRecord, ...]
    gone: WorkspaceGone | None = None
    lost: PigmentSyncError | None = None
    pause: Pause | None = None
    unrecorded: tuple[ChangeRecord, ...] = ()
    left: tuple[tuple[int, Change], ...] = ()
    since: int = 0

    @property
    def newest(self) -> tuple[ChangeRecord, ...]:
        """Return what was done after the newest plan was made."""
        return tuple(record for record in self.records if record.seq >= self.since)

    @property
    def has_idle_round(self) -> bool:
        """Whether nothing of the newest plan was made."""
        return not any(record.outcome is Outcome.DONE for record in self.newest)

    @property
    def has_failures(self) -> bool:
        fine = {Outcome.DONE, Outcome.HELD}
        return any(record.outcome not in fine for record in self.records)

    @property
    def has_written(self) -> bool:
        """Tell whether anything may have been written to the workspace."""
        tried = {Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED}
        return any(record.outcome in tried and record.change.kind is not Kind.ADOPT for record in self.records)


@dataclass(slots=True)
class Applier:
    """Applies to one workspace under one lease.

    *is_stopping* is asked before each change: once it returns true, the remaining changes are not tried. *secure* is
    awaited before each: it raises `LeaseLost` when the lease does not hold any more.
    """

    workspace: Workspace
    state: State
    clock: Clock
    lease: Lease
    run_id: str
    progress: Progress
    is_stopping: Callable[[], bool]
    heeds_pause: bool
    secure: Callable[[], Awaitable[None]]
    _gone: WorkspaceGone | None = field(default=None, init=False)
    _lost: PigmentSyncError | None = field(default=None, init=False)
    _pause: Pause | None = field(default=None, init=False)
    _unrecorded: list[ChangeRecord] = field(default_factory=list, init=False)
    _records: list[ChangeRecord] = field(default_factory=list, init=False)
    _next: int = field(default=0, init=False)
    _since: int = field(default=0, init=False)

    async def apply(
        self,
        changes: Sequence[Change],
        members: Mapping[str, Member],
        taken: AbstractSet[str],
        is_old: IsOld = never,
    ) -> Applied:
        """Make *changes*; *members* is the listing by SCIM id, *taken* the ids that have a link already.

        Called again it goes on, with the changes of a newer plan.
        """
        self._since = self._next
        numbered = list(enumerate(changes, self._next))
        self._next += len(numbered)
        adoptions = [(seq, change) for seq, change in numbered if _is_adoption(change)]
        records = self._records
        records.extend(await self._adopt(adoptions))
        # As they are while the plan is made: a member may answer under another id.
        members = dict(members)
        owned = {*taken, *(change.scim_id for _, change in adoptions if change.scim_id)}
        failed: set[str] = set()
        others = [(seq, change) for seq, change in numbered if not _is_adoption(change)]
        for tried, (seq, change) in enumerate(others):
            if why := self._why_not(change, failed):
                record = await self._skipped(seq, change, why)
            elif is_old(tried):
                return self._applied(left=others[tried:])
            else:
                record = await self._make(seq, change, members, owned)
            if record.outcome is not Outcome.DONE and change.scim_id:
                failed.add(change.scim_id)
            if record.scim_id:
                owned.add(record.scim_id)
            if change.scim_id and record.scim_id != change.scim_id:
                owned.discard(change.scim_id)
                members.pop(change.scim_id, None)
            records.append(record)
            self.progress(f"{self.lease.workspace}: applying", len(records), len(changes))
        return self._applied()

    async def leave(self, left: Sequence[tuple[int, Change]], outcome: Outcome, why: str) -> Applied:
        """Record changes that are not made after all."""
        for seq, change in left:
            self._records.append(await self._skipped(seq, change, why, outcome))
        return self._applied()

    def _applied(self, left: Sequence[tuple[int, Change]] = ()) -> Applied:
        in_order = tuple(sorted(self._records, key=lambda record: record.seq))
        unrecorded = tuple(self._unrecorded)
        return Applied(in_order, self._gone, self._lost, self._pause, unrecorded, tuple(left), self._since)

    def _why_not(self, change: Change, failed: AbstractSet[str]) -> str:
        """Return why *change* is not tried, empty when it is."""
        if self._lost is not None:
            return self._lost.message
        if self._gone is not None:
            return self._gone.message
        if self._pause is not None:
            return _paused(self._pause)
        if self.is_stopping():
            return "The run was stopped."
        return "The member that has the address did not move away." if change.waits_for in failed else ""

    async def _adopt(self, adoptions: Sequence[tuple[int, Change]]) -> list[ChangeRecord]:
        if not adoptions:
            return []
        linked = [(seq, change, _link(change, change.scim_id or "")) for seq, change in adoptions]
        try:
            await self.state.adopted(self.lease, self.run_id, linked)
        except (LeaseLost, StateError) as error:
            self._lost = error
            return [await self._skipped(seq, change, error.message) for seq, change in adoptions]
        now = self.clock.now()
        log.info("members.adopted", workspace=self.lease.workspace, members=len(linked))
        return [
            ChangeRecord(self.run_id, seq, change, Outcome.DONE, "", now, now, change.scim_id)
            for seq, change in adoptions
        ]

    async def _make(
        self, seq: int, change: Change, members: Mapping[str, Member], taken: AbstractSet[str]
    ) -> ChangeRecord:
        sent_at = self.clock.now()
        try:
            await self.secure()
            intending = self.state.intend(self.lease, self.run_id, seq, change, heeds_pause=self.heeds_pause)
            self._pause = await intending
        except (LeaseLost, StateError) as error:
            self._lost = error
            return await self._skipped(seq, change, error.message)
        if self._pause is not None:
            return await self._skipped(seq, change, _paused(self._pause))
        try:
            answered = await send(self.workspace, change, members.get(change.scim_id or ""), taken)
        except WriteStopped as error:
            self._lost = lease_lost(self.lease.workspace)
            outcome = Outcome.UNKNOWN if error.may_be_made else Outcome.NOT_TRIED
            answered = Answered(outcome, f"{error.message} {error.hint}")
        except WorkspaceGone as error:
            self._gone = error
            # Refused credentials wrote nothing, unless an attempt before them did.
            outcome = Outcome.UNKNOWN if error.may_be_made else Outcome.FAILED
            answered = Answered(outcome, f"{error.message} {error.hint}")
        answered = _of_this_member(answered, change, members)
        scim_id = answered.member.scim_id if answered.member else change.scim_id
        now = self.clock.now()
        record = ChangeRecord(
            self.run_id,
            seq,
            _as_met(change, answered),
            answered.outcome,
            answered.detail,
            sent_at,
            now,
            scim_id,
            answered.is_accepted,
        )
        created = change.kind is Kind.CREATE and answered.outcome is Outcome.DONE and scim_id is not None
        await self._journal(record, _link(change, scim_id) if created and scim_id else None)
        report = log.info if answered.outcome is Outcome.DONE else log.warning
        report("change.applied", workspace=self.lease.workspace, kind=change.kind, outcome=answered.outcome, seq=seq)
        return record

    async def _journal(self, record: ChangeRecord, link: Link | None = None) -> None:
        """Write the outcome of a change and its link; keep it in memory if the state refuses it or is out of reach."""
        if self._lost is None:
            try:
                await self.state.answered(self.lease, record, link)
            except (LeaseLost, StateError) as error:
                self._lost = error
            else:
                return
        # Without its link on record a create that was made must be found again by the next run.
        self._unrecorded.append(record if link is None else replace(record, outcome=Outcome.UNKNOWN))

    async def _skipped(self, seq: int, change: Change, why: str, outcome: Outcome = Outcome.NOT_TRIED) -> ChangeRecord:
        now = self.clock.now()
        record = ChangeRecord(self.run_id, seq, change, outcome, why, now, now, change.scim_id)
        await self._journal(record)
        return record


def _as_met(change: Change, answered: Answered) -> Change:
    """Return *change* as it turned out: a create that met a member says how it was before, and leaves it its name."""
    if answered.met is None:
        return change
    name = (answered.member or answered.met).display_name
    after = replace(change.after, display_name=name)
    return replace(change, before=Fields(active=answered.met.active), after=after)


def _is_adoption(change: Change) -> bool:
    """Return whether *change* writes a link and sends nothing. An undo of one ends a link instead."""
    return change.kind is Kind.ADOPT and change.undoes is None


def _paused(pause: Pause) -> str:
    why = f": {pause.reason}" if pause.reason else ""
    return f"The workspace was paused by {pause.by} at {pause.since:%Y-%m-%d %H:%M} UTC{why}."


def _of_this_member(answered: Answered, change: Change, members: Mapping[str, Member]) -> Answered:
    """Return *answered*, or a failure where the member under its new id is another one of the listing."""
    shown = answered.member
    if shown is None or change.scim_id in {None, shown.scim_id} or shown.scim_id not in members:
        return answered
    return Answered(
        Outcome.NOT_PERSISTED,
        f"The workspace answered the change of {change.email} with another member ({shown.scim_id}), which it listed "
        "before. Check both members in Pigment.",
    )


def _link(change: Change, scim_id: str) -> Link:
    if change.person is None:
        raise AssertionError("only a person's change makes a link")
    return Link(change.person, scim_id, change.group_refs)
