"""Read the pages of a list: their number is bounded, none comes twice, and an expired cursor starts the list again."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import unquote

from connectors.base import IncompleteRead

__all__ = ["CursorExpired", "PageGuard", "decode_cursor", "retry_from_start"]

PERCENT_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
T = TypeVar("T")
MAX_ENCODING_LAYERS = 3
"""How many times a server may have percent-encoded a cursor."""


def decode_cursor(cursor: str) -> str:
    """Return *cursor* without percent-encoding, since some servers send it encoded and it would be encoded twice.

    Other cursors hold no `%XX`: they are base64, or unreserved characters (RFC 9865).
    """
    for _ in range(MAX_ENCODING_LAYERS):
        if not PERCENT_ESCAPE.search(cursor):
            break
        cursor = unquote(cursor)
    return cursor


class PageGuard:
    """The pages of one list. *server* and *about*, the subject of the list, are for messages."""

    def __init__(self, server: str, first: str, max_pages: int, about: str = "") -> None:
        self.page_count = 1
        self._name = server
        self._suffix = f" of {about}" if about else ""
        self._seen_cursors = {first}
        self._max_pages = max_pages

    def advance(self, cursor: str) -> str:
        """Return *cursor* (a next link or a cursor) if it is a new page. Raises `IncompleteRead` otherwise."""
        if cursor in self._seen_cursors:
            raise IncompleteRead(
                f"{self._name} repeats a next page{self._suffix}, so the list would never end.",
                "Try again; if it persists, report it to the vendor of that system.",
            )
        if self.page_count >= self._max_pages:
            raise IncompleteRead(
                f"{self._name} goes on after {self._max_pages:,} pages{self._suffix}.",
                "Check that the URL and ids in the config are right; no list that this agent reads is that long.",
            )
        self._seen_cursors.add(cursor)
        self.page_count += 1
        return cursor

    @property
    def page_label(self) -> str:
        """Return the name of the current page."""
        return f"page {self.page_count}{self._suffix}"


class CursorExpired(IncompleteRead):
    """The cursor of a list is no longer valid. The list can be read again from its start."""


async def retry_from_start(read: Callable[[], Awaitable[T]], restarts: int) -> T:
    """Return the result of *read*, called again at most *restarts* times. Raises the last `CursorExpired`."""
    for _ in range(restarts):
        try:
            return await read()
        except CursorExpired:
            continue
    return await read()
