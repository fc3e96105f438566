"""Another process holds a lock in a transaction: a real PostgreSQL ends it, or what waits is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

import pytest
from sqlalchemy import Connection, create_engine, insert, text

from agent.errors import StateError
from agent.store import leases
from agent.store.database import Database
from agent.store.state import SqlState
from agent.store.tables import notices
from tests.migrated_state import new_postgres_state
from tests.state_samples import Clock

LONGEST_SECONDS = 300
WAITS_FOR_LOCK = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
Body = Callable[[Connection, Event], object]


@pytest.fixture
def url(postgres_server: str) -> str:
    return new_postgres_state(postgres_server)


@pytest.fixture
async def state(url: str) -> AsyncIterator[SqlState]:
    opened = await SqlState.open(url, Clock().now)
    yield opened
    await opened.close()


async def wait_until_waiting(url: str, count: int) -> None:
    """Wait until so many transactions wait for a lock."""
    engine = create_engine(url)
    async with asyncio.timeout(LONGEST_SECONDS):
        while True:
            with engine.connect() as connection:
                if connection.execute(text(WAITS_FOR_LOCK)).scalar_one() == count:
                    break
            await asyncio.sleep(0.02)
    engine.dispose()


def no_more(_connection: Connection, _goes_on: Event) -> None:
    """Do nothing more than lock."""


def write_rows(connection: Connection, _goes_on: Event) -> None:
    """Write rows with one call."""
    connection.execute(insert(notices), [{"subject": f"s{number}", "condition": "fine"} for number in range(3)])


def write_half(connection: Connection, goes_on: Event) -> None:
    """Write rows with one call, and get no further than the first."""

    def rows() -> Iterator[tuple[str]]:
        yield ("first",)
        goes_on.wait(LONGEST_SECONDS)
        yield ("second",)

    driver = connection.connection.driver_connection
    assert driver is not None
    driver.cursor().executemany("INSERT INTO notices VALUES (%s, 'fine')", rows())


@contextmanager
def suspended(database: Database, workspace: str, body: Body) -> Iterator[Event]:
    """Suspend a program in a transaction, after *body*. Yields whether it has locked the lease of *workspace*."""
    has_locked, goes_on = Event(), Event()

    def run() -> None:
        try:
            with database.begin_write() as connection:
                leases.lock(database, connection, workspace)
                has_locked.set()
                body(connection, goes_on)
                goes_on.wait(LONGEST_SECONDS)
        except StateError:
            # The server has ended it.
            return

    thread = Thread(target=run)
    thread.start()
    try:
        yield has_locked
    finally:
        goes_on.set()
        thread.join()


@pytest.mark.parametrize("bodies", [[no_more, no_more], [write_rows], [write_half]])
async def test_server_ends_a_transaction_whose_program_is_suspended(
    url: str, state: SqlState, bodies: Sequence[Body]
) -> None:
    """Also one that waits for another of the same program, and gets the lock when that one has ended."""
    await state.release_lease(await state.take_lease("latam", "one"))
    program = Database(url, Clock().now)
    with ExitStack() as stack:
        assert stack.enter_context(suspended(program, "latam", bodies[0])).wait(LONGEST_SECONDS)
        for number, body in enumerate(bodies[1:], 1):
            stack.enter_context(suspended(program, "latam", body))
            await wait_until_waiting(url, number)
        assert (await state.take_lease("latam", "another")).fence == 2
    program.close()
