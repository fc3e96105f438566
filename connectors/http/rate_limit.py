"""Delay every request to one host with one token for as long as the host demands."""

from __future__ import annotations

import httpx

from connectors.base import IncompleteRead
from connectors.http.headers import is_rate_limit, retry_after_seconds
from connectors.http.limits import Timer

__all__ = ["RetryAfterLimiter"]

UNAVAILABLE = 503
BLOCKED_HINT = (
    "Run again after that, or less often, or raise `http.max_wait_seconds`; other clients with the same credentials "
    "share the same limit."
)


class RetryAfterLimiter:
    """Implements `connectors.http.RateLimiter`: after a 429, 403 or 503 with `Retry-After` no request is sent
    before its time.

    A request that would wait longer than *max_wait_seconds* raises instead.
    """

    def __init__(self, server_name: str, max_wait_seconds: float, timer: Timer) -> None:
        self._name = server_name
        self._max_wait_seconds = max_wait_seconds
        self._timer = timer
        self._blocked_until = float("-inf")

    async def acquire(self, method: str, url: httpx.URL) -> None:  # noqa: ARG002
        """Wait for the end of the pause. Raises `IncompleteRead`."""
        deadline = self._timer.now() + self._max_wait_seconds
        # Checked after each wait: a response in the meantime may have named a later time.
        while (seconds := self._blocked_until - self._timer.now()) > 0:
            if self._blocked_until > deadline:
                raise IncompleteRead(
                    f"{self._name} has used up its rate limit for another {seconds:.0f} seconds.", BLOCKED_HINT
                )
            await self._timer.sleep(seconds)

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:  # noqa: ARG002
        is_refusal = status == UNAVAILABLE or is_rate_limit(status, headers)
        asked = retry_after_seconds(headers, self._timer.wall) if is_refusal else None
        if asked is not None:
            self.block_for(asked)

    def block_for(self, seconds: float) -> None:
        self._blocked_until = max(self._blocked_until, self._timer.now() + seconds)
