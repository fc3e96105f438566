"""The runs of the journal: begun, planned, ended, and read again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, func, insert, or_, select, update

from agent.model.provenance import Provenance
from agent.model.run import (
    ANY_RUN,
    PARTIAL_TRIGGERS,
    ChangeRecord,
    Run,
    RunCounts,
    RunFilter,
    RunOutcome,
    RunOutline,
    RunStatus,
    Trigger,
)
from agent.report.hold_age import has_plan
from agent.store.change_journal import insert_if_absent, record_answers
from agent.store.codec import compress, compress_parts, decompress, from_micros, to_micros
from agent.store.tables import runs
from agent.store.text import EscapedText, names_table

__all__ = [
    "begin_run",
    "close_run_without_lease",
    "count_all_guarded",
    "count_guarded",
    "end_run",
    "find_newest_runs",
    "insert_run",
    "insert_run_row",
    "load_last_plan",
    "load_outlines",
    "load_run",
    "load_runs",
    "run_row",
    "set_plan",
]

MAX_RUNS_WITHOUT_PLAN = 20
IS_FOR_EVERYONE = and_(runs.c.for_user == "", runs.c.trigger.not_in(sorted(PARTIAL_TRIGGERS)))


def begin_run(connection: Connection, run: Run) -> tuple[str, ...]:
    """Write *run*, and close the runs of its workspace that a dead process left running."""
    is_left = and_(runs.c.workspace == run.workspace, runs.c.status == RunStatus.RUNNING, runs.c.id != run.id)
    left = tuple(connection.execute(select(runs.c.id).where(is_left).order_by(runs.c.started_at)).scalars())
    if left:
        closing = {"status": RunStatus.INTERRUPTED, "finished_at": to_micros(run.started_at)}
        error = "The process died or lost its lease before the run ended; the next plan checks the changes in flight."
        connection.execute(update(runs).where(is_left).values(error=error, **closing))
    insert_run(connection, run, is_repeatable=True)
    return left


def insert_run(connection: Connection, run: Run, *, is_repeatable: bool = False) -> None:
    """Write *run*. An existing one is left as it is with *is_repeatable*, and an error without."""
    create = insert_if_absent(connection, runs) if is_repeatable else insert(runs)
    connection.execute(create.values(**run_row(run)))


def run_row(run: Run, document: Iterable[bytes] | None = None) -> dict[str, Any]:
    """Return the row of *run*, its document compressed: the parts in *document*, else that of *run*."""
    return dict(
        id=run.id,
        workspace=run.workspace,
        trigger=run.trigger,
        dry_run=run.dry_run,
        status=run.status,
        started_at=to_micros(run.started_at),
        finished_at=to_micros(run.finished_at) if run.finished_at else None,
        by=run.by,
        reason=run.reason,
        approved=run.approved_digest,
        digest=run.digest,
        document=compress(run.document) if document is None else compress_parts(document),
        error=run.error,
        guarded=run.guarded,
        requests=run.requests,
        for_user=run.user,
        target=run.target or None,
        **_provenance_columns(run.provenance),
        **_count_columns(run.tally),
    )


def insert_run_row(connection: Connection, row: Mapping[str, Any]) -> None:
    connection.execute(insert(runs).values(**row))


def set_plan(
    connection: Connection, run_id: str, digest: str, compressed: bytes | None, approved_digest: str | None
) -> None:
    values = {"digest": digest, "document": compressed, "approved": approved_digest}
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values))


def end_run(connection: Connection, run_id: str, ending: RunOutcome, now: datetime) -> None:
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            status=ending.status,
            error=ending.error,
            guarded=ending.guarded,
            requests=ending.requests,
            finished_at=to_micros(ending.finished_at or now),
            **_count_columns(ending.tally),
        )
    )


def close_run_without_lease(
    connection: Connection, run_id: str, ending: RunOutcome, records: Sequence[ChangeRecord], now: datetime
) -> None:
    """Close a run without its lease. Another process may have closed it, but none writes its changes."""
    workspace = connection.execute(select(runs.c.workspace).where(runs.c.id == run_id)).scalar()
    if workspace is None:
        return
    record_answers(connection, workspace, records)
    end_run(connection, run_id, ending, now)


def _count_columns(tally: RunCounts | None) -> dict[str, int]:
    if tally is None:
        return {}
    return {"active": tally.active, "changed": tally.changes, "held": tally.held, "failed": tally.failed}


def _provenance_columns(provenance: Provenance | None) -> dict[str, str]:
    if provenance is None:
        return {}
    return {
        "tool_version": provenance.version,
        "tool_commit": provenance.commit,
        "config_sha256": provenance.config_sha256,
    }


def count_guarded(connection: Connection, workspace: str) -> int:
    """Return how many members the last complete run of the workspace guarded, 0 without one."""
    known = select(runs.c.guarded).where(and_(runs.c.workspace == workspace, runs.c.guarded.is_not(None)))
    return connection.execute(known.order_by(runs.c.started_at.desc()).limit(1)).scalar() or 0


def count_all_guarded(connection: Connection, workspaces: Sequence[str]) -> int:
    """Return the sum of `count_guarded` of *workspaces*, with one query: each reads one row by its index."""
    if not workspaces:
        return 0
    wanted = names_table(workspaces)
    known = and_(runs.c.workspace == wanted.c.name, runs.c.guarded.is_not(None))
    newest = select(runs.c.guarded).where(known).order_by(runs.c.started_at.desc()).limit(1).scalar_subquery()
    return connection.execute(select(func.sum(newest)).select_from(wanted)).scalar() or 0


def load_runs(
    connection: Connection,
    workspaces: Sequence[str],
    since: datetime | None,
    limit: int,
    ids: Sequence[str] | None = None,
    where: RunFilter = ANY_RUN,
) -> list[Run]:
    query = select(*(column for column in runs.c if column.name != "document"))
    if workspaces:
        query = query.where(runs.c.workspace.in_(workspaces))
    if since is not None:
        query = query.where(runs.c.started_at >= to_micros(since))
    if ids is not None:
        query = query.where(runs.c.id.in_(ids))
    query = query.where(*_conditions(where))
    newest = query.order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)
    return [_run_from_row(row, None) for row in connection.execute(newest)]


def _conditions(where: RunFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if where.triggers is not None:
        conditions.append(runs.c.trigger.in_(where.triggers))
    if where.statuses is not None:
        conditions.append(runs.c.status.in_(where.statuses))
    if where.is_dry is not None:
        conditions.append(runs.c.dry_run.is_(where.is_dry))
    if where.is_whole:
        conditions.append(IS_FOR_EVERYONE)
    if where.is_approved:
        conditions.append(runs.c.approved.is_not(None))
    return conditions


def load_outlines(connection: Connection, workspaces: Sequence[str], limit: int) -> dict[str, tuple[RunOutline, ...]]:
    """Return the newest runs for everyone of each of *workspaces*, newest first.

    A query for each: one for all would read every run of the journal, or need a LATERAL join, which SQLite lacks.
    """
    columns = (runs.c.id, runs.c.started_at, runs.c.status, runs.c.dry_run, runs.c.active)
    of_one = select(*columns).where(runs.c.workspace == bindparam("of_workspace", type_=EscapedText), IS_FOR_EVERYONE)
    newest = of_one.order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)
    return {
        name: tuple(
            RunOutline(run_id, from_micros(started_at), RunStatus(status), dry_run, active)
            for run_id, started_at, status, dry_run, active in connection.execute(newest, {"of_workspace": name})
        )
        for name in workspaces
    }


def find_newest_runs(
    connection: Connection, workspaces: Sequence[str], statuses: Collection[RunStatus], *, only_applied: bool
) -> dict[str, str]:
    """Return for each of *workspaces* the id of its newest run for everyone with one of *statuses*."""
    if not workspaces:
        return {}
    wanted = names_table(workspaces)
    conditions = [runs.c.workspace == wanted.c.name, IS_FOR_EVERYONE, runs.c.status.in_(statuses)]
    if only_applied:
        conditions.append(runs.c.dry_run.is_(False))
    newest = select(runs.c.id).where(*conditions).order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(1)
    rows = connection.execute(select(wanted.c.name, newest.scalar_subquery()))
    return {name: run_id for name, run_id in rows if run_id is not None}


def load_run(connection: Connection, *, run_id: str = "", digest: str = "") -> Run | None:
    """Return the run with this id, or the newest one with a plan digest that starts with *digest*."""
    is_it = runs.c.digest.startswith(digest) if digest else runs.c.id == run_id
    row = connection.execute(select(runs).where(is_it).order_by(runs.c.started_at.desc()).limit(1)).first()
    return None if row is None else _run_from_row(row, decompress(row.document))


def load_last_plan(connection: Connection, workspace: str, target: str) -> Run | None:
    """Return the newest run with a plan of everyone for this target."""
    conditions = [
        runs.c.workspace == workspace,
        runs.c.document.is_not(None),
        runs.c.for_user == "",
        runs.c.trigger.not_in((Trigger.UNDO, Trigger.FEED)),
        runs.c.status.not_in((RunStatus.INCOMPLETE, RunStatus.CREDENTIALS, RunStatus.BUSY)),
    ]
    if target:
        conditions.append(or_(runs.c.target == target, runs.c.target.is_(None)))
    query = select(runs).where(and_(*conditions)).order_by(runs.c.started_at.desc(), runs.c.id.desc())
    # A run that an error ended may have the reason why it has no plan as its document.
    for row in connection.execute(query.limit(MAX_RUNS_WITHOUT_PLAN)):
        document = decompress(row.document)
        if document is not None and has_plan(document):
            return _run_from_row(row, document)
    return None


def _run_from_row(row: Row[Any], document: bytes | None) -> Run:
    return Run(
        id=row.id,
        workspace=row.workspace,
        trigger=Trigger(row.trigger),
        dry_run=row.dry_run,
        started_at=from_micros(row.started_at),
        status=RunStatus(row.status),
        finished_at=None if row.finished_at is None else from_micros(row.finished_at),
        by=row.by,
        reason=row.reason,
        approved_digest=row.approved,
        digest=row.digest,
        document=document,
        error=row.error,
        guarded=row.guarded,
        requests=row.requests,
        tally=None
        if row.active is None
        else RunCounts(active=row.active, changes=row.changed, held=row.held, failed=row.failed),
        user=row.for_user,
        target=row.target or "",
        provenance=None
        if row.tool_version is None
        else Provenance(version=row.tool_version, commit=row.tool_commit, config_sha256=row.config_sha256),
    )
