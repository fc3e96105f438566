"""The limits of requests, and the protocols that they depend on: time, authentication, rate limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httpx

if TYPE_CHECKING:
    from connectors.http.response import ApiResponse

__all__ = [
    "DEFAULT_LIMITS",
    "NO_RATE_LIMITER",
    "REAL_TIME",
    "AuthHeaders",
    "RateLimiter",
    "RequestLimits",
    "RequestSigner",
    "SendLimit",
    "Timer",
]

AuthHeaders = Callable[[bool], Awaitable[Mapping[str, str]]]
"""Returns the authentication headers. True: the last ones were refused (401), so renew them if possible."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of one request and of one list of pages.

    *timeout_seconds* bounds connecting and each silence of the server. *max_wait_seconds* bounds one request with all
    its retries, without the waits of its rate limiter. *max_bytes* bounds a decoded body.
    """

    timeout_seconds: float = 30
    retries: int = 4
    max_wait_seconds: float = 300
    max_bytes: int = 64 * 2**20
    max_pages: int = 20_000


DEFAULT_LIMITS = RequestLimits()


@dataclass(frozen=True, slots=True)
class Timer:
    """The clocks of requests: *now* in monotonic seconds, *wall* in seconds since 1970 for `Retry-After` dates."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    wall: Callable[[], float] = time.time


REAL_TIME = Timer()


class RequestSigner(Protocol):
    """Adds to each attempt at a request what is valid for that attempt alone, such as a proof of possession."""

    def sign(self, method: str, url: httpx.URL, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers to add to one attempt, whose authentication is in *headers*."""
        ...

    def allows_repeat(self, response: ApiResponse) -> bool:
        """Record *response*. Return whether the same request may succeed if it is signed and sent once more."""
        ...

    def refuse(self, response: ApiResponse) -> None:
        """Raise the error of a response that refuses the signature; return for any other."""
        ...


SendLimit = Callable[[], bool]
"""Returns whether an admitted request may still be sent: another process may get its place after that."""


class RateLimiter(Protocol):
    """Keeps to the limit of one host or API family. Called before each request and after each response."""

    async def acquire(self, method: str, url: httpx.URL) -> SendLimit | None:
        """Return when the request may be sent, and until when, if that is limited."""
        ...

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
        """Record a response; *status* is 0 when there was none. Called once for each admitted request."""
        ...


class _NoRateLimiter:
    async def acquire(self, method: str, url: httpx.URL) -> None:
        """Return at once."""

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
        """Do nothing."""


NO_RATE_LIMITER: RateLimiter = _NoRateLimiter()
