"""Approvals: who approved which plan, when, why, and the run that applied it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from agent.model.approval import Approval
from agent.store import targets
from agent.store.codec import from_micros, to_micros
from agent.store.tables import approvals, runs
from agent.store.text import names_table

__all__ = ["insert_approval", "load_approvals", "load_newest_approvals", "load_run_approvals", "mark_applied"]


def insert_approval(connection: Connection, approval: Approval) -> None:
    """Write *approval*. If it exists, this same call wrote it before the connection was lost."""
    if connection.execute(select(approvals.c.run_id).where(approvals.c.run_id == approval.run_id)).first() is None:
        connection.execute(
            insert(approvals).values(
                run_id=approval.run_id,
                workspace=approval.workspace,
                digest=approval.digest,
                by=approval.by,
                reason=approval.reason,
                at=to_micros(approval.at),
                guards=orjson.dumps(approval.guards).decode(),
                applied_in=approval.applied_in or None,
            )
        )


def mark_applied(connection: Connection, run_id: str, given_in: Sequence[str]) -> None:
    """Record that the run *run_id* applies the approvals that were given in the runs *given_in*."""
    if given_in:
        is_it = approvals.c.run_id.in_(given_in)
        connection.execute(update(approvals).where(is_it).values(applied_in=run_id))


def load_approvals(connection: Connection, workspace: str, digest: str) -> tuple[Approval, ...]:
    """Return the approvals of one plan, oldest first, without those for a previous target of the key."""
    is_it = and_(approvals.c.workspace == workspace, approvals.c.digest == digest)
    known = targets.load_fingerprint(connection, workspace)
    if known is not None:
        is_known = or_(runs.c.target == known, runs.c.target.is_(None))
        is_it = and_(is_it, select(runs.c.id).where(and_(runs.c.id == approvals.c.run_id, is_known)).exists())
    return _load(connection, is_it)


def load_newest_approvals(connection: Connection, workspaces: Sequence[str]) -> dict[str, Approval]:
    """Return the newest approval of each of *workspaces* that has one."""
    if not workspaces:
        return {}
    wanted = names_table(workspaces)
    of_one = select(approvals.c.run_id).where(approvals.c.workspace == wanted.c.name)
    newest = of_one.order_by(approvals.c.at.desc(), approvals.c.run_id.desc()).limit(1).scalar_subquery()
    ids = connection.execute(select(newest).select_from(wanted)).scalars()
    found = _load(connection, approvals.c.run_id.in_([each for each in ids if each is not None]))
    return {each.workspace: each for each in found}


def load_run_approvals(connection: Connection, run_id: str) -> tuple[Approval, ...]:
    """Return the approvals that the run applied, and the one that was given in it, oldest first."""
    return _load(connection, or_(approvals.c.run_id == run_id, approvals.c.applied_in == run_id))


def _load(connection: Connection, condition: ColumnElement[Any]) -> tuple[Approval, ...]:
    rows = connection.execute(select(approvals).where(condition).order_by(approvals.c.at, approvals.c.run_id))
    return tuple(
        Approval(
            workspace=row.workspace,
            digest=row.digest,
            by=row.by,
            at=from_micros(row.at),
            reason=row.reason,
            guards=tuple(orjson.loads(row.guards)),
            run_id=row.run_id,
            applied_in=row.applied_in or "",
        )
        for row in rows
    )
