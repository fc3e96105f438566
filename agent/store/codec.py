"""Convert values of the model to column values, and back."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from agent.model import Change, Fields, GroupRef, Kind, LastSeen, Link
from connectors.base import PersonKey

__all__ = [
    "change_from_json",
    "change_to_json",
    "compress",
    "decompress",
    "from_micros",
    "groups_from_json",
    "groups_to_json",
    "last_seen_from_bytes",
    "last_seen_to_bytes",
    "link_from_json",
    "link_to_json",
    "to_micros",
]

PLAIN_FIELDS = (
    "kind",
    "email",
    "display_name",
    "scim_id",
    "code",
    "reason",
    "waits_for",
    "given_name",
    "family_name",
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def from_micros(value: int) -> datetime:
    return EPOCH + value * MICROSECOND


def groups_to_json(groups: tuple[GroupRef, ...]) -> str:
    return orjson.dumps([[group.id, group.name] for group in groups]).decode()


def groups_from_json(text: str) -> tuple[GroupRef, ...]:
    return tuple(GroupRef(*pair) for pair in orjson.loads(text))


def change_to_json(change: Change) -> str:
    stored = {
        **{name: getattr(change, name) for name in PLAIN_FIELDS},
        "person": list(change.person) if change.person else None,
        "before": asdict(change.before),
        "after": asdict(change.after),
        "group_refs": [list(group) for group in change.group_refs],
    }
    return orjson.dumps(stored, option=orjson.OPT_SORT_KEYS).decode()


def change_from_json(text: str) -> Change:
    stored: dict[str, Any] = orjson.loads(text)
    return Change(
        **{
            **stored,
            "kind": Kind(stored["kind"]),
            "person": PersonKey(*stored["person"]) if stored["person"] else None,
            "before": Fields(**stored["before"]),
            "after": Fields(**stored["after"]),
            "group_refs": tuple(GroupRef(*pair) for pair in stored["group_refs"]),
        }
    )


def link_to_json(link: Link | None) -> str | None:
    if link is None:
        return None
    groups = [list(group) for group in link.groups]
    return orjson.dumps([list(link.person), link.scim_id, groups, link.missed_reads]).decode()


def link_from_json(text: str | None) -> Link | None:
    if text is None:
        return None
    person, scim_id, groups, missed_reads = orjson.loads(text)
    return Link(PersonKey(*person), scim_id, tuple(GroupRef(*pair) for pair in groups), missed_reads)


def last_seen_to_bytes(members: Iterable[LastSeen]) -> bytes:
    rows = [
        [each.scim_id, each.email, each.display_name, each.active, each.person and list(each.person), list(each.groups)]
        for each in members
    ]
    return zlib.compress(orjson.dumps(rows))


def last_seen_from_bytes(stored: bytes, links: Iterable[Link] = ()) -> tuple[LastSeen, ...]:
    """Return the stored members; with the ids in *links* as the same objects, where they are the same."""
    known = {link.scim_id: link for link in links}
    members: list[Any] = orjson.loads(zlib.decompress(stored))
    known_groups: dict[tuple[str, ...], tuple[str, ...]] = {}
    # In place, so that no row is in memory twice; the connector and the groups are the same in most of them.
    for index, (scim_id, email, name, active, person, groups) in enumerate(members):
        named = tuple(groups)
        key = PersonKey(sys.intern(person[0]), person[1]) if person else None
        link = known.get(scim_id)
        members[index] = LastSeen(
            scim_id=link.scim_id if link else scim_id,
            email=email,
            display_name=name,
            active=active,
            person=link.person if link and link.person == key else key,
            groups=known_groups.setdefault(named, named),
        )
    return tuple(members)


def compress(document: bytes | None) -> bytes | None:
    return None if document is None else zlib.compress(document)


def decompress(stored: bytes | None) -> bytes | None:
    return None if stored is None else zlib.decompress(stored)
