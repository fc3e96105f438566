"""Ask Microsoft Graph: single objects, and lists to their end, each refusal with the way out that fits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from connectors.base import IncompleteRead, Progress
from connectors.http import ApiClient, ApiResponse, CursorExpired, retry_from_start

__all__ = ["Endpoint", "GraphClient"]

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, GONE = 200, 400, 403, 404, 410
ACCEPTED_STATUSES = frozenset({OK, FORBIDDEN, NOT_FOUND})
PROBE_STATUSES = frozenset({OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND})
PAGE_STATUSES = ACCEPTED_STATUSES | {BAD_REQUEST, GONE}
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

MAX_RESTARTS = 3
"""Of one list: large ones have lost their place several times in one read."""

NOT_FOUND_CODE = "Request_ResourceNotFound"
LATER_HINT = "Try again later; if it stays, report it to Microsoft's support with this message."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing to read. *description* names it in messages, *hint* says what to do when it is refused or not there.

    *select* names the fields, all when it is empty; lists have a *top* of rows to a page, objects the *id* that they
    must show.
    """

    path: str
    description: str
    hint: str
    select: str = ""
    top: int = 0
    id: str = ""

    @property
    def params(self) -> dict[str, str]:
        return ({"$select": self.select} if self.select else {}) | ({"$top": str(self.top)} if self.top else {})


class GraphClient:
    """The reading end of one tenant. Every method raises `ReadError` for whatever is not a whole answer."""

    def __init__(self, api: ApiClient, progress: Progress) -> None:
        self._api = api
        self._progress = progress

    @property
    def name(self) -> str:
        return self._api.name

    async def probe(self, ask: Endpoint) -> None:
        """Return when Graph knows who asks, whether or not it grants or has this."""
        await self._api.get(ask.path, ask.params, accept=PROBE_STATUSES, about=ask.description)

    async def find_one(self, ask: Endpoint) -> Mapping[str, object] | None:
        """Return one object, None when Graph itself says that it has no such thing."""
        answer = await self._request(ask)
        if answer.status == NOT_FOUND and error_code(answer) == NOT_FOUND_CODE:
            return None
        return _require_object(self._require_ok(answer, ask), ask)

    async def read_one(self, ask: Endpoint) -> Mapping[str, object]:
        """Return one object."""
        return _require_object(self._require_ok(await self._request(ask), ask), ask)

    async def read_first_page(self, ask: Endpoint, row: Callable[[object], T]) -> list[T]:
        """Return the first page of a list, for a look at it, each row as *row* reads it."""
        return [row(each) for each in self._require_ok(await self._request(ask), ask).rows("value")]

    async def read_all(self, ask: Endpoint, row: Callable[[object], T]) -> list[T]:
        """Return a whole list, begun again when Graph no longer knows a page that it named itself."""
        return await retry_from_start(lambda: self._read_pages(ask, row), MAX_RESTARTS)

    async def _read_pages(self, ask: Endpoint, row: Callable[[object], T]) -> list[T]:
        """Follow a list to its end. An empty page that names a next one is not it."""
        answer = self._require_ok(await self._request(ask), ask)
        walk = self._api.page_guard(str(answer.url), about=ask.description)
        rows = [row(each) for each in answer.rows("value")]
        while (onwards := _next_link(answer, ask)) is not None:
            self._progress(f"{self._api.name}: {ask.description}", len(rows), None)
            following = walk.advance(onwards)
            answer = await self._api.get(following, accept=PAGE_STATUSES, about=walk.page_label)
            if answer.status == GONE or (answer.status == BAD_REQUEST and error_code(answer) in EXPIRED_CODES):
                raise CursorExpired(self._api.error_from_response(answer).message, LATER_HINT)
            answer = self._require_ok(answer, ask)
            rows += map(row, answer.rows("value"))
        self._progress(f"{self._api.name}: {ask.description}", len(rows), len(rows))
        return rows

    async def _request(self, ask: Endpoint) -> ApiResponse:
        return await self._api.get(ask.path, ask.params, accept=ACCEPTED_STATUSES, about=ask.description)

    def _require_ok(self, answer: ApiResponse, ask: Endpoint) -> ApiResponse:
        """Return an answer that holds what was asked for, else raise."""
        if answer.status == OK:
            return answer
        raise self._api.error_from_response(answer, ask.hint)


def error_code(answer: ApiResponse) -> str:
    """Return Graph's `error.code`, empty when the answer is not one of Graph's."""
    try:
        document = answer.json()
    except IncompleteRead:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    return str(error.get("code", "")) if isinstance(error, dict) else ""


def _require_object(answer: ApiResponse, ask: Endpoint) -> Mapping[str, object]:
    document = answer.json()
    if isinstance(document, dict) and str(document.get("id")).lower() == ask.id.lower():
        return document
    raise IncompleteRead(
        f"{answer.server} answered with something that is not {ask.description}{answer.request_label}.", ask.hint
    )


def _next_link(answer: ApiResponse, ask: Endpoint) -> str | None:
    document = answer.json()
    link = document.get("@odata.nextLink") if isinstance(document, dict) else None
    if link is None or (isinstance(link, str) and link):
        return link
    message = f"{answer.server} gives a next page of {ask.description} that is not a link{answer.request_label}."
    raise IncompleteRead(message, LATER_HINT)
