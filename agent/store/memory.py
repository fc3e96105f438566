"""Links, possible renames, baselines and pauses: what one workspace's next plan is made with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Table, and_, bindparam, delete, func, insert, select, update

from agent.model import Change, GroupSighting, Kind, Link, Memory, Undone
from agent.ports import ChangeRecord, Mend, Outcome, Pause
from agent.store.codec import groups_from_json, groups_to_json, link_from_json, link_to_json, ticks, time
from agent.store.tables import baselines, former_sizes, group_sightings, links, mends, pauses, possible_renames, undone
from connectors.base import PersonKey

__all__ = [
    "add_sizes",
    "follow",
    "mended",
    "pause",
    "paused",
    "put_sightings",
    "read",
    "read_baselines",
    "read_mends",
    "read_sightings",
    "replace_renames",
    "replace_undone",
    "see",
    "undo",
    "undo_answered",
    "write",
]

# Parameters that stand for a row's key may not have the names of columns that the same statement sets.
OF_WORKSPACE = links.c.workspace == bindparam("of_workspace")
OF_PERSON = and_(
    OF_WORKSPACE,
    links.c.connector == bindparam("of_connector"),
    links.c.person == bindparam("of_person"),
)
OF_MEMBER = and_(OF_WORKSPACE, links.c.scim_id == bindparam("of_scim_id"))
# An undo that deactivates contradicts one that reactivated the same member, and the other way round.
CONTRADICTED = {
    Kind.DEACTIVATE: (Kind.REACTIVATE, Kind.CREATE),
    Kind.REACTIVATE: (Kind.DEACTIVATE,),
    Kind.CREATE: (Kind.DEACTIVATE,),
}
MAY_BE_MADE = frozenset({Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED})
# A guard looks a day back; another leaves no doubt about clocks.
SIZES_KEPT = timedelta(hours=48)


def read(connection: Connection, workspace: str) -> Memory:
    rows = connection.execute(select(links).where(links.c.workspace == workspace))
    found = [
        Link(PersonKey(row.connector, row.person), row.scim_id, groups_from_json(row.groups), row.missed_reads)
        for row in rows
    ]
    renames = connection.execute(select(possible_renames).where(possible_renames.c.workspace == workspace))
    return Memory(
        tuple(sorted(found, key=lambda link: link.person)),
        frozenset((PersonKey(row.connector, row.person), row.scim_id) for row in renames),
        undone=_read_undone(connection, workspace),
    )


def _read_undone(connection: Connection, workspace: str) -> tuple[Undone, ...]:
    rows = connection.execute(select(undone).where(undone.c.workspace == workspace))
    found = [
        Undone(
            row.scim_id,
            Kind(row.kind),
            None if row.person is None else PersonKey(row.connector, row.person),
            row.code,
            tuple(orjson.loads(row.groups)),
            row.email,
            row.display_name,
            row.run_id,
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda each: (each.scim_id, each.kind)))


def replace_undone(connection: Connection, workspace: str, standing: Sequence[Undone]) -> None:
    """Write what still counts as undone in the place of all that did; nothing is written where it is the same."""
    if tuple(standing) != _read_undone(connection, workspace):
        connection.execute(delete(undone).where(undone.c.workspace == workspace))
        _put(connection, undone, [_undone_row(workspace, each) for each in standing])


def undo(connection: Connection, workspace: str, run_id: str, change: Change) -> None:
    """Write what *change* is about to put back, and forget what it contradicts."""
    if change.undoes is None:
        return
    for kind in CONTRADICTED.get(change.undoes.kind, ()):
        is_it = and_(undone.c.workspace == workspace, undone.c.scim_id == change.undoes.scim_id)
        connection.execute(delete(undone).where(and_(is_it, undone.c.kind == kind)))
    _put(connection, undone, [_undone_row(workspace, replace(change.undoes, run_id=run_id))])


def undo_answered(connection: Connection, workspace: str, record: ChangeRecord) -> None:
    """Forget what was not put back after all, and the link of a member whose create was."""
    undoes = record.change.undoes
    if undoes is None:
        return
    if record.outcome not in MAY_BE_MADE:
        is_it = and_(undone.c.workspace == workspace, undone.c.scim_id == undoes.scim_id)
        connection.execute(delete(undone).where(and_(is_it, undone.c.run_id == record.run_id)))
    elif undoes.kind is Kind.CREATE and record.outcome is Outcome.DONE:
        connection.execute(delete(links).where(OF_MEMBER), {"of_workspace": workspace, "of_scim_id": undoes.scim_id})


def _undone_row(workspace: str, each: Undone) -> dict[str, Any]:
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


def write(connection: Connection, workspace: str, made: Sequence[Link]) -> None:
    """Write links. A member belongs to one person and a person to one member: what said otherwise before goes."""
    of_person = {link.person: link for link in made}
    of_member = {link.scim_id: link for link in made if of_person[link.person] is link}
    _forget(connection, workspace, made)
    rows = [{"workspace": workspace, **_key(link), **_told(link)} for link in of_member.values()]
    if rows:
        connection.execute(insert(links), rows)


def _key(link: Link) -> dict[str, str]:
    return {"connector": link.person.connector, "person": link.person.id, "scim_id": link.scim_id}


def _told(link: Link) -> dict[str, Any]:
    return {"groups": groups_to_json(link.groups), "missed_reads": link.missed_reads}


def _found(workspace: str, link: Link) -> dict[str, str]:
    return {"of_workspace": workspace, **{f"of_{name}": value for name, value in _key(link).items()}}


def _forget(connection: Connection, workspace: str, former: Collection[Link]) -> None:
    """Remove every link of the same people, and every link to the same members."""
    keys = [_found(workspace, link) for link in former]
    if keys:
        connection.execute(delete(links).where(OF_PERSON), keys)
        connection.execute(delete(links).where(OF_MEMBER), keys)


def follow(connection: Connection, workspace: str, former: str, scim_id: str) -> None:
    """Let the link of the member *former* lead to *scim_id*, which is the same member under a new id.

    Done a second time it does nothing: the transaction may be tried again if the answer to its commit was lost.
    """
    of_workspace = links.c.workspace == workspace
    is_it = and_(of_workspace, links.c.scim_id == former)
    if connection.execute(select(links.c.person).where(is_it)).first() is not None:
        connection.execute(delete(links).where(and_(of_workspace, links.c.scim_id == scim_id)))
        connection.execute(update(links).where(is_it).values(scim_id=scim_id))


def see(connection: Connection, workspace: str, seen: Iterable[Link]) -> None:
    """Update groups and missed reads of links that are there."""
    rows = [{**_found(workspace, link), **_told(link)} for link in seen]
    if rows:
        told: dict[str, Any] = {name: bindparam(name) for name in ("groups", "missed_reads")}
        connection.execute(update(links).where(and_(OF_PERSON, OF_MEMBER)).values(told), rows)


def replace_renames(connection: Connection, workspace: str, pairs: Iterable[tuple[PersonKey, str]]) -> None:
    connection.execute(delete(possible_renames).where(possible_renames.c.workspace == workspace))
    rows = [
        {"workspace": workspace, "connector": key.connector, "person": key.id, "scim_id": scim_id}
        for key, scim_id in pairs
    ]
    if rows:
        connection.execute(insert(possible_renames), rows)


def read_baselines(connection: Connection, workspace: str, since: datetime) -> dict[tuple[str, str], tuple[str, int]]:
    """Return the largest size of each group since *since*; the last one where none was accepted since."""
    rows = connection.execute(select(baselines).where(baselines.c.workspace == workspace))
    of = former_sizes.c
    in_time = and_(of.workspace == workspace, of.seen_at >= ticks(since))
    largest = select(of.connector, of.group_id, func.max(of.people)).where(in_time).group_by(of.connector, of.group_id)
    former = {(connector, group_id): people for connector, group_id, people in connection.execute(largest)}
    last = {(row.connector, row.group_id): (row.name, row.people) for row in rows}
    return {key: (name, max(people, former.get(key, 0))) for key, (name, people) in last.items()}


def add_sizes(
    connection: Connection, workspace: str, sizes: Mapping[tuple[str, str], tuple[str, int]], now: datetime
) -> None:
    """Write the sizes of groups that an enforcing run accepted at *now*; what each was before is kept for a while."""
    if not sizes:
        return
    before = and_(former_sizes.c.workspace == workspace, former_sizes.c.seen_at < ticks(now - SIZES_KEPT))
    connection.execute(delete(former_sizes).where(before))
    rows = [
        {"workspace": workspace, "connector": connector, "group_id": group_id, "name": name, "people": people}
        for (connector, group_id), (name, people) in sizes.items()
    ]
    last = connection.execute(select(baselines).where(baselines.c.workspace == workspace)).mappings()
    replaced = [
        row for row in last if sizes.get((row["connector"], row["group_id"]), ("", row["people"]))[1] != row["people"]
    ]
    _put(connection, former_sizes, [{**row, "seen_at": row["seen_at"] or 0} for row in replaced])
    _put(connection, baselines, [{**row, "seen_at": ticks(now)} for row in rows])


def read_sightings(connection: Connection, workspace: str) -> dict[tuple[str, str], GroupSighting]:
    rows = connection.execute(select(group_sightings).where(group_sightings.c.workspace == workspace))
    return {
        (row.connector, row.group_id): GroupSighting(
            row.name, row.people, row.app, None if row.empty_since is None else time(row.empty_since)
        )
        for row in rows
    }


def put_sightings(connection: Connection, workspace: str, sightings: Mapping[tuple[str, str], GroupSighting]) -> None:
    rows = [
        {
            "workspace": workspace,
            "connector": connector,
            "group_id": group_id,
            "name": seen.name,
            "app": seen.app,
            "people": seen.people,
            "empty_since": None if seen.empty_since is None else ticks(seen.empty_since),
        }
        for (connector, group_id), seen in sightings.items()
    ]
    _put(connection, group_sightings, rows)


def _put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write *rows* in the place of those with the same key."""
    if not rows:
        return
    keys = list(table.primary_key)
    is_it = and_(*(column == bindparam(f"of_{column.name}") for column in keys))
    connection.execute(delete(table).where(is_it), [{f"of_{key.name}": row[key.name] for key in keys} for row in rows])
    connection.execute(insert(table), [{column.name: row[column.name] for column in table.columns} for row in rows])


