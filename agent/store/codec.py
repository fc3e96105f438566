"""Convert values of the model to column values, and back."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import orjson

from agent.model import Change, Fields, GroupRef, Kind, LastSeen, Link, Member
from connectors.base import PersonKey

__all__ = [
    "change_from_json",
    "change_to_json",
    "changed_since_from_bytes",
    "compress",
    "compress_parts",
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
PART_BYTES = 2**15
"""How much of the stored members is unpacked at a time: all of their rows would take more memory than the members."""
ROWS_AT_ONCE = 5_000
NEXT_ROW = b']],["'


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
        "before": _fields_to_json(change.before),
        "after": _fields_to_json(change.after),
        "group_refs": [list(group) for group in change.group_refs],
    }
    return orjson.dumps(stored, option=orjson.OPT_SORT_KEYS).decode()


def _fields_to_json(fields: Fields) -> dict[str, object]:
    return {"email": fields.email, "display_name": fields.display_name, "active": fields.active}


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
    packing = zlib.compressobj()
    packed = [packing.compress(b"[")]
    each = iter(members)
    separator = b""
    while rows := [_last_seen_row(member) for member in islice(each, ROWS_AT_ONCE)]:
        packed.append(packing.compress(separator + orjson.dumps(rows)[1:-1]))
        separator = b","
    return b"".join((*packed, packing.compress(b"]"), packing.flush()))


def _last_seen_row(member: LastSeen) -> list[object]:
    person = member.person and list(member.person)
    return [member.scim_id, member.email, member.display_name, member.active, person, list(member.groups)]


def last_seen_from_bytes(
    stored: bytes, links: Iterable[Link] = (), part_bytes: int = PART_BYTES
) -> tuple[LastSeen, ...]:
    """Return the stored members, decoded *part_bytes* at a time.

    Ids of *links* are the same objects, where they are the same.
    """
    known = {link.scim_id: link for link in links}
    known_groups: dict[tuple[str, ...], tuple[str, ...]] = {}
    found: list[LastSeen] = []
    for scim_id, email, name, active, person, groups in _rows_from_bytes(stored, part_bytes):
        named = tuple(groups)
        link = known.get(scim_id)
        found.append(
            LastSeen(
                link.scim_id if link else scim_id,
                email,
                name,
                active,
                _person_key(person, link),
                known_groups.setdefault(named, named),
            )
        )
    return tuple(found)


def changed_since_from_bytes(
    stored: bytes, listed: Mapping[str, Member], part_bytes: int = PART_BYTES
) -> tuple[tuple[LastSeen, ...], frozenset[str]]:
    """Return the stored members that *listed* has not or shows otherwise, and the ids of *listed* that are not stored.

    The others are nearly all, and to make values of them takes longer than to read them.
    """
    unseen = dict(listed)
    changed: list[LastSeen] = []
    for scim_id, email, name, active, person, groups in _rows_from_bytes(stored, part_bytes):
        member = unseen.pop(scim_id, None)
        if member is None or member.email != email or member.display_name != name or member.active is not active:
            changed.append(LastSeen(scim_id, email, name, active, _person_key(person), tuple(groups)))
    return tuple(changed), frozenset(unseen)


def _person_key(person: Sequence[str] | None, link: Link | None = None) -> PersonKey | None:
    """Return the key of *person*, that of *link* where it is the same."""
    if not person:
        return None
    connector, person_id = person
    if link is not None and link.person.id == person_id and link.person.connector == connector:
        return link.person
    # The connector is the same in most rows.
    return PersonKey(sys.intern(connector), person_id)


def _rows_from_bytes(stored: bytes, part_bytes: int) -> Iterator[Any]:
    """Yield the rows of `last_seen_to_bytes`. Raises `zlib.error` and `orjson.JSONDecodeError`."""
    unpacking = zlib.decompressobj()
    rest = b""
    for start in range(0, len(stored), part_bytes):
        rest += unpacking.decompress(stored[start : start + part_bytes])
        end = _last_row_end(rest)
        if end:
            # Before the rows stands the bracket of the whole list, or the comma after the last row of the part before.
            yield from orjson.loads(b"[" + rest[1:end] + b"]")
            rest = rest[end:]
    if not unpacking.eof:
        raise zlib.error("the stored members are cut off")
    yield from orjson.loads(b"[" + rest[1:])


def _last_row_end(text: bytes) -> int:
    """Return the end of the last row in *text* that another row follows, 0 without one.

    A row ends with the list of its groups, and the next one begins with a text. Where a text itself ends like a row,
    its quotation mark closes it, and a comma or a bracket follows.
    """
    end = len(text)
    while (end := text.rfind(NEXT_ROW, 0, end)) >= 0:
        after = end + len(NEXT_ROW)
        following = text[after : after + 1]
        if following not in {b"", b",", b"]"}:
            return end + len("]]")
    return 0


def compress(document: bytes | None) -> bytes | None:
    return None if document is None else compress_parts((document,))


def compress_parts(parts: Iterable[bytes]) -> bytes:
    """Return what `decompress` unpacks to the joined *parts*, without joining them."""
    packing = zlib.compressobj()
    packed = [packing.compress(part) for part in parts]
    return b"".join((*packed, packing.flush()))


def decompress(stored: bytes | None) -> bytes | None:
    return None if stored is None else zlib.decompress(stored)
