"""The state as the engine knows it: each call one transaction, in a thread of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from agent.errors import StateError
from agent.model import Change, GroupSighting, KnownTarget, Left, Link, Memory, Recent, Undone, Unsettled
from agent.ports import ChangeRecord, Ending, Lease, MemberHistory, Mend, Outcome, Pause, Run, WorkspaceRecord
from agent.store import journal, memory, notices, past, targets, workspaces
from agent.store import lease as leases
from agent.store.database import Database
from agent.store.retention import AT_ONCE, doomed, forget
from connectors.base import PersonKey

__all__ = ["SqlState"]

T = TypeVar("T")
CLOSE_WITHIN_SECONDS = 3.0
"""How long a database may take for what it is asked already; one that answers takes milliseconds."""
RETRY_SECONDS, RETRY_WITHIN_SECONDS = 1.0, 12.0
RENEW_WITHIN_SECONDS = 4.0
"""How long one renewal may take: less than what is left of the lease, so that another can follow."""
RENEWALS = 4


class SqlState:
    """Implements `agent.ports.State`. Open it with `SqlState.open`, and close it.

    Writes go one after the other in one thread, reads in another, and renewals of leases have threads and connections
    of their own: neither a long report nor a long write keeps a lease from being renewed. What was awaited is
    committed, and the next read sees it. What a run does is tried again for as long as a lease may last, when the
    server was away for a moment.
    """

    def __init__(self, database: Database, now: Callable[[], datetime], writer: ThreadPoolExecutor) -> None:
        self._database = database
        self._now = now
        self._writer = writer
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state-read")
        self._is_closing = False
        self._renewer = ThreadPoolExecutor(max_workers=RENEWALS, thread_name_prefix="state-renew")

    @classmethod
    async def open(cls, url: str, now: Callable[[], datetime], *, only_new: bool = False) -> SqlState:
        """Open the database at *url* and bring its schema up to date; with *only_new* a new one alone.

        Raises `StateError`.
        """
        writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state-write")
        try:
            opening = partial(Database, url, now, only_new=only_new)
            database = await asyncio.get_running_loop().run_in_executor(writer, opening)
        except BaseException:
            writer.shutdown(wait=False)
            raise
        return cls(database, now, writer)

    @property
    def place(self) -> str:
        """Where the state is, without a password."""
        return self._database.place

    @property
    def is_new(self) -> bool:
        """Whether no state existed at that place before it was opened."""
        return self._database.is_new

    async def close(self) -> None:
        """Close the database once what was begun has ended, or has been broken off for want of an answer."""
        self._is_closing = True
        running = (self._renewer, self._reader, self._writer)
        threads = asyncio.gather(*(asyncio.to_thread(each.shutdown) for each in running))
        await asyncio.wait({threads}, timeout=CLOSE_WITHIN_SECONDS)
        self._database.break_off()
        await threads
        await asyncio.to_thread(self._database.close)

    async def prove_writable(self) -> None:
        await self._in(self._writer, self._database.prove_writable)

    def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> asyncio.Future[T]:
        """Begin *work*. Raises `StateError` once the state is being closed, which work that was broken off may meet."""
        if self._is_closing:
            raise StateError("The state is closed, because this program ends.", "Start it again.")
        return asyncio.get_running_loop().run_in_executor(threads, work)

    async def _read(self, body: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._database.reading() as connection:
                return body(connection)

        return await self._in(self._reader, transaction)

    async def _write(self, body: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._database.writing() as connection:
                return body(connection)

        return await self._in(self._writer, transaction)

    async def _under(
        self, lease: Lease, body: Callable[[Connection], T], *, is_long: bool = False, is_repeatable: bool = True
    ) -> T:
        """Run *body* in one transaction with the proof that *lease* still holds.

        What may be long is a sign of life at its end: it keeps the renewals of its own lease waiting.
        """

        def proved(connection: Connection) -> T:
            leases.check(self._database, connection, lease)
            result = body(connection)
            if is_long:
                leases.renew(self._database, connection, lease)
            return result

        return await (self._again(lambda: self._write(proved)) if is_repeatable else self._write(proved))

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await *attempt*, and again each second while the state is away for a moment, as long as a lease can outlast.

        Each attempt must do no more than the first: whether a transaction was committed is not known when the
        connection breaks off at its end.
        """
        until = time.monotonic() + RETRY_WITHIN_SECONDS
        while True:
            try:
                return await attempt()
            except StateError as error:
                if not error.may_pass or self._is_closing or time.monotonic() >= until:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _at_once(self, body: Callable[[Connection], None]) -> None:
        """Run *body* beside all other writes, for no longer than a lease can wait.

        A thread that hangs is left to its own bound. Raises `StateError`.
        """

        def transaction() -> None:
            with self._database.writing() as connection:
                body(connection)

        running = self._in(self._renewer, transaction)
        # Who waits for it may be broken off.
        running.add_done_callback(_forget)
        done, _ = await asyncio.wait({running}, timeout=RENEW_WITHIN_SECONDS)
        if not done:
            raise StateError(
                f"The state has not answered for {RENEW_WITHIN_SECONDS:g} s.",
                "Check that its server runs, and what blocks it.",
                may_pass=True,
            )
        running.result()

    async def take_lease(self, workspace: str, holder: str, target: str = "") -> Lease:
        return await self._write(lambda connection: leases.take(self._database, connection, workspace, holder, target))

    async def renew_lease(self, lease: Lease) -> None:
        def body(connection: Connection) -> None:
            leases.check(self._database, connection, lease)
            leases.renew(self._database, connection, lease)

        await self._at_once(body)

    async def release_lease(self, lease: Lease) -> None:
        await self._at_once(lambda connection: leases.release(self._database, connection, lease))

    async def memory(self, workspace: str) -> Memory:
        def body(connection: Connection) -> Memory:
            known = memory.read(connection, workspace)
            now = self._now()
            unsettled = journal.unsettled(connection, workspace, now)
            left_at, left = past.last(connection, workspace) or (None, None)
            written = journal.written(connection, workspace, now, left_at)
            return replace(known, unsettled=unsettled, left=left, written=written)

        return await self._again(lambda: self._read(body))

    async def recent(self, workspace: str, since: datetime) -> Recent:
        return await self._again(lambda: self._read(lambda connection: journal.recent(connection, workspace, since)))

    async def contested(self, workspace: str, since: datetime) -> Mapping[str, tuple[datetime, ...]]:
        return await self._again(lambda: self._read(lambda connection: journal.contested(connection, workspace, since)))

    async def baselines(self, workspace: str, since: datetime) -> Mapping[tuple[str, str], tuple[str, int]]:
        return await self._again(
            lambda: self._read(lambda connection: memory.read_baselines(connection, workspace, since))
        )

    async def sightings(self, workspace: str) -> Mapping[tuple[str, str], GroupSighting]:
        return await self._again(lambda: self._read(lambda connection: memory.read_sightings(connection, workspace)))

    async def record_sightings(self, lease: Lease, sightings: Mapping[tuple[str, str], GroupSighting]) -> None:
        await self._under(lease, lambda connection: memory.put_sightings(connection, lease.workspace, sightings))

    async def targets(self) -> tuple[KnownTarget, ...]:
        return await self._again(lambda: self._read(targets.read))

    async def record_targets(self, lease: Lease, found: Sequence[tuple[str, str]]) -> None:
        now = self._now()
        await self._under(lease, lambda connection: targets.write(connection, lease.workspace, found, now))

    async def workspaces(self) -> tuple[WorkspaceRecord, ...]:
        return await self._read(workspaces.read)

    async def rename_workspace(self, old: Lease, new: Lease, run: Run) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            leases.check(self._database, connection, new)
            workspaces.rename(connection, old.workspace, new.workspace, now)
            journal.record(connection, run)

        # Once more would take the new key's memory for what is to be replaced.
        await self._under(old, body, is_repeatable=False)

    async def retarget_workspace(self, lease: Lease, run: Run, target: str) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            workspaces.retarget(connection, lease.workspace, target, now)
            journal.record(connection, run)

        await self._under(lease, body, is_repeatable=False)

    async def reset_workspace(self, lease: Lease, run: Run, target: str) -> tuple[Link, ...]:
        now = self._now()

        def body(connection: Connection) -> tuple[Link, ...]:
            return workspaces.reset(connection, lease.workspace, run, target, now)

        return await self._under(lease, body, is_repeatable=False)

    async def guarded(self, workspace: str) -> int:
        return await self._again(lambda: self._read(lambda connection: journal.guarded(connection, workspace)))

    async def begin_run(self, run: Run, lease: Lease) -> tuple[str, ...]:
        return await self._under(lease, lambda connection: journal.begin(connection, run))

    async def record_run(self, run: Run) -> None:
        await self._write(lambda connection: journal.record(connection, run))

    async def adopted(self, lease: Lease, run_id: str, adoptions: Sequence[tuple[int, Change, Link]]) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            records = [
                ChangeRecord(run_id, seq, change, Outcome.DONE, "", now, now, change.scim_id)
                for seq, change, _ in adoptions
            ]
            journal.intend(connection, lease.workspace, records)
            memory.write(connection, lease.workspace, [link for _, _, link in adoptions])

        await self._under(lease, body, is_long=True)

    async def intend(
        self, lease: Lease, run_id: str, seq: int, change: Change, *, heeds_pause: bool = True
    ) -> Pause | None:
        flying = ChangeRecord(run_id, seq, change, journal.IN_FLIGHT, "", self._now(), None, change.scim_id)

        def body(connection: Connection) -> Pause | None:
            pause = memory.paused(connection, lease.workspace) if heeds_pause else None
            if pause is None:
                journal.intend(connection, lease.workspace, [flying])
                memory.undo(connection, lease.workspace, run_id, change)
            return pause

        return await self._under(lease, body)

    async def answered(self, lease: Lease, record: ChangeRecord, link: Link | None = None) -> None:
        def body(connection: Connection) -> None:
            journal.answer(connection, lease.workspace, record)
            former = record.change.scim_id
            if former and record.scim_id and record.scim_id != former:
                memory.follow(connection, lease.workspace, former, record.scim_id)
            if link is not None:
                memory.write(connection, lease.workspace, [link])
            memory.undo_answered(connection, lease.workspace, record)

        await self._under(lease, body)

    async def remember(
        self,
        lease: Lease,
        seen: Sequence[Link],
        possible_renames: frozenset[tuple[PersonKey, str]],
        baselines: Mapping[tuple[str, str], tuple[str, int]],
        undone: Sequence[Undone] | None = None,
    ) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            memory.see(connection, lease.workspace, seen)
            memory.replace_renames(connection, lease.workspace, possible_renames)
            memory.add_sizes(connection, lease.workspace, baselines, now)
            if undone is not None:
                memory.replace_undone(connection, lease.workspace, undone)

        await self._under(lease, body, is_long=True)

    async def saw_creates(self, lease: Lease, looked_for: Sequence[Unsettled]) -> None:
        await self._under(lease, lambda connection: journal.saw_creates(connection, looked_for))

    async def record_plan(
        self, lease: Lease, run_id: str, digest: str, document: bytes, approved: str | None = None
    ) -> None:
        def body(connection: Connection) -> None:
            journal.set_plan(connection, run_id, digest, document, approved)

        await self._under(lease, body, is_long=True)

    async def leave(self, lease: Lease, run_id: str, members: Sequence[Left]) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            past.leave(connection, lease.workspace, run_id, members, now)

        await self._under(lease, body, is_long=True)

    async def left_at(self, workspace: str, when: datetime) -> tuple[datetime, tuple[Left, ...]] | None:
        return await self._read(lambda connection: past.left_at(connection, workspace, when))

    async def member_history(self, workspace: str) -> Mapping[str, MemberHistory]:
        return await self._read(lambda connection: past.history(connection, workspace))

    async def end_run(self, lease: Lease, run_id: str, ending: Ending) -> None:
        await self._under(lease, lambda connection: journal.end(connection, run_id, ending, self._now()))

    async def close_lost(self, run_id: str, ending: Ending, records: Sequence[ChangeRecord]) -> None:
        await self._at_once(lambda connection: journal.close_lost(connection, run_id, ending, records, self._now()))

    async def mend(self, lease: Lease, run: Run, mends: Sequence[Mend]) -> None:
        def body(connection: Connection) -> None:
            journal.record(connection, run)
            memory.mended(connection, lease.workspace, run.id, mends)

        await self._under(lease, body, is_repeatable=False)

    async def mends(self, run_id: str) -> list[Mend]:
        """Return the links that a run of `mend` wrote, with what each was before."""
        return await self._read(lambda connection: memory.read_mends(connection, run_id))

    async def pause(self, workspace: str, pause: Pause | None, run: Run | None = None) -> tuple[ChangeRecord, ...]:
        def body(connection: Connection) -> tuple[ChangeRecord, ...]:
            # An intent is written under this lock: it either sees the pause, or is seen here.
            leases.lock(self._database, connection, workspace)
            memory.pause(connection, workspace, pause)
            if run is not None:
                journal.record(connection, run)
            return journal.in_flight(connection, workspace)

        return await self._write(body)

    async def paused(self, workspace: str) -> Pause | None:
        return await self._again(lambda: self._read(lambda connection: memory.paused(connection, workspace)))

    async def in_flight(self, workspace: str) -> tuple[ChangeRecord, ...]:
        return await self._read(lambda connection: journal.in_flight(connection, workspace))

    async def notice(self, subject: str) -> str | None:
        return await self._read(lambda connection: notices.read(connection, subject))

    async def set_notice(self, subject: str, condition: str) -> None:
        await self._write(lambda connection: notices.write(self._database, connection, subject, condition))

    async def lease(self, workspace: str) -> Lease | None:
        return await self._read(lambda connection: leases.current(self._database, connection, workspace))

    async def runs(self, workspaces: Sequence[str] = (), since: datetime | None = None, limit: int = 50) -> list[Run]:
        return await self._read(lambda connection: journal.read_runs(connection, workspaces, since, limit))

    async def run(self, run_id: str) -> Run | None:
        return await self._read(lambda connection: journal.read_run(connection, run_id=run_id))

    async def run_by_digest(self, digest: str) -> Run | None:
        return await self._read(lambda connection: journal.read_run(connection, digest=digest))

    async def changes(self, run_id: str) -> list[ChangeRecord]:
        return await self._read(lambda connection: journal.read_changes(connection, run_id))

    async def actions(
        self, workspace: str, limit: int = 20, *, email: str = "", scim_id: str = ""
    ) -> list[ChangeRecord]:
        return await self._read(lambda connection: journal.actions(connection, workspace, limit, email, scim_id))

    async def prune(self, before: datetime) -> int:
        """Forget runs that began before *before*, but what a later run needs, and return how many are gone.

        Safe beside a running sync, whatever *before* says; `agent.store.retention` has the rules.
        """
        old = await self._read(lambda connection: doomed(connection, before, self._now()))
        for start in range(0, len(old), AT_ONCE):
            await self._write(partial(forget, run_ids=old[start : start + AT_ONCE]))
        return len(old)


def _forget(abandoned: asyncio.Future[None]) -> None:
    """Consume its result, which was reported when it was given up."""
    if not abandoned.cancelled():
        abandoned.exception()
