"""What a request may cost, and whom it asks before it is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import httpx

__all__ = ["DEFAULT_LIMITS", "NO_RATE_LIMITER", "REAL_TIME", "AuthHeaders", "RateLimiter", "RequestLimits", "Timer"]

AuthHeaders = Callable[[bool], Awaitable[Mapping[str, str]]]
"""Returns the headers that say who we are. True: the last ones were refused (401); make fresh ones if there are any."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Ceilings of one request and of one walk over pages.

    *timeout_seconds* is for connecting and for each silence of the server, *max_wait_seconds* for one request with all
    its retries, what its pace made it wait aside. *max_bytes* is of a decoded body.
    """

    timeout_seconds: float = 30
    retries: int = 4
    max_wait_seconds: float = 300
    max_bytes: int = 64 * 2**20
    max_pages: int = 20_000


DEFAULT_LIMITS = RequestLimits()


@dataclass(frozen=True, slots=True)
class Timer:
    """The time that requests know: *now* in monotonic seconds, *wall* in seconds since 1970 for `Retry-After` dates."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    wall: Callable[[], float] = time.time


REAL_TIME = Timer()


class RateLimiter(Protocol):
    """Keeps to the limit of one host or API family. Asked before each request, told of each answer."""

    async def acquire(self, method: str, url: httpx.URL) -> None:
        """Return when the request may be sent."""
        ...

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
        """Take note of an answer; *status* 0 when none came. Called once for each request that was admitted."""
        ...


class _NoRateLimiter:
    async def acquire(self, method: str, url: httpx.URL) -> None:
        """Let everything through."""

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
        """Learn nothing."""


NO_RATE_LIMITER: RateLimiter = _NoRateLimiter()
