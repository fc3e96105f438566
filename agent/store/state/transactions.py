"""Run transactions in threads, with retries, with the check of a lease, and with a limit on their time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, select

from agent.errors import StateError
from agent.model.run import Lease
from agent.ports.clock import FollowingClock
from agent.store import leases
from agent.store.codec import from_micros
from agent.store.database import Database

__all__ = ["Transactions"]

T = TypeVar("T")
CLOSE_TIMEOUT_SECONDS = 3.0
"""How long a database may take for pending calls at the end; a working one takes milliseconds."""
RETRY_SECONDS, RETRY_LIMIT_SECONDS = 1.0, 12.0
RENEW_TIMEOUT_SECONDS = 4.0
"""How long one renewal may take: less than what is left of the lease, so that another can follow."""
MAX_RENEWALS = 4


class Transactions:
    """One database, and the threads that use it. Each part of the state derives from it.

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
        # A visitor's request must not wait for a run's long transaction.
        self._logins = ThreadPoolExecutor(max_workers=2, thread_name_prefix="state-logins")

    @classmethod
    async def open(
        cls, url: str, now: Callable[[], datetime], *, only_new: bool = False, clock: FollowingClock | None = None
    ) -> Self:
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


def _consume_result(abandoned: asyncio.Future[Any]) -> None:
    """Consume the result of a call that has already been reported as timed out."""
    if not abandoned.cancelled():
        abandoned.exception()
