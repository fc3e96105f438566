"""Cursors of the change feeds, and the people that their events named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from agent.model.feed import FeedCursor, NamedPerson
from agent.ports.feeds import CLOCK_SET_BACK
from agent.store.codec import from_micros, to_micros
from agent.store.tables import feed_cursors, links, named_people
from connectors.base import PersonKey

__all__ = [
    "end_named",
    "find_linked_workspaces",
    "load_feed_cursor",
    "load_named_people",
    "record_look",
    "record_poll",
]

BATCH_SIZE = 500
"""Fewer than the variables that a SQLite of any build takes in one statement."""


def load_feed_cursor(connection: Connection, connector: str) -> FeedCursor | None:
    row = connection.execute(select(feed_cursors).where(feed_cursors.c.connector == connector)).first()
    if row is None:
        return None
    return FeedCursor(
        connector=row.connector,
        account=row.account,
        cursor=row.cursor,
        begun_at=from_micros(row.begun_at),
        polled_at=from_micros(row.polled_at),
        event_at=None if row.event_at is None else from_micros(row.event_at),
    )


def find_linked_workspaces(
    connection: Connection, connector: str, people: Collection[str]
) -> Mapping[str, tuple[str, ...]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    wanted = sorted(people)
    for start in range(0, len(wanted), BATCH_SIZE):
        batch = wanted[start : start + BATCH_SIZE]
        query = select(links.c.person, links.c.workspace).where(
            links.c.connector == connector, links.c.person.in_(batch)
        )
        for row in connection.execute(query):
            found[row.person].add(row.workspace)
    return {person: tuple(sorted(workspaces)) for person, workspaces in found.items()}


def record_poll(connection: Connection, cursor: FeedCursor, people: Sequence[NamedPerson]) -> None:
    for each in people:
        known = connection.execute(select(named_people.c.person).where(_is_about(each))).first()
        if known is None:
            connection.execute(insert(named_people).values(_named_row(each)))
        else:
            times = {"named_at": to_micros(each.named_at), "due_at": to_micros(each.due_at), "looks": 0}
            connection.execute(update(named_people).where(_is_about(each)).values(times))
    connection.execute(delete(feed_cursors).where(feed_cursors.c.connector == cursor.connector))
    connection.execute(
        insert(feed_cursors).values(
            connector=cursor.connector,
            account=cursor.account,
            cursor=cursor.cursor,
            begun_at=to_micros(cursor.begun_at),
            polled_at=to_micros(cursor.polled_at),
            event_at=None if cursor.event_at is None else to_micros(cursor.event_at),
        )
    )


def load_named_people(connection: Connection, workspace: str, due_by: datetime | None) -> tuple[NamedPerson, ...]:
    columns = named_people.c
    wanted = [columns.workspace == workspace]
    if due_by is not None:
        is_implausible = columns.due_at > to_micros(due_by + CLOCK_SET_BACK)
        wanted.append(or_(columns.due_at <= to_micros(due_by), is_implausible))
    order = columns.named_at, columns.connector, columns.person
    rows = connection.execute(select(named_people).where(*wanted).order_by(*order))
    return tuple(
        NamedPerson(
            row.workspace,
            PersonKey(row.connector, row.person),
            row.event_id,
            row.word,
            None if row.event_at is None else from_micros(row.event_at),
            from_micros(row.named_at),
            from_micros(row.due_at),
            looks=row.looks,
        )
        for row in rows
    )


def record_look(connection: Connection, people: Sequence[NamedPerson]) -> None:
    for each in people:
        changed = {"looks": each.looks, "due_at": to_micros(each.due_at)}
        connection.execute(update(named_people).where(_is_same_naming(each)).values(changed))


def end_named(connection: Connection, people: Sequence[NamedPerson]) -> None:
    for each in people:
        connection.execute(delete(named_people).where(_is_same_naming(each)))


def _is_about(person: NamedPerson) -> ColumnElement[bool]:
    columns = named_people.c
    return and_(
        columns.workspace == person.workspace,
        columns.connector == person.person.connector,
        columns.person == person.person.id,
    )


def _is_same_naming(person: NamedPerson) -> ColumnElement[bool]:
    return and_(_is_about(person), named_people.c.named_at == to_micros(person.named_at))


def _named_row(person: NamedPerson) -> dict[str, object]:
    return {
        "workspace": person.workspace,
        "connector": person.person.connector,
        "person": person.person.id,
        "event_id": person.event_id,
        "word": person.word,
        "event_at": None if person.event_at is None else to_micros(person.event_at),
        "named_at": to_micros(person.named_at),
        "due_at": to_micros(person.due_at),
        "looks": person.looks,
    }
