"""Let questions about people, which anybody with a login may ask, never use up what the runs need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.daemon.interface import TooManyRequests

__all__ = ["MAX_QUERIES", "QueryLimiter"]

MAX_QUERIES = 5
"""One is answered at a time, and these many wait or are answered; each reads every workspace."""


class QueryLimiter:
    """*budget_left* tells how many requests the busiest host would take now, None: not known."""

    def __init__(self, budget_left: Callable[[], int | None]) -> None:
        self._budget_left = budget_left
        self._pending = 0
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def acquire(self, requests_per_window: int) -> AsyncIterator[None]:
        """Wait for the turn of one question. Raises `TooManyRequests`: half of each window is the runs' own."""
        if self._pending >= MAX_QUERIES:
            raise TooManyRequests(f"{self._pending} questions about people are waiting.", "Ask again in a minute.")
        self._pending += 1
        try:
            async with self._lock:
                left = self._budget_left()
                if left is not None and left < requests_per_window // 2:
                    raise TooManyRequests(
                        f"Pigment takes {left} more requests now, and they are kept for runs.",
                        "Ask again in a few minutes, or see the newest run of the workspace.",
                    )
                yield
        finally:
            self._pending -= 1
