"""The right to write to a workspace: who holds it, until when, and a number that only grows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects import postgresql, sqlite

from agent.errors import Busy, LeaseLost
from agent.ports import Lease
from agent.store.codec import time
from agent.store.database import Database
from agent.store.tables import leases

__all__ = ["VOID_AFTER_SECONDS", "check", "current", "release", "renew", "take"]

# Design, section 3: a lease is void 15 s after its last renewal.
VOID_AFTER_SECONDS = 15
VOID_AFTER = VOID_AFTER_SECONDS * 1_000_000


def take(database: Database, connection: Connection, workspace: str, holder: str) -> Lease:
    """Return the lease; raise `Busy` while somebody else's is neither released nor void."""
    # Two that come first at once must meet in one row, so that one of them waits for the other's transaction.
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    first = insert(leases).values(workspace=workspace, holder="", since=0, renewed_at=0, fence=0)
    connection.execute(first.on_conflict_do_nothing())
    row = _locked(database, connection, workspace)
    if row is None:
        raise AssertionError("the row was written a line above, in this transaction")
    now: int = row.now
    # A renewal far in the future was made before the clock was set back: nobody has shown a sign of life since. Should
    # its holder live after all, the higher number keeps it from writing.
    if abs(now - row.renewed_at) < VOID_AFTER:
        since = time(row.since).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise Busy(
            f"Another run holds {workspace}: {row.holder}, since {since}.",
            "Wait for it with --wait SECONDS; if its process died, the lease is void 15 s after its last sign of life.",
        )
    fence: int = row.fence + 1
    values = {"holder": holder, "since": now, "renewed_at": now, "fence": fence}
    connection.execute(update(leases).where(leases.c.workspace == workspace).values(**values))
    return Lease(workspace, holder, time(now), fence)


def current(database: Database, connection: Connection, workspace: str) -> Lease | None:
    """Return the lease that somebody holds now, to be looked at only."""
    row = connection.execute(
        select(leases, database.clock().label("now")).where(leases.c.workspace == workspace)
    ).first()
    if row is None or abs(row.now - row.renewed_at) >= VOID_AFTER:
        return None
    return Lease(workspace, row.holder, time(row.since), row.fence)


def check(database: Database, connection: Connection, lease: Lease) -> None:
    """Raise `LeaseLost` unless the lease is the newest, and not void. It can't be taken before the transaction ends."""
    row = _locked(database, connection, lease.workspace)
    if row is None or row.fence != lease.fence or row.renewed_at + VOID_AFTER <= row.now:
        raise LeaseLost(
            f"This run lost its lease of {lease.workspace}: it was not renewed in time, or another run took it.",
            "Nothing more was written. The next run settles what was in flight.",
        )


def renew(database: Database, connection: Connection, lease: Lease) -> None:
    """Show a sign of life. To be called in a transaction with the `check` of the lease."""
    renewing = update(leases).where(leases.c.workspace == lease.workspace)
    connection.execute(renewing.values(renewed_at=database.clock()))


def release(connection: Connection, lease: Lease) -> None:
    ours = (leases.c.workspace == lease.workspace) & (leases.c.fence == lease.fence)
    connection.execute(update(leases).where(ours).values(renewed_at=0))


def _locked(database: Database, connection: Connection, workspace: str) -> Row[Any] | None:
    """Return the lease's row with the time at which it was locked: outside the subquery, so after any wait for it."""
    row = select(leases).where(leases.c.workspace == workspace).with_for_update().subquery()
    return connection.execute(select(row, database.clock().label("now"))).first()
