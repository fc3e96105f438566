"""Open the database and run transactions in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, create_engine, event, literal, literal_column

from agent.errors import StateError
from agent.store.codec import to_micros
from agent.store.errors import WRITABLE, translate_errors
from agent.store.migrate import migrate
from agent.store.url import StateUrl, parse_state_url

__all__ = ["SERVER_NOW", "Database"]

LOCK_TIMEOUT_SECONDS = 10
# A read sees one moment of the database, however many statements it takes, and never waits for a writer.
READ_OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {"begins_with": "BEGIN"},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
# Writes that change nothing. SQLite rewrites its first page. PostgreSQL deletes no row, which a read-only server
# refuses, and assigns a transaction number, which makes the commit reach the disk.
WRITE_PROBES = {
    "sqlite": "PRAGMA user_version = 0",
    "postgresql": "DELETE FROM notices WHERE false; SELECT txid_current()",
}
SERVER_SILENCE_SECONDS = 12.0
"""How long a server may send nothing. The server itself ends a wait for a lock after `LOCK_TIMEOUT_SECONDS`."""
READ_TIMEOUT_FACTOR = 2.5
"""How much longer a read may take: nothing waits for it, and a report may need a long query."""
# Not now(), which is the start of the transaction: it may have waited for another one since.
SERVER_NOW: ColumnElement[int] = literal_column("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", BigInteger)


class Database:
    """One database with its tables up to date. Raises `StateError` with a remedy for every failure."""

    def __init__(
        self,
        url: str,
        now: Callable[[], datetime],
        silent_seconds: float = SERVER_SILENCE_SECONDS,
        *,
        only_new: bool = False,
    ) -> None:
        self._url = parse_state_url(url)
        self._now = now
        self._silent_seconds = silent_seconds
        self._closing = Event()
        if self.is_sqlite:
            _prepare_file(Path(self._url.url.database or ""))
        with translate_errors(self._url):
            self._engine = _create_engine(self._url, self._closing, silent_seconds)
            self._read_engine = self._engine.execution_options(**READ_OPTIONS[self._engine.dialect.name])
            try:
                self.is_new = migrate(self._engine, self._url.redacted, only_new=only_new)
            except BaseException:
                self._engine.dispose()
                raise

    @property
    def location(self) -> str:
        """The location, without a password."""
        return self._url.redacted

    @property
    def is_sqlite(self) -> bool:
        return self._url.is_sqlite

    def close(self) -> None:
        self._engine.dispose()

    def abort_waits(self) -> None:
        """End all waits for a server that does not respond: the waiting threads raise `StateError` at once."""
        self._closing.set()

    def check_writable(self) -> None:
        """Make a write that changes nothing."""
        with self.begin_write() as connection:
            connection.exec_driver_sql(WRITE_PROBES[self._engine.dialect.name])

    @contextmanager
    def begin_write(self) -> Iterator[Connection]:
        """Yield a connection in one transaction."""
        with translate_errors(self._url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def begin_read(self) -> Iterator[Connection]:
        """Yield a read-only connection with a consistent snapshot of the database."""
        with translate_errors(self._url), self._read_engine.begin() as connection:
            if not self.is_sqlite:
                from agent.store.postgres import set_silence_limit

                set_silence_limit(connection, self._silent_seconds * READ_TIMEOUT_FACTOR)
            yield connection

    def now_expression(self) -> ColumnElement[int]:
        """Return the time in microseconds for leases: that of the server, which several hosts may share.

        For SQLite it is the time of the host at this call.
        """
        return literal(self.now_micros()) if self.is_sqlite else SERVER_NOW

    def now_micros(self) -> int:
        """Return the time of this host."""
        return to_micros(self._now())


def _prepare_file(path: Path) -> None:
    """Create the file readable by its owner only, before it holds the first name."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never open an existing one: to close it would end the locks of all other connections of this process to it.
        os.close(os.open(path.resolve(), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        _check_access(path)
    except (OSError, ValueError) as error:
        raise StateError(f"The state {path} can't be written ({_error_reason(error)}).", WRITABLE) from error


def _check_access(path: Path) -> None:
    if path.is_dir():
        raise StateError(f"The state {path} can't be written (Is a directory).", WRITABLE)
    if not os.access(path, os.R_OK | os.W_OK):
        raise StateError(f"The state {path} can't be written (Permission denied).", WRITABLE)


def _error_reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _create_engine(location: StateUrl, closing: Event, silent_seconds: float) -> Engine:
    if not location.is_sqlite:
        # The driver is an extra, and may not be installed.
        from agent.store.postgres import open_engine

        return open_engine(location.url, closing, silent_seconds)
    timeout = {} if "timeout" in location.url.query else {"timeout": LOCK_TIMEOUT_SECONDS}
    engine = create_engine(location.url, connect_args={**timeout, "check_same_thread": False})
    event.listen(engine, "connect", _configure_connection)
    event.listen(engine, "begin", _begin_transaction)
    return engine


def _configure_connection(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    # FULL: an intent that was acknowledged must survive a power cut, or a write to Pigment could go unrecorded.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_transaction(connection: Connection) -> None:
    # A transaction that reads first and then writes could fail in between; an immediate one waits at its start.
    connection.exec_driver_sql(connection.get_execution_options().get("begins_with", "BEGIN IMMEDIATE"))
