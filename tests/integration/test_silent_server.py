"""A real PostgreSQL with a stopped process for our connection, while TCP works: every wait has a limit."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from threading import Event

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from agent.daemon.state_probe import StateProbe
from agent.errors import StateError
from agent.store.database import Database
from agent.store.postgres import open_engine
from agent.store.state import SqlState
from tests.postgres import new_database
from tests.state_samples import Clock, a_change, begun

SILENT_SECONDS = 1.0
WITHIN_SECONDS = 60


@asynccontextmanager
async def opened(url: str, silent_seconds: float = SILENT_SECONDS) -> AsyncIterator[SqlState]:
    database = Database(url, Clock().now, silent_seconds)
    state = SqlState(database, Clock().now, ThreadPoolExecutor(max_workers=1))
    try:
        yield state
    finally:
        await state.close()


@contextmanager
def stopped_processes(url: str) -> Iterator[None]:
    """Stop the server's processes for the open connections to the database at *url*."""
    engine = create_engine(url)
    asking = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pigment-sync' AND datname = current_database()"
    with engine.connect() as connection:
        found = [int(row.pid) for row in connection.execute(text(asking))]
    engine.dispose()
    assert found
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            os.kill(pid, signal.SIGCONT)


async def test_write_to_a_stopped_server_process_goes_on_with_another(postgres_server: str) -> None:
    url = new_database(postgres_server)
    async with opened(url) as state:
        lease = await begun(state)
        with stopped_processes(url):
            async with asyncio.timeout(WITHIN_SECONDS):
                await state.record_intent(lease, "r1", 0, a_change())
                assert len(await state.load_changes("r1")) == 1


async def test_transaction_in_which_the_server_process_is_stopped_ends_with_an_error(postgres_server: str) -> None:
    url = new_database(postgres_server)
    async with opened(url) as state:
        await begun(state)

        def body() -> None:
            with state._database.begin_write() as connection:
                connection.execute(text("SELECT 1"))
                with stopped_processes(url):
                    connection.execute(text("SELECT 2"))

        async with asyncio.timeout(WITHIN_SECONDS):
            with pytest.raises(StateError, match="has not answered for 1 s") as caught:
                await asyncio.to_thread(body)

    assert "pg_stat_activity" in caught.value.hint


async def test_close_does_not_wait_for_a_server_that_is_silent(postgres_server: str) -> None:
    url = new_database(postgres_server)
    async with opened(url, 3600) as state:
        lease = await begun(state)
        with stopped_processes(url):
            writing = asyncio.create_task(state.record_intent(lease, "r1", 0, a_change()))
            reading = asyncio.create_task(state.load_runs())
            await asyncio.sleep(0)
            async with asyncio.timeout(WITHIN_SECONDS):
                await state.close()
            # Each has ended: with an error, or over a new connection.
            await asyncio.gather(writing, reading, return_exceptions=True)


async def test_proof_that_the_state_can_be_written_waits_in_the_line_of_the_writes(postgres_server: str) -> None:
    url = new_database(postgres_server)
    async with opened(url, 3600) as state:
        await begun(state)
        proof = StateProbe()
        assert await proof.find_problem(state) == ""
        with stopped_processes(url):
            fresh = StateProbe()
            for _ in range(3):
                # The caller stops waiting, as a probe does; calls to the state do not pile up.
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await fresh.find_problem(state)
            assert state._writer._work_queue.qsize() == 0
        async with asyncio.timeout(WITHIN_SECONDS):
            assert await fresh.find_problem(state) == ""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_state_that_can_be_read_only_is_no_state_to_work_with(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if kind == "sqlite":
        path = tmp_path_factory.mktemp("state") / "state.db"
        async with opened(f"sqlite:///{path}?timeout=0.05") as state:
            other = create_engine(f"sqlite:///{path}")
            with other.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                problem = await StateProbe().find_problem(state)
            other.dispose()
            assert await state.load_runs() == []
        assert "locked" in problem
        return
    url = new_database(request.getfixturevalue("postgres_server"))
    async with opened(url) as state:
        name = url.rsplit("/", 1)[1]
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pigment-sync'")
            )
        engine.dispose()
        assert "standby" in await StateProbe().find_problem(state)
        assert await state.load_runs() == []


def test_connection_that_is_being_made_ends_with_the_program() -> None:
    """Otherwise each queued connection would delay a stop by its `connect_timeout` of 10 s."""
    closing = Event()
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as threads:
        url = make_url(f"postgresql+psycopg://agent@127.0.0.1:{silent.getsockname()[1]}/state")
        engine = open_engine(url, closing, 60)
        waiting = threads.submit(engine.connect)
        peer, _ = silent.accept()
        closing.set()

        with peer:
            for refused in (waiting, threads.submit(engine.connect)):
                with pytest.raises(OperationalError, match="the program ends"):
                    refused.result()


async def test_state_that_is_being_closed_takes_no_more_work(postgres_server: str) -> None:
    state = await SqlState.open(new_database(postgres_server), Clock().now)
    await state.close()
    for late in (state.prove_writable(), state.load_memory("latam"), state.take_lease("latam", "one")):
        with pytest.raises(StateError, match="this program ends"):
            await late


async def test_visitor_gets_an_error_within_seconds_of_a_stopped_server_process(postgres_server: str) -> None:
    """The transaction waits for twelve seconds here; the call does not."""
    url = new_database(postgres_server)
    async with opened(url, 12.0) as state:
        await state.open_web_session("s1", "ann", "read", str)
        with stopped_processes(url):
            with pytest.raises(StateError, match="has not answered for 4 s") as failure:
                await state.use_web_session("s1")
            assert failure.value.is_transient
        assert await state.use_web_session("s1") is not None
