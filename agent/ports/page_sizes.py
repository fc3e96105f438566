"""The page sizes that were learned, by the fingerprint of a workspace."""

from __future__ import annotations

from typing import Protocol

from agent.model.page_size import LearnedPageSize

__all__ = ["PageSizes"]


class PageSizes(Protocol):
    """Raises `agent.errors.StateError`."""

    async def load_page_size(self, target: str) -> LearnedPageSize | None: ...

    async def record_page_size(self, target: str, learned: LearnedPageSize | None) -> None:
        """Write what was learned in place of what is known, or delete it."""
        ...
