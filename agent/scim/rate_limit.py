"""One request budget for each Pigment host, below its limit and shared by all workspaces on it.

Pigment allows 500 requests in 5 minutes for each IP address. When its window starts is not documented, so the limit
must hold for every window. A request counts from when it is sent until one window after its response, because it may
have reached the host at any moment between the two.
"""

from __future__ import annotations

import asyncio
from collections import deque

import httpx

from connectors.http import REAL_TIME, Timer, is_rate_limit, retry_after_seconds

__all__ = ["RateLimiters", "SlidingWindow"]

TOO_MANY, UNAVAILABLE = 429, 503
FIRST_PAUSE_SECONDS, PAUSE_GROWTH = 1.0, 4
"""Pauses after a 429 without a time: 1 s, then 4, 16, 64, up to the window. Others may use the same budget."""


class SlidingWindow:
    """Admits at most *requests* in any *window_seconds*, in order of arrival, bursts allowed."""

    def __init__(self, requests: int = 480, window_seconds: float = 300, timer: Timer = REAL_TIME) -> None:
        self._requests = requests
        self._window_seconds = window_seconds
        self._timer = timer
        self._queue_lock = asyncio.Lock()
        self._response_received = asyncio.Event()
        self._in_flight = 0
        self._response_times: deque[float] = deque()
        self._paused_until = float("-inf")
        self._refusal_count = 0

    def budget_left(self) -> int:
        """Return how many requests could be sent now."""
        self._drop_expired()
        return max(0, self._requests - len(self._response_times) - self._in_flight)

    async def acquire(self, method: str, url: httpx.URL) -> None:  # noqa: ARG002
        """Wait for a place in the window and for the end of a pause that the host requested."""
        async with self._queue_lock:  # an asyncio lock serves waiters in order
            while True:
                pause = self._paused_until - self._timer.now()
                if pause > 0:
                    await self._timer.sleep(pause)
                elif self.budget_left():
                    break
                elif self._response_times:
                    await self._timer.sleep(self._response_times[0] + self._window_seconds - self._timer.now())
                else:
                    self._response_received.clear()
                    await self._response_received.wait()
            self._in_flight += 1

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:  # noqa: ARG002
        """Count the request from now on, and pause all requests when the host is rate limiting."""
        now = self._timer.now()
        self._in_flight -= 1
        self._response_times.append(now)
        self._response_received.set()
        is_refusal = status == UNAVAILABLE or is_rate_limit(status, headers)
        pause_seconds = retry_after_seconds(headers, self._timer.wall) if is_refusal else None
        if pause_seconds is not None:
            self._extend_pause(now, pause_seconds)
        elif status == TOO_MANY and now >= self._paused_until:
            # Requests that were in flight together are refused together: that counts as one refusal.
            self._extend_pause(now, FIRST_PAUSE_SECONDS * PAUSE_GROWTH ** min(self._refusal_count, 9))
            self._refusal_count += 1
        elif status not in {0, TOO_MANY} and now >= self._paused_until:
            self._refusal_count = 0

    def _extend_pause(self, now: float, seconds: float) -> None:
        # Never longer than a window. A longer pause fails the request itself, which gives up.
        self._paused_until = max(self._paused_until, now + min(seconds, self._window_seconds))

    def _drop_expired(self) -> None:
        now = self._timer.now()
        while self._response_times and self._response_times[0] + self._window_seconds <= now:
            self._response_times.popleft()


class RateLimiters:
    """The budgets of one process: one `SlidingWindow` for each host."""

    def __init__(self, requests: int = 480, window_seconds: float = 300, timer: Timer = REAL_TIME) -> None:
        self._requests = requests
        self._window_seconds = window_seconds
        self._timer = timer
        self._by_host: dict[str, SlidingWindow] = {}

    def for_url(self, url: str) -> SlidingWindow:
        """Return the budget of the host of *url*."""
        host = httpx.URL(url).host
        if host not in self._by_host:
            self._by_host[host] = SlidingWindow(self._requests, self._window_seconds, self._timer)
        return self._by_host[host]

    def budget_left(self) -> int | None:
        """Return how many requests the busiest host accepts now, None before the first host is known."""
        return min((window.budget_left() for window in self._by_host.values()), default=None)
