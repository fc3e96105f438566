"""The members as runs left them: the basis of drift, and of reports on past access."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, insert, or_, select

from agent.model import Kind, LastSeen, Link, Listing
from agent.model.run import MemberHistory, Outcome
from agent.store import targets
from agent.store.codec import changed_since_from_bytes, from_micros, last_seen_from_bytes, to_micros
from agent.store.tables import changes, left_members, runs

__all__ = ["load_last_seen", "load_latest", "load_member_history", "record_last_seen"]

GRANTING_KINDS = frozenset({Kind.CREATE, Kind.REACTIVATE})


def record_last_seen(connection: Connection, workspace: str, run_id: str, stored: bytes, now: datetime) -> None:
    """Write the members, which are encoded as *stored*, unless they are the same as after the last run."""
    newest = (
        select(left_members.c.members)
        .where(left_members.c.workspace == workspace)
        .order_by(left_members.c.taken_at.desc())
        .limit(1)
    )
    if connection.execute(newest).scalar() != stored:
        values = {"run_id": run_id, "workspace": workspace, "taken_at": to_micros(now), "members": stored}
        connection.execute(insert(left_members).values(**values))


def load_latest(
    connection: Connection, workspace: str, links: Sequence[Link], listing: Listing | None
) -> tuple[datetime, tuple[LastSeen, ...], frozenset[str] | None] | None:
    """Return time and members of the last run over the current target of the key; None before the first.

    The members share the ids of *links*. With a *listing* only those that it shows otherwise or not
    at all are returned, and the ids that are new in it.
    """
    newest = (
        select(left_members.c.taken_at, left_members.c.members)
        .where(left_members.c.workspace == workspace)
        .order_by(left_members.c.taken_at.desc())
        .limit(1)
    )
    known = targets.load_fingerprint(connection, workspace)
    if known is not None:
        is_known = or_(runs.c.target == known, runs.c.target.is_(None))
        newest = newest.join(runs, runs.c.id == left_members.c.run_id).where(is_known)
    row = connection.execute(newest).first()
    if row is None:
        return None
    if listing is None:
        return from_micros(row.taken_at), last_seen_from_bytes(row.members, links), None
    return from_micros(row.taken_at), *changed_since_from_bytes(row.members, listing.by_id)


def load_last_seen(
    connection: Connection, workspace: str, when: datetime
) -> tuple[datetime, tuple[LastSeen, ...]] | None:
    until = and_(left_members.c.workspace == workspace, left_members.c.taken_at <= to_micros(when))
    row = connection.execute(
        select(left_members).where(until).order_by(left_members.c.taken_at.desc()).limit(1)
    ).first()
    return None if row is None else (from_micros(row.taken_at), last_seen_from_bytes(row.members))


def load_member_history(connection: Connection, workspace: str) -> dict[str, MemberHistory]:
    """Return, by SCIM id, since when members have access and by which kind of change."""
    oldest = (
        select(left_members).where(left_members.c.workspace == workspace).order_by(left_members.c.taken_at).limit(1)
    )
    row = connection.execute(oldest).first()
    seen = (
        {each.scim_id: from_micros(row.taken_at) for each in last_seen_from_bytes(row.members)}
        if row is not None
        else {}
    )
    done = and_(changes.c.workspace == workspace, changes.c.outcome == Outcome.DONE, changes.c.scim_id.is_not(None))
    rows = connection.execute(
        select(changes.c.scim_id, changes.c.sent_at, changes.c.kind)
        .where(done)
        .order_by(changes.c.sent_at, changes.c.seq)
    )
    found: dict[str, MemberHistory] = {}
    for scim_id, at, kind in rows:
        found[scim_id] = history_after_change(found.get(scim_id), Kind(kind), from_micros(at), seen.get(scim_id))
    return found


def history_after_change(
    before: MemberHistory | None, kind: Kind, at: datetime, seen: datetime | None
) -> MemberHistory:
    """Return the history of a member after one more change; *seen* is the time of the oldest snapshot with it."""
    first = before.first_seen if before else min(at, seen or at)
    since = at if kind in GRANTING_KINDS else None if kind is Kind.DEACTIVATE else before.since if before else None
    return MemberHistory(since, first, at, kind)
