"""A page of a list in each system's format: its rows, its total, and the link to the next."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.faults.action import System
from sandbox.faults.cursor import PagePosition
from sandbox.faults.response import CapturedResponse

__all__ = ["Page", "parse_page"]

ROW_KEYS = {System.ENTRA: "value", System.PIGMENT: "Resources"}
NEXT_LINK = re.compile(r'<([^>]*)>;\s*rel="?next"?')


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its response and its rows. The methods return responses."""

    position: PagePosition
    response: CapturedResponse
    document: object
    rows: list[object]

    @property
    def system(self) -> System:
        return self.position.system

    def with_rows(self, rows: list[object]) -> Page:
        """Return the page with other rows; totals stay as they are."""
        if not isinstance(self.document, dict):
            return Page(self.position, self.response.with_json(rows), rows, rows)
        document = self.document | {ROW_KEYS[self.system]: rows}
        return Page(self.position, self.response.with_json(document), document, rows)

    def with_next(self, cursor: str) -> CapturedResponse:
        """Return the answer with a next link that carries *cursor*."""
        if self.system in (System.OKTA, System.ENTRA):
            return self.with_next_url(self.position.page_url(cursor))
        if self.system is System.ONELOGIN:
            return self.response.with_header("after-cursor", cursor)
        return self._with_field("nextCursor", cursor)

    def with_next_url(self, url: str) -> CapturedResponse:
        """Return the answer with *url* as the next link: in the body for Entra, in the `Link` header for others."""
        if self.system is System.ENTRA:
            return self._with_field("@odata.nextLink", url)
        others = [text for name, text in self.response.headers if name == "link" and not NEXT_LINK.search(text)]
        answer = self.response.with_header("link", None)
        added = (*answer.headers, *(("link", text) for text in others), ("link", f'<{url}>; rel="next"'))
        return CapturedResponse(answer.status, added, answer.body)

    def next_url(self) -> str | None:
        """Return the next link where there is one."""
        if isinstance(self.document, dict):
            url = self.document.get("@odata.nextLink")
            return str(url) if url else None
        found = (NEXT_LINK.search(text) for name, text in self.response.headers if name == "link")
        return next((match[1] for match in found if match), None)

    def next_cursor(self) -> str:
        """Return OneLogin's or Pigment's cursor of the next page, empty at the end."""
        if self.system is System.ONELOGIN:
            return self.response.header("after-cursor") or ""
        found = self.document.get("nextCursor") if isinstance(self.document, dict) else None
        return found if isinstance(found, str) else ""

    def with_total(self, change: Callable[[int], int]) -> CapturedResponse:
        """Return the response with another total, where it has one."""
        if self.system is System.ONELOGIN:
            total = self.response.header("total-count")
            return self.response if total is None else self.response.with_header("total-count", str(change(int(total))))
        key = "totalResults" if self.system is System.PIGMENT else "@odata.count"
        total_here = self.document.get(key) if isinstance(self.document, dict) else None
        return self._with_field(key, change(total_here)) if isinstance(total_here, int) else self.response

    def _with_field(self, key: str, value: object) -> CapturedResponse:
        return self.response.with_json(
            self.document | {key: value} if isinstance(self.document, dict) else self.document
        )


def parse_page(position: PagePosition, answer: CapturedResponse) -> Page | None:
    """Return the page in *answer*, None when it holds none."""
    document = answer.json() if answer.status == 200 else None
    rows = document.get(ROW_KEYS.get(position.system, "")) if isinstance(document, dict) else document
    return Page(position, answer, document, rows) if isinstance(rows, list) else None
