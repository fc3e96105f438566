"""List members as a workspace does: a page at a time, clipped, optionally filtered (RFC 7644, 3.4.2; RFC 9865)."""

from __future__ import annotations

import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence

import orjson

from sandbox.pigment.filter import wanted_email
from sandbox.pigment.member import Member
from sandbox.pigment.refusal import Refusal, bad_value
from sandbox.pigment.space import PigmentSpace

__all__ = ["listing"]

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


def listing(space: PigmentSpace, query: Mapping[str, str], base: str) -> bytes:
    """Return one page as JSON. Members are serialised once, so that the next listing only joins them."""
    found = _found(space, query)
    start = _start(space, query)
    page = found[start - 1 : start - 1 + _size(space, query, start)]
    head: dict[str, object] = {"schemas": [LIST], "totalResults": len(found), "startIndex": start}
    head["itemsPerPage"] = len(page)
    behind = start + len(page)
    if space.switches.next_cursor and page and behind <= len(found):
        head["nextCursor"] = urlsafe_b64encode(f"from {behind}".encode()).decode()
    if not page and space.switches.empty_resources == "absent":
        return orjson.dumps(head)
    rows = b",".join([member.json(base, space.switches) for member in page])
    return orjson.dumps(head)[:-1] + b',"Resources":[' + rows + b"]}"


def _found(space: PigmentSpace, query: Mapping[str, str]) -> Sequence[Member]:
    expression = query.get("filter")
    if expression is not None:
        wanted = wanted_email(expression, emails=space.switches.filter_emails)
        if space.switches.reads_lag:
            return [member for member in _shown(space) if member.user_name.lower() == wanted.lower()]
        member = space.member(wanted)
        return [member] if member else []
    members = _shown(space) if space.switches.reads_lag else space.members
    if not space.switches.order_stable:
        random.Random(space.journal.requests.total()).shuffle(members)
    return members


def _shown(space: PigmentSpace) -> list[Member]:
    return [shown for member in space.members if (shown := space.shown(member)) is not None]


def _start(space: PigmentSpace, query: Mapping[str, str]) -> int:
    cursor = query.get("cursor")
    if space.switches.next_cursor and cursor:
        return _cursor(cursor)
    return max(1, _number(query, "startIndex", 1))


def _cursor(cursor: str) -> int:
    try:
        return int(urlsafe_b64decode(cursor.encode()).decode().removeprefix("from "))
    except ValueError:
        raise Refusal(400, "The cursor is not one of ours.", "invalidCursor") from None


def _size(space: PigmentSpace, query: Mapping[str, str], start: int) -> int:
    largest = space.switches.page_size
    size = max(0, min(largest, _number(query, "count", largest)))
    if space.switches.short_pages and size > 1:
        size -= start * 7919 % (size // 2 + 1)
    return size


def _number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    try:
        return int(query.get(name, otherwise))
    except ValueError:
        raise bad_value(f"{name} must be a whole number.") from None
