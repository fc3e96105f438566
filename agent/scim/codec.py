"""Parse members and pages from SCIM JSON, row by row, tolerating deviations of servers. Pure.

A row whose fields are spelled and typed as the RFC has them is decoded into these fields alone; any other is decoded
whole, and its fields are searched for.

Tolerated (RFC 7643, section 2.1, and deviations seen in servers): attribute names in any case, `active` as a string
or a number, `Resources` missing or null, ids that are numbers, null for any value. Unreadable rows are counted,
not skipped: the listing decides what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import orjson

from agent.model import Member
from connectors.base import IncompleteRead
from connectors.http import ApiResponse

__all__ = [
    "Page",
    "attribute",
    "full_name",
    "member_from_json",
    "page_from_json",
    "page_from_response",
    "scim_type",
    "writable_attributes",
]

READ_ONLY_ATTRIBUTES = frozenset({"meta", "groups"})
"""Set by the server (RFC 7643, sections 3.1 and 4.1.2); some servers refuse requests that have them."""

BOOLEAN_WORDS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    *row_count* counts all of its rows, *unreadable_count* those that are not a member with an id.

    *total* is `totalResults`, None where it is missing or not a count; *cursor* is `nextCursor` (RFC 9865), if any.
    """

    members: tuple[Member, ...]
    row_count: int
    unreadable_count: int
    total: int | None
    cursor: str | None


NO_VALUE = msgspec.Raw()


class _Name(msgspec.Struct, gc=False):
    formatted: str | None = None


class _MemberRow(msgspec.Struct, gc=False, rename="camel"):
    id: str
    user_name: str
    display_name: str
    active: bool
    name: _Name | None = None
    meta: msgspec.Raw = NO_VALUE


PAGE_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
ROWS = msgspec.json.Decoder(list[msgspec.Raw])
MEMBER_ROW = msgspec.json.Decoder(_MemberRow)


def attribute(resource: Mapping[str, object], name: str) -> object:
    """Return the value of an attribute, ignoring the case of its name (RFC 7643, section 2.1); None when missing."""
    found = resource.get(name)
    if found is not None or name in resource:
        return found
    lower, length = name.lower(), len(name)
    for key, value in resource.items():
        # The length first: nearly every resource lacks some attribute, and lower case costs more than that.
        if len(key) == length and key.lower() == lower:
            return value
    return None


def writable_attributes(resource: Mapping[str, object]) -> dict[str, object]:
    """Return the attributes of *resource* without those that only the server sets."""
    return {key: value for key, value in resource.items() if key.lower() not in READ_ONLY_ATTRIBUTES}


def page_from_response(response: ApiResponse, who: str) -> Page:
    """Parse a ListResponse. Raises `IncompleteRead` when the body is not one."""
    fields = response.typed(PAGE_FIELDS)
    rows = None if fields is None else attribute(fields, "Resources")
    if fields is None or not isinstance(rows, msgspec.Raw):
        return page_from_json(response.json(), who, response.request_id_label)
    others = {name: value for name, value in fields.items() if value is not rows}
    try:
        parsed = [_member_from_raw(row) for row in ROWS.decode(rows)]
        document = {name: orjson.loads(memoryview(value)) for name, value in others.items()}
    except (msgspec.MsgspecError, orjson.JSONDecodeError):
        return page_from_json(response.json(), who, response.request_id_label)
    return _page(document, parsed)


def page_from_json(document: object, who: str, label: str = "") -> Page:
    """Parse a ListResponse. Raises `IncompleteRead`, with *label* of the response, when *document* is not one."""
    if not isinstance(document, dict):
        raise _not_a_list_error(who, label)
    rows = attribute(document, "Resources")
    if rows is None:
        rows = []
    if not isinstance(rows, list):
        raise _not_a_list_error(who, label)
    return _page(document, [member_from_json(row) for row in rows])


def member_from_json(row: object) -> Member | None:
    """Return the member of a User resource, None when it has no id or can't be serialized again."""
    if not isinstance(row, dict):
        return None
    scim_id = _scalar_text(attribute(row, "id"))
    if not scim_id:
        return None
    try:
        # Copied, because orjson keeps 4 KiB for each (measured: 440 MB against 100 for 100,000 members).
        resource = memoryview(orjson.dumps(row)).tobytes()
    except TypeError:  # nested deeper than a resource can be
        return None
    name = attribute(row, "name")
    formatted = attribute(name, "formatted") if isinstance(name, dict) else None
    shown = _shown_name(attribute(row, "displayName"), name)
    return Member(
        scim_id,
        _text_or_empty(attribute(row, "userName")),
        shown,
        _boolean(attribute(row, "active")),
        # Nearly always the same text, then the same object.
        formatted=shown if formatted == shown else formatted if isinstance(formatted, str) else None,
        resource=resource,
        etag=_version(attribute(row, "meta")),
    )


def _member_from_raw(raw: msgspec.Raw) -> Member | None:
    """Return what `member_from_json` returns of the decoded row."""
    text = bytes(raw)
    try:
        row = MEMBER_ROW.decode(text)
    except msgspec.ValidationError:
        return member_from_json(orjson.loads(text))
    formatted, meta = None if row.name is None else row.name.formatted, bytes(row.meta)
    if (formatted is None and _has_field(text, b'"formatted"')) or (not meta and _has_field(text, b'"version"')):
        return member_from_json(orjson.loads(text))
    if not row.id:
        return None
    shown = row.display_name
    return Member(
        row.id,
        row.user_name,
        shown,
        row.active,
        formatted=shown if formatted == shown else formatted,
        resource=text,
        # Few servers show a version.
        etag=_version(orjson.loads(meta)) if _has_field(meta, b'"version"') else "",
    )


def _version(meta: object) -> str:
    return _text_or_empty(attribute(meta, "version")) if isinstance(meta, dict) else ""


def _has_field(text: bytes, name: bytes) -> bool:
    """Return whether an object in *text* may have the quoted *name*, in letters of any case."""
    return name in text.lower()


def _page(document: Mapping[str, object], parsed: Sequence[Member | None]) -> Page:
    members = tuple(member for member in parsed if member is not None)
    cursor = attribute(document, "nextCursor")
    return Page(
        members,
        len(parsed),
        len(parsed) - len(members),
        _parse_count(attribute(document, "totalResults")),
        cursor if isinstance(cursor, str) and cursor else None,
    )


def full_name(name: Mapping[str, object]) -> str:
    """Return given and family name, joined by a space; empty when there is neither."""
    return " ".join(
        part
        for part in (_text_or_empty(attribute(name, "givenName")), _text_or_empty(attribute(name, "familyName")))
        if part
    )


def scim_type(document: object) -> str:
    """Return the `scimType` of an error body (RFC 7644, section 3.12), empty when it has none."""
    found = attribute(document, "scimType") if isinstance(document, dict) else None
    return found if isinstance(found, str) and found.isascii() and found.isalnum() else ""


def _shown_name(display: object, name: object) -> str:
    """Return the displayed name: servers that don't return `displayName` return another name, which users see."""
    if isinstance(display, str):
        return display
    if not isinstance(name, dict):
        return ""
    return _text_or_empty(attribute(name, "formatted")) or full_name(name)


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _scalar_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, list | dict) else orjson.dumps(value).decode()


def _boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return BOOLEAN_WORDS.get(str(value).strip().lower()) if isinstance(value, str | int) else None


def _parse_count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _not_a_list_error(who: str, label: str) -> IncompleteRead:
    return IncompleteRead(
        f"{who} returned JSON that is not a SCIM list{label}.",
        "Check that `scim_url` is the URL that Pigment generated for this workspace.",
    )
