"""The changes of one workspace that are being made at one moment: several at once, never two that touch each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

__all__ = ["InFlight"]


class InFlight:
    """At most *limit* changes at once, and never two that have a key in common.

    A context: however it ends, no change is being made any more. Those that were are awaited, so that each gets its
    outcome. Only cancellation ends them too. With a *limit* of 1 each change is awaited where it begins.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys: dict[asyncio.Task[None], frozenset[str]] = {}
        self._sending: set[asyncio.Task[Any]] = set()
        self._alone: set[asyncio.Task[Any]] = set()
        self._resolving = asyncio.Lock()
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self._is_cancelled = False

    async def __aenter__(self) -> InFlight:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            self._cancel()
        try:
            await self._wait_until_ended()
        except asyncio.CancelledError:
            self._cancel()
            await self._wait_until_ended()
            raise
        if error is None and self._failure is not None:
            raise self._failure

    async def run(self, keys: frozenset[str], change: Coroutine[Any, Any, None]) -> None:
        """Begin *change* once `wait_for_room` has returned for *keys*."""
        if self._limit == 1:
            await change
            return
        task = asyncio.create_task(change)
        self._keys[task] = keys
        self._sending.add(task)
        task.add_done_callback(self._end)

    async def wait_for_room(self, keys: frozenset[str]) -> None:
        """Wait until another change with *keys* may begin. Raises the error of a change that failed unexpectedly."""
        while self._failure is None and not self._has_room(keys):
            await self._changed.wait()
        self._raise_failure()

    async def wait_until_empty(self) -> None:
        """Wait until every change has ended. Raises the error of a change that failed unexpectedly."""
        await self._wait_until_ended()
        self._raise_failure()

    def release(self) -> None:
        """Let another change begin, although the present one has not ended: its answer came, and is being recorded."""
        self._sending.discard(_present_task())
        self._notify()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Wait, within a change, until no other one is being sent, and keep others from beginning."""
        present = _present_task()
        self._alone.add(present)
        self._notify()
        try:
            async with self._resolving:
                # Those that wait for the same send nothing meanwhile.
                while self._sending - self._alone:
                    await self._changed.wait()
                yield
        finally:
            self._alone.discard(present)
            self._notify()

    def _has_room(self, keys: frozenset[str]) -> bool:
        if self._alone or len(self._sending) >= self._limit:
            return False
        return all(keys.isdisjoint(each) for each in self._keys.values())

    def _end(self, task: asyncio.Task[None]) -> None:
        del self._keys[task]
        self._sending.discard(task)
        # A change that ended by itself as cancelled has no outcome either: nothing may begin after it.
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None and not self._is_cancelled:
            self._failure = self._failure or error
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _cancel(self) -> None:
        self._is_cancelled = True
        for task in self._keys:
            task.cancel()

    async def _wait_until_ended(self) -> None:
        while self._keys:
            await self._changed.wait()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def _present_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("only a task can await a change")
    return task
