"""An Okta list, a page at a time: opaque cursors, and two Link headers, self first."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from starlette.datastructures import URL

from sandbox.okta.errors import OktaError, invalid_cursor

__all__ = ["PageRequest", "paginate"]


class PageRequest(Protocol):
    """What a page needs from a request and the org."""

    @property
    def url(self) -> URL: ...
    @property
    def limit(self) -> str | None: ...
    @property
    def after(self) -> str | None: ...
    @property
    def cursor_age(self) -> int: ...


T = TypeVar("T")


def paginate(
    request: PageRequest, rows: Sequence[T], key: Callable[[T], str], sizes: tuple[int, int, int]
) -> tuple[list[T], list[str]]:
    """Return the items of one page and its Link headers. *sizes* are the smallest, the default and the largest limit.

    Items are in the order of their *key*, so a change between two pages skips no item that stays.
    """
    size = _page_size(request.limit, sizes)
    ordered = sorted(rows, key=key)
    if request.after is not None:
        last = _decode_cursor(request.after, request)
        ordered = [row for row in ordered if key(row) > last]
    shown = ordered[:size]
    links = [f'<{request.url}>; rel="self"']
    if len(ordered) > size:
        onwards = request.url.include_query_params(after=_encode_cursor(key(shown[-1]), request), limit=size)
        links.append(f'<{onwards}>; rel="next"')
    return shown, links


def _page_size(limit: str | None, sizes: tuple[int, int, int]) -> int:
    least, usual, largest = sizes
    if limit is None:
        return usual
    if not limit.isascii() or not limit.isdigit() or int(limit) < least:
        raise OktaError(
            400,
            "E0000001",
            "Api validation failed: limit",
            f"limit: must be a number from {least} to {largest}.",
        )
    return min(int(limit), largest)


def _encode_cursor(last: str, request: PageRequest) -> str:
    return urlsafe_b64encode(f"{request.cursor_age}:{request.url.path}:{last}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str, request: PageRequest) -> str:
    """Return the key of the last row that was shown; a cursor of another list, or an old one, is refused."""
    try:
        text = urlsafe_b64decode(cursor.encode() + b"===").decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_cursor() from None
    front = f"{request.cursor_age}:{request.url.path}:"
    if not text.startswith(front):
        raise invalid_cursor()
    return text.removeprefix(front)
