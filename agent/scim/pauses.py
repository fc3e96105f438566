"""How long a host that refuses requests by their number wants a pause."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from connectors.http import is_rate_limit, retry_after_seconds

__all__ = ["PauseRule"]

TOO_MANY, UNAVAILABLE = 429, 503
FIRST_PAUSE_SECONDS, PAUSE_GROWTH = 1.0, 4
"""Pauses after a 429 without a time: 1 s, then 4, 16, 64, up to the window. Others may use the same budget."""


class PauseRule:
    """The pause that the responses of one host ask for, never longer than a window.

    A longer pause fails the request itself, which gives up.
    """

    def __init__(self, longest_seconds: float, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self._longest_seconds = longest_seconds
        self._now = now
        self._wall = wall
        self._until = float("-inf")
        self._refusal_count = 0

    def remaining_seconds(self) -> float:
        return self._until - self._now()

    def extend(self, seconds: float) -> None:
        """Pause for at least *seconds* from now."""
        self._until = max(self._until, self._now() + min(seconds, self._longest_seconds))

    def record(self, status: int, headers: httpx.Headers) -> None:
        """Extend the pause as a response asks; *status* is 0 when there was none."""
        is_paused = self.remaining_seconds() > 0
        is_refusal = status == UNAVAILABLE or is_rate_limit(status, headers)
        requested = retry_after_seconds(headers, self._wall) if is_refusal else None
        if requested is not None:
            self.extend(requested)
        elif status == TOO_MANY and not is_paused:
            # Requests that were in flight together are refused together: that counts as one refusal.
            self.extend(FIRST_PAUSE_SECONDS * PAUSE_GROWTH ** min(self._refusal_count, 9))
            self._refusal_count += 1
        elif status not in {0, TOO_MANY} and not is_paused:
            self._refusal_count = 0
