"""Share one read between all callers with the same key. A failure is never cached."""

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
        """Return whether it has succeeded or still may."""
        if self.task.done():
            return not self.task.cancelled() and self.task.exception() is None
        return not self.task.cancelling()


class SingleFlight(Generic[K, T]):
    """One task for each key, shared while it runs and after it has succeeded.

    Cancelling one waiter does not cancel the shared task; it is cancelled when the last waiter leaves.
    """

    def __init__(self, read: Callable[[K], Coroutine[Any, Any, T]]) -> None:
        self._read = read
        self._tasks: dict[K, _SharedTask[T]] = {}

    def clear(self) -> None:
        """Forget what was read. Who waits for a read still gets its result."""
        self._tasks.clear()

    async def __call__(self, key: K) -> T:
        shared = self._tasks.get(key)
        if shared is None:
            shared = self._tasks[key] = _SharedTask(asyncio.create_task(self._read(key)))
        shared.waiters += 1
        try:
            # Shielded: cancelling the read of one source must not cancel what another source waits for.
            return await asyncio.shield(shared.task)
        finally:
            shared.waiters -= 1
            if not shared.waiters:
                shared.task.cancel()
            if not shared.is_usable() and self._tasks.get(key) is shared:
                del self._tasks[key]


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks together; the first failure cancels the others and is raised itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
