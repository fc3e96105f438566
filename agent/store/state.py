"""The state as the engine knows it: each call one transaction, in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection

from agent.model import Change, Left, Link, Memory, Recent
from agent.ports import ChangeRecord, Ending, Lease, MemberHistory, Mend, Outcome, Pause, Run
from agent.store import journal, memory, past
from agent.store import lease as leases
from agent.store.database import Database
from connectors.base import PersonKey

__all__ = ["SqlState"]

T = TypeVar("T")
# A create without an answer may have been made; after a week without a trace of it, nothing is taken for its member.
SETTLED_WITHIN = timedelta(days=7)


class SqlState:
    """Implements `agent.ports.State`. Open it with `SqlState.open`, and close it."""

    def __init__(self, database: Database, now: Callable[[], datetime], thread: ThreadPoolExecutor) -> None:
        self._database = database
        self._now = now
        self._thread = thread

    @classmethod
    async def open(cls, url: str, now: Callable[[], datetime]) -> SqlState:
        """Open the database at *url* and bring its schema up to date. Raises `StateError`."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        database = await asyncio.get_running_loop().run_in_executor(thread, Database, url, now)
        return cls(database, now, thread)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    async def _within(self, body: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._database.transaction() as connection:
                return body(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    async def _under(self, lease: Lease, body: Callable[[Connection], T]) -> T:
        """Run *body* in one transaction with the proof that *lease* still holds."""

        def proved(connection: Connection) -> T:
            leases.check(self._database, connection, lease)
            return body(connection)

        return await self._within(proved)

    async def take_lease(self, workspace: str, holder: str) -> Lease:
        return await self._within(lambda connection: leases.take(self._database, connection, workspace, holder))

    async def renew_lease(self, lease: Lease) -> None:
        await self._within(lambda connection: leases.renew(self._database, connection, lease))

    async def release_lease(self, lease: Lease) -> None:
        await self._within(lambda connection: leases.release(connection, lease))

    async def memory(self, workspace: str) -> Memory:
        def body(connection: Connection) -> Memory:
            known = memory.read(connection, workspace)
            linked = {link.person for link in known.links}
            lost = journal.unsettled(connection, workspace, self._now() - SETTLED_WITHIN)
            unsettled = tuple(each for each in lost if each.person not in linked)
            return replace(known, unsettled=unsettled, left=past.last(connection, workspace))

        return await self._within(body)

    async def recent(self, workspace: str, since: datetime) -> Recent:
        return await self._within(lambda connection: journal.recent(connection, workspace, since))

    async def baselines(self, workspace: str) -> Mapping[tuple[str, str], tuple[str, int]]:
        return await self._within(lambda connection: memory.read_baselines(connection, workspace))

    async def guarded(self, workspace: str) -> int:
        return await self._within(lambda connection: journal.guarded(connection, workspace))

    async def begin_run(self, run: Run, lease: Lease) -> tuple[str, ...]:
        return await self._under(lease, lambda connection: journal.begin(connection, run))

    async def record_run(self, run: Run) -> None:
        await self._within(lambda connection: journal.record(connection, run))

    async def adopted(self, lease: Lease, run_id: str, adoptions: Sequence[tuple[int, Change, Link]]) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            for seq, change, _ in adoptions:
                done = ChangeRecord(run_id, seq, change, Outcome.DONE, "", now, now, change.scim_id)
                journal.intend(connection, lease.workspace, done)
            memory.write(connection, lease.workspace, [link for _, _, link in adoptions])

        await self._under(lease, body)

    async def intend(self, lease: Lease, run_id: str, seq: int, change: Change) -> None:
        flying = ChangeRecord(run_id, seq, change, journal.IN_FLIGHT, "", self._now(), None, change.scim_id)
        await self._under(lease, lambda connection: journal.intend(connection, lease.workspace, flying))

    async def answered(self, lease: Lease, record: ChangeRecord, link: Link | None = None) -> None:
        def body(connection: Connection) -> None:
            journal.answer(connection, lease.workspace, record)
            if link is not None:
                memory.write(connection, lease.workspace, [link])

        await self._under(lease, body)

    async def remember(
        self,
        lease: Lease,
        seen: Sequence[Link],
        possible_renames: frozenset[tuple[PersonKey, str]],
        baselines: Mapping[tuple[str, str], tuple[str, int]],
    ) -> None:
        def body(connection: Connection) -> None:
            memory.see(connection, lease.workspace, seen)
            memory.replace_renames(connection, lease.workspace, possible_renames)
            memory.set_baselines(connection, lease.workspace, baselines)

        await self._under(lease, body)

    async def record_plan(
        self, lease: Lease, run_id: str, digest: str, document: bytes, approved: str | None = None
    ) -> None:
        await self._under(lease, lambda connection: journal.set_plan(connection, run_id, digest, document, approved))

    async def leave(self, lease: Lease, run_id: str, members: Sequence[Left]) -> None:
        now = self._now()
        await self._under(lease, lambda connection: past.leave(connection, lease.workspace, run_id, members, now))

    async def left_at(self, workspace: str, when: datetime) -> tuple[datetime, tuple[Left, ...]] | None:
        return await self._within(lambda connection: past.left_at(connection, workspace, when))

    async def member_history(self, workspace: str) -> Mapping[str, MemberHistory]:
        return await self._within(lambda connection: past.history(connection, workspace))

    async def end_run(self, lease: Lease, run_id: str, ending: Ending) -> None:
        await self._under(lease, lambda connection: journal.end(connection, run_id, ending, self._now()))

    async def mend(self, lease: Lease, run: Run, mends: Sequence[Mend]) -> None:
        def body(connection: Connection) -> None:
            journal.record(connection, run)
            memory.mended(connection, lease.workspace, mends)

        await self._under(lease, body)

    async def pause(self, workspace: str, pause: Pause | None) -> None:
        await self._within(lambda connection: memory.pause(connection, workspace, pause))

    async def paused(self, workspace: str) -> Pause | None:
        return await self._within(lambda connection: memory.paused(connection, workspace))

    async def runs(self, workspaces: Sequence[str] = (), since: datetime | None = None, limit: int = 50) -> list[Run]:
        return await self._within(lambda connection: journal.read_runs(connection, workspaces, since, limit))

    async def run(self, run_id: str) -> Run | None:
        return await self._within(lambda connection: journal.read_run(connection, run_id=run_id))

    async def run_by_digest(self, digest: str) -> Run | None:
        return await self._within(lambda connection: journal.read_run(connection, digest=digest))

    async def changes(self, run_id: str) -> list[ChangeRecord]:
        return await self._within(lambda connection: journal.read_changes(connection, run_id))

    async def actions(
        self, workspace: str, limit: int = 20, *, email: str = "", scim_id: str = ""
    ) -> list[ChangeRecord]:
        return await self._within(lambda connection: journal.actions(connection, workspace, limit, email, scim_id))
