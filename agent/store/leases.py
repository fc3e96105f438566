"""Leases: the right to write to a workspace, with holder, expiry and a fencing number that only grows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, bindparam, select, update

from agent.errors import WorkspaceBusy, lease_lost_error
from agent.model.run import Lease
from agent.store.codec import from_micros
from agent.store.database import SERVER_NOW, Database
from agent.store.tables import leases
from agent.store.upsert import upsert

__all__ = ["VOID_AFTER_SECONDS", "check", "load_lease", "load_leases", "lock", "release", "renew", "take"]

# Design, section 3: a lease is void 15 s after its last renewal.
VOID_AFTER_SECONDS = 15
VOID_AFTER_MICROS = VOID_AFTER_SECONDS * 1_000_000


def take(database: Database, connection: Connection, workspace: str, holder: str, target: str = "") -> Lease:
    """Return the lease; raise `WorkspaceBusy` while another holder's is neither released nor void.

    There is one row for the key and one for the fingerprint. The first excludes older releases, which know keys only.
    """
    # Two processes that start at once must meet in one row, so that one waits for the transaction of the other.
    for name in _lease_keys(workspace, target):
        first = upsert(leases, is_sqlite=database.is_sqlite).values(
            workspace=name, holder="", since=0, renewed_at=0, fence=0
        )
        connection.execute(first.on_conflict_do_nothing())
    rows = _lock_rows(database, connection, workspace, target)
    if not rows:
        raise AssertionError("the rows were written a line above, in this transaction")
    now: int = max(row.now for row in rows)
    # A renewal far in the future was made before the clock was set back, and there was none since. If its holder is
    # still alive, the higher fence keeps it from writing.
    for row in rows:
        if abs(now - row.renewed_at) < VOID_AFTER_MICROS:
            raise _busy_error(workspace, target, row)
    fence: int = max(row.fence for row in rows) + 1
    values = {"holder": holder, "since": now, "renewed_at": now, "fence": fence}
    connection.execute(update(leases).where(_rows_condition(workspace, target)).values(**values))
    return Lease(workspace=workspace, holder=holder, since=from_micros(now), fence=fence, target=target)


def _busy_error(workspace: str, target: str, row: Row[Any]) -> WorkspaceBusy:
    since = from_micros(row.since).strftime("%Y-%m-%d %H:%M:%S UTC")
    what = f"{workspace} ({target})" if row.workspace == target else workspace
    return WorkspaceBusy(
        f"Another run holds {what}: {row.holder}, since {since}.",
        "Wait for it with --wait SECONDS; if its process died, the lease expires 15 s after its last renewal.",
    )


def _lease_keys(workspace: str, target: str) -> list[str]:
    """Return the keys of a lease's rows, always in the same order, so that two processes can't deadlock."""
    return sorted({workspace, target} - {""})


def _rows_condition(workspace: str, target: str) -> ColumnElement[bool]:
    return leases.c.workspace.in_(_lease_keys(workspace, target))


def load_lease(database: Database, connection: Connection, workspace: str) -> Lease | None:
    """Return the lease that is currently held. It does not give the right to write."""
    return next(iter(load_leases(database, connection, [workspace])), None)


def load_leases(database: Database, connection: Connection, workspaces: Sequence[str]) -> tuple[Lease, ...]:
    """Return the leases of *workspaces* that are currently held."""
    wanted = select(leases, database.now_expression().label("now")).where(leases.c.workspace.in_(workspaces))
    return tuple(
        Lease(workspace=row.workspace, holder=row.holder, since=from_micros(row.since), fence=row.fence)
        for row in connection.execute(wanted.order_by(leases.c.workspace))
        if abs(row.now - row.renewed_at) < VOID_AFTER_MICROS
    )


def check(database: Database, connection: Connection, lease: Lease) -> None:
    """Raise `LeaseLost` unless the lease is the newest, and not void. Until the transaction ends no one can take it."""
    rows = _lock_rows(database, connection, lease.workspace, lease.target)
    is_ours = len(rows) == len(_lease_keys(lease.workspace, lease.target))
    if not is_ours or any(row.fence != lease.fence or row.renewed_at + VOID_AFTER_MICROS <= row.now for row in rows):
        raise lease_lost_error(lease.workspace)


def renew(database: Database, connection: Connection, lease: Lease) -> None:
    """Renew the lease. Call it in one transaction with `check`."""
    renewal = update(leases).where(_rows_condition(lease.workspace, lease.target))
    connection.execute(renewal.values(renewed_at=database.now_expression()))


def release(database: Database, connection: Connection, lease: Lease) -> None:
    _lock_rows(database, connection, lease.workspace, lease.target)
    ours = _rows_condition(lease.workspace, lease.target) & (leases.c.fence == lease.fence)
    connection.execute(update(leases).where(ours).values(renewed_at=0))


def lock(database: Database, connection: Connection, workspace: str) -> None:
    """Exclude transactions under the workspace's lease until this one ends."""
    _lock_rows(database, connection, workspace, "")


def _lock_rows(database: Database, connection: Connection, workspace: str, target: str) -> Sequence[Row[Any]]:
    """Return the lease's rows with the time at which each was locked: outside the subquery, so after any wait."""
    locking = _locking_query(database.is_sqlite)
    now = {"now_micros": database.now_micros()} if database.is_sqlite else {}
    return connection.execute(locking, {"of_keys": _lease_keys(workspace, target), **now}).all()


@cache
def _locking_query(is_sqlite: bool) -> Select[Any]:
    """Return the query of `_lock_rows`, which each write under a lease begins with: building it costs more than it."""
    found = select(leases).where(leases.c.workspace.in_(bindparam("of_keys", expanding=True)))
    rows = found.order_by(leases.c.workspace).with_for_update().subquery()
    now = bindparam("now_micros", type_=BigInteger) if is_sqlite else SERVER_NOW
    return select(rows, now.label("now"))
