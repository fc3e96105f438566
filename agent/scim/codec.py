"""Parse members and pages from SCIM JSON, row by row, tolerating deviations of servers. Pure.

Tolerated (RFC 7643, section 2.1, and deviations seen in servers): attribute names in any case, `active` as a string
or a number, `Resources` missing or null, ids that are numbers, null for any value. Unreadable rows are counted,
not skipped: the listing decides what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import orjson

from agent.model import Member
from connectors.base import IncompleteRead

__all__ = ["Page", "attribute", "full_name", "member_from_json", "page_from_json", "scim_type", "writable_attributes"]

READ_ONLY_ATTRIBUTES = frozenset({"meta", "groups"})
"""Set by the server (RFC 7643, sections 3.1 and 4.1.2); some servers refuse requests that have them."""

CORE_ATTRIBUTES = READ_ONLY_ATTRIBUTES | {
    *("schemas", "id", "externalId", "userName", "name", "displayName", "nickName", "profileUrl", "title", "userType"),
    *("preferredLanguage", "locale", "timezone", "active", "emails", "phoneNumbers", "ims", "photos", "addresses"),
    *("entitlements", "roles", "x509Certificates", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"),
}
"""The attributes of a User (RFC 7643, sections 3.1, 4.1 and 4.3)."""

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


def page_from_json(document: object, who: str, label: str = "") -> Page:
    """Parse a ListResponse. Raises `IncompleteRead`, with *label* of the response, when *document* is not one."""
    if not isinstance(document, dict):
        raise _not_a_list_error(who, label)
    rows = attribute(document, "Resources")
    if rows is None:
        rows = []
    if not isinstance(rows, list):
        raise _not_a_list_error(who, label)
    parsed = [member_from_json(row) for row in rows]
    members = tuple(member for member in parsed if member is not None)
    cursor = attribute(document, "nextCursor")
    return Page(
        members,
        len(rows),
        len(rows) - len(members),
        _parse_count(attribute(document, "totalResults")),
        cursor if isinstance(cursor, str) and cursor else None,
    )


def member_from_json(row: object) -> Member | None:
    """Return the member of a User resource, None when it has no id or can't be serialized again."""
    if not isinstance(row, dict):
        return None
    # Most servers spell every name as the RFC does, and a search that ignores case takes a quarter of a row's time.
    is_core = row.keys() <= CORE_ATTRIBUTES
    find: Callable[[str], object] = row.get if is_core else partial(attribute, row)
    scim_id = _scalar_text(find("id"))
    if not scim_id:
        return None
    writable = {**row} if is_core else writable_attributes(row)
    for read_only in READ_ONLY_ATTRIBUTES:
        writable.pop(read_only, None)
    try:
        # Copied, because orjson keeps 4 KiB for each (measured: 440 MB against 100 for 100,000 members).
        resource = memoryview(orjson.dumps(writable)).tobytes()
    except TypeError:  # nested deeper than a resource can be
        return None
    name = find("name")
    formatted = attribute(name, "formatted") if isinstance(name, dict) else None
    meta = find("meta")
    etag = attribute(meta, "version") if isinstance(meta, dict) else None
    shown = _shown_name(find("displayName"), name)
    return Member(
        scim_id,
        _text_or_empty(find("userName")),
        shown,
        _boolean(find("active")),
        # Nearly always the same text, then the same object.
        formatted=shown if formatted == shown else formatted if isinstance(formatted, str) else None,
        resource=resource,
        etag=_text_or_empty(etag),
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
