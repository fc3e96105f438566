"""Which old runs of the journal may be deleted, and which later runs still need."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, delete, func, select

from agent.model.run import RunStatus
from agent.store.change_journal import unconfirmed_create_condition
from agent.store.codec import to_micros
from agent.store.tables import changes, left_members, runs

__all__ = ["BATCH_SIZE", "delete_runs", "load_expired_run_ids"]

# The guards look back one hour; a day leaves a margin for wrong clocks.
MIN_RETENTION = timedelta(hours=24)
# Runs in one transaction, so that leases can be renewed in between.
BATCH_SIZE = 100


def load_expired_run_ids(connection: Connection, before: datetime, now: datetime) -> list[str]:
    """Return the ids of runs that began before *before* and that are not needed any more, oldest first.

    These are kept: runs of the last 24 hours; running ones; the newest complete one of each workspace, for the fleet
    guard; the one with the members for drift and past access; and those with unconfirmed creates.
    """
    limit = to_micros(min(before, now - MIN_RETENTION))
    newest = _newest_run_query(runs.c.id, runs.c.workspace, runs.c.started_at, runs.c.guarded.is_not(None))
    snapshots = _newest_run_query(
        left_members.c.run_id, left_members.c.workspace, left_members.c.taken_at, left_members.c.taken_at <= limit
    )
    needed = [newest, snapshots, select(changes.c.run_id).where(unconfirmed_create_condition(now))]
    is_old = and_(runs.c.started_at < limit, runs.c.status != RunStatus.RUNNING)
    is_free = and_(*(runs.c.id.not_in(each) for each in needed))
    return list(
        connection.execute(select(runs.c.id).where(and_(is_old, is_free)).order_by(runs.c.started_at)).scalars()
    )


def delete_runs(connection: Connection, run_ids: Sequence[str]) -> None:
    """Delete runs with their changes, link edits and members. Links, baselines, pauses and leases belong to no run."""
    connection.execute(delete(runs).where(runs.c.id.in_(run_ids)))


def _newest_run_query(
    run_id: Column[str], workspace: Column[str], at: Column[int], condition: ColumnElement[bool]
) -> Select[tuple[str]]:
    """Return the newest run of each workspace that meets *condition*."""
    rank = func.row_number().over(partition_by=workspace, order_by=at.desc()).label("rank")
    ranked = select(run_id.label("id"), rank).where(condition).subquery()
    return select(ranked.c.id).where(ranked.c.rank == 1)
