"""Hold a workspace's lease for as long as its run lasts, and know until when it may write.

The state judges a lease by its own clock, and fences what is written to it. Nothing fences a request to the workspace.
For that the holder keeps a deadline, by a clock that counts on while the process or the machine is suspended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from agent.errors import LeaseLost, StateError, WorkspaceBusy, lease_lost_error
from agent.model.run import Lease
from agent.ports.clock import Clock
from agent.ports.leases import Leases

__all__ = ["DEADLINE_SECONDS", "RENEW_SECONDS", "HeldLease", "acquire_lease"]

# A lease is void 15 s after its last renewal (design section 3): two renewals may fail before it is lost.
RENEW_SECONDS = 5.0
RETRY_SECONDS = 1.0
# Less than the 15 s: a margin between the last check of the clock and the moment when the server has the request.
DEADLINE_SECONDS = 13.0
POLL_SECONDS = 0.5
Sleep = Callable[[float], Awaitable[None]]
log = structlog.get_logger()


@dataclass(slots=True)
class HeldLease:
    """A lease that is ours until *deadline* (of `Clock.elapsed`), which each proven renewal moves.

    Implements `connectors.base.Permit`: no request that writes leaves after the deadline.
    """

    lease: Lease
    state: Leases
    clock: Clock
    sleep: Sleep
    deadline: float

    def remaining_seconds(self) -> float:
        return self.deadline - self.clock.elapsed()

    async def wait_until_ended(self) -> None:
        while (left := self.remaining_seconds()) > 0:
            await self.sleep(left)

    async def renew(self) -> None:
        """Renew once. Raises `LeaseLost` or `StateError`; then the deadline stays where it was."""
        # Taken before: the state counts its 15 s from some moment after this one.
        asked_at = self.clock.elapsed()
        await self.state.renew_lease(self.lease)
        self.deadline = max(self.deadline, asked_at + DEADLINE_SECONDS)

    async def ensure_lease(self) -> None:
        """Renew where the next renewal is overdue. Raises `LeaseLost` when the lease ran out and could not be renewed.

        A long transaction keeps renewals waiting, and is one itself at its end, which the deadline does not know.
        """
        if self.remaining_seconds() > DEADLINE_SECONDS - RENEW_SECONDS - RETRY_SECONDS:
            return
        await self._try_renew()
        if self.remaining_seconds() <= 0:
            raise lease_lost_error(self.lease.workspace)

    async def keep_renewing(self) -> None:
        """Renew every 5 s; a renewal that failed is tried again each second. Ends when another has the lease."""
        with suppress(LeaseLost):
            while True:
                await self.sleep(RENEW_SECONDS)
                while not await self._try_renew():
                    await self.sleep(RETRY_SECONDS)

    async def _try_renew(self) -> bool:
        try:
            await self.renew()
        except StateError as error:
            left = max(0.0, self.remaining_seconds())
            log.warning(
                "lease.not_renewed", workspace=self.lease.workspace, error=error.message, seconds_left=round(left, 1)
            )
            return False
        return True


async def _take_lease(
    state: Leases, clock: Clock, sleep: Sleep, workspace: tuple[str, str], holder: str, wait_seconds: float
) -> HeldLease:
    name, target = workspace
    until = clock.now().timestamp() + wait_seconds
    while True:
        asked_at = clock.elapsed()
        try:
            lease = await state.take_lease(name, holder, target)
            return HeldLease(lease, state, clock, sleep, asked_at + DEADLINE_SECONDS)
        except WorkspaceBusy:
            if clock.now().timestamp() >= until:
                raise
        await sleep(POLL_SECONDS)


@asynccontextmanager
async def acquire_lease(
    state: Leases, clock: Clock, sleep: Sleep, workspace: tuple[str, str], holder: str, wait_seconds: float = 0
) -> AsyncIterator[HeldLease]:
    """Take the lease of *workspace* (its key and its fingerprint), renew it, and release it at the end.

    Another run's is waited for up to *wait_seconds*.

    Raises `WorkspaceBusy` when it can't be had. When it is lost, the state refuses whatever is written under it.
    """
    ours = await _take_lease(state, clock, sleep, workspace, holder, wait_seconds)
    renewal = asyncio.create_task(ours.keep_renewing())
    try:
        yield ours
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal
        await asyncio.shield(_release_lease(ours))


async def _release_lease(ours: HeldLease) -> None:
    try:
        await ours.state.release_lease(ours.lease)
    except StateError as error:
        # What the run did is worth more than this: the lease becomes void by itself.
        log.warning("lease.not_released", workspace=ours.lease.workspace, error=error.message)
