"""Count requests in a window that begins with the first of them, as Okta and OneLogin do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Quota", "QuotaState"]


@dataclass(frozen=True, slots=True)
class QuotaState:
    """The state of a quota after a request: *resets_at* is the time at which the window ends, in the quota's clock."""

    limit: int
    remaining: int
    resets_at: float
    is_refused: bool

    def seconds_left(self, now: float) -> int:
        return max(0, math.ceil(self.resets_at - now))


class Quota:
    """*limit* requests in *seconds*; the refused ones are not counted. *limit* may be changed at any time."""

    def __init__(self, limit: int, seconds: float, now: Callable[[], float]) -> None:
        self.limit = limit
        self.seconds = seconds
        self._now = now
        self._window_start = -math.inf
        self._used = 0

    def count_request(self) -> QuotaState:
        """Count one request, or refuse it."""
        now = self._now()
        if now >= self._window_start + self.seconds:
            self._window_start, self._used = now, 0
        refused = self._used >= self.limit
        self._used += not refused
        return self._state(refused)

    def state(self) -> QuotaState:
        """Return the state, without counting."""
        return self._state(refused=False)

    def _state(self, refused: bool) -> QuotaState:
        return QuotaState(self.limit, max(0, self.limit - self._used), self._window_start + self.seconds, refused)
