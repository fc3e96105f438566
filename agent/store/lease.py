"""The right to write to a workspace: who holds it, until when, and a number that only grows."""

from __future__ import annotations

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from agent.errors import Busy, LeaseLost
from agent.ports import Lease
from agent.store.codec import time
from agent.store.database import Database
from agent.store.tables import leases

__all__ = ["VOID_AFTER_SECONDS", "check", "release", "renew", "take"]

# Design, section 3: a lease is void 15 s after its last renewal.
VOID_AFTER_SECONDS = 15
VOID_AFTER = VOID_AFTER_SECONDS * 1_000_000


def take(database: Database, connection: Connection, workspace: str, holder: str) -> Lease:
    """Return the lease; raise `Busy` while somebody else's is neither released nor void."""
    # Two that come first at once must meet in one row, so that one of them waits for the other's transaction.
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    first = insert(leases).values(workspace=workspace, holder="", since=0, renewed_at=0, fence=0)
    connection.execute(first.on_conflict_do_nothing())
    row = connection.execute(select(leases).where(leases.c.workspace == workspace).with_for_update()).one()
    now = database.now(connection)
    if row.renewed_at + VOID_AFTER > now:
        since = time(row.since).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise Busy(
            f"Another run holds {workspace}: {row.holder}, since {since}.",
            "Wait for it with --wait SECONDS; if its process died, the lease is void 15 s after its last sign of life.",
        )
    fence: int = row.fence + 1
    values = {"holder": holder, "since": now, "renewed_at": now, "fence": fence}
    connection.execute(update(leases).where(leases.c.workspace == workspace).values(**values))
    return Lease(workspace, holder, time(now), fence)


def check(database: Database, connection: Connection, lease: Lease) -> int:
    """Return the present time; raise `LeaseLost` unless the lease is the newest, and not void."""
    row = connection.execute(select(leases).where(leases.c.workspace == lease.workspace).with_for_update()).first()
    now = database.now(connection)
    if row is None or row.fence != lease.fence or row.renewed_at + VOID_AFTER <= now:
        raise LeaseLost(
            f"This run lost its lease of {lease.workspace}: it was not renewed in time, or another run took it.",
            "Nothing more was written. The next run settles what was in flight.",
        )
    return now


def renew(database: Database, connection: Connection, lease: Lease) -> None:
    now = check(database, connection, lease)
    connection.execute(update(leases).where(leases.c.workspace == lease.workspace).values(renewed_at=now))


def release(connection: Connection, lease: Lease) -> None:
    ours = (leases.c.workspace == lease.workspace) & (leases.c.fence == lease.fence)
    connection.execute(update(leases).where(ours).values(renewed_at=0))
