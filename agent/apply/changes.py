"""Apply the changes of one plan in order. A change may fail alone; a lost workspace, lease or state ends the run.

Whatever ends it, each change has a record: the report must never leave out what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import structlog

from agent.apply.in_flight import InFlight
from agent.apply.send import ChangeResult, send
from agent.errors import LeaseLost, PigmentSyncError, StateError, WorkspaceUnavailable, WriteStopped, lease_lost_error
from agent.model import Change, Fields, Kind, Link, Member
from agent.model.email import normalize
from agent.model.run import ChangeRecord, Lease, Outcome, Pause
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.ports.tracer import NO_TRACER, Tracer
from agent.ports.workspace import WorkspaceWriter
from connectors.base import Progress

__all__ = ["Applier", "ApplyResult", "IsOutdated"]

log = structlog.get_logger()
ADOPTIONS_AT_ONCE = 2_000
"""How many adoptions one transaction writes. Renewals of leases, of other workspaces too, wait for its end."""
IsOutdated = Callable[[int], bool]
"""Returns whether the plan is too old to go on with, now that so many of its changes were tried."""


def is_never_outdated(_tried: int) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """The outcome of every change of a plan, in its order.

    *workspace_error*, *state_error* or *pause* is why the rest was not tried: the workspace, the lease or the state, or
    a human. *unrecorded* are the records that the journal lacks once the state is lost. *remaining* are the changes,
    with their numbers, that the age of the plan left over; the newest plan's begin with number *first_seq*.
    """

    records: tuple[ChangeRecord, ...]
    workspace_error: WorkspaceUnavailable | None = None
    state_error: PigmentSyncError | None = None
    pause: Pause | None = None
    unrecorded: tuple[ChangeRecord, ...] = ()
    remaining: tuple[tuple[int, Change], ...] = ()
    first_seq: int = 0

    @property
    def newest_records(self) -> tuple[ChangeRecord, ...]:
        """Return what was done after the newest plan was made."""
        return tuple(record for record in self.records if record.seq >= self.first_seq)

    @property
    def has_idle_round(self) -> bool:
        """Return whether nothing of the newest plan was made."""
        return not any(record.outcome is Outcome.DONE for record in self.newest_records)

    @property
    def has_failures(self) -> bool:
        fine = {Outcome.DONE, Outcome.HELD}
        return any(record.outcome not in fine for record in self.records)

    @property
    def has_written(self) -> bool:
        """Return whether anything may have been written to the workspace."""
        tried = {Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED}
        return any(record.outcome in tried and record.change.kind is not Kind.ADOPT for record in self.records)


@dataclass(slots=True)
class Applier:
    """Applies to one workspace under one lease.

    *is_stopping* is asked before each change: once it returns true, the remaining changes are not tried. *ensure_lease*
    is awaited before each: it raises `LeaseLost` when the lease does not hold any more. Members whose normalized
    address matches *protected* get no change. At most *in_flight* changes are made at once, of one phase, and never two
    of one member.
    """

    workspace: WorkspaceWriter
    state: State
    clock: Clock
    lease: Lease
    run_id: str
    progress: Progress
    is_stopping: Callable[[], bool]
    respects_pause: bool
    ensure_lease: Callable[[], Awaitable[None]]
    protected: re.Pattern[str]
    tracer: Tracer = NO_TRACER
    in_flight: int = 1
    _workspace_error: WorkspaceUnavailable | None = field(default=None, init=False)
    _state_error: PigmentSyncError | None = field(default=None, init=False)
    _pause: Pause | None = field(default=None, init=False)
    _unrecorded: list[ChangeRecord] = field(default_factory=list, init=False)
    _records: list[ChangeRecord] = field(default_factory=list, init=False)
    _next_seq: int = field(default=0, init=False)
    _first_seq: int = field(default=0, init=False)

    async def apply(
        self,
        changes: Sequence[Change],
        members: Mapping[str, Member],
        taken: AbstractSet[str],
        is_outdated: IsOutdated = is_never_outdated,
        *,
        is_same_listing: bool = False,
    ) -> ApplyResult:
        """Make *changes*; *members* is the listing by SCIM id, *taken* the ids that have a link already.

        Called again it goes on, with the changes of a newer plan; with *is_same_listing* of one that is based on the
        same listing.
        """
        if not is_same_listing:
            self._first_seq = self._next_seq
        numbered = list(enumerate(changes, self._next_seq))
        self._next_seq += len(numbered)
        adoptions = [(seq, change) for seq, change in numbered if _is_adoption(change)]
        await self._adopt_members(adoptions)
        reached = _Reached(dict(members), {*taken, *(change.scim_id for _, change in adoptions if change.scim_id)})
        others = [(seq, change) for seq, change in numbered if not _is_adoption(change)]
        async with InFlight(self.in_flight) as in_flight:
            phase: Kind | None = None
            for tried, (seq, change) in enumerate(others):
                if _phase(change) is not phase:
                    await in_flight.wait_until_empty()
                    phase = _phase(change)
                keys = _keys(change)
                await in_flight.wait_for_room(keys)
                if why := self._skip_reason(change, reached.failed):
                    self._conclude(await self._record_skipped(seq, change, why), reached, len(changes))
                elif is_outdated(tried):
                    left = others[tried:]
                    break
                else:
                    await in_flight.run(keys, self._make(seq, change, reached, in_flight, len(changes)))
            else:
                left = []
        return self._result(left)

    async def record_overtaken(self, changes: Sequence[Change], why: str) -> ApplyResult:
        """Record *changes* of a plan that are not made, because the person left since it was read."""
        numbered = list(enumerate(changes, self._next_seq))
        self._next_seq += len(numbered)
        return await self.record_not_applied(numbered, Outcome.HELD, why)

    async def record_not_applied(self, left: Sequence[tuple[int, Change]], outcome: Outcome, why: str) -> ApplyResult:
        """Record changes that are not made after all."""
        for seq, change in left:
            self._records.append(await self._record_skipped(seq, change, why, outcome))
        return self._result()

    @property
    def result_so_far(self) -> ApplyResult:
        """Return the outcome of everything that was tried until now."""
        return self._result()

    def _result(self, left: Sequence[tuple[int, Change]] = ()) -> ApplyResult:
        in_order = tuple(sorted(self._records, key=lambda record: record.seq))
        unrecorded = tuple(self._unrecorded)
        return ApplyResult(
            records=in_order,
            workspace_error=self._workspace_error,
            state_error=self._state_error,
            pause=self._pause,
            unrecorded=unrecorded,
            remaining=tuple(left),
            first_seq=self._first_seq,
        )

    def _skip_reason(self, change: Change, failed: AbstractSet[str]) -> str:
        """Return why *change* is not tried, empty when it is."""
        if self._state_error is not None:
            return self._state_error.message
        if self._workspace_error is not None:
            return self._workspace_error.message
        if self._pause is not None:
            return _pause_sentence(self._pause)
        if self.is_stopping():
            return "The run was stopped."
        return "The member that has the address did not change it." if change.waits_for in failed else ""

    async def _adopt_members(self, adoptions: Sequence[tuple[int, Change]]) -> None:
        """Write the links of *adoptions*. A run that ends between two parts leaves the rest to the next run."""
        for start in range(0, len(adoptions), ADOPTIONS_AT_ONCE):
            part = adoptions[start : start + ADOPTIONS_AT_ONCE]
            linked = [(seq, change, _link_for(change, change.scim_id or "")) for seq, change in part]
            try:
                await self.state.record_adoptions(self.lease, self.run_id, linked)
            except (LeaseLost, StateError) as error:
                self._state_error = error
                for seq, change in adoptions[start:]:
                    self._records.append(await self._record_skipped(seq, change, error.message))
                return
            now = self.clock.now()
            log.info("members.adopted", workspace=self.lease.workspace, members=len(linked))
            self._records.extend(
                ChangeRecord(
                    run_id=self.run_id,
                    seq=seq,
                    change=change,
                    outcome=Outcome.DONE,
                    detail="",
                    sent_at=now,
                    answered_at=now,
                    scim_id=change.scim_id,
                )
                for seq, change in part
            )

    async def _make(self, seq: int, change: Change, reached: _Reached, in_flight: InFlight, count: int) -> None:
        attributes = {"pigment_sync.provider": "pigment", "pigment_sync.kind": change.kind.value}
        with self.tracer.span("change", attributes) as span:
            record = await self._apply_change(seq, change, reached, in_flight, count)
            span.set({"pigment_sync.outcome": record.outcome.value})
            if record.outcome is not Outcome.DONE:
                span.fail(record.outcome.value)

    async def _apply_change(
        self, seq: int, change: Change, reached: _Reached, in_flight: InFlight, count: int
    ) -> ChangeRecord:
        sent_at = self.clock.now()
        if why := await self._intend(seq, change):
            record = await self._record_skipped(seq, change, why)
            self._conclude(record, reached, count)
            return record
        result = _verified_result(await self._send(change, reached, in_flight), change, reached.members)
        scim_id = result.member.scim_id if result.member else change.scim_id
        record = ChangeRecord(
            run_id=self.run_id,
            seq=seq,
            change=_with_existing_member(change, result),
            outcome=result.outcome,
            detail=result.detail,
            sent_at=sent_at,
            answered_at=self.clock.now(),
            scim_id=scim_id,
            is_accepted=result.is_accepted,
        )
        self._conclude(record, reached, count)
        # The journal keeps the order of the calls, so this outcome is on record no later than the next intent.
        in_flight.release()
        created = change.kind is Kind.CREATE and result.outcome is Outcome.DONE and scim_id is not None
        await self._record_answer(record, _link_for(change, scim_id) if created and scim_id else None)
        report = log.info if result.outcome is Outcome.DONE else log.warning
        report("change.applied", workspace=self.lease.workspace, kind=change.kind, outcome=result.outcome, seq=seq)
        return record

    async def _intend(self, seq: int, change: Change) -> str:
        """Write that *change* is about to be sent. Return why it must not be, empty if it may."""
        try:
            await self.ensure_lease()
            intending = self.state.record_intent(
                self.lease, self.run_id, seq, change, respects_pause=self.respects_pause
            )
            pause = await intending
        except (LeaseLost, StateError) as error:
            self._state_error = self._state_error or error
            return error.message
        if pause is not None:
            self._pause = pause
            return _pause_sentence(pause)
        # What another change met meanwhile. A pause or a stop is too late for this one: it counts as sent.
        end = self._state_error or self._workspace_error
        return end.message if end is not None else ""

    async def _send(self, change: Change, reached: _Reached, in_flight: InFlight) -> ChangeResult:
        member = reached.members.get(change.scim_id or "")
        try:
            return await send(self.workspace, change, member, reached.owned, self.protected, in_flight.alone)
        except WriteStopped as error:
            self._state_error = self._state_error or error.cause or lease_lost_error(self.lease.workspace)
            outcome = Outcome.UNKNOWN if error.may_be_applied else Outcome.NOT_TRIED
            return ChangeResult(outcome, f"{error.message} {error.hint}")
        except StateError as error:
            # The request budget could not permit a read that follows the write: what the write did is not known.
            self._state_error = self._state_error or error
            return ChangeResult(Outcome.UNKNOWN, f"{error.message} {error.hint}")
        except WorkspaceUnavailable as error:
            self._workspace_error = self._workspace_error or error
            # Refused credentials wrote nothing, unless an attempt before them did.
            outcome = Outcome.UNKNOWN if error.may_be_applied else Outcome.FAILED
            return ChangeResult(outcome, f"{error.message} {error.hint}")

    def _conclude(self, record: ChangeRecord, reached: _Reached, count: int) -> None:
        """Keep what became of a change, for the changes after it and for the report."""
        reached.add(record)
        self._records.append(record)
        self.progress(f"{self.lease.workspace}: applying", len(self._records), count)

    async def _record_answer(self, record: ChangeRecord, link: Link | None = None) -> None:
        """Write the outcome of a change and its link; keep it in memory if the state refuses it or is out of reach."""
        if self._state_error is None:
            try:
                await self.state.record_answer(self.lease, record, link)
            except (LeaseLost, StateError) as error:
                self._state_error = error
            else:
                return
        # Without its link on record a create that was made must be found again by the next run.
        self._unrecorded.append(record if link is None else replace(record, outcome=Outcome.UNKNOWN))

    async def _record_skipped(
        self, seq: int, change: Change, why: str, outcome: Outcome = Outcome.NOT_TRIED
    ) -> ChangeRecord:
        now = self.clock.now()
        record = ChangeRecord(
            run_id=self.run_id,
            seq=seq,
            change=change,
            outcome=outcome,
            detail=why,
            sent_at=now,
            answered_at=now,
            scim_id=change.scim_id,
        )
        await self._record_answer(record)
        return record


@dataclass(slots=True)
class _Reached:
    """What the changes reached so far.

    *members* are those of the listing by SCIM id, as they are while the plan is made: one may answer under another id.
    *owned* are the SCIM ids that have a link, *failed* those of the members that did not get their change.
    """

    members: dict[str, Member]
    owned: set[str]
    failed: set[str] = field(default_factory=set)

    def add(self, record: ChangeRecord) -> None:
        previous_id = record.change.scim_id
        if record.outcome is not Outcome.DONE and previous_id:
            self.failed.add(previous_id)
        if record.scim_id:
            self.owned.add(record.scim_id)
        if previous_id and record.scim_id != previous_id:
            self.owned.discard(previous_id)
            self.members.pop(previous_id, None)


def _phase(change: Change) -> Kind:
    """Return the phase of *change*: it begins once every change of the phase before it has ended (design section 7)."""
    return Kind.UPDATE_EMAIL if change.changes_email else change.kind


def _keys(change: Change) -> frozenset[str]:
    """Return what *change* touches: member, addresses, and the member that must move away first.

    All changes of emails have a key in common: each may need the address that the one before it frees.
    """
    ids = {change.scim_id, change.waits_for} - {None}
    addresses = {change.email, change.before.email, change.after.email} - {None}
    keys = {*(f"member {each}" for each in ids), *(f"address {normalize(each or '')}" for each in addresses)}
    return frozenset({*keys, "emails"} if change.changes_email else keys)


def _with_existing_member(change: Change, result: ChangeResult) -> Change:
    """Return *change* as it turned out: for a create of an existing member, with its state before and its own name."""
    if result.existing is None:
        return change
    name = (result.member or result.existing).display_name
    after = replace(change.after, display_name=name)
    return replace(change, before=Fields(active=result.existing.active), after=after)


def _is_adoption(change: Change) -> bool:
    """Return whether *change* writes a link and sends nothing. An undo of one ends a link instead."""
    return change.kind is Kind.ADOPT and change.undone_change is None


def _pause_sentence(pause: Pause) -> str:
    why = f": {pause.reason}" if pause.reason else ""
    return f"The workspace was paused by {pause.by} at {pause.since:%Y-%m-%d %H:%M} UTC{why}."


def _verified_result(result: ChangeResult, change: Change, members: Mapping[str, Member]) -> ChangeResult:
    """Return *answered*, or a failure where the member under its new id is another one of the listing."""
    shown = result.member
    if shown is None or change.scim_id in {None, shown.scim_id} or shown.scim_id not in members:
        return result
    return ChangeResult(
        Outcome.NOT_PERSISTED,
        f"The workspace answered the change of {change.email} with another member ({shown.scim_id}), which it listed "
        "before. Check both members in Pigment.",
    )


def _link_for(change: Change, scim_id: str) -> Link:
    if change.person is None:
        raise AssertionError("only a person's change makes a link")
    return Link(change.person, scim_id, change.group_refs)
