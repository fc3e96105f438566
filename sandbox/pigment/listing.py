"""List members as a workspace does: a page at a time, clipped, optionally filtered (RFC 7644, 3.4.2; RFC 9865)."""

from __future__ import annotations

import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence

import orjson

from sandbox.pigment.errors import ScimError, invalid_value
from sandbox.pigment.filter import email_from_filter
from sandbox.pigment.member import Member
from sandbox.pigment.workspace import PigmentWorkspace

__all__ = ["listing_page"]

LIST_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


def listing_page(workspace: PigmentWorkspace, query: Mapping[str, str], base: str) -> bytes:
    """Return one page as JSON. Members are serialised once, so that the next listing only joins them."""
    found = _matching_members(workspace, query)
    start = _start_index(workspace, query)
    page = found[start - 1 : start - 1 + _page_size(workspace, query, start)]
    head: dict[str, object] = {"schemas": [LIST_SCHEMA], "totalResults": 0, "startIndex": start}
    shown = len(page) if workspace.options.total_shown == "page" else len(found)
    head["totalResults"] = str(shown) if workspace.options.total_shown == "text" else shown
    head["itemsPerPage"] = len(page)
    behind = start + len(page)
    if workspace.options.next_cursor and page and behind <= len(found):
        head["nextCursor"] = urlsafe_b64encode(f"from {behind}".encode()).decode()
    if not page and workspace.options.empty_resources == "absent":
        return orjson.dumps(head)
    rows = b",".join([member.to_json(base, workspace.options) for member in page])
    return orjson.dumps(head)[:-1] + b',"Resources":[' + rows + b"]}"


def _matching_members(workspace: PigmentWorkspace, query: Mapping[str, str]) -> Sequence[Member]:
    expression = query.get("filter")
    if expression is not None:
        wanted = email_from_filter(expression, emails=workspace.options.filter_emails)
        if workspace.options.filter == "400":
            raise ScimError(400, "Filters are not supported.", "invalidFilter")
        if workspace.options.reads_lag:
            return [member for member in _visible_members(workspace) if member.user_name.lower() == wanted.lower()]
        member = workspace.find_member(wanted)
        if member is not None and workspace.options.filter == "exact case" and member.user_name != wanted:
            member = None
        if member is None and workspace.options.no_match == "404":
            raise ScimError(404, "No member matches the filter.")
        return [member] if member else []
    members = _visible_members(workspace) if workspace.options.reads_lag else workspace.members
    if not workspace.options.lists_inactive:
        members = [member for member in members if member.active]
    if not workspace.options.order_stable:
        random.Random(workspace.write_log.request_counts.total()).shuffle(members)
    return members


def _visible_members(workspace: PigmentWorkspace) -> list[Member]:
    return [shown for member in workspace.members if (shown := workspace.visible_member(member)) is not None]


def _start_index(workspace: PigmentWorkspace, query: Mapping[str, str]) -> int:
    cursor = query.get("cursor")
    if workspace.options.next_cursor and cursor:
        return _decode_cursor(cursor)
    return max(1, _integer_parameter(query, "startIndex", 1))


def _decode_cursor(cursor: str) -> int:
    try:
        return int(urlsafe_b64decode(cursor.encode()).decode().removeprefix("from "))
    except ValueError:
        raise ScimError(400, "The cursor is not one of ours.", "invalidCursor") from None


def _page_size(workspace: PigmentWorkspace, query: Mapping[str, str], start: int) -> int:
    largest = workspace.options.page_size
    count = _integer_parameter(query, "count", largest)
    if 0 < workspace.options.largest_count < count:
        raise invalid_value(f"count must be at most {workspace.options.largest_count}.")
    size = max(0, min(largest, count))
    if workspace.options.short_pages and size > 1:
        size -= start * 7919 % (size // 2 + 1)
    return size


def _integer_parameter(query: Mapping[str, str], name: str, otherwise: int) -> int:
    try:
        return int(query.get(name, otherwise))
    except ValueError:
        raise invalid_value(f"{name} must be a whole number.") from None
