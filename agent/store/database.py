"""Open the database and run transactions in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
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
# A server that has fallen silent, or another process that was stopped in the middle, must not hold a run up for ever.
PATIENCE = {
    "connect_timeout": BUSY_SECONDS,
    "tcp_user_timeout": BUSY_SECONDS * 1000,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "application_name": "pigment-sync",
    # A database that was made in SQL_ASCII would give bytes where we wrote text.
    "client_encoding": "utf8",
}
SESSION = f"SET lock_timeout = '{BUSY_SECONDS}s'; SET idle_in_transaction_session_timeout = '{BUSY_SECONDS}s'"
# Not now(), which is when the transaction began: it may have waited since for another to end.
SERVER_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


class Database:
    """One database with its tables up to date. Whatever goes wrong in it is a `StateError` that says what to do."""

    def __init__(self, url: str, now: Callable[[], datetime]) -> None:
        self._location = located(url)
        self._now = now
        if self.is_sqlite:
            _prepare_file(Path(self._location.url.database or ""))
        with translated(self._location):
            self._engine = _engine(self._location)
            self._readers = self._engine.execution_options(**READING[self._engine.dialect.name])
            try:
                migrate(self._engine)
            except BaseException:
                self._engine.dispose()
                raise

    @property
    def is_sqlite(self) -> bool:
        return self._location.is_sqlite

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in one transaction: all or none of what happens in it."""
        with translated(self._location), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one moment of the database, and can't write."""
        with translated(self._location), self._readers.begin() as connection:
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


def _engine(location: Location) -> Engine:
    if not location.is_sqlite:
        engine = create_engine(location.url, pool_pre_ping=True, pool_size=2, connect_args=PATIENCE)
        event.listen(engine, "connect", _bound)
        return engine
    patience = {} if "timeout" in location.url.query else {"timeout": BUSY_SECONDS}
    engine = create_engine(location.url, connect_args={**patience, "check_same_thread": False})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _bound(connection: Any, _record: object) -> None:
    connection.autocommit = True
    connection.execute(SESSION)
    connection.autocommit = False


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    # FULL: an intent that was acknowledged must survive a power cut, or a write to Pigment could go unrecorded.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that begins by reading and then writes could fail half-way; an immediate one waits at its start.
    connection.exec_driver_sql(connection.get_execution_options().get("begins_with", "BEGIN IMMEDIATE"))
