"""Links, possible renames, baselines and pauses: the memory that the next plan of a workspace uses."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import Connection, Table, Text, and_, bindparam, delete, func, insert, select, type_coerce, update

from agent.model import Change, GroupSighting, Kind, Link, Memory, UndoneChange
from agent.model.run import ChangeRecord, LinkEdit, Outcome, Pause
from agent.store.codec import from_micros, groups_from_json, groups_to_json, link_from_json, link_to_json, to_micros
from agent.store.tables import (
    baselines,
    different_people,
    former_sizes,
    group_sightings,
    links,
    mends,
    pauses,
    possible_renames,
    undone,
)
from agent.store.text import unescape
from connectors.base import PersonKey

__all__ = [
    "load_baselines",
    "load_link_edits",
    "load_links",
    "load_memory",
    "load_pause",
    "load_sightings",
    "move_link",
    "record_different_people",
    "record_group_sizes",
    "record_link_edits",
    "record_undo",
    "record_undo_answer",
    "replace_renames",
    "replace_undone",
    "seen_link_rows",
    "set_pause",
    "update_seen_links",
    "write_links",
    "write_sightings",
]

# Parameters for a row's key must not have the names of columns that the same statement sets.
WORKSPACE_CONDITION = links.c.workspace == bindparam("of_workspace")
PERSON_CONDITION = and_(
    WORKSPACE_CONDITION,
    links.c.connector == bindparam("of_connector"),
    links.c.person == bindparam("of_person"),
)
MEMBER_CONDITION = and_(WORKSPACE_CONDITION, links.c.scim_id == bindparam("of_scim_id"))
PAUSE_QUERY = select(pauses).where(pauses.c.workspace == bindparam("of_workspace"))
"""Built once: the intent of each write executes it."""
# An undo that deactivates contradicts one that reactivated the same member, and the other way round.
CONTRADICTED_KINDS = {
    Kind.DEACTIVATE: (Kind.REACTIVATE, Kind.CREATE),
    Kind.REACTIVATE: (Kind.DEACTIVATE,),
    Kind.CREATE: (Kind.DEACTIVATE,),
}
POSSIBLY_MADE_OUTCOMES = frozenset({Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED})
# A guard looks back one day; another day leaves a margin for wrong clocks.
SIZE_RETENTION = timedelta(hours=48)
ROWS_AT_ONCE = 5_000


def load_memory(connection: Connection, workspace: str) -> Memory:
    renames = connection.execute(select(possible_renames).where(possible_renames.c.workspace == workspace))
    different = connection.execute(select(different_people).where(different_people.c.workspace == workspace))
    return Memory(
        load_links(connection, workspace),
        possible_renames=frozenset((PersonKey(row.connector, row.person), row.scim_id) for row in renames),
        different_people=frozenset((PersonKey(row.connector, row.person), row.scim_id) for row in different),
        undone_changes=_load_undone(connection, workspace),
    )


def load_links(connection: Connection, workspace: str) -> tuple[Link, ...]:
    """Return the links of *workspace*, sorted by person."""
    # Unescaped here: the column type would call two functions for each value.
    query = select(
        type_coerce(links.c.connector, Text),
        type_coerce(links.c.person, Text),
        type_coerce(links.c.scim_id, Text),
        links.c.groups,
        links.c.missed_reads,
    ).where(links.c.workspace == workspace)
    # Shared by the links of everyone who has them.
    parse_groups = cache(groups_from_json)
    found: list[Link] = []
    for rows in connection.execute(query).partitions(ROWS_AT_ONCE):
        found += [
            Link(
                PersonKey(sys.intern(unescape(connector)), unescape(person)),
                unescape(scim_id),
                parse_groups(groups),
                missed_reads,
            )
            for connector, person, scim_id, groups, missed_reads in rows
        ]
    return tuple(sorted(found, key=attrgetter("person")))


def _load_undone(connection: Connection, workspace: str) -> tuple[UndoneChange, ...]:
    rows = connection.execute(select(undone).where(undone.c.workspace == workspace))
    found = [
        UndoneChange(
            scim_id=row.scim_id,
            kind=Kind(row.kind),
            person=None if row.person is None else PersonKey(row.connector, row.person),
            code=row.code,
            groups=tuple(orjson.loads(row.groups)),
            email=row.email,
            display_name=row.display_name,
            run_id=row.run_id,
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda each: (each.scim_id, each.kind)))


def replace_undone(connection: Connection, workspace: str, still_undone: Sequence[UndoneChange]) -> None:
    """Replace the undone changes; nothing is written when they are the same."""
    if tuple(still_undone) != _load_undone(connection, workspace):
        connection.execute(delete(undone).where(undone.c.workspace == workspace))
        _replace_rows(connection, undone, [_undone_row(workspace, each) for each in still_undone])


def record_undo(connection: Connection, workspace: str, run_id: str, change: Change) -> None:
    """Record what *change* is about to undo, and delete what contradicts it."""
    if change.undone_change is None:
        return
    for kind in CONTRADICTED_KINDS.get(change.undone_change.kind, ()):
        is_it = and_(undone.c.workspace == workspace, undone.c.scim_id == change.undone_change.scim_id)
        connection.execute(delete(undone).where(and_(is_it, undone.c.kind == kind)))
    _replace_rows(connection, undone, [_undone_row(workspace, replace(change.undone_change, run_id=run_id))])


def record_undo_answer(connection: Connection, workspace: str, record: ChangeRecord) -> None:
    """Delete an undone change after a failed undo, and the link of a member after the undo of its create."""
    undoes = record.change.undone_change
    if undoes is None:
        return
    if record.outcome not in POSSIBLY_MADE_OUTCOMES:
        is_it = and_(undone.c.workspace == workspace, undone.c.scim_id == undoes.scim_id)
        connection.execute(delete(undone).where(and_(is_it, undone.c.run_id == record.run_id)))
    elif undoes.kind is Kind.CREATE and record.outcome is Outcome.DONE:
        connection.execute(
            delete(links).where(MEMBER_CONDITION), {"of_workspace": workspace, "of_scim_id": undoes.scim_id}
        )


def _undone_row(workspace: str, each: UndoneChange) -> dict[str, Any]:
    person = {"connector": each.person.connector, "person": each.person.id} if each.person else {}
    return {
        "workspace": workspace,
        "scim_id": each.scim_id,
        "kind": each.kind,
        "connector": None,
        "person": None,
        **person,
        "code": each.code,
        "groups": orjson.dumps(each.groups).decode(),
        "email": each.email,
        "display_name": each.display_name,
        "run_id": each.run_id,
    }


def write_links(connection: Connection, workspace: str, made: Sequence[Link]) -> None:
    """Write links, replacing older ones. A member belongs to one person and a person to one member."""
    of_person = {link.person: link for link in made}
    of_member = {link.scim_id: link for link in made if of_person[link.person] is link}
    _delete_links(connection, workspace, made)
    rows = [{"workspace": workspace, **_link_key(link), **_link_columns(link)} for link in of_member.values()]
    if rows:
        connection.execute(insert(links), rows)


def _link_key(link: Link) -> dict[str, str]:
    return {"connector": link.person.connector, "person": link.person.id, "scim_id": link.scim_id}


def _link_columns(link: Link) -> dict[str, Any]:
    return {"groups": groups_to_json(link.groups), "missed_reads": link.missed_reads}


def _link_parameters(workspace: str, link: Link) -> dict[str, str]:
    return {"of_workspace": workspace, **{f"of_{name}": value for name, value in _link_key(link).items()}}


def _delete_links(connection: Connection, workspace: str, replaced: Collection[Link]) -> None:
    """Delete every link of the same people, and every link to the same members."""
    keys = [_link_parameters(workspace, link) for link in replaced]
    if keys:
        connection.execute(delete(links).where(PERSON_CONDITION), keys)
        connection.execute(delete(links).where(MEMBER_CONDITION), keys)


def move_link(connection: Connection, workspace: str, previous_id: str, scim_id: str) -> None:
    """Change the link of the member *previous_id* to *scim_id*, the new id of the same member.

    A second call does nothing: the transaction may be retried if the response to its commit was lost.
    """
    of_workspace = links.c.workspace == workspace
    is_it = and_(of_workspace, links.c.scim_id == previous_id)
    if connection.execute(select(links.c.person).where(is_it)).first() is not None:
        connection.execute(delete(links).where(and_(of_workspace, links.c.scim_id == scim_id)))
        connection.execute(update(links).where(is_it).values(scim_id=scim_id))


def seen_link_rows(workspace: str, seen: Iterable[Link]) -> list[dict[str, Any]]:
    return [{**_link_parameters(workspace, link), **_link_columns(link)} for link in seen]


def update_seen_links(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Update groups and missed reads of existing links to *rows*, which `seen_link_rows` made."""
    if rows:
        values: dict[str, Any] = {name: bindparam(name) for name in ("groups", "missed_reads")}
        connection.execute(update(links).where(and_(PERSON_CONDITION, MEMBER_CONDITION)).values(values), rows)


