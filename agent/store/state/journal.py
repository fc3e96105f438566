"""The journal of runs and changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from agent.model import Change, Kind, Link, RecentChanges
from agent.model.approval import Approval
from agent.model.run import (
    ANY_RUN,
    ChangeRecord,
    Lease,
    Outcome,
    Pause,
    Run,
    RunFilter,
    RunOutcome,
    RunOutline,
    RunStatus,
)
from agent.store import approvals as approvals_table
from agent.store import change_journal, leases, run_journal, web_logins, whole_runs, workspace_memory
from agent.store.codec import compress_parts
from agent.store.database import Database
from agent.store.journal_queue import Answer, Entry, Intent, JournalQueue
from agent.store.retention import BATCH_SIZE, delete_runs, load_expired_run_ids
from agent.store.state.transactions import Transactions

__all__ = ["SqlJournal"]


class SqlJournal(Transactions):
    """Implements `agent.ports.journal.Journal`."""

    def __init__(self, database: Database, now: Callable[[], datetime], writer: ThreadPoolExecutor) -> None:
        super().__init__(database, now, writer)
        self._journal = JournalQueue(self._write_journal)

    async def begin_run(self, run: Run, lease: Lease, claim: Lease | None = None) -> tuple[str, ...]:
        def body(connection: Connection) -> tuple[str, ...]:
            if claim is not None:
                leases.check(self._database, connection, claim)
            if run.is_over_everyone:
                whole_runs.record_begun(self._database, connection, run)
            return run_journal.begin_run(connection, run)

        return await self._write_under_lease(lease, body)

    async def record_run(self, run: Run, document: Iterable[bytes] | None = None) -> None:
        # Writing the plan of many people takes seconds, for which a transaction would hold up renewals.
        row = await asyncio.to_thread(run_journal.run_row, run, document)
        await self._write_transaction(lambda connection: run_journal.insert_run_row(connection, row))

    async def record_plan(
        self, lease: Lease, run_id: str, digest: str, document: Iterable[bytes], approved_digest: str | None = None
    ) -> None:
        compressed = await asyncio.to_thread(compress_parts, document)

        def body(connection: Connection) -> None:
            run_journal.set_plan(connection, run_id, digest, compressed, approved_digest)

        await self._write_under_lease(lease, body, is_long=True)

    async def record_approval(self, lease: Lease, approval: Approval) -> None:
        await self._write_under_lease(lease, lambda connection: approvals_table.insert_approval(connection, approval))

    async def mark_approvals_applied(self, lease: Lease, run_id: str, approvals: Sequence[Approval]) -> None:
        given_in = [each.run_id for each in approvals]
        await self._write_under_lease(
            lease, lambda connection: approvals_table.mark_applied(connection, run_id, given_in)
        )

    async def load_approvals(self, workspace: str, digest: str) -> tuple[Approval, ...]:
        return await self._retry(
            lambda: self._read_transaction(
                lambda connection: approvals_table.load_approvals(connection, workspace, digest)
            )
        )

    async def load_run_approvals(self, run_id: str) -> tuple[Approval, ...]:
        return await self._read_transaction(lambda connection: approvals_table.load_run_approvals(connection, run_id))

    async def record_adoptions(self, lease: Lease, run_id: str, adoptions: Sequence[tuple[int, Change, Link]]) -> None:
        now = self._now()
        records = [
            ChangeRecord(
                run_id=run_id,
                seq=seq,
                change=change,
                outcome=Outcome.DONE,
                detail="",
                sent_at=now,
                answered_at=now,
                scim_id=change.scim_id,
            )
            for seq, change, _ in adoptions
        ]
        rows = await asyncio.to_thread(change_journal.change_rows, lease.workspace, records)

        def body(connection: Connection) -> None:
            change_journal.insert_change_rows(connection, rows)
            workspace_memory.write_links(connection, lease.workspace, [link for _, _, link in adoptions])

        await self._write_under_lease(lease, body, is_long=True)

    async def record_intent(
        self, lease: Lease, run_id: str, seq: int, change: Change, *, respects_pause: bool = True
    ) -> Pause | None:
        in_flight = ChangeRecord(
            run_id=run_id,
            seq=seq,
            change=change,
            outcome=change_journal.IN_FLIGHT_OUTCOME,
            detail="",
            sent_at=self._now(),
            answered_at=None,
            scim_id=change.scim_id,
        )

        return await self._journal.put(lease, Intent(in_flight, respects_pause))

    async def record_answer(self, lease: Lease, record: ChangeRecord, link: Link | None = None) -> None:
        await self._journal.put(lease, Answer(record, link))

    async def _write_journal(self, lease: Lease, entries: Sequence[Entry]) -> list[Pause | None]:
        answers = [each for each in entries if isinstance(each, Answer)]

        def body(connection: Connection) -> list[Pause | None]:
            _write_answers(connection, lease.workspace, answers)
            respects = [isinstance(each, Intent) and each.respects_pause for each in entries]
            pause = workspace_memory.load_pause(connection, lease.workspace) if any(respects) else None
            kept_back = [pause if each else None for each in respects]
            intents = [
                each.record
                for each, why in zip(entries, kept_back, strict=True)
                if why is None and isinstance(each, Intent)
            ]
            change_journal.record_intents(connection, lease.workspace, intents)
            for record in intents:
                workspace_memory.record_undo(connection, lease.workspace, record.run_id, record.change)
            return kept_back

        return await self._write_under_lease(lease, body)

    async def end_run(self, lease: Lease, run_id: str, ending: RunOutcome) -> None:
        await self._write_under_lease(
            lease, lambda connection: run_journal.end_run(connection, run_id, ending, self._now())
        )

    async def close_run_without_lease(self, run_id: str, ending: RunOutcome, records: Sequence[ChangeRecord]) -> None:
        await self._write_on_renewer(
            lambda connection: run_journal.close_run_without_lease(connection, run_id, ending, records, self._now())
        )

    async def load_runs(
        self,
        workspaces: Sequence[str] = (),
        since: datetime | None = None,
        limit: int = 50,
        *,
        ids: Sequence[str] | None = None,
        where: RunFilter = ANY_RUN,
    ) -> list[Run]:
        return await self._read_transaction(
            lambda connection: run_journal.load_runs(connection, workspaces, since, limit, ids, where)
        )

    async def load_outlines(self, workspaces: Sequence[str], limit: int) -> Mapping[str, tuple[RunOutline, ...]]:
        return await self._read_transaction(lambda connection: run_journal.load_outlines(connection, workspaces, limit))

    async def find_newest_runs(
        self, workspaces: Sequence[str], statuses: Collection[RunStatus], *, only_applied: bool
    ) -> Mapping[str, str]:
        return await self._read_transaction(
            lambda connection: run_journal.find_newest_runs(connection, workspaces, statuses, only_applied=only_applied)
        )

    async def load_newest_approvals(self, workspaces: Sequence[str]) -> Mapping[str, Approval]:
        return await self._read_transaction(
            lambda connection: approvals_table.load_newest_approvals(connection, workspaces)
        )

    async def count_changes(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[Kind, int]]:
        return await self._read_transaction(lambda connection: change_journal.count_changes(connection, run_ids))

    async def load_run(self, run_id: str) -> Run | None:
        return await self._read_transaction(lambda connection: run_journal.load_run(connection, run_id=run_id))

    async def load_run_by_digest(self, digest: str) -> Run | None:
        return await self._read_transaction(lambda connection: run_journal.load_run(connection, digest=digest))

    async def load_last_plan(self, workspace: str, target: str) -> Run | None:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: run_journal.load_last_plan(connection, workspace, target))
        )

    async def load_changes(self, run_id: str) -> list[ChangeRecord]:
        return await self._read_transaction(lambda connection: change_journal.load_changes(connection, run_id))

    async def load_member_changes(
        self, workspace: str, limit: int = 20, *, email: str = "", scim_id: str = ""
    ) -> list[ChangeRecord]:
        return await self._read_transaction(
            lambda connection: change_journal.load_member_changes(connection, workspace, limit, email, scim_id)
        )

    async def load_recent_changes(self, workspace: str, since: datetime) -> RecentChanges:
        return await self._retry(
            lambda: self._read_transaction(
                lambda connection: change_journal.load_recent_changes(connection, workspace, since)
            )
        )

    async def load_recent_deactivations(
        self, workspaces: Sequence[str], since: datetime
    ) -> Mapping[str, frozenset[str]]:
        return await self._retry(
            lambda: self._read_transaction(
                lambda connection: change_journal.load_recent_deactivations(connection, workspaces, since)
            )
        )

    async def load_contested_members(self, workspace: str, since: datetime) -> Mapping[str, tuple[datetime, ...]]:
        return await self._retry(
            lambda: self._read_transaction(
                lambda connection: change_journal.load_contested_members(connection, workspace, since)
            )
        )

    async def prune(self, before: datetime) -> int:
        """Delete runs that began before *before* and that no later run needs. Returns their number.

        Safe during a running sync, for any *before*; `agent.store.retention` has the rules.
        """
        old = await self._read_transaction(lambda connection: load_expired_run_ids(connection, before, self._now()))
        for start in range(0, len(old), BATCH_SIZE):
            await self._write_transaction(partial(delete_runs, run_ids=old[start : start + BATCH_SIZE]))
        await self._write_transaction(lambda connection: web_logins.prune_web_logins(self._database, connection))
        return len(old)


def _write_answers(connection: Connection, workspace: str, answers: Sequence[Answer]) -> None:
    change_journal.record_answers(connection, workspace, [each.record for each in answers])
    for answer in answers:
        previous_id, scim_id = answer.record.change.scim_id, answer.record.scim_id
        if previous_id and scim_id and scim_id != previous_id:
            workspace_memory.move_link(connection, workspace, previous_id, scim_id)
        workspace_memory.record_undo_answer(connection, workspace, answer.record)
    links = [answer.link for answer in answers if answer.link is not None]
    if links:
        workspace_memory.write_links(connection, workspace, links)
