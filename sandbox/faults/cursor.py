"""Where in a list a request wants to be, and cursors of our own that lead back to a request as it was.

A cursor of ours holds the query of a request and a number. Whoever sends it gets what that query asks for, so that a
page can be put in front of another, or led to for ever, without the application knowing.
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
    """A request's place in a list. *url* is the address without a query, *sent* the query as it came, *query* the one
    that the application is to see, *turn* the number in the cursor that led here (0: it was none of ours)."""

    system: System
    url: str
    sent_query: str
    query: str
    cursor_number: int = 0

    @property
    def is_first_page(self) -> bool:
        """Say whether the request asks for the first page."""
        return all(
            name not in (CURSOR_PARAMETERS[self.system], "startIndex") or value == "1"
            for name, value in self._query_pairs()
        )

    @property
    def is_list(self) -> bool:
        """Return whether a request to Pigment is for members, and not for one."""
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
        """Return the query without any place in the list."""
        paging = (CURSOR_PARAMETERS[self.system], "startIndex")
        return urlencode([pair for pair in self._query_pairs() if pair[0] not in paging], quote_via=quote)

    def cursor_to_here(self, turn: int) -> str:
        """Return a cursor of ours that leads here again."""
        return CURSOR_PREFIX + urlsafe_b64encode(orjson.dumps([self.query, turn])).decode().rstrip("=")

    def page_url(self, cursor: str) -> str:
        """Return the address of the page that *cursor* leads to."""
        return f"{self.url}?{urlencode({CURSOR_PARAMETERS[self.system]: cursor}, safe='$')}"

    def _query_pairs(self) -> list[tuple[str, str]]:
        return _parse_query(self.query)


def position_from_scope(system: System, scope: Scope) -> PagePosition:
    """Return the place that a request wants; a cursor of ours is taken for the query that it holds."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
    url = f"{scope['scheme']}://{headers.get(b'host', 'localhost')}{path}"
    sent = scope["query_string"].decode("latin-1")
    query, turn = _decode_cursor(dict(_parse_query(sent)).get(CURSOR_PARAMETERS[system]), sent)
    return PagePosition(system, url, sent, query, turn)


def _decode_cursor(cursor: str | None, sent: str) -> tuple[str, int]:
    if cursor is None or not cursor.startswith(CURSOR_PREFIX):
        return sent, 0
    text = cursor.removeprefix(CURSOR_PREFIX)
    try:
        query, turn = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError):  # it only looks like one of ours
        return sent, 0
    return str(query), int(turn)


def _parse_query(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)
