"""A request's position in a list, and cursors of our own that restore an earlier request.

Such a cursor holds the query of a request and a number. The middleware replaces the cursor by that query, so it can
insert a page before another, or repeat it without end, and the application does not notice.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

import orjson
from starlette.types import Scope

from sandbox.faults.action import System

__all__ = ["PagePosition", "position_from_scope"]

CURSOR_PREFIX = "sandbox."
CURSOR_PARAMETERS = {
    System.OKTA: "after",
    System.ENTRA: "$skiptoken",
    System.ONELOGIN: "cursor",
    System.PIGMENT: "cursor",
}


@dataclass(frozen=True, slots=True)
class PagePosition:
    """A request's position in a list. *url* is the address without a query, *sent_query* the client's query, *query*
    the one for the application, *cursor_number* the number in our cursor (0: the cursor is not ours)."""

    system: System
    url: str
    sent_query: str
    query: str
    cursor_number: int = 0

    @property
    def is_first_page(self) -> bool:
        """Return whether the request asks for the first page."""
        return all(
            name not in (CURSOR_PARAMETERS[self.system], "startIndex") or value == "1"
            for name, value in self._query_pairs()
        )

    @property
    def is_list(self) -> bool:
        """Return whether a request to Pigment lists members."""
        return self.url.endswith("/Users")

    @property
    def cursor(self) -> str | None:
        """The cursor that was sent, ours or not."""
        return dict(_parse_query(self.sent_query)).get(CURSOR_PARAMETERS[self.system])

    def start_index(self) -> int:
        value = dict(self._query_pairs()).get("startIndex", "1")
        return int(value) if value.isdecimal() else 1

    def query_at(self, start_index: int) -> str:
        """Return the query with another `startIndex`."""
        rest = [pair for pair in self._query_pairs() if pair[0] != "startIndex"]
        return urlencode([*rest, ("startIndex", str(start_index))], quote_via=quote)

    def first_page_query(self) -> str:
        """Return the query without a position in the list."""
        paging = (CURSOR_PARAMETERS[self.system], "startIndex")
        return urlencode([pair for pair in self._query_pairs() if pair[0] not in paging], quote_via=quote)

    def cursor_to_here(self, number: int) -> str:
        """Return a cursor of ours that leads here again."""
        return CURSOR_PREFIX + urlsafe_b64encode(orjson.dumps([self.query, number])).decode().rstrip("=")

    def page_url(self, cursor: str) -> str:
        """Return the address of the page that *cursor* leads to."""
        return f"{self.url}?{urlencode({CURSOR_PARAMETERS[self.system]: cursor}, safe='$')}"

    def _query_pairs(self) -> list[tuple[str, str]]:
        return _parse_query(self.query)


def position_from_scope(system: System, scope: Scope) -> PagePosition:
    """Return the request's position; a cursor of ours is replaced by its query."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
    url = f"{scope['scheme']}://{headers.get(b'host', 'localhost')}{path}"
    sent = scope["query_string"].decode("latin-1")
    query, number = _decode_cursor(dict(_parse_query(sent)).get(CURSOR_PARAMETERS[system]), sent)
    return PagePosition(system, url, sent, query, number)


def _decode_cursor(cursor: str | None, sent: str) -> tuple[str, int]:
    if cursor is None or not cursor.startswith(CURSOR_PREFIX):
        return sent, 0
    text = cursor.removeprefix(CURSOR_PREFIX)
    try:
        query, number = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError):  # it only looks like one of ours
        return sent, 0
    return str(query), int(number)


def _parse_query(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)
