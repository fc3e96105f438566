"""Read what several sources share once, for as long as the connector lives; a failure is never remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["Once", "side_by_side"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class _Reading(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0

    def is_of_use(self) -> bool:
        """Tell whether it has succeeded or still may."""
        if self.task.done():
            return not self.task.cancelled() and self.task.exception() is None
        return not self.task.cancelling()


class Once(Generic[K, T]):
    """One reading for each key, shared by all who ask for it while it runs and after it has succeeded.

    Whoever gives up leaves the reading to the others; when nobody waits any more it is cancelled.
    """

    def __init__(self, read: Callable[[K], Coroutine[Any, Any, T]]) -> None:
        self._read = read
        self._readings: dict[K, _Reading[T]] = {}

    async def __call__(self, key: K) -> T:
        reading = self._readings.get(key)
        if reading is None:
            reading = self._readings[key] = _Reading(asyncio.create_task(self._read(key)))
        reading.waiting += 1
        try:
            # Shielded: the end of one source's read must not end what another source waits for.
            return await asyncio.shield(reading.task)
        finally:
            reading.waiting -= 1
            if not reading.waiting:
                reading.task.cancel()
            if not reading.is_of_use() and self._readings.get(key) is reading:
                del self._readings[key]


@asynccontextmanager
async def side_by_side() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks together; the first failure ends the others and is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
