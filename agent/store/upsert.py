"""Insert a row unless it is there already: each database has its own insert for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Table

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["upsert"]


def upsert(table: Table, *, is_sqlite: bool) -> sqlite.Insert | postgresql.Insert:
    """Return an insert into *table* with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    # Each where it is needed: PostgreSQL's dialects are a twentieth of the start of a command.
    if is_sqlite:
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
