"""Keys of workspaces: list, rename, retarget and reset them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, Table, and_, delete, func, select, update

from agent.model import Link
from agent.model.run import LinkEdit, Run, WorkspaceRecord
from agent.store import run_journal, targets, workspace_memory
from agent.store.codec import to_micros
from agent.store.tables import leases, links, metadata, notices, pauses, runs
from agent.store.tables import targets as fingerprints

__all__ = ["TARGET_BEFORE_RESET", "load_workspaces", "rename", "reset", "retarget"]

TARGET_BEFORE_RESET = "before a reset"
"""The target of runs before a reset, where none was recorded."""


def _workspace_tables() -> Iterator[Table]:
    """Yield the tables that belong to keys. A lease is held by processes, and does not move."""
    return (table for table in metadata.sorted_tables if "workspace" in table.c and table is not leases)


def _is_memory_table(table: Table) -> bool:
    """Return whether the table is part of a key's memory, and not of the journal."""
    return "workspace" in table.primary_key.columns and table is not pauses


def load_workspaces(connection: Connection) -> tuple[WorkspaceRecord, ...]:
    counted = select(links.c.workspace, func.count()).group_by(links.c.workspace)
    counts = {row[0]: int(row[1]) for row in connection.execute(counted)}
    known = {each.workspace: each.fingerprint for each in targets.load_targets(connection) if not each.connector}
    named = set(connection.execute(select(runs.c.workspace).distinct()).scalars())
    return tuple(
        WorkspaceRecord(
            name,
            known.get(name, ""),
            counts.get(name, 0),
            next(iter(run_journal.load_runs(connection, [name], None, 1)), None),
        )
        for name in sorted({*counts, *known, *named})
    )


def rename(connection: Connection, old: str, new: str, now: datetime) -> None:
    if connection.execute(select(pauses).where(pauses.c.workspace == new)).first() is not None:
        connection.execute(delete(pauses).where(pauses.c.workspace == old))
    for table in _workspace_tables():
        if _is_memory_table(table):
            connection.execute(delete(table).where(table.c.workspace == new))
        connection.execute(update(table).where(table.c.workspace == old).values(workspace=new))
    connection.execute(update(fingerprints).where(fingerprints.c.workspace == new).values(recorded_at=to_micros(now)))
    for subject in connection.execute(select(notices.c.subject)).scalars().all():
        kind, *rest = subject.split(":")
        if rest[:1] == [old]:
            moved = ":".join([kind, new, *rest[1:]])
            connection.execute(delete(notices).where(notices.c.subject == moved))
            connection.execute(update(notices).where(notices.c.subject == subject).values(subject=moved))


def retarget(connection: Connection, name: str, target: str, now: datetime) -> None:
    """Bind *name* to *target*. Its runs were over the same workspace, so they keep counting."""
    was = targets.load_fingerprint(connection, name)
    if was is not None:
        is_it = and_(runs.c.workspace == name, runs.c.target == was)
        connection.execute(update(runs).where(is_it).values(target=target))
    targets.record_targets(connection, name, [("", target)], now)


def reset(connection: Connection, name: str, run: Run, target: str, now: datetime) -> tuple[Link, ...]:
    dropped = workspace_memory.load_links(connection, name)
    was = targets.load_fingerprint(connection, name)
    if was != target:
        is_it = and_(runs.c.workspace == name, runs.c.target.is_(None))
        connection.execute(update(runs).where(is_it).values(target=was or TARGET_BEFORE_RESET))
    for table in _workspace_tables():
        if _is_memory_table(table):
            connection.execute(delete(table).where(table.c.workspace == name))
    if target:
        targets.record_targets(connection, name, [("", target)], now)
    run_journal.insert_run(connection, run)
    workspace_memory.record_link_edits(connection, name, run.id, [LinkEdit(None, link) for link in dropped])
    return dropped
