"""Ticks and requests, one row each, and when each schedule is due. A job's id is the key of its lease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from agent.model.job import Job, JobBoard, JobProgress, JobRequest, PlannedSchedule, stopped_job_id, tick_id
from agent.model.run import Trigger
from agent.store.codec import from_micros, to_micros
from agent.store.database import Database
from agent.store.leases import VOID_AFTER_MICROS
from agent.store.tables import jobs, leases, schedules
from agent.store.upsert import upsert

__all__ = [
    "add_request",
    "claim_job",
    "end_job",
    "give_back_job",
    "load_job_board",
    "report_progress",
    "start_due_ticks",
    "update_job",
]


def load_job_board(database: Database, connection: Connection) -> JobBoard:
    now: int = connection.execute(select(database.now_expression())).scalar_one()
    joined = select(jobs, leases.c.renewed_at).outerjoin(leases, leases.c.workspace == jobs.c.id)
    rows = connection.execute(joined.order_by(jobs.c.created_at, jobs.c.id)).all()
    found = [_job(row, now) for row in rows]
    times = connection.execute(select(schedules.c.name, schedules.c.next_at)).all()
    return JobBoard(
        now=from_micros(now),
        next_times={row.name: from_micros(row.next_at) for row in times},
        jobs=tuple(job for job in found if job.ended_at is None),
        stopped=tuple(job for job in found if job.ended_at is not None),
    )


def start_due_ticks(database: Database, connection: Connection, planned: Sequence[PlannedSchedule]) -> tuple[str, ...]:
    skipped = []
    # Always in the same order, so that two processes can't deadlock.
    for each in sorted(planned, key=lambda schedule: schedule.name):
        if each.first is not None:
            new = _insert_if_absent(database).values(name=each.name, next_at=to_micros(each.first))
            connection.execute(new)
        # Where another process holds it, that one starts the tick; it may be suspended, and others need this one.
        locked = select(schedules).where(schedules.c.name == each.name).with_for_update(skip_locked=True).subquery()
        row = connection.execute(select(locked, database.now_expression().label("now"))).first()
        if row is None or not _is_due(each, row):
            continue
        next_at = each.next_due(from_micros(row.next_at), from_micros(row.now))
        connection.execute(update(schedules).where(schedules.c.name == each.name).values(next_at=to_micros(next_at)))
        if _find_open(connection, tick_id(each.name)) is not None:
            skipped.append(each.name)
            continue
        tick = Job(
            id=tick_id(each.name),
            request=JobRequest(trigger=Trigger.SCHEDULE),
            run_ids=dict.fromkeys(each.workspaces, ""),
            schedule=each.name,
        )
        connection.execute(insert(jobs).values(_row(tick, row.now)))
    return tuple(skipped)


def _insert_if_absent(database: Database) -> Any:
    """Return an insert into `schedules` that leaves an existing row as it is."""
    return upsert(schedules, is_sqlite=database.is_sqlite).on_conflict_do_nothing()


def _is_due(schedule: PlannedSchedule, row: Row[Any]) -> bool:
    if row.next_at <= row.now:
        return True
    longest = schedule.max_wait
    return longest is not None and from_micros(row.next_at) - from_micros(row.now) > longest


def add_request(database: Database, connection: Connection, job: Job, limit: int) -> bool:
    is_request = and_(jobs.c.schedule == "", jobs.c.ended_at.is_(None))
    if connection.execute(select(func.count()).select_from(jobs).where(is_request)).scalar_one() >= limit:
        return False
    now: int = connection.execute(select(database.now_expression())).scalar_one()
    connection.execute(insert(jobs).values(_row(job, now)))
    return True


def claim_job(connection: Connection, job_id: str, replica: str) -> Job | None:
    row = _find_open(connection, job_id)
    if row is None:
        return None
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(claims=row.claims + 1, replica=replica))
    return _job(_find_open(connection, job_id), None)


def update_job(connection: Connection, job: Job) -> None:
    connection.execute(update(jobs).where(jobs.c.id == job.id).values(content=_content(job)))


def report_progress(connection: Connection, job_id: str, progress: JobProgress) -> None:
    shown = orjson.dumps([progress.step, progress.done, progress.total]).decode()
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(progress=shown))


def give_back_job(connection: Connection, job_id: str) -> None:
    left = {"claims": jobs.c.claims - 1, "replica": "", "progress": ""}
    # Once, however often it is repeated after an answer that was lost.
    connection.execute(update(jobs).where(jobs.c.id == job_id, jobs.c.replica != "").values(**left))


def end_job(database: Database, connection: Connection, job_id: str, error: str) -> None:
    row = _find_open(connection, job_id)
    # A repetition, after an answer that was lost, must not end the next tick: no one has claimed that.
    if row is None or not row.claims:
        return
    if row.schedule:
        connection.execute(delete(jobs).where(jobs.c.id == stopped_job_id(row.schedule)))
    if row.schedule and error:
        stopped = {"id": stopped_job_id(row.schedule), "ended_at": database.now_expression(), "error": error}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(**stopped))
        return
    connection.execute(delete(jobs).where(jobs.c.id == job_id))
    if not row.schedule:
        # No other request has this id. Without its row, an older claim of it is lost too.
        connection.execute(delete(leases).where(leases.c.workspace == job_id))


def _find_open(connection: Connection, job_id: str) -> Row[Any] | None:
    return connection.execute(select(jobs).where(jobs.c.id == job_id, jobs.c.ended_at.is_(None))).first()


def _row(job: Job, now: int) -> dict[str, object]:
    return {
        "id": job.id,
        "schedule": job.schedule,
        "content": _content(job),
        "created_at": now,
        "claims": 0,
        "replica": "",
        "progress": "",
        "error": "",
    }


def _content(job: Job) -> str:
    request = job.request
    content = {
        "trigger": request.trigger.value,
        "dry_run": request.is_dry_run,
        "by": request.by,
        "reason": request.reason,
        "user": request.user,
        "approved_digest": request.approved_digest,
        "approved_guards": sorted(request.approved_guards),
        "undone": request.undone,
        "runs": list(job.run_ids.items()),
        "finished": list(job.finished.items()),
    }
    return orjson.dumps(content).decode()


def _job(row: Any, now: int | None) -> Job:
    content = orjson.loads(row.content)
    progress = orjson.loads(row.progress) if row.progress else []
    request = JobRequest(
        trigger=Trigger(content["trigger"]),
        is_dry_run=content["dry_run"],
        by=content["by"],
        reason=content["reason"],
        user=content["user"],
        approved_digest=content["approved_digest"],
        approved_guards=frozenset(content["approved_guards"]),
        undone=content["undone"],
    )
    return Job(
        id=row.id,
        request=request,
        run_ids=dict(content["runs"]),
        schedule=row.schedule,
        finished=dict(content["finished"]),
        created_at=from_micros(row.created_at),
        claims=row.claims,
        replica=row.replica,
        is_claimed=now is None or (bool(row.renewed_at) and abs(now - row.renewed_at) < VOID_AFTER_MICROS),
        progress=JobProgress(*progress),
        ended_at=None if row.ended_at is None else from_micros(row.ended_at),
        error=row.error,
    )
