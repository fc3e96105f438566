"""What may be forgotten of the journal when it grows old, and what a later run still needs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, delete, func, select

from agent.ports import RunStatus
from agent.store.codec import ticks
from agent.store.journal import may_be_made
from agent.store.tables import changes, left, runs

__all__ = ["AT_ONCE", "doomed", "forget"]

# The guards count an hour back; a day leaves no doubt about clocks.
ALWAYS_KEPT = timedelta(hours=24)
# Runs in one transaction, so that leases can be renewed in between.
AT_ONCE = 100


def doomed(connection: Connection, before: datetime, now: datetime) -> list[str]:
    """Return the ids of runs that began before *before* and that nothing needs any more, oldest first.

    Kept are runs of the last 24 hours, running ones, the newest complete one of each workspace (the fleet guard counts
    by it), the one whose members drift and past days are told by, and those with creates that may have been made
    unseen.
    """
    limit = ticks(min(before, now - ALWAYS_KEPT))
    newest = _newest(runs.c.id, runs.c.workspace, runs.c.started_at, runs.c.guarded.is_not(None))
    told_by = _newest(left.c.run_id, left.c.workspace, left.c.taken_at, left.c.taken_at <= limit)
    needed = [newest, told_by, select(changes.c.run_id).where(may_be_made(now))]
    is_old = and_(runs.c.started_at < limit, runs.c.status != RunStatus.RUNNING)
    is_free = and_(*(runs.c.id.not_in(each) for each in needed))
    return list(
        connection.execute(select(runs.c.id).where(and_(is_old, is_free)).order_by(runs.c.started_at)).scalars()
    )


def forget(connection: Connection, run_ids: Sequence[str]) -> None:
    """Remove runs with their changes, mends and members. Links, baselines, pauses and leases belong to no run."""
    connection.execute(delete(runs).where(runs.c.id.in_(run_ids)))


def _newest(
    run_id: Column[str], workspace: Column[str], at: Column[int], condition: ColumnElement[bool]
) -> Select[tuple[str]]:
    """Return the run of each workspace that is the newest of those that fulfil *condition*."""
    rank = func.row_number().over(partition_by=workspace, order_by=at.desc()).label("rank")
    ranked = select(run_id.label("id"), rank).where(condition).subquery()
    return select(ranked.c.id).where(ranked.c.rank == 1)
