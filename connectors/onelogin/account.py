"""Read one OneLogin account: single objects, and lists to their end, counted.

Its cursors are offsets in disguise: who comes or goes during a walk shifts all the others, so that one may be skipped.
A list is therefore believed only when it holds as many as its `Total-Count` said at first and that number never went
down on the way; where there is no such number, when two walks found the same ids. Else it is walked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.base import IncompleteRead, Progress
from connectors.onelogin.row import id_of
from connectors.rest import Answer, Api, CursorExpired, header_numbers, plain_cursor

__all__ = ["Account", "Ask"]

OK, FORBIDDEN, NOT_FOUND = 200, 403, 404
JUDGED_HERE = frozenset({OK, FORBIDDEN, NOT_FOUND})
EXPIRED = frozenset({400, 410, 422})
"""To a page that a cursor of OneLogin's own names, after a first page was given: that cursor is good no more."""

WALKS = 3
PAGE_SIZE = 1000
LOOK = 50
"""Rows looked at by `check`: enough to tell a missing permission from one odd row."""

MOVING_HINT = "Run again when nobody changes assignments in OneLogin; if it stays, report it to OneLogin's support."
CUT_HINT = "Look at what stands between here and OneLogin: a proxy that drops headers makes lists end early."


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to read. *what* names it in messages, *hint* says what to do when it is refused or not there."""

    path: str
    what: str
    hint: str
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> str:
        return f"the {self.what}"


@dataclass(slots=True)
class Walked:
    """What one walk over a list found. *total* is what the list said at first, None when it never said anything.

    *is_cut* says that more came after the page that named no next one: something on the way took its headers.
    """

    pages: int = 0
    total: int | None = None
    has_shrunk: bool = False
    is_cut: bool = False
    by_id: dict[str, object] = field(default_factory=dict)
    others: list[object] = field(default_factory=list)
    _latest: int | None = None

    def take(self, answer: Answer) -> None:
        """Add one page: each row with an id once, as the last page shows it, and those without as they come."""
        self.pages += 1
        for row in answer.rows(None):
            key = id_of(row)
            if key is None:
                self.others.append(row)
            else:
                self.by_id[key] = row
        said = _total(answer)
        if said is None:
            return
        self.has_shrunk = self.has_shrunk or (self._latest is not None and said < self._latest)
        self.total = said if self.total is None else self.total
        self._latest = said

    @property
    def rows(self) -> list[object]:
        return [*self.by_id.values(), *self.others]

    def is_whole(self, earlier: Walked | None) -> bool:
        if self.total is None:
            return earlier is not None and not self.is_cut and earlier.by_id.keys() == self.by_id.keys()
        return not self.has_shrunk and len(self.by_id) + len(self.others) >= self.total


class Account:
    """The reading end of one account. Every method raises `ReadError` for whatever is not a whole answer."""

    def __init__(self, api: Api, progress: Progress) -> None:
        self._api = api
        self._progress = progress

    async def find(self, ask: Ask) -> Mapping[str, object] | None:
        """Return one JSON object, None when OneLogin itself says that it has no such thing."""
        answer = await self._api.get(ask.path, accept=JUDGED_HERE, about=ask.whole)
        if answer.status == NOT_FOUND and _is_onelogins_own(answer):
            return None
        return _object(self._granted(answer, ask), ask)

    async def one(self, ask: Ask) -> Mapping[str, object]:
        """Return one JSON object."""
        return _object(self._granted(await self._api.get(ask.path, accept=JUDGED_HERE, about=ask.whole), ask), ask)

    async def total(self, ask: Ask) -> int | None:
        """Return how many rows a list says it has, None when it does not say."""
        return _total(await self._page(ask, {"limit": "1"}))

    async def first_rows(self, ask: Ask) -> list[object]:
        """Return the first page of a list, for a look at it."""
        return (await self._page(ask, {"limit": str(LOOK)})).rows(None)

    async def rows(self, ask: Ask) -> list[object]:
        """Return a whole list, each row with an id once, and those without as they come."""
        walked: Walked | None = None
        expired: CursorExpired | None = None
        for _ in range(WALKS):
            try:
                earlier, walked = walked, await self._walked(ask)
            except CursorExpired as error:
                walked, expired = None, error
                continue
            if walked.is_whole(earlier):
                return walked.rows
        raise expired or self._moving(ask, walked)

    async def _walked(self, ask: Ask) -> Walked:
        answer = await self._page(ask, {"limit": str(PAGE_SIZE)})
        walk = self._api.walk(ask.path, about=ask.whole)
        walked = Walked()
        while True:
            walked.take(answer)
            self._progress(f"{self._api.who}: {ask.what}", len(walked.by_id), walked.total)
            cursor = self._cursor(answer, ask)
            if not cursor:
                break
            # OneLogin refuses a cursor beside `limit` or `page`: it holds both.
            following = walk.follow(cursor)
            answer = await self._page(ask, {"cursor": following}, walk.page)
        if walked.pages == 1 and walked.total is None:
            beyond = await self._page(ask, {"limit": str(PAGE_SIZE), "page": "2"})
            walked.is_cut = any(id_of(row) not in walked.by_id for row in beyond.rows(None))
        return walked

    def _cursor(self, answer: Answer, ask: Ask) -> str:
        """Return what names the next page, empty at the end."""
        found = {plain_cursor(line.strip()) for line in answer.headers.get_list("After-Cursor")} - {""}
        if len(found) > 1:
            raise IncompleteRead(f"{self._api.who} gives two different next pages of the {ask.what}.", CUT_HINT)
        return found.pop() if found else ""

    async def _page(self, ask: Ask, place: Mapping[str, str], about: str = "") -> Answer:
        params = {**ask.params, **place}
        accept = JUDGED_HERE | (EXPIRED if "cursor" in place else frozenset())
        answer = await self._api.get(ask.path, params, accept=accept, about=about or ask.whole)
        if answer.status in EXPIRED:
            raise CursorExpired(self._api.refusal(answer).message, MOVING_HINT)
        return self._granted(answer, ask)

    def _granted(self, answer: Answer, ask: Ask) -> Answer:
        """Return an answer that holds what was asked for, else raise."""
        if answer.status == OK:
            return answer
        raise self._api.refusal(answer, ask.hint)

    def _moving(self, ask: Ask, walked: Walked | None) -> IncompleteRead:
        if walked is not None and walked.is_cut:
            return IncompleteRead(
                f"{self._api.who} goes on with the {ask.what} and does not say where: no After-Cursor, no Total-Count.",
                CUT_HINT,
            )
        listed = 0 if walked is None else len(walked.rows)
        if walked is None or walked.total is None:
            told = f"listed {listed:,} {ask.what}, others each time"
        elif walked.has_shrunk:
            told = f"lost some of the {walked.total:,} {ask.what} while it listed them"
        else:
            told = f"says that there are {walked.total:,} {ask.what} and listed {listed:,}"
        return IncompleteRead(f"{self._api.who} {told}, {WALKS} times over.", MOVING_HINT)


def _total(answer: Answer) -> int | None:
    found = header_numbers(answer.headers, "Total-Count")
    return found[-1] if found else None


def _object(answer: Answer, ask: Ask) -> Mapping[str, object]:
    document = answer.json()
    if not isinstance(document, dict):
        message = f"{answer.who} answered with something that is not the {ask.what}{answer.trace}."
        raise IncompleteRead(message, ask.hint)
    return document


def _is_onelogins_own(answer: Answer) -> bool:
    """Tell a 404 of the API, in any of its three shapes, from one of whatever stands in front of it."""
    try:
        document = answer.json()
    except IncompleteRead:
        return False
    if not isinstance(document, dict):
        return False
    inner = document.get("status")
    shapes = [document, inner] if isinstance(inner, dict) else [document]
    return any(NOT_FOUND in (each.get("statusCode"), each.get("code")) for each in shapes)
