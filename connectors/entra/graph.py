"""Ask Microsoft Graph: single objects, and lists to their end, each refusal with the way out that fits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from connectors.base import IncompleteRead, Progress
from connectors.rest import Answer, Api, CursorExpired, restarted

__all__ = ["Ask", "Graph"]

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, GONE = 200, 400, 403, 404, 410
JUDGED_HERE = frozenset({OK, FORBIDDEN, NOT_FOUND})
KNOWN_HERE = frozenset({OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND})
JUDGED_ON_THE_WAY = JUDGED_HERE | {BAD_REQUEST, GONE}
EXPIRED_CODES = frozenset(
    {
        "Directory_ExpiredPageToken",
        "Directory_ResyncRequired",
        "resyncRequired",
        "syncStateNotFound",
        "syncStateInvalid",
    }
)
"""Graph's words for a next link that it does not take any more: the first for lists, the others for deltas."""

RESTARTS = 3
"""Of one list: large ones have lost their place several times in one read."""

UNKNOWN_ID = "Request_ResourceNotFound"
LATER_HINT = "Try again later; if it stays, report it to Microsoft's support with this message."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to read. *what* names it in messages, *hint* says what to do when it is refused or not there.

    *select* names the fields, all when it is empty; lists have a *top* of rows to a page, objects the *id* that they
    must show.
    """

    path: str
    what: str
    hint: str
    select: str = ""
    top: int = 0
    id: str = ""

    @property
    def params(self) -> dict[str, str]:
        return ({"$select": self.select} if self.select else {}) | ({"$top": str(self.top)} if self.top else {})


class Graph:
    """The reading end of one tenant. Every method raises `ReadError` for whatever is not a whole answer."""

    def __init__(self, api: Api, progress: Progress) -> None:
        self._api = api
        self._progress = progress

    @property
    def who(self) -> str:
        return self._api.who

    async def reach(self, ask: Ask) -> None:
        """Return when Graph knows who asks, whether or not it grants or has this."""
        await self._api.get(ask.path, ask.params, accept=KNOWN_HERE, about=ask.what)

    async def find(self, ask: Ask) -> Mapping[str, object] | None:
        """Return one object, None when Graph itself says that it has no such thing."""
        answer = await self._asked(ask)
        if answer.status == NOT_FOUND and error_code(answer) == UNKNOWN_ID:
            return None
        return _object(self._granted(answer, ask), ask)

    async def one(self, ask: Ask) -> Mapping[str, object]:
        """Return one object."""
        return _object(self._granted(await self._asked(ask), ask), ask)

    async def first_rows(self, ask: Ask, row: Callable[[object], T]) -> list[T]:
        """Return the first page of a list, for a look at it, each row as *row* reads it."""
        return [row(each) for each in self._granted(await self._asked(ask), ask).rows("value")]

    async def rows(self, ask: Ask, row: Callable[[object], T]) -> list[T]:
        """Return a whole list, begun again when Graph no longer knows a page that it named itself."""
        return await restarted(lambda: self._walked(ask, row), RESTARTS)

    async def _walked(self, ask: Ask, row: Callable[[object], T]) -> list[T]:
        """Follow a list to its end. An empty page that names a next one is not it."""
        answer = self._granted(await self._asked(ask), ask)
        walk = self._api.walk(str(answer.url), about=ask.what)
        rows = [row(each) for each in answer.rows("value")]
        while (onwards := _next_link(answer, ask)) is not None:
            self._progress(f"{self._api.who}: {ask.what}", len(rows), None)
            following = walk.follow(onwards)
            answer = await self._api.get(following, accept=JUDGED_ON_THE_WAY, about=walk.page)
            if answer.status == GONE or (answer.status == BAD_REQUEST and error_code(answer) in EXPIRED_CODES):
                raise CursorExpired(self._api.refusal(answer).message, LATER_HINT)
            answer = self._granted(answer, ask)
            rows += map(row, answer.rows("value"))
        self._progress(f"{self._api.who}: {ask.what}", len(rows), len(rows))
        return rows

    async def _asked(self, ask: Ask) -> Answer:
        return await self._api.get(ask.path, ask.params, accept=JUDGED_HERE, about=ask.what)

    def _granted(self, answer: Answer, ask: Ask) -> Answer:
        """Return an answer that holds what was asked for, else raise."""
        if answer.status == OK:
            return answer
        raise self._api.refusal(answer, ask.hint)


def error_code(answer: Answer) -> str:
    """Return Graph's `error.code`, empty when the answer is not one of Graph's."""
    try:
        document = answer.json()
    except IncompleteRead:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    return str(error.get("code", "")) if isinstance(error, dict) else ""


def _object(answer: Answer, ask: Ask) -> Mapping[str, object]:
    document = answer.json()
    if isinstance(document, dict) and str(document.get("id")).lower() == ask.id.lower():
        return document
    raise IncompleteRead(f"{answer.who} answered with something that is not {ask.what}{answer.trace}.", ask.hint)


def _next_link(answer: Answer, ask: Ask) -> str | None:
    document = answer.json()
    link = document.get("@odata.nextLink") if isinstance(document, dict) else None
    if link is None or (isinstance(link, str) and link):
        return link
    message = f"{answer.who} gives a next page of {ask.what} that is not a link{answer.trace}."
    raise IncompleteRead(message, LATER_HINT)
