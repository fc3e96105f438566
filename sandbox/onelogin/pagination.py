"""A OneLogin list, a page at a time: by limit and page, or by a cursor alone, which holds an offset."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import parse_qsl

from sandbox.onelogin.errors import OneLoginError

__all__ = ["paginate"]

T = TypeVar("T")


def paginate(
    query: Mapping[str, str], things: Sequence[T], usual: int, largest: int, end_cursor: str
) -> tuple[Sequence[T], dict[str, str]]:
    """Return the items of one page and its headers. A limit above the *largest* is clipped silently."""
    limit, number = _requested_page(query, usual)
    limit = min(limit, largest)
    count = -(-len(things) // limit)
    shown = things[(number - 1) * limit : number * limit]
    headers = {
        "Current-Page": str(number),
        "Page-Items": str(len(shown)),
        "Total-Count": str(len(things)),
        "Total-Pages": str(count),
    }
    if number > 1:
        headers["Before-Cursor"] = _encode_cursor(limit, number - 1)
    if number < count:
        headers["After-Cursor"] = _encode_cursor(limit, number + 1)
    elif end_cursor != "absent":
        headers["After-Cursor"] = ""
    return shown, headers


def _requested_page(query: Mapping[str, str], usual: int) -> tuple[int, int]:
    cursor = query.get("cursor")
    if not cursor:
        return _positive_integer(query, "limit", usual), _positive_integer(query, "page", 1)
    if "limit" in query or "page" in query:
        raise OneLoginError(400, "cursor can't be used together with limit or page")
    try:
        inside = dict(parse_qsl(b64decode(cursor, validate=True).decode()))
        return int(inside["limit"]), max(1, int(inside["page"]))
    except (binascii.Error, UnicodeDecodeError, KeyError, ValueError):
        raise OneLoginError(400, "invalid cursor") from None


def _positive_integer(query: Mapping[str, str], name: str, usual: int) -> int:
    text = query.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise OneLoginError(422, f'invalid value in "{name}"')
    return int(text)


def _encode_cursor(limit: int, number: int) -> str:
    return b64encode(f"limit={limit}&page={number}".encode()).decode()
