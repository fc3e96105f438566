"""Keep to the account's rate limit, ahead of it.

Every answer tells `X-RateLimit-Limit`, `-Remaining` and `-Reset`, which is seconds from now, unlike Okta's.
"""

from __future__ import annotations

import httpx

from connectors.base import IncompleteRead
from connectors.rest import Timer

__all__ = ["OneLoginPace"]

RESERVE = 8
"""So many requests may be under way when the last of the limit is announced."""

LONGEST_SECONDS = 3600
LONGEST_NUMBER = 15
TOO_MANY = 429


class OneLoginPace:
    """A `connectors.rest.Pace` for one account.

    Whoever would have to wait longer than *max_wait_seconds* is told so instead. A reset of more than an hour is not
    believed: the reader's own growing waits, or `Retry-After`, take its place.
    """

    def __init__(self, who: str, max_wait_seconds: float, timer: Timer) -> None:
        self._who = who
        self._max_wait_seconds = max_wait_seconds
        self._timer = timer
        self._paused_until = float("-inf")

    async def admit(self, method: str, url: httpx.URL) -> None:  # noqa: ARG002
        """Wait for the limit to be renewed once it is nearly used up."""
        deadline = self._timer.now() + self._max_wait_seconds
        # Again after each wait: an answer that came meanwhile may have told of a later reset.
        while (seconds := self._paused_until - self._timer.now()) > 0:
            if self._paused_until > deadline:
                raise IncompleteRead(
                    f"{self._who} has used up its rate limit for another {seconds:.0f} seconds.",
                    "Run again after that, or less often, or raise `http.max_wait_seconds`; other clients of the "
                    "account spend the same limit.",
                )
            await self._timer.sleep(seconds)

    def learned(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:  # noqa: ARG002
        remaining, reset = _number(headers, "X-RateLimit-Remaining"), _number(headers, "X-RateLimit-Reset")
        is_spent = status == TOO_MANY or (remaining is not None and remaining < RESERVE)
        if is_spent and reset is not None and 0 < reset <= LONGEST_SECONDS:
            self._paused_until = max(self._paused_until, self._timer.now() + reset)


def _number(headers: httpx.Headers, name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None