def mended(connection: Connection, workspace: str, run_id: str, made: Sequence[Mend]) -> None:
    """Write links as a human wants them, and keep what each was before."""
    _forget(connection, workspace, [mend.was for mend in made if mend.was is not None])
    write(connection, workspace, [mend.link for mend in made if mend.link is not None])
    rows = [
        {"run_id": run_id, "seq": seq, "was": link_to_json(mend.was), "link": link_to_json(mend.link)}
        for seq, mend in enumerate(made)
    ]
    if rows:
        connection.execute(insert(mends), rows)


def read_mends(connection: Connection, run_id: str) -> list[Mend]:
    rows = connection.execute(select(mends).where(mends.c.run_id == run_id).order_by(mends.c.seq))
    return [Mend(link_from_json(row.link), link_from_json(row.was)) for row in rows]


def pause(connection: Connection, workspace: str, pausing: Pause | None) -> None:
    connection.execute(delete(pauses).where(pauses.c.workspace == workspace))
    if pausing is not None:
        values = {"since": ticks(pausing.since), "by": pausing.by, "reason": pausing.reason}
        connection.execute(insert(pauses).values(workspace=workspace, **values))


def paused(connection: Connection, workspace: str) -> Pause | None:
    row = connection.execute(select(pauses).where(pauses.c.workspace == workspace)).first()
    return None if row is None else Pause(time(row.since), row.by, row.reason)
