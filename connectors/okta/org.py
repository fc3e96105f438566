"""Ask one Okta org: single objects, and lists to their end, each refusal with the way out that fits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from connectors.base import IncompleteRead, Progress
from connectors.rest import Answer, Api, CursorExpired, Timer, restarted

__all__ = ["LATER_HINT", "Ask", "Org"]

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, SERVER_ERROR = 200, 400, 403, 404, 500
JUDGED_HERE = frozenset({OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND})
EXPIRED_CURSOR, UNKNOWN_ID = "E0000029", "E0000007"
RESTARTS = 1
RETRY_SECONDS = (1, 2)
"""Waits before asking for a first page again, each time half as long a page."""

EXPIRED_HINT = "Run again when Okta is less busy; a larger rate limit for this token makes the read shorter."
LATER_HINT = (
    "Try again later; if it stays, look at Okta's status page and report it to Okta's support with this message."
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to read. *what* names it in messages, *hint* says what to do when it is refused or not there.

    Lists have a *limit* of rows to a page, 0 where Okta takes none, and *expand* names what to embed in each.
    """

    path: str
    what: str
    hint: str
    limit: int = 0
    expand: str = ""

    def page(self, limit: int) -> dict[str, str]:
        return ({"expand": self.expand} if self.expand else {}) | ({"limit": str(limit)} if limit else {})


class Org:
    """The reading end of one org. Every method raises `ReadError` for whatever is not a whole answer."""

    def __init__(self, api: Api, timer: Timer, progress: Progress) -> None:
        self._api = api
        self._timer = timer
        self._progress = progress

    async def reach(self, ask: Ask) -> None:
        """Return when Okta knows who asks, whether or not it grants this."""
        await self._api.get(ask.path, ask.page(ask.limit), accept={OK, FORBIDDEN}, about=ask.what)

    async def find(self, ask: Ask) -> Mapping[str, object] | None:
        """Return one JSON object, None when Okta itself says that it has no such thing."""
        answer = await self._api.get(ask.path, accept=JUDGED_HERE, about=ask.what)
        if answer.status == NOT_FOUND and error_code(answer) == UNKNOWN_ID:
            return None
        return _object(self._granted(answer, ask), ask)

    async def one(self, ask: Ask) -> Mapping[str, object]:
        """Return one JSON object."""
        return _object(self._granted(await self._api.get(ask.path, accept=JUDGED_HERE, about=ask.what), ask), ask)

    async def first_rows(self, ask: Ask, row: Callable[[object], T]) -> list[T]:
        """Return the first page of a list, for a look at it, each row as *row* reads it."""
        return [row(each) for each in (await self._first(ask)).rows(None)]

    async def rows(self, ask: Ask, row: Callable[[object], T]) -> list[T]:
        """Return a whole list. When its cursor expires on the way it is read again from the start, once."""
        return await restarted(lambda: self._walked(ask, row), RESTARTS)

    async def _walked(self, ask: Ask, row: Callable[[object], T]) -> list[T]:
        answer = await self._first(ask)
        walk = self._api.walk(str(answer.url), about=ask.what)
        rows = [row(each) for each in answer.rows(None)]
        while (onwards := answer.link("next")) is not None:
            self._progress(f"{self._api.who}: {ask.what}", len(rows), None)
            following = walk.follow(onwards)
            answer = await self._api.get(following, accept=JUDGED_HERE, about=walk.page)
            answer = self._granted(answer, ask)
            rows += map(row, answer.rows(None))
        self._progress(f"{self._api.who}: {ask.what}", len(rows), len(rows))
        return rows

    async def _first(self, ask: Ask) -> Answer:
        """Ask for the first page; on a 500, which Okta answers when a page takes it too long, for a shorter one."""
        limit = ask.limit
        for seconds in RETRY_SECONDS:
            answer = await self._page(ask, limit, JUDGED_HERE | {SERVER_ERROR})
            if answer.status != SERVER_ERROR:
                return self._granted(answer, ask)
            limit //= 2
            await self._timer.sleep(seconds)
        return self._granted(await self._page(ask, limit, JUDGED_HERE | {SERVER_ERROR}), ask)

    async def _page(self, ask: Ask, limit: int, accept: frozenset[int]) -> Answer:
        return await self._api.get(ask.path, ask.page(limit), accept=accept, about=ask.what)

    def _granted(self, answer: Answer, ask: Ask) -> Answer:
        """Return an answer that holds what was asked for, else raise."""
        if answer.status == OK:
            return answer
        if error_code(answer) == EXPIRED_CURSOR:
            raise CursorExpired(self._api.refusal(answer).message, EXPIRED_HINT)
        raise self._api.refusal(answer, ask.hint if answer.status in {FORBIDDEN, NOT_FOUND} else LATER_HINT)


def error_code(answer: Answer) -> str:
    """Return Okta's `errorCode`, empty when the answer is not one of Okta's."""
    try:
        document = answer.json()
    except IncompleteRead:
        return ""
    return str(document.get("errorCode", "")) if isinstance(document, dict) else ""


def _object(answer: Answer, ask: Ask) -> Mapping[str, object]:
    document = answer.json()
    if not isinstance(document, dict):
        raise IncompleteRead(f"{answer.who} answered with something that is not {ask.what}{answer.trace}.", ask.hint)
    return document
