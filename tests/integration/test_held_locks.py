"""Another process holds a lock in a transaction: a real PostgreSQL ends it, or what waits is tried again."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
import yaml
from sqlalchemy import Connection, create_engine, insert, text
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from agent.errors import StateError
from agent.model.job import PlannedSchedule
from agent.model.run import RunStatus
from agent.store import leases
from agent.store.database import Database
from agent.store.postgres import open_engine
from agent.store.state import SqlState
from agent.store.tables import notices
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.integration.test_daemon import at_home
from tests.migrated_state import new_postgres_state
from tests.state_samples import Clock

LONGEST_SECONDS = 300
LATAM, EMEA = "pigment-latam", "pigment-eu"
LOCKS = {
    "lease": "SELECT * FROM leases WHERE workspace = 'pigment-latam' FOR UPDATE",
    "job": "SELECT * FROM jobs FOR UPDATE",
}
SYNC = b"S\x00\x00\x00\x04"
WAITING = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
Body = Callable[[Connection, Event], object]


@pytest.fixture
def url(postgres_server: str) -> str:
    return new_postgres_state(postgres_server)


@pytest.fixture
async def state(url: str) -> AsyncIterator[SqlState]:
    opened = await SqlState.open(url, Clock().now)
    yield opened
    await opened.close()


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Connect without the agent's limits, as an operator does."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


async def wait_until_waiting(operator: Connection) -> None:
    """Wait until a transaction waits for a lock."""
    async with asyncio.timeout(LONGEST_SECONDS):
        # The database can't call back.
        while not operator.execute(text(f"SELECT count(*) {WAITING}")).scalar_one():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


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
    with connected(url) as operator, ExitStack() as stack:
        assert stack.enter_context(suspended(program, "latam", bodies[0])).wait(LONGEST_SECONDS)
        for body in bodies[1:]:
            stack.enter_context(suspended(program, "latam", body))
            await wait_until_waiting(operator)
        assert (await state.take_lease("latam", "another")).fence == 2
    program.close()


@contextmanager
def recorded_writes(url: str) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the URL of a way to the database, and what clients send over it, each piece as it came."""
    to = make_url(url)
    pieces: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:

        def forward(source: socket.socket, target: socket.socket, record: Callable[[bytes], None]) -> None:
            while piece := source.recv(65536):
                record(piece)
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

        def accept() -> None:
            client, _ = listener.accept()
            server = socket.create_connection((to.host, to.port))
            for each in (client, server):
                stack.enter_context(each)
            back = Thread(target=forward, args=[server, client, lambda _piece: None])
            back.start()
            forward(client, server, pieces.append)
            back.join()

        accepting = Thread(target=accept)
        accepting.start()
        through = to.set(port=listener.getsockname()[1], query={"sslmode": "disable", "gssencmode": "disable"})
        yield through.render_as_string(hide_password=False), pieces
        accepting.join()


def test_each_row_leaves_together_with_the_point_from_which_the_server_counts(url: str) -> None:
    with recorded_writes(url) as (through, pieces):
        engine = open_engine(make_url(through), Event(), 60)
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            pieces.clear()
            write_rows(connection, Event())
            sent = list(pieces)
        engine.dispose()

    assert b"".join(sent).count(b"INSERT") == 3
    assert [each[-5:] for each in sent] == [SYNC] * len(sent)


async def test_schedule_that_another_process_holds_keeps_no_other_waiting(url: str, state: SqlState) -> None:
    now = (await state.load_job_board()).now
    planned = [
        PlannedSchedule(name=name, workspaces=(name,), first=now, next_due=lambda due, _: due + timedelta(hours=1))
        for name in ("a", "b")
    ]
    await state.start_due_ticks(planned)
    with connected(url) as operator, connected(url) as other:
        operator.execute(text("UPDATE schedules SET next_at = 0"))
        operator.execute(text("DELETE FROM jobs"))
        other.execute(text("BEGIN"))
        other.execute(text("SELECT * FROM schedules WHERE name = 'a' FOR UPDATE"))
        assert await state.start_due_ticks(planned) == ()
        assert [job.schedule for job in (await state.load_job_board()).jobs] == ["b"]
        other.execute(text("ROLLBACK"))
        await state.start_due_ticks(planned)
        assert len((await state.load_job_board()).jobs) == 2


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=21, size=15, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture
def config(sandbox: Sandbox, url: str, tmp_path: Path) -> Path:
    written = sandbox.write_config(tmp_path)
    document = yaml.safe_load(written.read_text("utf-8"))
    names = document["workspaces"]
    document["workspaces"] = {name: {**names[name], "schedule": {"every": "1h"}} for name in (LATAM, EMEA)}
    document["state"] = {"url": url}
    written.write_text(yaml.safe_dump(document), "utf-8")
    return written


@pytest.mark.parametrize("row", ["lease", "job"])
async def test_tick_whose_transaction_fails_for_a_moment_goes_on(row: str, config: Path, url: str) -> None:
    """The transaction that takes the lease of a workspace, and the one that ends the job."""
    with capture_logs() as lines, connected(url) as operator, connected(url) as other:
        async with at_home(config) as harness:
            await harness.until(lambda: len(harness.ended) == 2)
            await harness.idle()
            harness.blocks = asyncio.Event()
            operator.execute(text("UPDATE schedules SET next_at = 0"))
            await harness.until(lambda: harness.blocked)
            other.execute(text("BEGIN"))
            assert other.execute(text(LOCKS[row])).all()
            harness.blocks.set()
            if row == "job":
                await harness.until(lambda: len(harness.ended) == 4)
            await wait_until_waiting(operator)
            # The same error as that of a server that restarts, and of a lock that was not released in time.
            operator.execute(text(f"SELECT pg_terminate_backend(pid) {WAITING}"))
            other.execute(text("ROLLBACK"))
            await harness.until(lambda: len(harness.ended) == 4)
            await harness.idle()
            runs = await harness.shared.state.load_runs()

    assert Counter((run.workspace, run.status) for run in runs) == {
        (LATAM, RunStatus.DONE): 2,
        (EMEA, RunStatus.DONE): 2,
    }
    assert not {line["event"] for line in lines} & {"job.failed", "job.unfinished", "job.taken_over", "run.failed"}


async def test_workspace_whose_lease_is_locked_for_long_is_taken_up_again_and_keeps_no_other_waiting(
    config: Path, url: str
) -> None:
    with capture_logs() as lines, connected(url) as operator, connected(url) as other:
        async with at_home(config) as harness:
            await harness.until(lambda: len(harness.ended) == 2)
            await harness.idle()
            other.execute(text("BEGIN"))
            other.execute(text(LOCKS["lease"]))
            operator.execute(text("UPDATE schedules SET next_at = 0"))
            await harness.until(lambda: "job.unfinished" in {line["event"] for line in lines})
            other.execute(text("ROLLBACK"))
            await harness.until(lambda: len(harness.ended) == 5)
            await harness.idle()
            runs = await harness.shared.state.load_runs()
            board = await harness.shared.state.load_job_board()

    first, rest = harness.ended[2:4], harness.ended[4:]
    assert {(result.workspace, result.status) for _, result in first} == {
        (LATAM, RunStatus.INTERRUPTED),
        (EMEA, RunStatus.DONE),
    }
    assert [(result.workspace, result.status) for _, result in rest] == [(LATAM, RunStatus.DONE)]
    assert Counter(run.workspace for run in runs) == {LATAM: 2, EMEA: 2}
    assert (board.jobs, board.stopped) == ((), ())
