"""Read one OneLogin account: single objects, and lists to their end, counted.

Its cursors are offsets in disguise: whoever is added or removed during a walk shifts the others, so that one may be
skipped. A list that is shorter than its `Total-Count` is therefore walked again.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.base import IncompleteRead, Progress
from connectors.onelogin.row import id_of
from connectors.rest import Answer, Api

__all__ = ["Account"]

OK, NOT_FOUND = 200, 404
WALKS = 3
PAGE_SIZE = "1000"
SCOPE_HINT = "Give the API credential the scope Read All, and check the ids in the config."


class Account:
    """The reading end of one account. Every method raises `ReadError` for whatever is not a whole answer."""

    def __init__(self, api: Api, progress: Progress) -> None:
        self._api = api
        self._progress = progress

    @property
    def who(self) -> str:
        return self._api.who

    async def find(self, path: str) -> Mapping[str, object] | None:
        """Return one JSON object, None when there is none."""
        answer = await self._api.get(path, accept={OK, NOT_FOUND})
        return None if answer.status == NOT_FOUND else self._object(answer)

    async def one(self, path: str, what: str, hint: str) -> Mapping[str, object]:
        """Return one JSON object; *what* names it and *hint* says what to do when it is not there."""
        found = await self.find(path)
        if found is None:
            raise IncompleteRead(f"{self.who} has no {what}.", hint)
        return found

    async def total(self, path: str) -> int | None:
        """Return how many rows a list says it has, None when it does not say."""
        return _total(await self._api.get(path, {"limit": "1"}))

    async def first_rows(self, path: str) -> list[object]:
        """Return the first page of a list, for a look at it."""
        return (await self._api.get(path, {"limit": "50"})).rows(None)

    async def rows(self, path: str, what: str, params: Mapping[str, str] | None = None) -> list[object]:
        """Return a whole list, each row with an id once, and those without as they come."""
        total: int | None = None
        rows: list[object] = []
        for _ in range(WALKS):
            total, rows = await self._walked(path, what, params or {})
            if total is None or len(rows) >= total:
                return rows
        raise IncompleteRead(
            f"{self.who} says that there are {total:,} {what} and listed {len(rows):,}, {WALKS} times over.",
            "Run again when nobody changes assignments in OneLogin; if it stays, report it to OneLogin's support.",
        )

    async def _walked(self, path: str, what: str, params: Mapping[str, str]) -> tuple[int | None, list[object]]:
        answer = await self._api.get(path, {**params, "limit": PAGE_SIZE})
        total = _total(answer)
        walk = self._api.walk(path)
        by_id: dict[str, object] = {}
        others: list[object] = []
        while True:
            for row in answer.rows(None):
                key = id_of(row)
                if key is None:
                    others.append(row)
                else:
                    by_id[key] = row
            self._progress(f"{self.who}: {what}", len(by_id), total)
            cursor = answer.headers.get("After-Cursor", "").strip()
            if not cursor:
                return total, [*by_id.values(), *others]
            # OneLogin refuses a cursor beside `limit` or `page`: it holds both.
            answer = await self._api.get(path, {**params, "cursor": walk.follow(cursor)})

    def _object(self, answer: Answer) -> Mapping[str, object]:
        document = answer.json()
        if not isinstance(document, dict):
            raise IncompleteRead(f"{self.who} answered with something that is no object.", SCOPE_HINT)
        return document


def _total(answer: Answer) -> int | None:
    text = answer.headers.get("Total-Count", "").strip()
    return int(text) if text.isascii() and text.isdigit() else None
