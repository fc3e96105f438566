"""The page sizes that were learned."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from agent.model.page_size import LearnedPageSize
from agent.store.codec import from_micros, to_micros
from agent.store.database import Database
from agent.store.tables import page_sizes
from agent.store.upsert import upsert

__all__ = ["load_page_size", "record_page_size"]


def load_page_size(connection: Connection, target: str) -> LearnedPageSize | None:
    row = connection.execute(select(page_sizes).where(page_sizes.c.target == target)).first()
    return None if row is None else LearnedPageSize(row.size, from_micros(row.learned_at))


def record_page_size(database: Database, connection: Connection, target: str, learned: LearnedPageSize | None) -> None:
    if learned is None:
        connection.execute(delete(page_sizes).where(page_sizes.c.target == target))
        return
    values = {"size": learned.size, "learned_at": to_micros(learned.learned_at)}
    row = upsert(page_sizes, is_sqlite=database.is_sqlite).values(target=target, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["target"], set_=values))
