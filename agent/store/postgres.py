"""Connections to PostgreSQL with a limit on every wait, which work behind a pooler in transaction mode."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from threading import Event
from typing import Any

import psycopg
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

__all__ = ["BoundedConnection", "allow_migration", "open_engine", "set_silence_limit"]

LOCK_TIMEOUT_SECONDS = 10
IDLE_TIMEOUT_SECONDS = 5
"""After how long the server ends a transaction that waits for its program, which may be suspended.

Half of the limit for a lock, since the one that gets the lock next may belong to the same program. A lease is void
after 15 s without renewal: its holder must be able to renew it after such a wait.
"""
MIGRATION_SILENCE_SECONDS = 600.0
"""How long a server may send nothing during a migration."""
MIGRATION_IDLE = "SET LOCAL idle_in_transaction_session_timeout = '60s'"
POLL_SECONDS = 0.1
ENDING = "the program ends, and the server has not answered yet"
# A silent server, or another process stopped during a transaction, must not block a run forever.
CONNECT_ARGS = {
    "connect_timeout": LOCK_TIMEOUT_SECONDS,
    "tcp_user_timeout": LOCK_TIMEOUT_SECONDS * 1000,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "application_name": "pigment-sync",
    # A database created with SQL_ASCII would return bytes instead of text.
    "client_encoding": "utf8",
    # A pooler in transaction mode gives the next transaction another session, without our prepared statements.
    "prepare_threshold": None,
}
# Of the transaction, not the session: in a pooler's transaction mode another program may get the session next.
TRANSACTION_SETTINGS = (
    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'; SET LOCAL "
    f"idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_SECONDS}s'"
)


class SynchronizedPipeline(psycopg.Pipeline):
    """A pipeline in which a synchronization point follows each statement, and nothing the last one.

    Only after such a point the server counts for how long it waits for the program. psycopg sends one at the end, and
    then a request to flush, which stops the count. A program that is suspended during or after `executemany` would hold
    its locks for as long as its connection lasts. It overrides internal methods of psycopg: there is no other hook.
    """

    def _communicate_gen(self) -> Generator[Any, Any, None]:
        self._enqueue_sync()
        commands = tuple(self.command_queue)

        def send_all() -> None:
            for command in commands:
                command()

        # As one, so that a statement and its point leave together: psycopg writes between two commands.
        self.command_queue.clear()
        self.command_queue.append(send_all)
        yield from super()._communicate_gen()

    def _exit_gen(self) -> Generator[Any, Any, None]:
        try:
            yield from self._communicate_gen()
        finally:
            yield from self._fetch_gen(flush=False)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed, with an `OperationalError`, once its server has been silent for *silent_seconds*.

    TCP does not notice a stopped server process, and a time-out in that process stops with it. *closing* ends the wait
    at once. Only waits are counted, not clock time: a suspended machine has not waited.
    """

    silent_seconds = float(LOCK_TIMEOUT_SECONDS)
    closing: Event | None = None

    @classmethod
    def _connect_gen(cls, *arguments: Any, **options: Any) -> Generator[Any, Any, Any]:
        """Connect as psycopg does, unless the program ends.

        It overrides an internal method of psycopg, because a connection attempt has no other hook. Each attempt in the
        queue would otherwise delay the end of the program by its whole `connect_timeout`.
        """
        connecting = super()._connect_gen(*arguments, **options)
        try:
            cls._refuse_when_closing()
            awaited = next(connecting)
            while True:
                ready = yield awaited
                if not ready:
                    cls._refuse_when_closing()
                awaited = connecting.send(ready)
        except StopIteration as end:
            return end.value
        finally:
            connecting.close()

    @classmethod
    def _refuse_when_closing(cls) -> None:
        if cls.closing is not None and cls.closing.is_set():
            raise psycopg.OperationalError(ENDING)

    @contextmanager
    def _pipeline_nolock(self) -> Generator[psycopg.Pipeline]:
        """Yield the pipeline of one `executemany`, as psycopg does."""
        pipeline = self._pipeline = SynchronizedPipeline(self, _no_lock=True)
        try:
            with pipeline:
                yield pipeline
        finally:
            self._pipeline = None

    def wait(self, gen: Generator[Any, Any, Any], interval: float = POLL_SECONDS, timeout: float | None = None) -> Any:
        """Run *gen* as psycopg does, with a limit on how long the server may be silent."""
        # psycopg 3.2 has no *timeout*.
        more = {} if timeout is None else {"timeout": timeout}
        return super().wait(self._with_silence_limit(gen), interval=min(interval, POLL_SECONDS), **more)

    def _with_silence_limit(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        silent = 0.0
        try:
            awaited = next(gen)
            while True:
                ready = yield awaited
                silent = 0.0 if ready else silent + POLL_SECONDS
                if silent > self.silent_seconds:
                    self._abort(f"the server has not answered for {self.silent_seconds:.0f} s")
                if not ready and self.closing is not None and self.closing.is_set():
                    self._abort(ENDING)
                awaited = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _abort(self, why: str) -> None:
        # Not `close` or a rollback: nothing may wait for this server any more.
        self.pgconn.finish()
        raise psycopg.OperationalError(why)


def open_engine(url: URL, closing: Event, silent_seconds: float) -> Engine:
    """Return an engine of `BoundedConnection`; *closing* ends all their waits."""

    class EngineConnection(BoundedConnection):
        """A connection of this engine."""

    EngineConnection.closing = closing

    def reset(connection: Any, _record: object) -> None:
        if connection is not None:
            connection.silent_seconds = silent_seconds

    engine = create_engine(url, pool_pre_ping=True, pool_size=2, connect_args=CONNECT_ARGS)

    def connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> BoundedConnection:
        connection = EngineConnection.connect(*arguments, **options)
        connection.silent_seconds = silent_seconds
        return connection

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkin", reset)
    event.listen(engine, "begin", _configure_transaction)
    return engine


def set_silence_limit(connection: SqlConnection, silent_seconds: float) -> None:
    """Allow the server to be silent for *silent_seconds* until the transaction of *connection* ends."""
    driver = connection.connection.driver_connection
    if isinstance(driver, BoundedConnection):
        driver.silent_seconds = silent_seconds


def allow_migration(connection: SqlConnection) -> None:
    """Allow the server, and this program, to take long until the transaction of *connection* ends.

    The program imports Alembic inside it, which takes seconds on a slow disk.
    """
    set_silence_limit(connection, MIGRATION_SILENCE_SECONDS)
    connection.exec_driver_sql(MIGRATION_IDLE)


def _configure_transaction(connection: SqlConnection) -> None:
    connection.exec_driver_sql(TRANSACTION_SETTINGS)
