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

__all__ = ["Place", "place_of"]

OURS = "sandbox."
CURSOR = {System.OKTA: "after", System.ENTRA: "$skiptoken", System.ONELOGIN: "cursor", System.PIGMENT: "cursor"}


@dataclass(frozen=True, slots=True)
class Place:
    """A request's place in a list. *url* is the address without a query, *sent* the query as it came, *query* the one
    that the application is to see, *turn* the number in the cursor that led here (0: it was none of ours)."""

    system: System
    url: str
    sent: str
    query: str
    turn: int = 0

    @property
    def is_first(self) -> bool:
        """Say whether the request asks for the first page."""
        return all(name not in (CURSOR[self.system], "startIndex") or value == "1" for name, value in self._pairs())

    @property
    def is_list(self) -> bool:
        """Return whether a request to Pigment is for members, and not for one."""
        return self.url.endswith("/Users")

    @property
    def cursor(self) -> str | None:
        """The cursor that was sent, ours or not."""
        return dict(_pairs(self.sent)).get(CURSOR[self.system])

    def start_index(self) -> int:
        value = dict(self._pairs()).get("startIndex", "1")
        return int(value) if value.isdecimal() else 1

    def moved_to(self, start_index: int) -> str:
        """Return the query with another `startIndex`."""
        rest = [pair for pair in self._pairs() if pair[0] != "startIndex"]
        return urlencode([*rest, ("startIndex", str(start_index))], quote_via=quote)

    def at_first(self) -> str:
        """Return the query without any place in the list."""
        paging = (CURSOR[self.system], "startIndex")
        return urlencode([pair for pair in self._pairs() if pair[0] not in paging], quote_via=quote)

    def back_here(self, turn: int) -> str:
        """Return a cursor of ours that leads here again."""
        return OURS + urlsafe_b64encode(orjson.dumps([self.query, turn])).decode().rstrip("=")

    def link(self, cursor: str) -> str:
        """Return the address of the page that *cursor* leads to."""
        return f"{self.url}?{urlencode({CURSOR[self.system]: cursor}, safe='$')}"

    def _pairs(self) -> list[tuple[str, str]]:
        return _pairs(self.query)


def place_of(system: System, scope: Scope) -> Place:
    """Return the place that a request wants; a cursor of ours is taken for the query that it holds."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
    url = f"{scope['scheme']}://{headers.get(b'host', 'localhost')}{path}"
    sent = scope["query_string"].decode("latin-1")
    query, turn = _unwrapped(dict(_pairs(sent)).get(CURSOR[system]), sent)
    return Place(system, url, sent, query, turn)


def _unwrapped(cursor: str | None, sent: str) -> tuple[str, int]:
    if cursor is None or not cursor.startswith(OURS):
        return sent, 0
    text = cursor.removeprefix(OURS)
    try:
        query, turn = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError):  # it only looks like one of ours
        return sent, 0
    return str(query), int(turn)


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)
