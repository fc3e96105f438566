"""Guard a walk along next links: it ends, and it never goes in a circle."""

from __future__ import annotations

import re
from urllib.parse import unquote

from connectors.base import IncompleteRead

__all__ = ["PageGuard", "decode_cursor"]

PERCENT_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
MAX_ENCODING_LAYERS = 3
"""So often a cursor may have been percent-encoded before it came."""


def decode_cursor(cursor: str) -> str:
    """Return *cursor* as it is to be encoded in a query: some servers send it percent-encoded, so that it would be
    encoded twice. A cursor that is not holds no `%XX`: it is base64, or unreserved characters (RFC 9865)."""
    for _ in range(MAX_ENCODING_LAYERS):
        if not PERCENT_ESCAPE.search(cursor):
            break
        cursor = unquote(cursor)
    return cursor


class PageGuard:
    """The pages of one listing. *who* names the server in messages, *about* what is listed."""

    def __init__(self, who: str, first: str, max_pages: int, about: str = "") -> None:
        self.page_count = 1
        self._name = who
        self._suffix = f" of {about}" if about else ""
        self._seen_cursors = {first}
        self._max_pages = max_pages

    def advance(self, cursor: str) -> str:
        """Return *cursor* (a next link, or what names the next page) if it leads on, else raise `IncompleteRead`."""
        if cursor in self._seen_cursors:
            raise IncompleteRead(
                f"{self._name} gives a next page{self._suffix} that it has given before: the list never ends.",
                "Try again; if it stays, report it to the vendor of that system.",
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
        """Return the name of the page that the walk is at."""
        return f"page {self.page_count}{self._suffix}"
