"""A page of a list as each system words it: its rows, its total, and the link to the next."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.faults.action import System
from sandbox.faults.answer import Answer
from sandbox.faults.place import Place

__all__ = ["Page", "page_of"]

ROWS = {System.ENTRA: "value", System.PIGMENT: "Resources"}
NEXT = re.compile(r'<([^>]*)>;\s*rel="?next"?')


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the answer that it came in, and its rows. The methods return answers."""

    place: Place
    answer: Answer
    document: object
    rows: list[object]

    @property
    def system(self) -> System:
        return self.place.system

    def with_rows(self, rows: list[object]) -> Page:
        """Return the page with other rows; totals stay as they are."""
        if not isinstance(self.document, dict):
            return Page(self.place, self.answer.with_json(rows), rows, rows)
        document = self.document | {ROWS[self.system]: rows}
        return Page(self.place, self.answer.with_json(document), document, rows)

    def with_next(self, cursor: str) -> Answer:
        """Return the answer with a next link that carries *cursor*."""
        if self.system in (System.OKTA, System.ENTRA):
            return self.with_next_url(self.place.link(cursor))
        if self.system is System.ONELOGIN:
            return self.answer.with_header("after-cursor", cursor)
        return self._with("nextCursor", cursor)

    def with_next_url(self, url: str) -> Answer:
        """Return the answer with *url* as the next link: in the body for Entra, in the `Link` header for others."""
        if self.system is System.ENTRA:
            return self._with("@odata.nextLink", url)
        others = [text for name, text in self.answer.headers if name == "link" and not NEXT.search(text)]
        answer = self.answer.with_header("link", None)
        added = (*answer.headers, *(("link", text) for text in others), ("link", f'<{url}>; rel="next"'))
        return Answer(answer.status, added, answer.body)

    def next_url(self) -> str | None:
        """Return the next link where there is one."""
        if isinstance(self.document, dict):
            url = self.document.get("@odata.nextLink")
            return str(url) if url else None
        found = (NEXT.search(text) for name, text in self.answer.headers if name == "link")
        return next((match[1] for match in found if match), None)

    def next_cursor(self) -> str:
        """Return OneLogin's or Pigment's cursor of the next page, empty at the end."""
        if self.system is System.ONELOGIN:
            return self.answer.header("after-cursor") or ""
        found = self.document.get("nextCursor") if isinstance(self.document, dict) else None
        return found if isinstance(found, str) else ""

    def with_total(self, change: Callable[[int], int]) -> Answer:
        """Return the answer with another total, where it has one."""
        if self.system is System.ONELOGIN:
            total = self.answer.header("total-count")
            return self.answer if total is None else self.answer.with_header("total-count", str(change(int(total))))
        key = "totalResults" if self.system is System.PIGMENT else "@odata.count"
        total_here = self.document.get(key) if isinstance(self.document, dict) else None
        return self._with(key, change(total_here)) if isinstance(total_here, int) else self.answer

    def _with(self, key: str, value: object) -> Answer:
        return self.answer.with_json(self.document | {key: value} if isinstance(self.document, dict) else self.document)


def page_of(place: Place, answer: Answer) -> Page | None:
    """Return the page in *answer*, None when it holds none."""
    document = answer.json() if answer.status == 200 else None
    rows = document.get(ROWS.get(place.system, "")) if isinstance(document, dict) else document
    return Page(place, answer, document, rows) if isinstance(rows, list) else None
