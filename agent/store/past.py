"""The members as runs left them: what drift is told by, and who had access at a past day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, insert, or_, select

from agent.model import Kind, Left
from agent.ports import MemberHistory, Outcome
from agent.store import targets
from agent.store.codec import left_from_bytes, left_to_bytes, ticks, time
from agent.store.tables import changes, left, runs

__all__ = ["history", "last", "leave", "left_at"]

GIVING = frozenset({Kind.CREATE, Kind.REACTIVATE})


def leave(connection: Connection, workspace: str, run_id: str, members: Sequence[Left], now: datetime) -> None:
    """Write the members, unless the last run left the very same."""
    stored = left_to_bytes(members)
    newest = select(left.c.members).where(left.c.workspace == workspace).order_by(left.c.taken_at.desc()).limit(1)
    if connection.execute(newest).scalar() != stored:
        values = {"run_id": run_id, "workspace": workspace, "taken_at": ticks(now), "members": stored}
        connection.execute(insert(left).values(**values))


def last(connection: Connection, workspace: str) -> tuple[datetime, tuple[Left, ...]] | None:
    """Return when and how the last run over what the key stands for now left the members; none of before a reset."""
    newest = (
        select(left.c.taken_at, left.c.members)
        .where(left.c.workspace == workspace)
        .order_by(left.c.taken_at.desc())
        .limit(1)
    )
    known = targets.fingerprint(connection, workspace)
    if known is not None:
        is_known = or_(runs.c.target == known, runs.c.target.is_(None))
        newest = newest.join(runs, runs.c.id == left.c.run_id).where(is_known)
    row = connection.execute(newest).first()
    return None if row is None else (time(row.taken_at), left_from_bytes(row.members))


def left_at(connection: Connection, workspace: str, when: datetime) -> tuple[datetime, tuple[Left, ...]] | None:
    until = and_(left.c.workspace == workspace, left.c.taken_at <= ticks(when))
    row = connection.execute(select(left).where(until).order_by(left.c.taken_at.desc()).limit(1)).first()
    return None if row is None else (time(row.taken_at), left_from_bytes(row.members))


def history(connection: Connection, workspace: str) -> dict[str, MemberHistory]:
    """Return, by SCIM id, since when and by what the members have their access."""
    oldest = select(left).where(left.c.workspace == workspace).order_by(left.c.taken_at).limit(1)
    row = connection.execute(oldest).first()
    seen = {each.scim_id: time(row.taken_at) for each in left_from_bytes(row.members)} if row is not None else {}
    done = and_(changes.c.workspace == workspace, changes.c.outcome == Outcome.DONE, changes.c.scim_id.is_not(None))
    rows = connection.execute(
        select(changes.c.scim_id, changes.c.sent_at, changes.c.kind)
        .where(done)
        .order_by(changes.c.sent_at, changes.c.seq)
    )
    found: dict[str, MemberHistory] = {}
    for scim_id, at, kind in rows:
        found[scim_id] = changed(found.get(scim_id), Kind(kind), time(at), seen.get(scim_id))
    return found


def changed(before: MemberHistory | None, kind: Kind, at: datetime, seen: datetime | None) -> MemberHistory:
    """Return the history of a member after one more change; *seen* is when the oldest run that is kept saw it."""
    first = before.first_seen if before else min(at, seen or at)
    since = at if kind in GIVING else None if kind is Kind.DEACTIVATE else before.since if before else None
    return MemberHistory(since, first, at, kind)
