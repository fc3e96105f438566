"""Read a list again from its start when the server has forgotten where on the way the reader was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from connectors.base import IncompleteRead

__all__ = ["CursorExpired", "retry_from_start"]

T = TypeVar("T")


class CursorExpired(IncompleteRead):
    """The list can't be gone on with; from its start it can be read again."""


async def retry_from_start(read: Callable[[], Awaitable[T]], restarts: int) -> T:
    """Return what *read* returns, begun again at most *restarts* times. Raises the last `CursorExpired`."""
    for _ in range(restarts):
        try:
            return await read()
        except CursorExpired:
            continue
    return await read()
