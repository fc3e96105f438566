"""What the keys of files stand for: fingerprints of workspaces and of their connectors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, delete, insert, select

from agent.model import KnownTarget
from agent.store.codec import ticks, time
from agent.store.tables import targets

__all__ = ["fingerprint", "keys", "read", "write"]

SELF = ""


def read(connection: Connection) -> tuple[KnownTarget, ...]:
    rows = connection.execute(select(targets).order_by(targets.c.workspace, targets.c.connector))
    return tuple(KnownTarget(row.workspace, row.connector, row.fingerprint, time(row.recorded_at)) for row in rows)


def write(connection: Connection, workspace: str, found: Sequence[tuple[str, str]], now: datetime) -> None:
    for connector, text in found:
        is_it = and_(targets.c.workspace == workspace, targets.c.connector == connector)
        connection.execute(delete(targets).where(is_it))
        row = {"workspace": workspace, "connector": connector, "fingerprint": text, "recorded_at": ticks(now)}
        connection.execute(insert(targets).values(**row))


def fingerprint(connection: Connection, workspace: str) -> str | None:
    """Return what the workspace's key stands for, None as long as no run has recorded it."""
    is_it = and_(targets.c.workspace == workspace, targets.c.connector == SELF)
    found = connection.execute(select(targets.c.fingerprint).where(is_it)).scalar()
    return None if found is None else str(found)


def keys(connection: Connection, workspace: str) -> list[str]:
    """Return *workspace* and the other keys that stand, or stood, for the same fingerprint."""
    known = fingerprint(connection, workspace)
    if known is None:
        return [workspace]
    same = select(targets.c.workspace).where(and_(targets.c.connector == SELF, targets.c.fingerprint == known))
    return sorted({workspace, *connection.execute(same).scalars()})