def replace_renames(connection: Connection, workspace: str, pairs: Iterable[tuple[PersonKey, str]]) -> None:
    connection.execute(delete(possible_renames).where(possible_renames.c.workspace == workspace))
    rows = [
        {"workspace": workspace, "connector": key.connector, "person": key.id, "scim_id": scim_id}
        for key, scim_id in pairs
    ]
    if rows:
        connection.execute(insert(possible_renames), rows)


def record_different_people(
    connection: Connection, workspace: str, run_id: str, pairs: Iterable[tuple[PersonKey, str]]
) -> None:
    """Record that each member is not of the person: row 12 holds that pair no longer."""
    rows = [
        {"workspace": workspace, "connector": key.connector, "person": key.id, "scim_id": scim_id, "run_id": run_id}
        for key, scim_id in sorted(pairs)
    ]
    _replace_rows(connection, different_people, rows)


def load_baselines(connection: Connection, workspace: str, since: datetime) -> dict[tuple[str, str], tuple[str, int]]:
    """Return the largest size of each group since *since*, or the last size where none was accepted since."""
    rows = connection.execute(select(baselines).where(baselines.c.workspace == workspace))
    of = former_sizes.c
    in_time = and_(of.workspace == workspace, of.seen_at >= to_micros(since))
    largest = select(of.connector, of.group_id, func.max(of.people)).where(in_time).group_by(of.connector, of.group_id)
    largest_before = {(connector, group_id): people for connector, group_id, people in connection.execute(largest)}
    last = {(row.connector, row.group_id): (row.name, row.people) for row in rows}
    return {key: (name, max(people, largest_before.get(key, 0))) for key, (name, people) in last.items()}


