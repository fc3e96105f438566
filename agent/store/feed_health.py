"""What the change feeds announced, which leavers runs over everyone found, and how late deactivations were."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, update

from agent.model.feed import ANYONE, Announcement, FeedLag
from agent.ports.feeds import KEPT_ANNOUNCEMENTS, KEPT_LEAVERS
from agent.store.codec import from_micros, to_micros
from agent.store.tables import announcements, feed_lags, feed_reads, found_leavers
from connectors.base import PersonKey

__all__ = [
    "count_missed_leavers",
    "judge_found_leavers",
    "load_announcements",
    "load_feed_reads",
    "load_lags",
    "record_announcements",
    "record_found_leavers",
    "record_lags",
]

WAITING, ANNOUNCED, MISSED, NOT_JUDGED = "waiting", "announced", "missed", "not-judged"
MICROSECOND = timedelta(microseconds=1)
BATCH_SIZE = 500
"""Fewer than the variables that a SQLite of any build takes in one statement."""


def record_announcements(connection: Connection, announced: Sequence[Announcement]) -> None:
    columns = announcements.c
    newest: defaultdict[tuple[str, str], dict[str, Announcement]] = defaultdict(dict)
    for each in announced:
        newest[each.workspace, each.person.connector][each.person.id] = each
    for (workspace, connector), people in newest.items():
        rows = list(people.values())
        for start in range(0, len(rows), BATCH_SIZE):
            batch = rows[start : start + BATCH_SIZE]
            is_named = columns.person.in_([each.person.id for each in batch])
            connection.execute(
                delete(announcements).where(columns.workspace == workspace, columns.connector == connector, is_named)
            )
            connection.execute(insert(announcements), [_announcement_row(each) for each in batch])


def _announcement_row(announcement: Announcement) -> dict[str, object]:
    event_at = announcement.event_at
    return {
        "workspace": announcement.workspace,
        "connector": announcement.person.connector,
        "person": announcement.person.id,
        "named_at": to_micros(announcement.named_at),
        "event_at": None if event_at is None else to_micros(event_at),
    }


def load_announcements(connection: Connection, workspace: str, since: datetime) -> Mapping[PersonKey, Announcement]:
    columns = announcements.c
    rows = connection.execute(
        select(announcements).where(columns.workspace == workspace, columns.named_at >= to_micros(since))
    )
    found = (
        Announcement(
            row.workspace,
            PersonKey(row.connector, row.person),
            from_micros(row.named_at),
            None if row.event_at is None else from_micros(row.event_at),
        )
        for row in rows
    )
    return {each.person: each for each in found}


def load_feed_reads(connection: Connection, workspace: str) -> Mapping[str, datetime]:
    rows = connection.execute(select(feed_reads).where(feed_reads.c.workspace == workspace))
    return {row.connector: from_micros(row.began_at) for row in rows}


def record_found_leavers(
    connection: Connection,
    workspace: str,
    began_at: datetime,
    since: Mapping[str, datetime | None],
    leavers: Collection[PersonKey],
) -> None:
    columns = found_leavers.c
    for connector, start in since.items():
        wanted = {person.id for person in leavers if person.connector == connector}
        is_ours = and_(columns.workspace == workspace, columns.connector == connector)
        known = set()
        for row in connection.execute(select(found_leavers).where(is_ours)).all():
            known.add(row.person)
            is_kept = row.verdict == WAITING or (
                row.verdict == MISSED and row.found_at > to_micros(began_at - KEPT_LEAVERS)
            )
            if row.person not in wanted and not is_kept:
                connection.execute(delete(found_leavers).where(is_ours, columns.person == row.person))
        rows = [
            {
                "workspace": workspace,
                "connector": connector,
                "person": person,
                "found_at": to_micros(began_at),
                "announced_since": None if start is None else to_micros(start),
                "verdict": NOT_JUDGED if start is None else WAITING,
            }
            for person in sorted(wanted - known)
        ]
        if rows:
            connection.execute(insert(found_leavers), rows)
        is_read = and_(feed_reads.c.workspace == workspace, feed_reads.c.connector == connector)
        connection.execute(delete(feed_reads).where(is_read))
        connection.execute(
            insert(feed_reads).values(workspace=workspace, connector=connector, began_at=to_micros(began_at))
        )
        _forget_announcements(connection, workspace, connector, began_at)


def _forget_announcements(connection: Connection, workspace: str, connector: str, now: datetime) -> None:
    columns, waiting = announcements.c, found_leavers.c
    oldest = connection.execute(
        select(func.min(waiting.announced_since)).where(
            waiting.workspace == workspace, waiting.connector == connector, waiting.verdict == WAITING
        )
    ).scalar()
    limit = to_micros(now - KEPT_ANNOUNCEMENTS)
    connection.execute(
        delete(announcements).where(
            columns.workspace == workspace,
            columns.connector == connector,
            columns.named_at < (limit if oldest is None else min(limit, oldest)),
        )
    )


def judge_found_leavers(connection: Connection, connector: str, found_by: datetime) -> Mapping[str, int]:
    columns, named = found_leavers.c, announcements.c
    is_announced = exists().where(
        named.workspace == columns.workspace,
        named.connector == columns.connector,
        or_(named.person == columns.person, named.person == ANYONE),
        named.named_at >= columns.announced_since,
    )
    is_due = and_(columns.connector == connector, columns.verdict == WAITING, columns.found_at <= to_micros(found_by))
    connection.execute(update(found_leavers).where(is_due, is_announced).values(verdict=ANNOUNCED))
    missed = Counter(connection.execute(select(columns.workspace).where(is_due)).scalars())
    if missed:
        connection.execute(update(found_leavers).where(is_due).values(verdict=MISSED))
    return missed


def count_missed_leavers(connection: Connection, connector: str, since: datetime) -> int:
    columns = found_leavers.c
    query = (
        select(func.count())
        .select_from(found_leavers)
        .where(columns.connector == connector, columns.verdict == MISSED, columns.found_at >= to_micros(since))
    )
    return int(connection.execute(query).scalar_one())


def record_lags(connection: Connection, lags: Sequence[FeedLag]) -> None:
    columns = feed_lags.c
    for each in lags:
        is_it = and_(
            columns.workspace == each.workspace,
            columns.connector == each.person.connector,
            columns.person == each.person.id,
        )
        old = columns.at < to_micros(each.at - KEPT_ANNOUNCEMENTS)
        connection.execute(delete(feed_lags).where(or_(and_(is_it, columns.at == to_micros(each.at)), old)))
        connection.execute(
            insert(feed_lags).values(
                workspace=each.workspace,
                connector=each.person.connector,
                person=each.person.id,
                at=to_micros(each.at),
                lag=timedelta(seconds=each.seconds) // MICROSECOND,
            )
        )


def load_lags(connection: Connection, connector: str, since: datetime) -> Sequence[float]:
    columns = feed_lags.c
    query = select(columns.lag).where(columns.connector == connector, columns.at >= to_micros(since))
    rows = connection.execute(query.order_by(columns.at, columns.person)).scalars()
    return [(lag * MICROSECOND).total_seconds() for lag in rows]
