"""The rows of the state that a plan reads: exported for a recording, and imported for its replay.

Values leave as the model has them, without the escapes and the compression of the database.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, insert, or_, select

from agent.model.verification import VerificationKind
from agent.store import change_journal, targets
from agent.store.codec import change_from_json, from_micros, to_micros
from agent.store.tables import (
    baselines,
    changes,
    different_people,
    former_sizes,
    group_sightings,
    left_members,
    links,
    metadata,
    pauses,
    possible_renames,
    runs,
    undone,
    verifications,
)
from agent.store.tables import targets as fingerprints
from agent.store.text import address_key

__all__ = ["export_plan_rows", "import_plan_rows"]

PROBE = VerificationKind.PROBE
MEMORY_TABLES = (links, possible_renames, different_people, baselines, former_sizes, group_sightings, undone, pauses)
CHANGES_WITHIN = timedelta(hours=25)
"""Longer than any guard or comparison looks back, without what is still unconfirmed."""

RUN_COLUMNS = ("id", "workspace", "trigger", "dry_run", "status", "started_at", "finished_at", "guarded", "target")
CHANGE_COLUMNS = (
    *("run_id", "seq", "workspace", "kind", "changes_email", "change", "scim_id", "outcome", "detail", "sent_at"),
    *("answered_at", "accepted", "absences"),
)
PROBE_COLUMNS = ("workspace", "started_at", "subject", "record")
"""Of a probe, a plan reads which members it created."""


def export_plan_rows(
    connection: Connection, planned: Sequence[str], configured: Sequence[str], now: datetime
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (table, row) of what a plan of the *planned* workspaces reads. The fleet guard reads all *configured*."""
    for table in MEMORY_TABLES:
        for row in connection.execute(select(table).where(table.c.workspace.in_(planned))).mappings():
            yield table.name, _plain(row)
    for row in connection.execute(select(fingerprints)).mappings():
        yield fingerprints.name, _plain(row)
    run_ids: set[str] = set()
    oldest = now - CHANGES_WITHIN
    for name in planned:
        found = connection.execute(_latest_members(connection, name)).mappings().first()
        if found is not None:
            run_ids.add(found["run_id"])
            yield left_members.name, {**_plain(found), "members": orjson.loads(zlib.decompress(found["members"]))}
            oldest = min(oldest, from_micros(found["taken_at"]))
    known = targets.load_fingerprints(connection)
    keys = sorted({key for name in configured for key in targets.keys_of_same_target(known, name)})
    is_read = or_(changes.c.sent_at >= to_micros(oldest), change_journal.unconfirmed_create_condition(now))
    rows = connection.execute(select(changes).where(and_(changes.c.workspace.in_(keys), is_read))).mappings()
    for row in rows:
        run_ids.add(row["run_id"])
        yield changes.name, {column: row[column] for column in CHANGE_COLUMNS}
    yield from _export_runs(connection, configured, run_ids)
    yield from _export_probes(connection, planned)


def _plain(row: RowMapping) -> dict[str, Any]:
    """Return a row under plain names: those of SQLAlchemy are of a type that JSON does not know."""
    return {str(name): value for name, value in row.items()}


def _latest_members(connection: Connection, workspace: str) -> Select[Any]:
    condition: ColumnElement[bool] = left_members.c.workspace == workspace
    known = targets.load_fingerprint(connection, workspace)
    if known is not None:
        condition = and_(condition, or_(runs.c.target == known, runs.c.target.is_(None)))
    joined = select(left_members).join(runs, runs.c.id == left_members.c.run_id).where(condition)
    return joined.order_by(left_members.c.taken_at.desc()).limit(1)


def _export_probes(connection: Connection, planned: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    probes = select(verifications).where(verifications.c.workspace.in_(planned), verifications.c.kind == PROBE)
    for row in connection.execute(probes).mappings():
        record = orjson.loads(row["document"]).get("record")
        if record:
            kept = {"canary_id": record.get("canary_id", ""), "members": record.get("members", {})}
            yield verifications.name, {column: row[column] for column in PROBE_COLUMNS[:-1]} | {"record": kept}


def _export_runs(
    connection: Connection, configured: Sequence[str], run_ids: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in configured:
        counted = and_(runs.c.workspace == name, runs.c.guarded.is_not(None))
        newest = select(runs.c.id).where(counted).order_by(runs.c.started_at.desc()).limit(1)
        run_ids.update(connection.execute(newest).scalars())
    for run_id in sorted(run_ids):
        row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().first()
        if row is not None:
            yield runs.name, {column: row[column] for column in RUN_COLUMNS}


def import_plan_rows(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert exported rows into an empty state. Runs come before what belongs to them."""
    connection.execute(insert(metadata.tables[table]), [_complete(table, row) for row in rows])


def _complete(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    if table == runs.name:
        return {**row, "by": "", "reason": "", "error": "", "requests": 0}
    if table == left_members.name:
        return {**row, "members": zlib.compress(orjson.dumps(row["members"]))}
    if table == verifications.name:
        named = {key: value for key, value in row.items() if key != "record"}
        document = orjson.dumps({"record": row["record"]})
        return {**named, "kind": PROBE, "result": "passed", "by": "", "version": "", "document": document}
    if table == changes.name:
        change = change_from_json(row["change"])
        keys = {"email": address_key(change.email), "former_email": address_key(change.before.email or "")}
        return {**row, **keys}
    return dict(row)
