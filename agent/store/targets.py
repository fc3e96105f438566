"""The targets of workspace keys: fingerprints of workspaces and of their connectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, delete, insert, select

from agent.model import KnownTarget
from agent.store.codec import from_micros, to_micros
from agent.store.tables import targets

__all__ = ["keys_of_same_target", "load_fingerprint", "load_fingerprints", "load_targets", "record_targets"]

SELF = ""


def load_targets(connection: Connection) -> tuple[KnownTarget, ...]:
    rows = connection.execute(select(targets).order_by(targets.c.workspace, targets.c.connector))
    return tuple(
        KnownTarget(row.workspace, row.connector, row.fingerprint, from_micros(row.recorded_at)) for row in rows
    )


def record_targets(connection: Connection, workspace: str, found: Sequence[tuple[str, str]], now: datetime) -> None:
    for connector, text in found:
        is_it = and_(targets.c.workspace == workspace, targets.c.connector == connector)
        connection.execute(delete(targets).where(is_it))
        row = {"workspace": workspace, "connector": connector, "fingerprint": text, "recorded_at": to_micros(now)}
        connection.execute(insert(targets).values(**row))


def load_fingerprint(connection: Connection, workspace: str) -> str | None:
    """Return the target of the workspace's key, None until a run has recorded it."""
    is_it = and_(targets.c.workspace == workspace, targets.c.connector == SELF)
    found = connection.execute(select(targets.c.fingerprint).where(is_it)).scalar()
    return None if found is None else str(found)


def load_fingerprints(connection: Connection) -> dict[str, str]:
    """Return the target of each workspace's key that has one."""
    rows = connection.execute(select(targets.c.workspace, targets.c.fingerprint).where(targets.c.connector == SELF))
    return {row.workspace: row.fingerprint for row in rows}


def keys_of_same_target(known: Mapping[str, str], workspace: str) -> list[str]:
    """Return *workspace* and the other keys that have, or had, the same of the *known* targets."""
    target = known.get(workspace)
    return sorted({workspace, *(key for key, each in known.items() if each == target)})
