"""The daemons that use the state, one row each."""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, or_, select

from agent.model.daemon import DaemonRecord
from agent.ports.daemons import ALIVE_SECONDS, FORGOTTEN_AFTER_SECONDS
from agent.store.codec import from_micros, to_micros
from agent.store.database import Database
from agent.store.tables import daemons
from agent.store.upsert import upsert

__all__ = ["forget_daemon", "load_daemons", "record_daemon"]

MICROS = 1_000_000


def record_daemon(database: Database, connection: Connection, daemon: DaemonRecord) -> None:
    now = database.now_expression()
    is_predecessor = and_(daemons.c.host == daemon.host, daemons.c.pid == daemon.pid, daemons.c.id != daemon.id)
    is_gone = daemons.c.seen_at < now - FORGOTTEN_AFTER_SECONDS * MICROS
    connection.execute(delete(daemons).where(or_(is_predecessor, is_gone)))
    row = upsert(daemons, is_sqlite=database.is_sqlite).values(
        id=daemon.id,
        host=daemon.host,
        pid=daemon.pid,
        version=daemon.version,
        started_at=to_micros(daemon.started_at),
        seen_at=now,
    )
    connection.execute(row.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now}))


def forget_daemon(connection: Connection, daemon_id: str) -> None:
    connection.execute(delete(daemons).where(daemons.c.id == daemon_id))


def load_daemons(database: Database, connection: Connection) -> tuple[DaemonRecord, ...]:
    is_alive = daemons.c.seen_at >= database.now_expression() - ALIVE_SECONDS * MICROS
    rows = connection.execute(select(daemons).where(is_alive).order_by(daemons.c.started_at, daemons.c.id))
    return tuple(
        DaemonRecord(
            id=row.id,
            host=row.host,
            pid=row.pid,
            version=row.version,
            started_at=from_micros(row.started_at),
            seen_at=from_micros(row.seen_at),
        )
        for row in rows
    )
