"""Hold a workspace's lease for as long as its run lasts, and stop the run when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from agent.errors import Busy, LeaseLost
from agent.ports import Clock, Lease, State

__all__ = ["RENEW_SECONDS", "held"]

# A lease is void 15 s after its last renewal (design section 3): two renewals may fail before it is lost.
RENEW_SECONDS = 5.0
POLL_SECONDS = 0.5
Sleep = Callable[[float], Awaitable[None]]


async def _taken(
    state: State, clock: Clock, sleep: Sleep, workspace: tuple[str, str], holder: str, wait_seconds: float
) -> Lease:
    name, target = workspace
    until = clock.now().timestamp() + wait_seconds
    while True:
        try:
            return await state.take_lease(name, holder, target)
        except Busy:
            if clock.now().timestamp() >= until:
                raise
        await sleep(POLL_SECONDS)


@asynccontextmanager
async def held(
    state: State, clock: Clock, sleep: Sleep, workspace: tuple[str, str], holder: str, wait_seconds: float = 0
) -> AsyncIterator[Lease]:
    """Take the lease of *workspace* (its key and its fingerprint), renew it, and release it at the end.

    Another run's is waited for up to *wait_seconds*.

    Raises `Busy` when it can't be had. When it is lost, the state refuses whatever is written under it.
    """
    lease = await _taken(state, clock, sleep, workspace, holder, wait_seconds)
    renewal = asyncio.create_task(_renewed(state, sleep, lease))
    try:
        yield lease
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal
        with suppress(LeaseLost):
            await asyncio.shield(state.release_lease(lease))


async def _renewed(state: State, sleep: Sleep, lease: Lease) -> None:
    with suppress(LeaseLost):
        while True:
            await sleep(RENEW_SECONDS)
            await state.renew_lease(lease)
