"""Hold a workspace's lease while its run lasts, and track until when the run may write.

The state checks a lease by its own clock and fences writes to itself. Nothing fences a request to the workspace, so the
holder keeps a deadline by a clock that continues while the process or the machine is suspended.
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
TAKE_RETRY_SECONDS = 12.0
"""How long a lease is asked for again while the state fails for a moment."""
LOST_ANSWER_SECONDS = 16.0
"""How long to wait for a lease that was taken while the answer was lost: no one renews it, so it is void after 15 s."""
Sleep = Callable[[float], Awaitable[None]]
log = structlog.get_logger()


@dataclass(slots=True)
class HeldLease:
    """A lease that this process holds until *deadline* (by `Clock.elapsed`). Each successful renewal extends it.

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
        requested_at = self.clock.elapsed()
        await self.state.renew_lease(self.lease)
        self.deadline = max(self.deadline, requested_at + DEADLINE_SECONDS)

    async def ensure_lease(self) -> None:
        """Renew if a renewal is overdue. Raises `LeaseLost` if the lease ran out and could not be renewed.

        A long transaction keeps renewals waiting, and is one itself at its end, which the deadline does not know.
        """
        if self.remaining_seconds() > DEADLINE_SECONDS - RENEW_SECONDS - RETRY_SECONDS:
            return
        await self._try_renew()
        if self.remaining_seconds() <= 0:
            raise lease_lost_error(self.lease.workspace)

    async def keep_renewing(self) -> None:
        """Renew every 5 s; retry a failed renewal each second. Return when another holder has the lease."""
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
    began_at = clock.elapsed()
    until = began_at + wait_seconds
    retry_until = began_at + max(wait_seconds, TAKE_RETRY_SECONDS)
    while True:
        requested_at = clock.elapsed()
        try:
            lease = await state.take_lease(name, holder, target)
            return HeldLease(lease, state, clock, sleep, requested_at + DEADLINE_SECONDS)
        except WorkspaceBusy:
            if clock.elapsed() >= until:
                raise
            await sleep(POLL_SECONDS)
        except StateError as error:
            if not error.is_transient or clock.elapsed() >= retry_until:
                raise
            log.warning("lease.not_taken", workspace=name, error=error.message)
            # This attempt may have taken the lease nevertheless, under a fence number that this process does not know.
            until = max(until, clock.elapsed() + LOST_ANSWER_SECONDS)
            await sleep(RETRY_SECONDS)


@asynccontextmanager
async def acquire_lease(
    state: Leases, clock: Clock, sleep: Sleep, workspace: tuple[str, str], holder: str, wait_seconds: float = 0
) -> AsyncIterator[HeldLease]:
    """Take the lease of *workspace* (its key and its fingerprint), renew it, and release it at the end.

    Wait up to *wait_seconds* for another run to release it, then raise `WorkspaceBusy`. While the state fails for a
    moment, ask it again, for some seconds at least. The state refuses every write under a lost lease.
    """
    held_lease = await _take_lease(state, clock, sleep, workspace, holder, wait_seconds)
    renewal = asyncio.create_task(held_lease.keep_renewing())
    try:
        yield held_lease
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal
        await asyncio.shield(_release_lease(held_lease))


async def _release_lease(held_lease: HeldLease) -> None:
    try:
        await held_lease.state.release_lease(held_lease.lease)
    except StateError as error:
        # The run's result matters more, and the lease expires by itself.
        log.warning("lease.not_released", workspace=held_lease.lease.workspace, error=error.message)
