"""Read Microsoft Graph: single objects, and lists to their end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote

from connectors.base import CredentialsRefused, IncompleteRead, Progress
from connectors.rest import Answer, Api
from connectors.rest.quote import quoted

__all__ = ["Graph"]

OK, FORBIDDEN, NOT_FOUND = 200, 403, 404
JUDGED_HERE = frozenset({OK, FORBIDDEN, NOT_FOUND})
PAGE_SIZE = "999"
UNKNOWN_ID = "Request_ResourceNotFound"
T = TypeVar("T")


class Graph:
    """The reading end of one tenant. Every method raises `ReadError` for whatever is not a whole answer."""

    def __init__(self, api: Api, progress: Progress) -> None:
        self._api = api
        self._progress = progress

    @property
    def who(self) -> str:
        return self._api.who

    async def find(self, path: str, select: str, what: str, hint: str) -> Mapping[str, object] | None:
        """Return one object, None when Graph itself says that it has none. *hint* says what a refusal asks for."""
        answer = await self._api.get(path, {"$select": select}, accept=JUDGED_HERE)
        if answer.status == NOT_FOUND and error_code(answer) == UNKNOWN_ID:
            return None
        document = self._granted(answer, what, hint).json()
        if not isinstance(document, dict):
            raise IncompleteRead(f"{self.who} answered with something that is not {what}.", hint)
        return document

    async def first_rows(self, path: str, params: Mapping[str, str], what: str, hint: str) -> list[object]:
        """Return the first page of a list, for a look at it."""
        answer = await self._api.get(path, {**params, "$top": "50"}, accept=JUDGED_HERE)
        return self._granted(answer, what, hint).rows("value")

    async def rows(self, path: str, params: Mapping[str, str], what: str, hint: str) -> list[object]:
        """Return a whole list. Rows without `$top` were once left out, so it is always sent."""
        answer = await self._api.get(path, {**params, "$top": PAGE_SIZE}, accept=JUDGED_HERE)
        walk = self._api.walk(str(answer.url))
        rows: list[object] = []
        while True:
            rows += self._granted(answer, what, hint).rows("value")
            onwards = _next(answer, self.who)
            self._progress(f"{self.who}: {what}", len(rows), None if onwards else len(rows))
            if onwards is None:
                return rows
            answer = await self._api.get(walk.follow(onwards), accept=JUDGED_HERE)

    def _granted(self, answer: Answer, what: str, hint: str) -> Answer:
        if answer.status == OK:
            return answer
        message = f"{self.who} answered {answer.status} for {what}{quoted(answer.body, {})}."
        raise CredentialsRefused(message, hint) if answer.status == FORBIDDEN else IncompleteRead(message, hint)


def _next(answer: Answer, who: str) -> str | None:
    document = answer.json()
    link = document.get("@odata.nextLink") if isinstance(document, dict) else None
    if link is None:
        return None
    if not isinstance(link, str) or not link:
        raise IncompleteRead(f"{who} names something that is no link as the next page.", "Try again later.")
    return link


def error_code(answer: Answer) -> str:
    """Return Graph's error code, empty when the answer is not one of Graph's."""
    try:
        document = answer.json()
    except IncompleteRead:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    return str(error.get("code", "")) if isinstance(error, dict) else ""


def path_of(*parts: str) -> str:
    return "/v1.0/" + "/".join(quote(part, safe="") for part in parts)
