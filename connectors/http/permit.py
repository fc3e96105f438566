"""Check a permit until a write request has left, so that no wait on the way can outlast it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from connectors.base import Permit

__all__ = ["PermitExpired", "permit_trace", "require_remaining_seconds", "wait_while_permitted"]

T = TypeVar("T")
SEND_EVENTS = (".send_request_headers.started", ".send_request_body.started")
"""Events of httpcore after connecting and before sending. A server does not act before it has the whole body."""


class PermitExpired(Exception):
    """The permit ended before the whole request had left, so the request had no effect."""


def require_remaining_seconds(permit: Permit) -> float:
    """Return the remaining seconds of *permit*, more than 0. Raises `PermitExpired`."""
    left = permit.remaining_seconds()
    if left <= 0:
        raise PermitExpired
    return left


def permit_trace(permit: Permit | None, refuse_late: Callable[[], None]) -> Callable[[str, object], Awaitable[None]]:
    """Return a trace for httpcore that raises `PermitExpired` where the request would leave too late.

    It calls *refuse_late* at the same moments.

    Connecting may have taken long, and the process may have been suspended at any point of it.
    """

    async def trace(event: str, _info: object) -> None:
        if event.endswith(SEND_EVENTS):
            refuse_late()
            if permit is not None:
                require_remaining_seconds(permit)

    return trace


async def wait_while_permitted(waiting: Awaitable[T], permit: Permit) -> T:
    """Return the result of *waiting*, but wait no longer than *permit* holds. Raises `PermitExpired`."""
    wait: asyncio.Future[T] = asyncio.ensure_future(waiting)
    try:
        # Nearly every wait ends at once, and then needs no watch, which costs more than the rest of it.
        await asyncio.sleep(0)
        if not wait.done():
            await _watch(wait, permit)
        return wait.result()
    finally:
        await _end(wait)


async def _watch(wait: asyncio.Future[Any], permit: Permit) -> None:
    end = asyncio.ensure_future(permit.wait_until_ended())
    try:
        await asyncio.wait({wait, end}, return_when=asyncio.FIRST_COMPLETED)
        if not wait.done():
            raise PermitExpired
    finally:
        await _end(end)


async def _end(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
