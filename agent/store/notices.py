"""The last notice per subject, so that a restart does not send it again."""

from __future__ import annotations

from sqlalchemy import Connection, select

from agent.store.database import Database
from agent.store.tables import notices
from agent.store.upsert import upsert

__all__ = ["load_notice", "set_notice"]


def load_notice(connection: Connection, subject: str) -> str | None:
    row = connection.execute(select(notices.c.condition).where(notices.c.subject == subject)).first()
    return None if row is None else str(row.condition)


def set_notice(database: Database, connection: Connection, subject: str, condition: str) -> None:
    # Two processes may send notices of one workspace at once: the later one is kept.
    row = upsert(notices, is_sqlite=database.is_sqlite).values(subject=subject, condition=condition)
    connection.execute(row.on_conflict_do_update(index_elements=["subject"], set_={"condition": condition}))
