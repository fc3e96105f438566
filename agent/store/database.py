"""Open the database, bring its schema up to date, and run transactions in it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from agent.errors import StateError
from agent.store.codec import ticks

__all__ = ["Database"]

HEAD = "0001"
BUSY_SECONDS = 10
# Any number that nobody else locks by: two processes that start on an empty database must not both make its tables.
MIGRATION_LOCK = 7_164_490_117
SUPPORTED = ("sqlite", "postgresql")
DATABASE_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


class Database:
    """One database. Whatever goes wrong in it is a `StateError` that says what to do."""

    def __init__(self, url: str, now: Callable[[], datetime]) -> None:
        self._url = _url(url)
        self._now = now
        with self._translated():
            self._engine = _engine(self._url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._prepare_file()
        self._migrate()

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in one transaction: all or none of what happens in it."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    def now(self, connection: Connection) -> int:
        """Return the time that leases are judged by: the database's own, where several hosts may share it."""
        if self.is_sqlite:
            return ticks(self._now())
        return int(
            connection.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")).scalar_one()
        )

    def _prepare_file(self) -> None:
        """Make the file readable to its owner alone before the first secret name stands in it."""
        name = self._url.database
        if not name or name == ":memory:":
            return
        path = Path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise StateError(
                f"The state {path} can't be written ({error.strerror}).",
                "Mount a writable folder for it, or name another place in state.url.",
            ) from error

    def _migrate(self) -> None:
        with self._translated(), self._engine.connect() as connection:
            found = _revision(connection)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise StateError(
                f"The state was written by a newer pigment-sync (schema {found}, this one knows {HEAD}).",
                "Run that version, or restore a backup from before the upgrade.",
            )
        with self._translated(), self._engine.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": MIGRATION_LOCK})
            _upgrade(connection)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        where = self._url.render_as_string(hide_password=True)
        try:
            yield
        except ImportError as error:
            raise StateError(
                f"The state {where} needs a library that is not installed ({error.name}).",
                "Install it with: pip install 'pigment-sync[postgres]'",
            ) from error
        except (NoSuchModuleError, ArgumentError) as error:
            raise StateError(
                f"The state {where} can't be opened: {error}.", "Write state.url as in config.example.yaml."
            ) from error
        except SQLAlchemyError as error:
            raise StateError(f"The state {where} can't be used ({_cause(error)}).", _way_out(error)) from error


def _url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StateError("state.url is no database URL.", "Write it as sqlite:///state.db.") from error
    if parsed.get_backend_name() not in SUPPORTED:
        raise StateError(
            f"state.url names {parsed.get_backend_name()}, which is not supported.",
            "Use sqlite:///state.db or postgresql+psycopg://user@host/db.",
        )
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=2, connect_args={"connect_timeout": BUSY_SECONDS})
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _configure)
    # A transaction that begins by reading and then writes could fail half-way; an immediate one waits at its start.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        # FULL: an intent that was acknowledged must survive a power cut, or a write to Pigment could go unrecorded.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _upgrade(connection: Connection) -> None:
    # Only a new or an old database needs it, and it is slow to import.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _cause(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__


def _way_out(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.DatabaseError) and "not a database" in str(cause):
        return "Restore a backup; or move the file away, and the next run adopts members by email and alias."
    if isinstance(cause, sqlite3.OperationalError) and "locked" in str(cause):
        return "Another process holds it for long; see which, and never put it on a network file system."
    return "Check that the database is there, reachable and writable, and what state.url names."
