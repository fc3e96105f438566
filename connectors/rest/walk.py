"""Guard a walk along next links: it ends, and it never goes in a circle."""

from __future__ import annotations

from connectors.base import IncompleteRead

__all__ = ["Walk"]


class Walk:
    """The pages of one listing. *who* names the server in messages."""

    def __init__(self, who: str, first: str, max_pages: int) -> None:
        self.pages = 1
        self._who = who
        self._seen = {first}
        self._max_pages = max_pages

    def follow(self, cursor: str) -> str:
        """Return *cursor* (a next link, or what names the next page) if it leads on, else raise `IncompleteRead`."""
        if cursor in self._seen:
            raise IncompleteRead(
                f"{self._who} names a page as the next one that it has given before: the list never ends.",
                "Try again; if it stays, report it to the vendor of that system.",
            )
        if self.pages >= self._max_pages:
            raise IncompleteRead(
                f"{self._who} goes on after {self._max_pages:,} pages.",
                "Check that the URL and ids in the config are right; no list that this agent reads is that long.",
            )
        self._seen.add(cursor)
        self.pages += 1
        return cursor
