"""Logins to the page: sessions, logins that have begun, and failed ones, by the database's clock.

No row holds a secret: ids are hashes of cookies. A row of another is locked only if it is free, so that two processes
that delete expired rows can't deadlock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Table, delete, insert, or_, select, update

from agent.model.web_login import (
    BEGUN_LOGIN_LIFETIME,
    FAILED_LOGIN_WINDOW,
    MAX_BEGUN_LOGINS,
    MAX_FAILED_LOGINS,
    MAX_FAILING_ADDRESSES,
    MAX_SESSIONS,
    SESSION_IDLE,
    SESSION_LIFETIME,
    USE_IS_RECORDED_AFTER,
    WebSession,
    remaining_time,
)
from agent.store.codec import from_micros, to_micros
from agent.store.database import Database
from agent.store.tables import begun_logins, failed_logins, web_sessions
from agent.store.upsert import upsert

__all__ = [
    "begin_login",
    "count_failed_login",
    "end_web_session",
    "find_web_session",
    "finish_login",
    "open_web_session",
    "prune_web_logins",
    "record_use",
]


def open_web_session(
    database: Database,
    connection: Connection,
    session_id: str,
    person: str,
    role: str,
    seal: Callable[[datetime], str],
) -> None:
    now = _load_now(database, connection)
    _delete_expired_sessions(connection, now)
    at = to_micros(now)
    row = {"id": session_id, "person": person, "role": role, "seal": seal(now), "began_at": at, "used_at": at}
    connection.execute(insert(web_sessions).values(**row))
    _delete_oldest(connection, web_sessions, "id", "began_at", MAX_SESSIONS)


def find_web_session(database: Database, connection: Connection, session_id: str) -> tuple[WebSession, bool] | None:
    """Return the session, and whether its use must be recorded; None if it has ended."""
    is_it = web_sessions.c.id == session_id
    row = connection.execute(select(web_sessions, database.now_expression().label("now")).where(is_it)).first()
    if row is None:
        return None
    began_at, used_at, now = from_micros(row.began_at), from_micros(row.used_at), from_micros(row.now)
    remaining = remaining_time(began_at, used_at, now)
    if remaining <= timedelta(0):
        return None
    session = WebSession(
        id=row.id, person=row.person, role=row.role, seal=row.seal, began_at=began_at, remaining=remaining
    )
    return session, now - used_at > USE_IS_RECORDED_AFTER


def record_use(database: Database, connection: Connection, session_id: str) -> None:
    used = update(web_sessions).where(web_sessions.c.id == session_id)
    connection.execute(used.values(used_at=database.now_expression()))


def end_web_session(connection: Connection, session_id: str) -> None:
    connection.execute(delete(web_sessions).where(web_sessions.c.id == session_id))


def begin_login(database: Database, connection: Connection, login_id: str) -> None:
    now = _load_now(database, connection)
    _delete_expired_logins(connection, now)
    connection.execute(insert(begun_logins).values(id=login_id, began_at=to_micros(now)))
    _delete_oldest(connection, begun_logins, "id", "began_at", MAX_BEGUN_LOGINS)


def finish_login(database: Database, connection: Connection, login_id: str) -> bool:
    taken = delete(begun_logins).where(begun_logins.c.id == login_id).returning(begun_logins.c.began_at)
    began_at = connection.execute(taken).scalar()
    if began_at is None:
        return False
    # Either way round: a clock that was set back must not prolong it.
    return abs(_load_now(database, connection) - from_micros(began_at)) <= BEGUN_LOGIN_LIFETIME


def count_failed_login(database: Database, connection: Connection, address: str) -> timedelta:
    new = upsert(failed_logins, is_sqlite=database.is_sqlite).values(address=address, times="[]", last_at=0)
    # This locks a row that is there: replicas count one after the other, and none deletes it as expired meanwhile.
    locked = new.on_conflict_do_update(index_elements=["address"], set_={"address": address})
    times = connection.execute(locked.returning(failed_logins.c.times)).scalar_one()
    is_it = failed_logins.c.address == address
    now = _load_now(database, connection)
    since = to_micros(now - FAILED_LOGIN_WINDOW)
    recent: list[int] = [each for each in orjson.loads(times) if since < each <= to_micros(now)]
    if len(recent) >= MAX_FAILED_LOGINS:
        return from_micros(recent[0]) + FAILED_LOGIN_WINDOW - now
    recent.append(to_micros(now))
    counted = {"times": orjson.dumps(recent).decode(), "last_at": recent[-1]}
    connection.execute(update(failed_logins).where(is_it).values(**counted))
    _delete_expired_failures(connection, now)
    _delete_oldest(connection, failed_logins, "address", "last_at", MAX_FAILING_ADDRESSES)
    return timedelta(0)


def prune_web_logins(database: Database, connection: Connection) -> None:
    now = _load_now(database, connection)
    _delete_expired_sessions(connection, now)
    _delete_expired_logins(connection, now)
    _delete_expired_failures(connection, now)


def _delete_expired_sessions(connection: Connection, now: datetime) -> None:
    is_over = or_(
        web_sessions.c.used_at <= to_micros(now - SESSION_IDLE),
        web_sessions.c.began_at <= to_micros(now - SESSION_LIFETIME),
    )
    _delete_free(connection, web_sessions, "id", select(web_sessions.c.id).where(is_over))


def _delete_expired_logins(connection: Connection, now: datetime) -> None:
    is_over = begun_logins.c.began_at <= to_micros(now - BEGUN_LOGIN_LIFETIME)
    _delete_free(connection, begun_logins, "id", select(begun_logins.c.id).where(is_over))


def _delete_expired_failures(connection: Connection, now: datetime) -> None:
    is_over = failed_logins.c.last_at <= to_micros(now - FAILED_LOGIN_WINDOW)
    _delete_free(connection, failed_logins, "address", select(failed_logins.c.address).where(is_over))


def _delete_oldest(connection: Connection, table: Table, key: str, at: str, limit: int) -> None:
    """Delete all rows but the newest *limit*."""
    oldest = select(table.c[key]).order_by(table.c[at].desc(), table.c[key]).offset(limit)
    _delete_free(connection, table, key, oldest)


def _delete_free(connection: Connection, table: Table, key: str, chosen: Any) -> None:
    """Delete the *chosen* rows that no other transaction has locked."""
    connection.execute(delete(table).where(table.c[key].in_(chosen.with_for_update(skip_locked=True))))


def _load_now(database: Database, connection: Connection) -> datetime:
    return from_micros(connection.execute(select(database.now_expression())).scalar_one())
