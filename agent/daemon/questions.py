"""Let questions about people, which anybody with a login may ask, never use up what the runs need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.desk import TooMuch

__all__ = ["MOST_QUESTIONS", "Questions"]

MOST_QUESTIONS = 5
"""One is answered at a time, and these many wait or are answered; each reads every workspace."""


class Questions:
    """*budget_left* tells how many requests the busiest host would take now, None: not known."""

    def __init__(self, budget_left: Callable[[], int | None]) -> None:
        self._budget_left = budget_left
        self._open = 0
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, requests_per_window: int) -> AsyncIterator[None]:
        """Wait for the turn of one question. Raises `TooMuch`: half of each window is the runs' own."""
        if self._open >= MOST_QUESTIONS:
            raise TooMuch(f"{self._open} questions about people are waiting.", "Ask again in a minute.")
        self._open += 1
        try:
            async with self._turn:
                left = self._budget_left()
                if left is not None and left < requests_per_window // 2:
                    raise TooMuch(
                        f"Pigment takes {left} more requests now, and they are kept for runs.",
                        "Ask again in a few minutes, or see the newest run of the workspace.",
                    )
                yield
        finally:
            self._open -= 1
