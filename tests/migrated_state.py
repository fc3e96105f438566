"""New states with their tables, as copies: to migrate costs more than most tests that are not about it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from sqlalchemy import create_engine

from agent.store.database import Database
from agent.store.tables import metadata
from tests.postgres import new_database

__all__ = ["new_postgres_state", "new_sqlite_state", "postgres_state"]


def new_sqlite_state(folder: Path) -> str:
    """Write a new state into *folder* and return its URL."""
    file = folder / "state.db"
    file.touch(mode=0o600)
    file.write_bytes(_sqlite_file())
    return f"sqlite:///{file}"


def new_postgres_state(server: str) -> str:
    """Make a new state on the server and return its URL."""
    return new_database(server, template=_postgres_template(server))


@contextmanager
def postgres_state(server: str) -> Iterator[str]:
    """Yield the URL of a state without rows, which the next test gets too: a new database costs ten times as much.

    A test that changes the tables themselves, or whose processes may outlive it, needs `new_postgres_state`.
    """
    unused = _unused_states(server)
    url = unused.pop() if unused else new_postgres_state(server)
    yield url
    _delete_rows(url)
    unused.append(url)


@cache
def _unused_states(server: str) -> list[str]:
    return []


def _delete_rows(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        # A session that the test left open may hold a row.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '10s'; {_deletes()}")
    engine.dispose()


@cache
def _deletes() -> str:
    return "; ".join(str(table.delete()) for table in reversed(metadata.sorted_tables))


@cache
def _sqlite_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.db"
        _migrate(f"sqlite:///{file}")
        assert [each.name for each in Path(folder).iterdir()] == [file.name], "part of the state is elsewhere"
        return file.read_bytes()


@cache
def _postgres_template(server: str) -> str:
    url = new_database(server)
    _migrate(url)
    return url.rpartition("/")[2]


def _migrate(url: str) -> None:
    Database(url, lambda: datetime.now(UTC)).close()
