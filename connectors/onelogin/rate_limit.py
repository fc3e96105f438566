"""Keep to the account's rate limit, ahead of it.

Every response has `X-RateLimit-Limit`, `-Remaining` and `-Reset`, which is seconds from now, unlike Okta's.
"""

from __future__ import annotations

import httpx

from connectors.http import ApiResponse, RetryAfterLimiter, Timer, header_numbers, retry_after_seconds

__all__ = ["OneLoginRateLimiter", "reset_delay"]

RESERVED_REQUESTS = 8
"""Requests that may be in flight when the last of the limit is announced."""

MAX_RESET_SECONDS = 3600
TOO_MANY = 429


class OneLoginRateLimiter:
    """A `connectors.http.RateLimiter` for one account.

    A request that would wait longer than *max_wait_seconds* raises instead. A reset of more than an hour is ignored:
    the retry policy, or `Retry-After`, decides.
    """

    def __init__(self, server_name: str, max_wait_seconds: float, timer: Timer) -> None:
        self._timer = timer
        self._retry_after = RetryAfterLimiter(server_name, max_wait_seconds, timer)

    async def acquire(self, method: str, url: httpx.URL) -> None:
        """Wait for the limit to be renewed once it is nearly used up. Raises `IncompleteRead`."""
        await self._retry_after.acquire(method, url)

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
        remaining, reset = header_numbers(headers, "X-RateLimit-Remaining"), _reset_seconds(headers)
        is_spent = status == TOO_MANY or (remaining and remaining[0] < RESERVED_REQUESTS)
        if is_spent and reset is not None:
            self._retry_after.block_for(reset)
        else:
            self._retry_after.on_response(url, status, headers)

    def retry_delay(self, response: ApiResponse) -> float | None:
        return reset_delay(response, self._timer)


def reset_delay(response: ApiResponse, timer: Timer) -> float | None:
    """Return the seconds until the reset that a refusal names, else the delay of `Retry-After`, else None."""
    reset = _reset_seconds(response.headers) if response.status == TOO_MANY else None
    return retry_after_seconds(response.headers, timer.wall) if reset is None else reset


def _reset_seconds(headers: httpx.Headers) -> int | None:
    """Return the reset; of two different ones the later."""
    found = header_numbers(headers, "X-RateLimit-Reset")
    return found[-1] if found and 0 < found[-1] <= MAX_RESET_SECONDS else None
