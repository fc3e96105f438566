"""New states with their tables, as copies: to migrate costs more than most tests that are not about it."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from agent.store.database import Database
from tests.postgres import new_database

__all__ = ["new_postgres_state", "new_sqlite_state"]


def new_sqlite_state(folder: Path) -> str:
    """Write a new state into *folder* and return its URL."""
    file = folder / "state.db"
    file.touch(mode=0o600)
    file.write_bytes(_sqlite_file())
    return f"sqlite:///{file}"


def new_postgres_state(server: str) -> str:
    """Make a new state on the server and return its URL."""
    return new_database(server, template=_postgres_template(server))


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
