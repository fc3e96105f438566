"""Scheduled reports: what was made, its files until every target has them, and its deliveries."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, and_, delete, insert, select, update

from agent.model.report import Delivery, DeliveryStatus, MadeReport, ReportStatus
from agent.store.codec import from_micros, to_micros
from agent.store.database import Database
from agent.store.tables import report_deliveries, report_files, report_names, reports
from agent.store.upsert import upsert

__all__ = [
    "begin_name",
    "load_last_delivered",
    "load_report",
    "load_reports",
    "prune",
    "record_delivery",
    "record_report",
    "supersede",
]


def begin_name(database: Database, connection: Connection, name: str, at: datetime) -> datetime:
    # Two processes may meet a new name at once: the first one counts.
    row = upsert(report_names, is_sqlite=database.is_sqlite).values(name=name, since=to_micros(at))
    connection.execute(row.on_conflict_do_nothing())
    known = connection.execute(select(report_names.c.since).where(report_names.c.name == name)).scalar_one()
    return from_micros(known)


def load_reports(connection: Connection, name: str, limit: int) -> list[MadeReport]:
    columns = [column for column in reports.c if column is not reports.c.facts]
    query = select(*columns).where(reports.c.name == name)
    rows = connection.execute(query.order_by(reports.c.scheduled_at.desc(), reports.c.id.desc()).limit(limit)).all()
    deliveries = _load_deliveries(connection, [row.id for row in rows])
    return [_report_from_row(row, deliveries.get(row.id, ())) for row in rows]


def load_report(connection: Connection, report: str) -> MadeReport | None:
    row = connection.execute(select(reports).where(reports.c.id == report)).first()
    if row is None:
        return None
    files = connection.execute(
        select(report_files.c.file, report_files.c.content)
        .where(report_files.c.report == report)
        .order_by(report_files.c.file)
    )
    contents = {each.file: zlib.decompress(each.content) for each in files}
    deliveries = _load_deliveries(connection, [report]).get(report, ())
    return _report_from_row(row, deliveries, _unpack(row.facts), contents)


def load_last_delivered(connection: Connection, name: str) -> MadeReport | None:
    has_arrived = (
        select(report_deliveries.c.report)
        .where(and_(report_deliveries.c.report == reports.c.id, report_deliveries.c.status == DeliveryStatus.DELIVERED))
        .exists()
    )
    query = select(reports).where(and_(reports.c.name == name, has_arrived))
    row = connection.execute(query.order_by(reports.c.scheduled_at.desc(), reports.c.id.desc()).limit(1)).first()
    if row is None:
        return None
    return _report_from_row(row, _load_deliveries(connection, [row.id]).get(row.id, ()), _unpack(row.facts))


def record_report(connection: Connection, report: MadeReport) -> None:
    values = {
        "name": report.name,
        "scheduled_at": to_micros(report.scheduled_at),
        "status": report.status.value,
        "by": report.by,
        "attempts": report.attempts,
        "next_attempt_at": _micros(report.next_attempt_at),
        "made_at": _micros(report.made_at),
        "digest": report.digest,
        "title": report.title,
        "summary": report.summary,
        "facts": zlib.compress(report.facts),
        "missed": orjson.dumps([to_micros(each) for each in report.missed]).decode(),
        "error": report.error,
    }
    known = connection.execute(select(reports.c.id).where(reports.c.id == report.id)).first()
    if known is None:
        connection.execute(insert(reports).values(id=report.id, **values))
    else:
        connection.execute(update(reports).where(reports.c.id == report.id).values(**values))
        connection.execute(delete(report_files).where(report_files.c.report == report.id))
        connection.execute(delete(report_deliveries).where(report_deliveries.c.report == report.id))
    if report.files:
        rows = [
            {"report": report.id, "file": name, "content": zlib.compress(content)}
            for name, content in report.files.items()
        ]
        connection.execute(insert(report_files), rows)
    if report.deliveries:
        connection.execute(insert(report_deliveries), [_delivery_values(each) for each in report.deliveries])


def record_delivery(connection: Connection, delivery: Delivery) -> None:
    is_it = and_(report_deliveries.c.report == delivery.report, report_deliveries.c.number == delivery.number)
    connection.execute(update(report_deliveries).where(is_it).values(**_delivery_values(delivery)))
    _delete_finished_files(connection, [delivery.report])
    if delivery.status is DeliveryStatus.DELIVERED:
        _forget_older_facts(connection, delivery.report)


def supersede(connection: Connection, name: str, kept: str) -> None:
    newest = connection.execute(select(reports.c.scheduled_at).where(reports.c.id == kept)).scalar_one()
    is_older = and_(reports.c.name == name, reports.c.scheduled_at < newest)
    older = list(connection.execute(select(reports.c.id).where(is_older)).scalars())
    is_pending = report_deliveries.c.status == DeliveryStatus.PENDING
    connection.execute(
        update(report_deliveries)
        .where(and_(report_deliveries.c.report.in_(older), is_pending))
        .values(status=DeliveryStatus.SUPERSEDED.value, next_attempt_at=None)
    )
    connection.execute(
        update(reports)
        .where(and_(reports.c.id.in_(older), reports.c.status == ReportStatus.MAKING))
        .values(status=ReportStatus.FAILED.value, next_attempt_at=None)
    )
    _delete_finished_files(connection, older)


def prune(connection: Connection, before: datetime) -> int:
    names = list(connection.execute(select(reports.c.name).distinct()).scalars())
    kept: set[str] = set()
    for name in names:
        kept.update(each.id for each in load_reports(connection, name, 1))
        last = load_last_delivered(connection, name)
        kept.update(() if last is None else (last.id,))
    is_old = and_(reports.c.scheduled_at < to_micros(before), reports.c.id.not_in(kept))
    return int(connection.execute(delete(reports).where(is_old)).rowcount)


def _delete_finished_files(connection: Connection, ids: Sequence[str]) -> None:
    """Delete the files of those of *ids* that no delivery waits for."""
    is_pending = report_deliveries.c.status == DeliveryStatus.PENDING
    waiting = select(report_deliveries.c.report).where(is_pending)
    connection.execute(
        delete(report_files).where(and_(report_files.c.report.in_(ids), report_files.c.report.not_in(waiting)))
    )


def _forget_older_facts(connection: Connection, report: str) -> None:
    """Only the last delivered report is compared with the next one."""
    row = connection.execute(select(reports.c.name, reports.c.scheduled_at).where(reports.c.id == report)).one()
    is_older = and_(reports.c.name == row.name, reports.c.scheduled_at < row.scheduled_at)
    connection.execute(update(reports).where(is_older).values(facts=b""))


def _load_deliveries(connection: Connection, ids: Sequence[str]) -> Mapping[str, tuple[Delivery, ...]]:
    query = select(report_deliveries).where(report_deliveries.c.report.in_(ids))
    found: dict[str, list[Delivery]] = defaultdict(list)
    for row in connection.execute(query.order_by(report_deliveries.c.report, report_deliveries.c.number)):
        found[row.report].append(
            Delivery(
                report=row.report,
                number=row.number,
                target=row.target,
                status=DeliveryStatus(row.status),
                attempts=row.attempts,
                next_attempt_at=_moment(row.next_attempt_at),
                delivered_at=_moment(row.delivered_at),
                error=row.error,
            )
        )
    return {key: tuple(each) for key, each in found.items()}


def _delivery_values(delivery: Delivery) -> dict[str, Any]:
    return {
        "report": delivery.report,
        "number": delivery.number,
        "target": delivery.target,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "next_attempt_at": _micros(delivery.next_attempt_at),
        "delivered_at": _micros(delivery.delivered_at),
        "error": delivery.error,
    }


def _report_from_row(
    row: Row[Any], deliveries: tuple[Delivery, ...], facts: bytes = b"", files: Mapping[str, bytes] | None = None
) -> MadeReport:
    return MadeReport(
        id=row.id,
        name=row.name,
        scheduled_at=from_micros(row.scheduled_at),
        status=ReportStatus(row.status),
        by=row.by,
        attempts=row.attempts,
        next_attempt_at=_moment(row.next_attempt_at),
        made_at=_moment(row.made_at),
        digest=row.digest,
        title=row.title,
        summary=row.summary,
        facts=facts,
        files=files or {},
        missed=tuple(map(from_micros, orjson.loads(row.missed))),
        error=row.error,
        deliveries=deliveries,
    )


def _unpack(packed: bytes) -> bytes:
    return zlib.decompress(packed) if packed else b""


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