def record_group_sizes(
    connection: Connection, workspace: str, sizes: Mapping[tuple[str, str], tuple[str, int]], now: datetime
) -> None:
    """Write the sizes of groups that an enforcing run accepted at *now*. Previous sizes are kept for a while."""
    if not sizes:
        return
    before = and_(former_sizes.c.workspace == workspace, former_sizes.c.seen_at < to_micros(now - SIZE_RETENTION))
    connection.execute(delete(former_sizes).where(before))
    rows = [
        {"workspace": workspace, "connector": connector, "group_id": group_id, "name": name, "people": people}
        for (connector, group_id), (name, people) in sizes.items()
    ]
    last = connection.execute(select(baselines).where(baselines.c.workspace == workspace)).mappings()
    replaced = [
        row for row in last if sizes.get((row["connector"], row["group_id"]), ("", row["people"]))[1] != row["people"]
    ]
    _replace_rows(connection, former_sizes, [{**row, "seen_at": row["seen_at"] or 0} for row in replaced])
    _replace_rows(connection, baselines, [{**row, "seen_at": to_micros(now)} for row in rows])


def load_sightings(connection: Connection, workspace: str) -> dict[tuple[str, str], GroupSighting]:
    rows = connection.execute(select(group_sightings).where(group_sightings.c.workspace == workspace))
    return {
        (row.connector, row.group_id): GroupSighting(
            row.name, row.people, row.app, None if row.empty_since is None else from_micros(row.empty_since)
        )
        for row in rows
    }


def write_sightings(connection: Connection, workspace: str, sightings: Mapping[tuple[str, str], GroupSighting]) -> None:
    rows = [
        {
            "workspace": workspace,
            "connector": connector,
            "group_id": group_id,
            "name": seen.name,
            "app": seen.app,
            "people": seen.people,
            "empty_since": None if seen.empty_since is None else to_micros(seen.empty_since),
        }
        for (connector, group_id), seen in sightings.items()
    ]
    _replace_rows(connection, group_sightings, rows)


def _replace_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write *rows*, replacing those with the same key."""
    if not rows:
        return
    keys = list(table.primary_key)
    is_it = and_(*(column == bindparam(f"of_{column.name}") for column in keys))
    connection.execute(delete(table).where(is_it), [{f"of_{key.name}": row[key.name] for key in keys} for row in rows])
    connection.execute(insert(table), [{column.name: row[column.name] for column in table.columns} for row in rows])


def record_link_edits(connection: Connection, workspace: str, run_id: str, edits: Sequence[LinkEdit]) -> None:
    """Write links edited by hand, and keep the previous ones."""
    _delete_links(connection, workspace, [edit.previous for edit in edits if edit.previous is not None])
    write_links(connection, workspace, [edit.link for edit in edits if edit.link is not None])
    rows = [
        {"run_id": run_id, "seq": seq, "was": link_to_json(edit.previous), "link": link_to_json(edit.link)}
        for seq, edit in enumerate(edits)
    ]
    if rows:
        connection.execute(insert(mends), rows)


def load_link_edits(connection: Connection, run_id: str) -> list[LinkEdit]:
    rows = connection.execute(select(mends).where(mends.c.run_id == run_id).order_by(mends.c.seq))
    return [LinkEdit(link_from_json(row.link), link_from_json(row.was)) for row in rows]


def set_pause(connection: Connection, workspace: str, pause: Pause | None) -> None:
    connection.execute(delete(pauses).where(pauses.c.workspace == workspace))
    if pause is not None:
        values = {"since": to_micros(pause.since), "by": pause.by, "reason": pause.reason}
        connection.execute(insert(pauses).values(workspace=workspace, **values))


def load_pause(connection: Connection, workspace: str) -> Pause | None:
    row = connection.execute(PAUSE_QUERY, {"of_workspace": workspace}).first()
    return None if row is None else Pause(from_micros(row.since), row.by, row.reason)


def load_pauses(connection: Connection) -> dict[str, Pause]:
    rows = connection.execute(select(pauses))
    return {row.workspace: Pause(from_micros(row.since), row.by, row.reason) for row in rows}
