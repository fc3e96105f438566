"""Read single objects, where a failure concerns only that object and must not end other reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from connectors.base import IncompleteRead, ReadError

__all__ = ["OneByOne"]

T = TypeVar("T")
AT_ONCE = 4
MOST_FAILURES = 3
"""Failures in a row after which the rest is not asked for: a system that answers none of three would cost minutes."""

LATER = "Try again later; if it persists, check that system's status page."


@dataclass(slots=True)
class OneByOne:
    """One use is one series of reads. *seconds* bounds each of them with its retries."""

    seconds: float = 60
    failures: int = 0

    async def read(self, keys: Iterable[str], one: Callable[[str], Awaitable[T]]) -> dict[str, T | ReadError]:
        """Return what *one* returns for each of *keys*, or the error that it raised."""
        at_once = asyncio.Semaphore(AT_ONCE)

        async def tried(key: str) -> T | ReadError:
            async with at_once:
                if self.failures >= MOST_FAILURES:
                    return IncompleteRead(f"{key} was not asked for after {MOST_FAILURES} failures in a row.", LATER)
                try:
                    async with asyncio.timeout(self.seconds):
                        found = await one(key)
                except ReadError as error:
                    self.failures += 1
                    return error
                except TimeoutError:
                    self.failures += 1
                    return IncompleteRead(f"There was no answer for {key} within {self.seconds:g} s.", LATER)
                self.failures = 0
                return found

        wanted = list(keys)
        return dict(zip(wanted, await asyncio.gather(*map(tried, wanted)), strict=True))
