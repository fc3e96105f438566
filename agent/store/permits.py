"""The request budget of each host, exact over all processes: one row is locked for each exchange.

A request counts until one window after its response. A permit without a known response counts until one window after
the last moment at which its request can be under way: so a process that died leaves no request uncounted, and its
permits come back by themselves. Every moment is by the database's clock; processes report durations only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, delete, func, select, update

from agent.model.request_budget import RequestPurpose, admit, reserved_requests
from agent.ports.permits import PermitAnswer, PermitRequest
from agent.store.database import Database
from agent.store.tables import answered_requests, request_budgets, request_permits
from agent.store.upsert import upsert

__all__ = ["exchange_permits"]

MICROS = 1_000_000
WAITING_SECONDS = 15
"""How long a process counts as waiting after it asked: it asks again before, unless it died."""

# A process that is suspended within an exchange keeps all others waiting for the one row.
SHORT_LOCK = "SET LOCAL idle_in_transaction_session_timeout = '3s'"
PLENTIFUL_SHARE = 4
"""Spare permits are given while more than this part of the window would be left to the other processes."""


@dataclass(frozen=True, slots=True)
class _Use:
    """The use of a budget: the permits of other processes, and all requests that count still.

    *last_number* is that of the last exchange of the process itself, the waiting ones are others.
    """

    used: int
    last_number: int | None
    deactivation_waits: bool
    read_waits: bool
    has_expired: bool
    next_expiry: int | None


def exchange_permits(database: Database, connection: Connection, request: PermitRequest) -> PermitAnswer:
    if not database.is_sqlite:
        connection.exec_driver_sql(SHORT_LOCK)
    paused_until = _lock_budget(database, connection, request.host)
    # Only now: the lock may have taken long.
    now: int = connection.execute(select(database.now_expression())).scalar_one()
    seen = _read_use(connection, request, now)
    if seen.last_number is not None and seen.last_number >= request.number:
        return PermitAnswer()
    if seen.has_expired:
        _delete_expired(connection, request.host, now)
    _record_answered(database, connection, request, now)
    if request.pause_seconds > 0:
        paused_until = max(paused_until, now + round(request.pause_seconds * MICROS))
        is_host = request_budgets.c.host == request.host
        connection.execute(update(request_budgets).where(is_host).values(paused_until=paused_until))
    used = seen.used + sum(each.count for each in request.answered) + request.outstanding
    free = request.requests - used
    elsewhere = [
        purpose
        for purpose, is_waiting in (
            (RequestPurpose.DEACTIVATION, seen.deactivation_waits),
            (RequestPurpose.READ, seen.read_waits),
        )
        if is_waiting
    ]
    is_paused = paused_until > now
    reserved = reserved_requests(request.requests)
    admitted = () if is_paused else tuple(admit(request.waiting, free, reserved, elsewhere))
    free -= len(admitted)
    left = [purpose for at, purpose in enumerate(request.waiting) if at not in admitted]
    is_plentiful = not left and not elsewhere and not is_paused
    spare = max(0, min(request.spare, free - request.requests // PLENTIFUL_SHARE)) if is_plentiful else 0
    _write_permits(database, connection, request, now, request.outstanding + len(admitted) + spare, left)
    return PermitAnswer(
        admitted=admitted,
        spare=spare,
        free=max(0, free - spare),
        pause_seconds=max(0.0, (paused_until - now) / MICROS),
        retry_seconds=request.window_seconds if seen.next_expiry is None else (seen.next_expiry - now) / MICROS,
    )


def _lock_budget(database: Database, connection: Connection, host: str) -> int:
    """Lock the budget of *host* until the transaction ends, and return until when it is paused."""
    row = select(request_budgets.c.paused_until).where(request_budgets.c.host == host).with_for_update()
    found: int | None = connection.execute(row).scalar()
    if found is not None:
        return found
    insert_row = upsert(request_budgets, is_sqlite=database.is_sqlite).values(host=host, paused_until=0)
    connection.execute(insert_row.on_conflict_do_nothing())
    again: int = connection.execute(row).scalar_one()
    return again


def _read_use(connection: Connection, request: PermitRequest, now: int) -> _Use:
    permits, answered = request_permits.c, answered_requests.c
    of_host = and_(permits.host == request.host, permits.counts_until > now)
    is_other = permits.holder != request.holder
    held = select(func.coalesce(func.sum(permits.permits), 0)).where(of_host, is_other)
    sent_here = and_(answered.host == request.host, answered.counts_until > now)
    sent = select(func.coalesce(func.sum(answered.requests), 0)).where(sent_here)

    def waits(until: Any) -> Any:
        counted = select(func.count()).select_from(request_permits).where(of_host, is_other, until > now)
        return case((counted.scalar_subquery() > 0, 1), else_=0)

    expired = select(func.count()).where(answered.host == request.host, answered.counts_until <= now)
    is_own = and_(permits.host == request.host, permits.holder == request.holder)
    row = connection.execute(
        select(
            (held.scalar_subquery() + sent.scalar_subquery()).label("used"),
            select(permits.number).where(is_own).scalar_subquery().label("last_number"),
            waits(permits.deactivation_waits_until).label("deactivation_waits"),
            waits(permits.read_waits_until).label("read_waits"),
            expired.scalar_subquery().label("has_expired"),
            select(func.min(answered.counts_until)).where(sent_here).scalar_subquery().label("next_expiry"),
        )
    ).one()
    return _Use(
        used=int(row.used),
        last_number=row.last_number,
        deactivation_waits=bool(row.deactivation_waits),
        read_waits=bool(row.read_waits),
        has_expired=bool(row.has_expired),
        next_expiry=row.next_expiry,
    )


def _delete_expired(connection: Connection, host: str, now: int) -> None:
    for table in (answered_requests, request_permits):
        connection.execute(delete(table).where(table.c.host == host, table.c.counts_until <= now))


def _record_answered(database: Database, connection: Connection, request: PermitRequest, now: int) -> None:
    rows = [
        {
            "host": request.host,
            "holder": request.holder,
            "number": each.number,
            "requests": each.count,
            # Measured before `now`, so the response is never taken for an earlier one.
            "counts_until": now + round((request.window_seconds - each.seconds_ago) * MICROS),
        }
        for each in request.answered
    ]
    if rows:
        connection.execute(upsert(answered_requests, is_sqlite=database.is_sqlite).on_conflict_do_nothing(), rows)


def _write_permits(
    database: Database,
    connection: Connection,
    request: PermitRequest,
    now: int,
    permits: int,
    left: list[RequestPurpose],
) -> None:
    def waits_until(purpose: RequestPurpose) -> int:
        return now + WAITING_SECONDS * MICROS if purpose in left else 0

    values = {
        "number": request.number,
        "permits": permits,
        "counts_until": now + round((request.usable_seconds + request.window_seconds) * MICROS),
        "deactivation_waits_until": waits_until(RequestPurpose.DEACTIVATION),
        "read_waits_until": waits_until(RequestPurpose.READ),
    }
    row = upsert(request_permits, is_sqlite=database.is_sqlite).values(
        host=request.host, holder=request.holder, **values
    )
    connection.execute(row.on_conflict_do_update(index_elements=["host", "holder"], set_=values))
