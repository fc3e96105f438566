"""Count requests in a window that begins with the first of them, as Okta and OneLogin do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Quota", "Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a quota says after a request: *resets* is the time at which the window ends, in the quota's clock."""

    limit: int
    remaining: int
    resets: float
    refused: bool

    def seconds_left(self, now: float) -> int:
        return max(0, math.ceil(self.resets - now))


class Quota:
    """*limit* requests in *seconds*; the refused ones are not counted. *limit* may be changed at any time."""

    def __init__(self, limit: int, seconds: float, now: Callable[[], float]) -> None:
        self.limit = limit
        self.seconds = seconds
        self._now = now
        self._began = -math.inf
        self._used = 0

    def take(self) -> Reading:
        """Count one request, or refuse it."""
        now = self._now()
        if now >= self._began + self.seconds:
            self._began, self._used = now, 0
        refused = self._used >= self.limit
        self._used += not refused
        return self._reading(refused)

    def reading(self) -> Reading:
        """Return how things stand, without counting."""
        return self._reading(refused=False)

    def _reading(self, refused: bool) -> Reading:
        return Reading(self.limit, max(0, self.limit - self._used), self._began + self.seconds, refused)
