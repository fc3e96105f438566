"""The state in a database: each call is one transaction, in a separate thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from agent.errors import StateError
from agent.model import (
    Change,
    GroupSighting,
    Kind,
    KnownTarget,
    LastSeen,
    Link,
    Member,
    Memory,
    RecentChanges,
    UnconfirmedCreate,
    UndoneChange,
)
from agent.model.approval import Approval
from agent.model.daemon import DaemonRecord
from agent.model.feed import Announcement, FeedCursor, FeedLag, NamedPerson, WantedRun
from agent.model.job import Job, JobBoard, JobProgress, PlannedSchedule
from agent.model.page_size import LearnedPageSize
from agent.model.report import Delivery, MadeReport
from agent.model.run import (
    ChangeRecord,
    Lease,
    LinkEdit,
    MemberHistory,
    Outcome,
    Pause,
    Run,
    RunOutcome,
    WorkspaceRecord,
)
from agent.model.verification import Verification, VerificationKind
from agent.model.web_login import WebSession
from agent.ports.clock import FollowingClock
from agent.ports.permits import PermitAnswer, PermitRequest
from agent.store import approvals as approvals_table
from agent.store import (
    change_journal,
    daemons,
    feed_health,
    feeds,
    jobs,
    leases,
    member_snapshots,
    notices,
    page_sizes,
    permits,
    plan_rows,
    reports,
    run_journal,
    targets,
    verifications,
    web_logins,
    whole_runs,
    workspace_memory,
    workspaces,
)
from agent.store.codec import compress, from_micros, last_seen_to_bytes
from agent.store.database import Database
from agent.store.journal_queue import Answer, Entry, Intent, JournalQueue
from agent.store.retention import BATCH_SIZE, delete_runs, load_expired_run_ids
from connectors.base import PersonKey

__all__ = ["SqlState"]

T = TypeVar("T")
CLOSE_TIMEOUT_SECONDS = 3.0
"""How long a database may take for pending calls at the end; a working one takes milliseconds."""
RETRY_SECONDS, RETRY_LIMIT_SECONDS = 1.0, 12.0
RENEW_TIMEOUT_SECONDS = 4.0
"""How long one renewal may take: less than what is left of the lease, so that another can follow."""
MAX_RENEWALS = 4
LINKS_AT_ONCE = 5_000
"""How many links one transaction updates. Renewals of leases, of other workspaces too, wait for its end."""


class SqlState:
    """Implements `agent.ports.state.State`. Open it with `SqlState.open`, and close it.

    Writes run one after the other in one thread, reads in another, and renewals of leases have their own threads and
    connections: neither a long report nor a long write delays a renewal. An awaited write is committed, and the next
    read sees it. When the server is briefly unavailable, calls of a run are retried for as long as a lease may last.
    """

    def __init__(self, database: Database, now: Callable[[], datetime], writer: ThreadPoolExecutor) -> None:
        self._database = database
        self._now = now
        self._clock: FollowingClock | None = None
        self._writer = writer
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state-read")
        self._is_closing = False
        self._renewer = ThreadPoolExecutor(max_workers=MAX_RENEWALS, thread_name_prefix="state-renew")
        # Two, so that one exchange of permits that hangs does not keep the next waiting.
        self._permits = ThreadPoolExecutor(max_workers=2, thread_name_prefix="state-permits")
        self._journal = JournalQueue(self._write_journal)
        # A visitor's request must not wait for a run's long transaction.
        self._logins = ThreadPoolExecutor(max_workers=2, thread_name_prefix="state-logins")

    @classmethod
    async def open(
        cls, url: str, now: Callable[[], datetime], *, only_new: bool = False, clock: FollowingClock | None = None
    ) -> SqlState:
        """Open the database at *url* and bring its schema up to date; with *only_new* a new one alone.

        *clock* follows the database's where several machines share it. Raises `StateError`.
        """
        writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state-write")
        try:
            opening = partial(Database, url, now, only_new=only_new)
            database = await asyncio.get_running_loop().run_in_executor(writer, opening)
        except BaseException:
            writer.shutdown(wait=False)
            raise
        state = cls(database, now, writer)
        if clock is not None and state.is_shared:
            state._clock = clock
            try:
                await state._follow_clock()
            except BaseException:
                await state.close()
                raise
        return state

    async def _follow_clock(self) -> None:
        read = select(self._database.now_expression())
        await self._followed(
            self._read_transaction(lambda connection: from_micros(connection.execute(read).scalar_one())), lambda at: at
        )

    async def _followed(self, call: Awaitable[T], time_of: Callable[[T], datetime]) -> T:
        """Await *call*, and let the clock follow the database's, whose time its result has."""
        asked_at = self._clock.elapsed() if self._clock is not None else 0.0
        result = await call
        if self._clock is not None:
            self._clock.follow(time_of(result), asked_at)
        return result

    @property
    def location(self) -> str:
        """The location of the state, without a password."""
        return self._database.location

    @property
    def is_shared(self) -> bool:
        """Whether processes of several machines can use it, and one clock is theirs."""
        return not self._database.is_sqlite

    @property
    def is_new(self) -> bool:
        """Whether no state existed at that location before it was opened."""
        return self._database.is_new

    async def close(self) -> None:
        """Close the database once pending calls have ended, or were aborted without a response."""
        self._is_closing = True
        running = (self._renewer, self._reader, self._writer, self._permits, self._logins)
        threads = asyncio.gather(*(asyncio.to_thread(each.shutdown) for each in running))
        await asyncio.wait({threads}, timeout=CLOSE_TIMEOUT_SECONDS)
        self._database.abort_waits()
        await threads
        await asyncio.to_thread(self._database.close)

    async def prove_writable(self) -> None:
        await self._in(self._writer, self._database.check_writable)

    def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> asyncio.Future[T]:
        """Start *work*. Raises `StateError` once the state is being closed, which cancelled tasks may still call."""
        if self._is_closing:
            raise StateError("The state is closed, because this program ends.", "Start it again.")
        return asyncio.get_running_loop().run_in_executor(threads, work)

    async def _read_transaction(self, body: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._database.begin_read() as connection:
                return body(connection)

        return await self._in(self._reader, transaction)

    async def _write_transaction(self, body: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._database.begin_write() as connection:
                return body(connection)

        return await self._in(self._writer, transaction)

    async def _write_under_lease(
        self, lease: Lease, body: Callable[[Connection], T], *, is_long: bool = False, is_repeatable: bool = True
    ) -> T:
        """Run *body* in one transaction with the check that *lease* still holds.

        With *is_long* the lease is renewed at the end, because the transaction delays the renewals of its own lease.
        """

        def checked(connection: Connection) -> T:
            leases.check(self._database, connection, lease)
            result = body(connection)
            if is_long:
                leases.renew(self._database, connection, lease)
            return result

        return await (
            self._retry(lambda: self._write_transaction(checked)) if is_repeatable else self._write_transaction(checked)
        )

    async def _retry(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await *attempt*, and retry each second while the state is unavailable, for as long as a lease can last.

        Each attempt must be idempotent: when the connection is lost at the end of a transaction, it is unknown whether
        the transaction was committed.
        """
        until = time.monotonic() + RETRY_LIMIT_SECONDS
        while True:
            try:
                return await attempt()
            except StateError as error:
                if not error.is_transient or self._is_closing or time.monotonic() >= until:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _write_on_renewer(self, body: Callable[[Connection], None]) -> None:
        await self._write_bounded(self._renewer, body)

    async def _write_bounded(self, threads: ThreadPoolExecutor, body: Callable[[Connection], T]) -> T:
        """Run *body* concurrently with other writes, for no longer than a lease can wait.

        A thread that hangs ends by its own time-out. Raises `StateError`.
        """

        def transaction() -> T:
            with self._database.begin_write() as connection:
                return body(connection)

        return await self._await_bounded(threads, transaction)

    async def _await_bounded(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        running = self._in(threads, work)
        # The waiting task may be cancelled.
        running.add_done_callback(_consume_result)
        done, _ = await asyncio.wait({running}, timeout=RENEW_TIMEOUT_SECONDS)
        if not done:
            raise StateError(
                f"The state has not answered for {RENEW_TIMEOUT_SECONDS:g} s.",
                "Check that its server runs, and what blocks it.",
                is_transient=True,
            )
        return running.result()

    async def exchange_permits(self, request: PermitRequest) -> PermitAnswer:
        return await self._write_bounded(
            self._permits, lambda connection: permits.exchange_permits(self._database, connection, request)
        )

    async def take_lease(self, workspace: str, holder: str, target: str = "") -> Lease:
        taking = self._write_transaction(
            lambda connection: leases.take(self._database, connection, workspace, holder, target)
        )
        return await self._followed(taking, lambda lease: lease.since)

    async def renew_lease(self, lease: Lease) -> None:
        def body(connection: Connection) -> None:
            leases.check(self._database, connection, lease)
            leases.renew(self._database, connection, lease)

        await self._write_on_renewer(body)

    async def release_lease(self, lease: Lease) -> None:
        await self._write_on_renewer(lambda connection: leases.release(self._database, connection, lease))

    async def load_memory(self, workspace: str, listed: Sequence[Member] = ()) -> Memory:
        def body(connection: Connection) -> Memory:
            known = workspace_memory.load_memory(connection, workspace)
            now = self._now()
            creates = change_journal.load_unconfirmed_creates(connection, workspace, now)
            latest = member_snapshots.load_latest(connection, workspace, known.links, listed)
            left_at, left = latest or (None, None)
            written = change_journal.written(connection, workspace, now, left_at)
            return replace(known, unconfirmed_creates=creates, last_seen=left, written=written)

        return await self._retry(lambda: self._read_transaction(body))

    async def export_plan_rows(
        self, planned: Sequence[str], configured: Sequence[str]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return (table, row) of all that a plan of the *planned* workspaces reads, for a recording."""

        def body(connection: Connection) -> list[tuple[str, dict[str, Any]]]:
            return list(plan_rows.export_plan_rows(connection, planned, configured, self._now()))

        return await self._read_transaction(body)

    async def import_plan_rows(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Insert exported rows, by table and in their order, into a state that has none."""

        def body(connection: Connection) -> None:
            for table, each in rows.items():
                plan_rows.import_plan_rows(connection, table, each)

        await self._write_transaction(body)

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

    async def load_baselines(self, workspace: str, since: datetime) -> Mapping[tuple[str, str], tuple[str, int]]:
        return await self._retry(
            lambda: self._read_transaction(
                lambda connection: workspace_memory.load_baselines(connection, workspace, since)
            )
        )

    async def load_sightings(self, workspace: str) -> Mapping[tuple[str, str], GroupSighting]:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: workspace_memory.load_sightings(connection, workspace))
        )

    async def record_sightings(self, lease: Lease, sightings: Mapping[tuple[str, str], GroupSighting]) -> None:
        await self._write_under_lease(
            lease, lambda connection: workspace_memory.write_sightings(connection, lease.workspace, sightings)
        )

    async def load_targets(self) -> tuple[KnownTarget, ...]:
        return await self._retry(lambda: self._read_transaction(targets.load_targets))

    async def record_targets(self, lease: Lease, found: Sequence[tuple[str, str]]) -> None:
        now = self._now()
        await self._write_under_lease(
            lease, lambda connection: targets.record_targets(connection, lease.workspace, found, now)
        )

    async def load_workspaces(self) -> tuple[WorkspaceRecord, ...]:
        return await self._read_transaction(workspaces.load_workspaces)

    async def rename_workspace(self, old: Lease, new: Lease, run: Run) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            leases.check(self._database, connection, new)
            workspaces.rename(connection, old.workspace, new.workspace, now)
            run_journal.insert_run(connection, run)

        # A retry would mistake the moved memory of the new key for the one to be replaced.
        await self._write_under_lease(old, body, is_repeatable=False)

    async def retarget_workspace(self, lease: Lease, run: Run, target: str) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            workspaces.retarget(connection, lease.workspace, target, now)
            run_journal.insert_run(connection, run)

        await self._write_under_lease(lease, body, is_repeatable=False)

    async def reset_workspace(self, lease: Lease, run: Run, target: str) -> tuple[Link, ...]:
        now = self._now()

        def body(connection: Connection) -> tuple[Link, ...]:
            return workspaces.reset(connection, lease.workspace, run, target, now)

        return await self._write_under_lease(lease, body, is_repeatable=False)

    async def count_guarded(self, workspace: str) -> int:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: run_journal.count_guarded(connection, workspace))
        )

    async def count_all_guarded(self, workspaces: Sequence[str]) -> int:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: run_journal.count_all_guarded(connection, workspaces))
        )

    async def begin_run(self, run: Run, lease: Lease, claim: Lease | None = None) -> tuple[str, ...]:
        def body(connection: Connection) -> tuple[str, ...]:
            if claim is not None:
                leases.check(self._database, connection, claim)
            if run.is_over_everyone:
                whole_runs.record_begun(self._database, connection, run)
            return run_journal.begin_run(connection, run)

        return await self._write_under_lease(lease, body)

    async def load_job_board(self) -> JobBoard:
        loading = self._read_transaction(lambda connection: jobs.load_job_board(self._database, connection))
        return await self._followed(loading, lambda board: board.now)

    async def start_due_ticks(self, schedules: Sequence[PlannedSchedule]) -> tuple[str, ...]:
        return await self._write_transaction(
            lambda connection: jobs.start_due_ticks(self._database, connection, schedules)
        )

    async def add_request(self, job: Job, limit: int) -> bool:
        return await self._write_transaction(
            lambda connection: jobs.add_request(self._database, connection, job, limit)
        )

    async def claim_job(self, lease: Lease, replica: str) -> Job | None:
        # A retry would count the claim twice.
        return await self._write_under_lease(
            lease, lambda connection: jobs.claim_job(connection, lease.workspace, replica), is_repeatable=False
        )

    async def update_job(self, lease: Lease, job: Job) -> None:
        await self._write_under_lease(lease, lambda connection: jobs.update_job(connection, job))

    async def report_job_progress(self, lease: Lease, progress: JobProgress) -> None:
        def body(connection: Connection) -> None:
            leases.check(self._database, connection, lease)
            jobs.report_progress(connection, lease.workspace, progress)

        await self._write_on_renewer(body)

    async def give_back_job(self, lease: Lease) -> None:
        await self._write_under_lease(
            lease, lambda connection: jobs.give_back_job(connection, lease.workspace), is_repeatable=False
        )

    async def end_job(self, lease: Lease, error: str = "") -> None:
        await self._write_under_lease(
            lease,
            lambda connection: jobs.end_job(self._database, connection, lease.workspace, error),
            is_repeatable=False,
        )

    async def record_run(self, run: Run) -> None:
        # Compressing the plan of many people takes seconds, for which a transaction would hold up renewals.
        row = await asyncio.to_thread(run_journal.run_row, run)
        await self._write_transaction(lambda connection: run_journal.insert_run_row(connection, row))

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

    async def update_memory(
        self,
        lease: Lease,
        seen: Sequence[Link],
        possible_renames: frozenset[tuple[PersonKey, str]],
        baselines: Mapping[tuple[str, str], tuple[str, int]],
        undone: Sequence[UndoneChange] | None = None,
    ) -> None:
        for start in range(0, len(seen), LINKS_AT_ONCE):
            part = seen[start : start + LINKS_AT_ONCE]
            rows = await asyncio.to_thread(workspace_memory.seen_link_rows, lease.workspace, part)
            write = partial(workspace_memory.update_seen_links, rows=rows)
            await self._write_under_lease(lease, write, is_long=True)
        now = self._now()

        def body(connection: Connection) -> None:
            workspace_memory.replace_renames(connection, lease.workspace, possible_renames)
            workspace_memory.record_group_sizes(connection, lease.workspace, baselines, now)
            if undone is not None:
                workspace_memory.replace_undone(connection, lease.workspace, undone)

        await self._write_under_lease(lease, body, is_long=True)

    async def record_create_checks(self, lease: Lease, looked_for: Sequence[UnconfirmedCreate]) -> None:
        await self._write_under_lease(
            lease, lambda connection: change_journal.record_create_checks(connection, looked_for)
        )

    async def record_plan(
        self, lease: Lease, run_id: str, digest: str, document: bytes, approved_digest: str | None = None
    ) -> None:
        compressed = await asyncio.to_thread(compress, document)

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

    async def record_last_seen(self, lease: Lease, run_id: str, members: Sequence[LastSeen]) -> None:
        now = self._now()
        stored = await asyncio.to_thread(last_seen_to_bytes, members)

        def body(connection: Connection) -> None:
            member_snapshots.record_last_seen(connection, lease.workspace, run_id, stored, now)

        await self._write_under_lease(lease, body, is_long=True)

    async def load_last_seen(self, workspace: str, when: datetime) -> tuple[datetime, tuple[LastSeen, ...]] | None:
        return await self._read_transaction(
            lambda connection: member_snapshots.load_last_seen(connection, workspace, when)
        )

    async def load_member_history(self, workspace: str) -> Mapping[str, MemberHistory]:
        return await self._read_transaction(
            lambda connection: member_snapshots.load_member_history(connection, workspace)
        )

    async def end_run(self, lease: Lease, run_id: str, ending: RunOutcome) -> None:
        await self._write_under_lease(
            lease, lambda connection: run_journal.end_run(connection, run_id, ending, self._now())
        )

    async def close_run_without_lease(self, run_id: str, ending: RunOutcome, records: Sequence[ChangeRecord]) -> None:
        await self._write_on_renewer(
            lambda connection: run_journal.close_run_without_lease(connection, run_id, ending, records, self._now())
        )

    async def record_link_edits(self, lease: Lease, run: Run, edits: Sequence[LinkEdit]) -> None:
        def body(connection: Connection) -> None:
            run_journal.insert_run(connection, run)
            workspace_memory.record_link_edits(connection, lease.workspace, run.id, edits)

        await self._write_under_lease(lease, body, is_repeatable=False)

    async def record_different_people(self, lease: Lease, run: Run, pairs: Sequence[tuple[PersonKey, str]]) -> None:
        def body(connection: Connection) -> None:
            run_journal.insert_run(connection, run)
            workspace_memory.record_different_people(connection, lease.workspace, run.id, pairs)

        await self._write_under_lease(lease, body, is_repeatable=False)

    async def load_link_edits(self, run_id: str) -> list[LinkEdit]:
        return await self._read_transaction(lambda connection: workspace_memory.load_link_edits(connection, run_id))

    async def set_pause(self, workspace: str, pause: Pause | None, run: Run | None = None) -> tuple[ChangeRecord, ...]:
        def body(connection: Connection) -> tuple[ChangeRecord, ...]:
            # An intent is written under this lock: it either sees the pause, or is seen here.
            leases.lock(self._database, connection, workspace)
            workspace_memory.set_pause(connection, workspace, pause)
            if run is not None:
                run_journal.insert_run(connection, run)
            return change_journal.load_in_flight(connection, workspace)

        return await self._write_transaction(body)

    async def load_pause(self, workspace: str) -> Pause | None:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: workspace_memory.load_pause(connection, workspace))
        )

    async def load_in_flight(self, workspace: str) -> tuple[ChangeRecord, ...]:
        return await self._read_transaction(lambda connection: change_journal.load_in_flight(connection, workspace))

    async def load_notice(self, subject: str) -> str | None:
        return await self._read_transaction(lambda connection: notices.load_notice(connection, subject))

    async def set_notice(self, subject: str, condition: str) -> None:
        await self._write_transaction(
            lambda connection: notices.set_notice(self._database, connection, subject, condition)
        )

    async def begin_report_name(self, name: str, at: datetime) -> datetime:
        return await self._write_transaction(
            lambda connection: reports.begin_name(self._database, connection, name, at)
        )

    async def load_reports(self, name: str, limit: int = 20) -> list[MadeReport]:
        return await self._read_transaction(lambda connection: reports.load_reports(connection, name, limit))

    async def load_report(self, report: str) -> MadeReport | None:
        return await self._read_transaction(lambda connection: reports.load_report(connection, report))

    async def load_last_delivered(self, name: str) -> MadeReport | None:
        return await self._read_transaction(lambda connection: reports.load_last_delivered(connection, name))

    async def record_report(self, lease: Lease, report: MadeReport) -> None:
        await self._write_under_lease(lease, lambda connection: reports.record_report(connection, report), is_long=True)

    async def record_delivery(self, lease: Lease, delivery: Delivery) -> None:
        await self._write_under_lease(lease, lambda connection: reports.record_delivery(connection, delivery))

    async def supersede_reports(self, lease: Lease, name: str, kept: str) -> None:
        await self._write_under_lease(lease, lambda connection: reports.supersede(connection, name, kept))

    async def prune_reports(self, before: datetime) -> int:
        return await self._write_transaction(lambda connection: reports.prune(connection, before))

    async def record_daemon(self, daemon: DaemonRecord) -> None:
        await self._write_transaction(lambda connection: daemons.record_daemon(self._database, connection, daemon))

    async def forget_daemon(self, daemon_id: str) -> None:
        await self._write_transaction(lambda connection: daemons.forget_daemon(connection, daemon_id))

    async def load_daemons(self) -> tuple[DaemonRecord, ...]:
        return await self._read_transaction(lambda connection: daemons.load_daemons(self._database, connection))

    async def record_verification(self, verification: Verification) -> None:
        await self._write_transaction(lambda connection: verifications.record_verification(connection, verification))

    async def load_verifications(
        self, workspace: str, kind: VerificationKind | None = None
    ) -> tuple[Verification, ...]:
        return await self._read_transaction(
            lambda connection: verifications.load_verifications(connection, workspace, kind)
        )

    async def load_page_size(self, target: str) -> LearnedPageSize | None:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: page_sizes.load_page_size(connection, target))
        )

    async def record_page_size(self, target: str, learned: LearnedPageSize | None) -> None:
        await self._write_transaction(
            lambda connection: page_sizes.record_page_size(self._database, connection, target, learned)
        )

    async def open_web_session(self, session_id: str, person: str, role: str, seal: Callable[[datetime], str]) -> None:
        await self._write_bounded(
            self._logins,
            lambda connection: web_logins.open_web_session(self._database, connection, session_id, person, role, seal),
        )

    async def use_web_session(self, session_id: str) -> WebSession | None:
        def read() -> tuple[WebSession, bool] | None:
            with self._database.begin_read() as connection:
                return web_logins.find_web_session(self._database, connection, session_id)

        found = await self._await_bounded(self._logins, read)
        if found is None:
            return None
        session, is_due = found
        if is_due:
            await self._write_bounded(
                self._logins, lambda connection: web_logins.record_use(self._database, connection, session_id)
            )
        return session

    async def end_web_session(self, session_id: str) -> None:
        await self._write_bounded(self._logins, lambda connection: web_logins.end_web_session(connection, session_id))

    async def begin_login(self, login_id: str) -> None:
        await self._write_bounded(
            self._logins, lambda connection: web_logins.begin_login(self._database, connection, login_id)
        )

    async def finish_login(self, login_id: str) -> bool:
        return await self._write_bounded(
            self._logins, lambda connection: web_logins.finish_login(self._database, connection, login_id)
        )

    async def count_failed_login(self, address: str) -> timedelta:
        return await self._write_bounded(
            self._logins, lambda connection: web_logins.count_failed_login(self._database, connection, address)
        )

    async def load_feed_cursor(self, connector: str) -> FeedCursor | None:
        return await self._read_transaction(lambda connection: feeds.load_feed_cursor(connection, connector))

    async def find_linked_workspaces(self, connector: str, people: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        return await self._read_transaction(
            lambda connection: feeds.find_linked_workspaces(connection, connector, people)
        )

    async def record_poll(
        self,
        lease: Lease,
        cursor: FeedCursor,
        people: Sequence[NamedPerson],
        announced: Sequence[Announcement] = (),
        wanted: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        def write(connection: Connection) -> None:
            whole_runs.want_runs(self._database, connection, wanted)
            feeds.record_poll(connection, cursor, people)
            feed_health.record_announcements(connection, announced)

        await self._write_under_lease(lease, write)

    async def load_named_people(self, workspace: str, due_by: datetime | None = None) -> tuple[NamedPerson, ...]:
        return await self._read_transaction(lambda connection: feeds.load_named_people(connection, workspace, due_by))

    async def record_look(self, people: Sequence[NamedPerson]) -> None:
        await self._write_transaction(lambda connection: feeds.record_look(connection, people))

    async def end_named(self, people: Sequence[NamedPerson], wanted: Mapping[str, str] = MappingProxyType({})) -> None:
        def write(connection: Connection) -> None:
            whole_runs.want_runs(self._database, connection, wanted)
            feeds.end_named(connection, people)

        await self._write_transaction(write)

    async def load_wanted_runs(self) -> tuple[WantedRun, ...]:
        return await self._read_transaction(lambda connection: whole_runs.load_wanted_runs(self._database, connection))

    async def start_wanted_run(self, workspace: str, pause: timedelta) -> bool:
        return await self._write_transaction(
            lambda connection: whole_runs.start_wanted_run(self._database, connection, workspace, pause)
        )

    async def end_wanted_run(self, wanted: WantedRun) -> None:
        await self._write_transaction(lambda connection: whole_runs.end_wanted_run(connection, wanted))

    async def load_announcements(self, workspace: str, since: datetime) -> Mapping[PersonKey, Announcement]:
        return await self._read_transaction(
            lambda connection: feed_health.load_announcements(connection, workspace, since)
        )

    async def load_feed_reads(self, workspace: str) -> Mapping[str, datetime]:
        return await self._read_transaction(lambda connection: feed_health.load_feed_reads(connection, workspace))

    async def record_found_leavers(
        self,
        lease: Lease,
        workspace: str,
        began_at: datetime,
        since: Mapping[str, datetime | None],
        leavers: Collection[PersonKey],
    ) -> None:
        await self._write_under_lease(
            lease,
            lambda connection: feed_health.record_found_leavers(connection, workspace, began_at, since, leavers),
        )

    async def judge_found_leavers(self, lease: Lease, connector: str, found_by: datetime) -> Mapping[str, int]:
        return await self._write_under_lease(
            lease, lambda connection: feed_health.judge_found_leavers(connection, connector, found_by)
        )

    async def count_missed_leavers(self, connector: str, since: datetime) -> int:
        return await self._read_transaction(
            lambda connection: feed_health.count_missed_leavers(connection, connector, since)
        )

    async def record_lags(self, lags: Sequence[FeedLag]) -> None:
        await self._write_transaction(lambda connection: feed_health.record_lags(connection, lags))

    async def load_lags(self, connector: str, since: datetime) -> Sequence[float]:
        return await self._read_transaction(lambda connection: feed_health.load_lags(connection, connector, since))

    async def load_lease(self, workspace: str) -> Lease | None:
        return await self._read_transaction(lambda connection: leases.load_lease(self._database, connection, workspace))

    async def load_runs(
        self,
        workspaces: Sequence[str] = (),
        since: datetime | None = None,
        limit: int = 50,
        *,
        ids: Sequence[str] | None = None,
    ) -> list[Run]:
        return await self._read_transaction(
            lambda connection: run_journal.load_runs(connection, workspaces, since, limit, ids)
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

    async def prune(self, before: datetime) -> int:
        """Delete runs that began before *before* and that no later run needs. Returns their number.

        Safe during a running sync, for any *before*; `agent.store.retention` has the rules.
        """
        old = await self._read_transaction(lambda connection: load_expired_run_ids(connection, before, self._now()))
        for start in range(0, len(old), BATCH_SIZE):
            await self._write_transaction(partial(delete_runs, run_ids=old[start : start + BATCH_SIZE]))
        await self._write_transaction(lambda connection: web_logins.prune_web_logins(self._database, connection))
        return len(old)


def _consume_result(abandoned: asyncio.Future[Any]) -> None:
    """Consume the result of a call that has already been reported as timed out."""
    if not abandoned.cancelled():
        abandoned.exception()


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
