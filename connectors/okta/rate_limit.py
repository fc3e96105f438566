"""Stay below Okta's rate limits, and leave a share of every bucket to the customer's other clients.

Okta counts requests in buckets, each with a limit for a minute that Okta starts. Every response has
`X-Rate-Limit-Limit`, `-Remaining` and `-Reset` (UTC seconds by Okta's clock, so they are compared with its `Date`).
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from connectors.base import IncompleteRead
from connectors.http import ApiResponse, RetryAfterLimiter, Timer, header_numbers, retry_after_seconds, server_time

__all__ = ["OktaRateLimiter", "bucket_for_path", "reset_delay"]

TOO_MANY = 429
MARGIN_SECONDS = 1
"""Added to every wait, because Okta rounds the reset down to whole seconds."""

WINDOW_SECONDS = 60
HEADER_SUFFIXES = ("limit", "remaining", "reset")

BUCKETS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"/api/v1/apps/[^/]+", "app"),
        (r"/api/v1/apps(/.*)?", "apps"),
        (r"/api/v1/groups", "groups"),
        (r"/api/v1/groups/[^/]+", "group"),
        (r"/api/v1/users", "users"),
        (r"/api/v1/users/.*", "user"),
        (r"/api/v1/logs", "logs"),
    )
)


def bucket_for_path(path: str) -> str:
    """Return the bucket that Okta counts a path in, by its last published table."""
    return next((name for pattern, name in BUCKETS if pattern.fullmatch(path)), "other")


@dataclass(frozen=True, slots=True)
class _RateLimit:
    """The limit in one response. *reset_epoch* is in seconds since 1970, by Okta's clock."""

    limit: int
    remaining: int
    reset_epoch: int


@dataclass(slots=True)
class _Window:
    """The remaining requests of one bucket, unlimited until a response names a limit.

    *in_flight* requests were admitted and have no response yet.
    """

    limit: int = 0
    remaining: int = sys.maxsize
    reset_epoch: int = 0
    resets_at: float = math.inf
    in_flight: int = 0

    def renew(self, now: float) -> None:
        """Start the next window. Its first response will name its end."""
        self.remaining, self.resets_at = self.limit, now + WINDOW_SECONDS

    def update(self, limit: int, remaining: int, reset_epoch: int, resets_at: float) -> None:
        """Record the limit of a response, unless it belongs to a window that is over."""
        if reset_epoch < self.reset_epoch:
            return
        self.remaining = remaining if reset_epoch > self.reset_epoch else min(self.remaining, remaining)
        self.limit, self.reset_epoch, self.resets_at = limit, reset_epoch, resets_at


class OktaRateLimiter:
    """A `connectors.http.RateLimiter` for one Okta org and one token.

    *share* (0 to below 1) of each limit is left to others: when no more than that remains, requests wait for the reset.
    A refusal (429) is never retried before the reset; one for concurrency (limit and remaining 0) has no reliable
    reset, so the retry policy decides.
    """

    def __init__(
        self, share: float, max_wait_seconds: float, timer: Timer, wall: Callable[[], float], server_name: str = "Okta"
    ) -> None:
        self._name = server_name
        self._share = share
        self._max_wait_seconds = max_wait_seconds
        self._timer = timer
        self._wall = wall
        self._windows: dict[str, _Window] = {}
        # A proxy in front of Okta may refuse too, without Okta's headers.
        self._retry_after = RetryAfterLimiter(server_name, max_wait_seconds, timer)

    async def acquire(self, method: str, url: httpx.URL) -> None:
        """Wait until the bucket has more left than the others' share."""
        await self._retry_after.acquire(method, url)
        window = self._window(url)
        deadline = self._timer.now() + self._max_wait_seconds
        while not self._has_room(window):
            if window.resets_at > deadline:
                raise IncompleteRead(
                    f"The rate limit of {self._name}, {window.limit} requests a minute, leaves no room for "
                    f"{bucket_for_path(url.path)} requests within {self._max_wait_seconds:g} s.",
                    "Run again later, give this token's application a larger share in Okta (Reports > Rate Limits), "
                    "or lower `rate_limit_share` of the connector or raise `http.max_wait_seconds`.",
                )
            await self._timer.sleep(window.resets_at - self._timer.now())
        window.in_flight += 1

    def _has_room(self, window: _Window) -> bool:
        if self._timer.now() >= window.resets_at:
            window.renew(self._timer.now())
        return window.remaining - window.in_flight > window.limit * self._share

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
        window = self._window(url)
        window.in_flight = max(0, window.in_flight - 1)
        found = _limit_from_headers(headers)
        if found is None:
            self._retry_after.on_response(url, status, headers)
            return
        remaining = 0 if status == TOO_MANY else found.remaining
        resets_at = self._timer.now() + _reset_seconds(found, headers, self._wall)
        window.update(found.limit, remaining, found.reset_epoch, resets_at)

    def retry_delay(self, response: ApiResponse) -> float | None:
        return reset_delay(response, self._wall)

    def _window(self, url: httpx.URL) -> _Window:
        return self._windows.setdefault(bucket_for_path(url.path), _Window())


def reset_delay(response: ApiResponse, wall: Callable[[], float]) -> float | None:
    """Return the seconds until the reset in a response, else the delay of `Retry-After`, else None."""
    found = _limit_from_headers(response.headers)
    if found is None or response.status != TOO_MANY:
        return retry_after_seconds(response.headers, wall)
    return _reset_seconds(found, response.headers, wall)


def _reset_seconds(limit: _RateLimit, headers: httpx.Headers, wall: Callable[[], float]) -> float:
    now = server_time(headers)
    return max(0.0, limit.reset_epoch - (wall() if now is None else now)) + MARGIN_SECONDS


def _limit_from_headers(headers: httpx.Headers) -> _RateLimit | None:
    """Return the limit in a response, None where it has no reliable one.

    Of a header with two different values the stricter one counts.
    """
    limits, remainings, resets = (header_numbers(headers, f"x-rate-limit-{word}") for word in HEADER_SUFFIXES)
    # A limit of 0 is a refusal by the concurrency limit: its reset is a guess.
    if not limits or not limits[-1] or not remainings or not resets:
        return None
    return _RateLimit(limits[-1], remainings[0], resets[-1])
