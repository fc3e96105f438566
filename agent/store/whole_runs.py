"""Runs over everyone: when each workspace's newest one began, and those that a change feed asks for.

Moments are by the database's clock, and whether a run began after a request shows its transaction: the hosts of two
replicas need not agree about the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, select, update

from agent.model.feed import WantedRun
from agent.model.run import Run
from agent.store.database import Database
from agent.store.tables import whole_runs
from agent.store.upsert import upsert

__all__ = ["end_wanted_run", "load_wanted_runs", "record_begun", "start_wanted_run", "want_runs"]


def want_runs(database: Database, connection: Connection, wanted: Mapping[str, str]) -> None:
    """Ask for a run over everyone of each workspace in *wanted* that begins from now on, with the reason."""
    columns = whole_runs.c
    # Always in the same order, so that two processes can't deadlock.
    for name, why in sorted(wanted.items()):
        asking = upsert(whole_runs, is_sqlite=database.is_sqlite).values(**_row(name, why=why))
        is_waiting = and_(columns.why != "", columns.tries == 0)
        changed: dict[str, Any] = {"why": case((is_waiting, columns.why), else_=why), "tries": 0, "run_id": ""}
        connection.execute(asking.on_conflict_do_update(index_elements=["workspace"], set_=changed))


def record_begun(database: Database, connection: Connection, run: Run) -> None:
    begun: dict[str, Any] = {"run_id": run.id, "begun_at": database.now_expression()}
    row = upsert(whole_runs, is_sqlite=database.is_sqlite).values(**_row(run.workspace) | begun)
    connection.execute(row.on_conflict_do_update(index_elements=["workspace"], set_=begun))


def load_wanted_runs(database: Database, connection: Connection) -> tuple[WantedRun, ...]:
    query = select(whole_runs, database.now_expression().label("now")).where(whole_runs.c.why != "")
    rows = connection.execute(query.order_by(whole_runs.c.workspace))
    return tuple(_wanted_run(row) for row in rows)


def start_wanted_run(database: Database, connection: Connection, workspace: str, pause: timedelta) -> bool:
    """Count a try of the wanted run, and return whether it may start: it is still wanted, and *pause* is over."""
    locked = select(whole_runs).where(_is_wanted(workspace)).with_for_update().subquery()
    row = connection.execute(select(locked, database.now_expression().label("now"))).first()
    if row is None or _wanted_run(row).is_too_early(pause):
        return False
    tried = {"tries": row.tries + 1, "tried_at": row.now}
    connection.execute(update(whole_runs).where(whole_runs.c.workspace == workspace).values(**tried))
    return True


def end_wanted_run(connection: Connection, wanted: WantedRun) -> None:
    """Forget that the run is wanted, unless it was wanted again since."""
    is_same = and_(whole_runs.c.run_id == wanted.run_id, whole_runs.c.tries == wanted.tries)
    connection.execute(update(whole_runs).where(_is_wanted(wanted.workspace), is_same).values(why="", tries=0))


def _is_wanted(workspace: str) -> ColumnElement[bool]:
    return and_(whole_runs.c.workspace == workspace, whole_runs.c.why != "")


def _row(workspace: str, why: str = "") -> dict[str, Any]:
    return {"workspace": workspace, "why": why, "tries": 0, "tried_at": 0, "run_id": "", "begun_at": 0}


def _wanted_run(row: Any) -> WantedRun:
    last = max(row.begun_at, row.tried_at)
    since_last = timedelta(microseconds=row.now - last) if last else None
    return WantedRun(workspace=row.workspace, why=row.why, tries=row.tries, run_id=row.run_id, since_last=since_last)
