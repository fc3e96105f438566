"""One request budget for each Pigment host, below its limit and shared by all workspaces on it.

Pigment allows 500 requests in 5 minutes for each IP address. When its window starts is not documented, so the limit
must hold for every window. A request counts from when it is sent until one window after its response, because it may
have reached the host at any moment between the two.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import httpx

from agent.model.request_budget import RequestPurpose, admit, reserved_requests
from agent.scim.pauses import PauseRule
from agent.scim.purpose import purpose_of
from connectors.http import REAL_TIME, RateLimiter, Timer

__all__ = ["HostBudget", "RateLimiters", "SlidingWindow"]


class HostBudget(RateLimiter, Protocol):
    """The budget of one host."""

    def budget_left(self) -> int | None:
        """Return how many requests could be sent now, None if that is not known."""
        ...

    async def close(self) -> None:
        """Give back what is not used. Raises nothing."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    purpose: RequestPurpose
    admitted: asyncio.Future[None]


class SlidingWindow:
    """Admits at most *requests* in any *window_seconds*, bursts allowed.

    Deactivations go first, others in order of arrival. The last twelfth is reserved, by the rules of `admit`.
    """

    def __init__(self, requests: int = 480, window_seconds: float = 300, timer: Timer = REAL_TIME) -> None:
        self._requests = requests
        self._window_seconds = window_seconds
        self._timer = timer
        self._waiting: list[_Waiter] = []
        self._alarm: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._response_times: deque[float] = deque()
        self._pause = PauseRule(window_seconds, timer.now, timer.wall)

    def budget_left(self) -> int:
        """Return how many requests could be sent now."""
        self._drop_expired()
        return max(0, self._requests - len(self._response_times) - self._in_flight)

    async def close(self) -> None:
        """Do nothing: no other process shares it."""

    async def acquire(self, method: str, url: httpx.URL) -> None:  # noqa: ARG002
        """Wait for a place in the window and for the end of a pause that the host requested."""
        waiter = _Waiter(purpose_of(method), asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._admit()
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.admitted.cancelled():
                self._in_flight -= 1
            self._admit()
            raise

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:  # noqa: ARG002
        """Count the request from now on, and pause all requests when the host is rate limiting."""
        self._in_flight -= 1
        self._response_times.append(self._timer.now())
        self._pause.record(status, headers)
        if self._waiting:
            self._admit()

    def _admit(self) -> None:
        """Admit those for whom there is room, and wake up again when there may be more."""
        if self._pause.remaining_seconds() <= 0:
            reserved = reserved_requests(self._requests)
            chosen = [
                self._waiting[at]
                for at in admit([each.purpose for each in self._waiting], self.budget_left(), reserved)
            ]
            for waiter in chosen:
                self._waiting.remove(waiter)
                if not waiter.admitted.done():
                    self._in_flight += 1
                    waiter.admitted.set_result(None)
        if not self._waiting and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        elif self._waiting and self._alarm is None:
            self._alarm = asyncio.create_task(self._wait_and_admit())

    async def _wait_and_admit(self) -> None:
        seconds = self._seconds_until_room()
        if seconds is None:  # all are in flight: a response comes first
            self._alarm = None
            return
        await self._timer.sleep(seconds)
        self._alarm = None
        self._admit()

    def _seconds_until_room(self) -> float | None:
        pause = self._pause.remaining_seconds()
        if pause > 0:
            return pause
        self._drop_expired()
        return self._response_times[0] + self._window_seconds - self._timer.now() if self._response_times else None

    def _drop_expired(self) -> None:
        now = self._timer.now()
        while self._response_times and self._response_times[0] + self._window_seconds <= now:
            self._response_times.popleft()


class RateLimiters:
    """The budgets of one process: one for each host, made by *create*."""

    def __init__(
        self,
        requests: int = 480,
        window_seconds: float = 300,
        timer: Timer = REAL_TIME,
        create: Callable[[str], HostBudget] | None = None,
    ) -> None:
        self._create = create or (lambda _host: SlidingWindow(requests, window_seconds, timer))
        self._by_host: dict[str, HostBudget] = {}

    def for_url(self, url: str) -> HostBudget:
        """Return the budget of the host of *url*."""
        host = httpx.URL(url).host
        if host not in self._by_host:
            self._by_host[host] = self._create(host)
        return self._by_host[host]

    def budget_left(self) -> int | None:
        """Return how many requests the busiest host accepts now, None before that is known of any host."""
        known = [window.budget_left() for window in self._by_host.values()]
        return min((left for left in known if left is not None), default=None)

    async def close(self) -> None:
        """Give back what is not used. Raises nothing."""
        await asyncio.gather(*(window.close() for window in self._by_host.values()))
