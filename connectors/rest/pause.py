"""Hold back every request to one host with one token while the host asks for none."""

from __future__ import annotations

import httpx

from connectors.base import IncompleteRead
from connectors.rest.bounds import Timer
from connectors.rest.header import is_rate_limit, retry_after_seconds

__all__ = ["Pause"]

UNAVAILABLE = 503
HINT = (
    "Run again after that, or less often, or raise `http.max_wait_seconds`; other clients with the same credentials "
    "share the same limit."
)


class Pause:
    """Implements `connectors.rest.Pace`: after a 429, 403 or 503 with `Retry-After` nothing is asked before its time.

    A request that would have to wait longer than *max_wait_seconds* ends in an error instead.
    """

    def __init__(self, who: str, max_wait_seconds: float, timer: Timer) -> None:
        self._who = who
        self._max_wait_seconds = max_wait_seconds
        self._timer = timer
        self._until = float("-inf")

    async def admit(self, method: str, url: httpx.URL) -> None:  # noqa: ARG002
        """Wait for the end of the pause. Raises `IncompleteRead`."""
        deadline = self._timer.now() + self._max_wait_seconds
        # Again after each wait: an answer that came meanwhile may have named a later time.
        while (seconds := self._until - self._timer.now()) > 0:
            if self._until > deadline:
                raise IncompleteRead(f"{self._who} has used up its rate limit for another {seconds:.0f} seconds.", HINT)
            await self._timer.sleep(seconds)

    def learned(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:  # noqa: ARG002
        is_refusal = status == UNAVAILABLE or is_rate_limit(status, headers)
        asked = retry_after_seconds(headers, self._timer.wall) if is_refusal else None
        if asked is not None:
            self.hold(asked)

    def hold(self, seconds: float) -> None:
        self._until = max(self._until, self._timer.now() + seconds)
