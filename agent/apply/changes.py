"""Make the changes of one plan in their order. One person's failure is theirs; a lost workspace stops the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import structlog

from agent.apply.write import Answered, send
from agent.errors import WorkspaceGone
from agent.model import Change, Kind, Link, Member
from agent.ports import ChangeRecord, Clock, Lease, Outcome, State, Workspace
from connectors.base import Progress

__all__ = ["Applied", "Applier"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of every change of a plan, in its order. *gone* says why the rest was not tried."""

    records: tuple[ChangeRecord, ...]
    gone: WorkspaceGone | None = None

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

    *is_stopping* is asked before each change: once it says yes, what is left is not tried.
    """

    workspace: Workspace
    state: State
    clock: Clock
    lease: Lease
    run_id: str
    progress: Progress
    is_stopping: Callable[[], bool]

    async def apply(self, changes: Sequence[Change], members: Mapping[str, Member], taken: AbstractSet[str]) -> Applied:
        """Make *changes*; *members* is the listing by SCIM id, *taken* the ids that have a link already."""
        adoptions = [(seq, change) for seq, change in enumerate(changes) if change.kind is Kind.ADOPT]
        records = await self._adopt(adoptions)
        owned = {*taken, *(change.scim_id for _, change in adoptions if change.scim_id)}
        failed: set[str] = set()
        gone: WorkspaceGone | None = None
        for seq, change in enumerate(changes):
            if change.kind is Kind.ADOPT:
                continue
            if gone is not None or self.is_stopping():
                why = gone.message if gone is not None else "The run was stopped."
                record = await self._skipped(seq, change, why)
            elif change.waits_for in failed:
                record = await self._skipped(seq, change, "The member that has the address did not move away.")
            else:
                record, gone = await self._make(seq, change, members, owned)
            if record.outcome is not Outcome.DONE and change.scim_id:
                failed.add(change.scim_id)
            if record.scim_id:
                owned.add(record.scim_id)
            records.append(record)
            self.progress(f"{self.lease.workspace}: applying", len(records), len(changes))
        return Applied(tuple(sorted(records, key=lambda record: record.seq)), gone)

    async def _adopt(self, adoptions: Sequence[tuple[int, Change]]) -> list[ChangeRecord]:
        if not adoptions:
            return []
        linked = [(seq, change, _link(change, change.scim_id or "")) for seq, change in adoptions]
        await self.state.adopted(self.lease, self.run_id, linked)
        now = self.clock.now()
        log.info("members.adopted", workspace=self.lease.workspace, members=len(linked))
        return [
            ChangeRecord(self.run_id, seq, change, Outcome.DONE, "", now, now, change.scim_id)
            for seq, change in adoptions
        ]

    async def _make(
        self, seq: int, change: Change, members: Mapping[str, Member], taken: AbstractSet[str]
    ) -> tuple[ChangeRecord, WorkspaceGone | None]:
        sent_at = self.clock.now()
        await self.state.intend(self.lease, self.run_id, seq, change)
        gone = None
        try:
            answered = await send(self.workspace, change, members.get(change.scim_id or ""), taken)
        except WorkspaceGone as error:
            gone = error
            # Refused credentials wrote nothing; a host that fell silent may have done what it did not answer.
            outcome = Outcome.FAILED if error.code == "credentials" else Outcome.UNKNOWN
            answered = Answered(outcome, f"{error.message} {error.hint}")
        scim_id = answered.member.scim_id if answered.member else change.scim_id
        now = self.clock.now()
        record = ChangeRecord(self.run_id, seq, change, answered.outcome, answered.detail, sent_at, now, scim_id)
        created = change.kind is Kind.CREATE and answered.outcome is Outcome.DONE and scim_id is not None
        await self.state.answered(self.lease, record, _link(change, scim_id) if created and scim_id else None)
        report = log.info if answered.outcome is Outcome.DONE else log.warning
        report("change.applied", workspace=self.lease.workspace, kind=change.kind, outcome=answered.outcome, seq=seq)
        return record, gone

    async def _skipped(self, seq: int, change: Change, why: str) -> ChangeRecord:
        now = self.clock.now()
        record = ChangeRecord(self.run_id, seq, change, Outcome.NOT_TRIED, why, now, now, change.scim_id)
        await self.state.answered(self.lease, record)
        return record


def _link(change: Change, scim_id: str) -> Link:
    if change.person is None:
        raise AssertionError("only a person's change makes a link")
    return Link(change.person, scim_id, change.group_refs)
