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
from agent.store.codec import ticks
from agent.store.location import Location, located
from agent.store.schema import migrate
from agent.store.trouble import WRITABLE, translated

__all__ = ["Database"]

BUSY_SECONDS = 10
# A read sees one moment of the database, however many statements it takes, and never waits for a writer.
READING: dict[str, dict[str, Any]] = {
    "sqlite": {"begins_with": "BEGIN"},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
# Writes without changing anything: the first page again; nothing deleted, which a read-only server refuses, and a
# transaction's number, which makes the commit reach the disk.
PROBES = {
    "sqlite": "PRAGMA user_version = 0",
    "postgresql": "DELETE FROM notices WHERE false; SELECT txid_current()",
}
SILENT_SECONDS = 12.0
"""How long a server may send nothing; it ends a wait for a lock after `BUSY_SECONDS` by itself."""
READS_WAIT = 2.5
"""So many times as long may a read take: nothing waits for it, and a report may be much to find."""
# Not now(), which is when the transaction began: it may have waited since for another to end.
SERVER_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


class Database:
    """One database with its tables up to date. Whatever goes wrong in it is a `StateError` that says what to do."""

    def __init__(
        self,
        url: str,
        now: Callable[[], datetime],
        silent_seconds: float = SILENT_SECONDS,
        *,
        only_new: bool = False,
    ) -> None:
        self._location = located(url)
        self._now = now
        self._silent_seconds = silent_seconds
        self._closing = Event()
        if self.is_sqlite:
            _prepare_file(Path(self._location.url.database or ""))
        with translated(self._location):
            self._engine = _engine(self._location, self._closing, silent_seconds)
            self._readers = self._engine.execution_options(**READING[self._engine.dialect.name])
            try:
                self.is_new = migrate(self._engine, self._location.shown, only_new=only_new)
            except BaseException:
                self._engine.dispose()
                raise

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        return self._location.shown

    @property
    def is_sqlite(self) -> bool:
        return self._location.is_sqlite

    def close(self) -> None:
        self._engine.dispose()

    def break_off(self) -> None:
        """Let no thread wait any longer for a server that does not answer: it raises `StateError` at once."""
        self._closing.set()

    def prove_writable(self) -> None:
        """Make a write that changes nothing."""
        with self.writing() as connection:
            connection.exec_driver_sql(PROBES[self._engine.dialect.name])

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in one transaction: all or none of what happens in it."""
        with translated(self._location), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one moment of the database, and can't write."""
        with translated(self._location), self._readers.begin() as connection:
            if not self.is_sqlite:
                from agent.store.postgres import bound

                bound(connection, self._silent_seconds * READS_WAIT)
            yield connection

    def clock(self) -> ColumnElement[int]:
        """Return the time, in ticks, that leases are judged by: the server's own, which several hosts may share.

        For SQLite it is the host's, as of this call.
        """
        if self.is_sqlite:
            return literal(ticks(self._now()))
        return literal_column(SERVER_CLOCK, BigInteger)


def _prepare_file(path: Path) -> None:
    """Make the file readable to its owner alone before the first name stands in it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except (OSError, ValueError) as error:
        raise StateError(f"The state {path} can't be written ({_why(error)}).", WRITABLE) from error


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _engine(location: Location, closing: Event, silent_seconds: float) -> Engine:
    if not location.is_sqlite:
        # Its driver is an extra, and may not be installed.
        from agent.store.postgres import open_engine

        return open_engine(location.url, closing, silent_seconds)
    patience = {} if "timeout" in location.url.query else {"timeout": BUSY_SECONDS}
    engine = create_engine(location.url, connect_args={**patience, "check_same_thread": False})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    # FULL: an intent that was acknowledged must survive a power cut, or a write to Pigment could go unrecorded.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that begins by reading and then writes could fail half-way; an immediate one waits at its start.
    connection.exec_driver_sql(connection.get_execution_options().get("begins_with", "BEGIN IMMEDIATE"))
