"""Read single objects whose failures must not end other reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from connectors.base import IncompleteRead, ReadError

__all__ = ["IsolatedReads"]

T = TypeVar("T")
MAX_CONCURRENT = 4
MAX_CONSECUTIVE_FAILURES = 3
"""Failures in a row after which the rest is skipped: each further time-out would cost a minute."""

LATER_HINT = "Try again later; if it persists, check that system's status page."


@dataclass(slots=True)
class IsolatedReads:
    """One series of reads. *timeout_seconds* bounds each of them with its retries."""

    timeout_seconds: float = 60
    consecutive_failures: int = 0

    async def read_each(self, keys: Iterable[str], one: Callable[[str], Awaitable[T]]) -> dict[str, T | ReadError]:
        """Return what *one* returns for each of *keys*, or the error that it raised."""
        at_once = asyncio.Semaphore(MAX_CONCURRENT)

        async def tried(key: str) -> T | ReadError:
            async with at_once:
                if self.consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                    return IncompleteRead(
                        f"{key} was not requested after {MAX_CONSECUTIVE_FAILURES} failures in a row.", LATER_HINT
                    )
                try:
                    async with asyncio.timeout(self.timeout_seconds):
                        found = await one(key)
                except ReadError as error:
                    self.consecutive_failures += 1
                    return error
                except TimeoutError:
                    self.consecutive_failures += 1
                    return IncompleteRead(
                        f"There was no response for {key} within {self.timeout_seconds:g} s.", LATER_HINT
                    )
                self.consecutive_failures = 0
                return found

        wanted = list(keys)
        return dict(zip(wanted, await asyncio.gather(*map(tried, wanted)), strict=True))
