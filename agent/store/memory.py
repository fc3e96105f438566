"""Links, possible renames, baselines and pauses: what one workspace's next plan is made with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from agent.model import Link, Memory
from agent.ports import Mend, Pause
from agent.store.codec import groups_from_json, groups_to_json, ticks, time
from agent.store.tables import baselines, links, pauses, possible_renames
from connectors.base import PersonKey

__all__ = [
    "forget",
    "mended",
    "pause",
    "paused",
    "read",
    "read_baselines",
    "replace_renames",
    "see",
    "set_baselines",
    "write",
]


def read(connection: Connection, workspace: str) -> Memory:
    rows = connection.execute(select(links).where(links.c.workspace == workspace))
    found = tuple(
        Link(PersonKey(row.connector, row.person), row.scim_id, groups_from_json(row.groups), row.missed_reads)
        for row in rows
    )
    renames = connection.execute(select(possible_renames).where(possible_renames.c.workspace == workspace))
    return Memory(found, frozenset((PersonKey(row.connector, row.person), row.scim_id) for row in renames))


def write(connection: Connection, workspace: str, made: Iterable[Link]) -> None:
    """Write links. A member belongs to one person and a person to one member: what says otherwise goes."""
    for link in made:
        forget(connection, workspace, link)
        connection.execute(
            insert(links).values(
                workspace=workspace,
                connector=link.person.connector,
                person=link.person.id,
                scim_id=link.scim_id,
                groups=groups_to_json(link.groups),
                missed_reads=link.missed_reads,
            )
        )


def forget(connection: Connection, workspace: str, link: Link) -> None:
    is_person = (links.c.connector == link.person.connector) & (links.c.person == link.person.id)
    is_theirs = is_person | (links.c.scim_id == link.scim_id)
    connection.execute(delete(links).where((links.c.workspace == workspace) & is_theirs))


def see(connection: Connection, workspace: str, seen: Iterable[Link]) -> None:
    """Update groups and missed reads of links that are there."""
    for link in seen:
        connection.execute(
            update(links)
            .where(
                (links.c.workspace == workspace)
                & (links.c.connector == link.person.connector)
                & (links.c.person == link.person.id)
                & (links.c.scim_id == link.scim_id)
            )
            .values(groups=groups_to_json(link.groups), missed_reads=link.missed_reads)
        )


def replace_renames(connection: Connection, workspace: str, pairs: Iterable[tuple[PersonKey, str]]) -> None:
    connection.execute(delete(possible_renames).where(possible_renames.c.workspace == workspace))
    rows = [
        {"workspace": workspace, "connector": key.connector, "person": key.id, "scim_id": scim_id}
        for key, scim_id in pairs
    ]
    if rows:
        connection.execute(insert(possible_renames), rows)


def read_baselines(connection: Connection, workspace: str) -> dict[tuple[str, str], tuple[str, int]]:
    rows = connection.execute(select(baselines).where(baselines.c.workspace == workspace))
    return {(row.connector, row.group_id): (row.name, row.people) for row in rows}


def set_baselines(connection: Connection, workspace: str, sizes: Mapping[tuple[str, str], tuple[str, int]]) -> None:
    for (connector, group_id), (name, people) in sizes.items():
        key = {"workspace": workspace, "connector": connector, "group_id": group_id}
        is_it = (baselines.c.workspace == workspace) & (baselines.c.connector == connector)
        connection.execute(delete(baselines).where(is_it & (baselines.c.group_id == group_id)))
        connection.execute(insert(baselines).values(**key, name=name, people=people))


def mended(connection: Connection, workspace: str, mends: Sequence[Mend]) -> None:
    for mend in mends:
        if mend.was is not None:
            forget(connection, workspace, mend.was)
    write(connection, workspace, [mend.link for mend in mends if mend.link is not None])


def pause(connection: Connection, workspace: str, pausing: Pause | None) -> None:
    connection.execute(delete(pauses).where(pauses.c.workspace == workspace))
    if pausing is not None:
        values = {"since": ticks(pausing.since), "by": pausing.by, "reason": pausing.reason}
        connection.execute(insert(pauses).values(workspace=workspace, **values))


def paused(connection: Connection, workspace: str) -> Pause | None:
    row = connection.execute(select(pauses).where(pauses.c.workspace == workspace)).first()
    return None if row is None else Pause(time(row.since), row.by, row.reason)
