"""Read a list again from its start when its cursor has expired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from connectors.base import IncompleteRead

__all__ = ["CursorExpired", "retry_from_start"]

T = TypeVar("T")


class CursorExpired(IncompleteRead):
    """The cursor of a list is no longer valid. The list can be read again from its start."""


async def retry_from_start(read: Callable[[], Awaitable[T]], restarts: int) -> T:
    """Return the result of *read*, called again at most *restarts* times. Raises the last `CursorExpired`."""
    for _ in range(restarts):
        try:
            return await read()
        except CursorExpired:
            continue
    return await read()
