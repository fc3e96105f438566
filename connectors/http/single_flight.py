"""Read what several sources share once, for as long as the connector lives; a failure is never remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["SingleFlight", "task_group"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class _SharedTask(Generic[T]):
    task: asyncio.Task[T]
    waiters: int = 0

    def is_usable(self) -> bool:
        """Tell whether it has succeeded or still may."""
        if self.task.done():
            return not self.task.cancelled() and self.task.exception() is None
        return not self.task.cancelling()


class SingleFlight(Generic[K, T]):
    """One reading for each key, shared by all who ask for it while it runs and after it has succeeded.

    Whoever gives up leaves the reading to the others; when nobody waits any more it is cancelled.
    """

    def __init__(self, read: Callable[[K], Coroutine[Any, Any, T]]) -> None:
        self._read = read
        self._tasks: dict[K, _SharedTask[T]] = {}

    async def __call__(self, key: K) -> T:
        reading = self._tasks.get(key)
        if reading is None:
            reading = self._tasks[key] = _SharedTask(asyncio.create_task(self._read(key)))
        reading.waiters += 1
        try:
            # Shielded: the end of one source's read must not end what another source waits for.
            return await asyncio.shield(reading.task)
        finally:
            reading.waiters -= 1
            if not reading.waiters:
                reading.task.cancel()
            if not reading.is_usable() and self._tasks.get(key) is reading:
                del self._tasks[key]


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks together; the first failure ends the others and is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
