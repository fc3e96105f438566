"""Pigment's rate limit: a number of requests per window and client, then 429 until the window resets."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["RateLimit", "RateLimiter"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """*requests* per *seconds* for each client address, over all workspaces; None: no limit.

    *window* `fixed` begins with a client's first request and starts again when it is over; `sliding` counts the last
    *seconds* at each request. *retry_after* adds `Retry-After` to the 429, which Pigment does not promise.
    """

    requests: int | None = 500
    seconds: float = 300.0
    window: Literal["fixed", "sliding"] = "fixed"
    retry_after: bool = False


class RateLimiter:
    """Count the requests of each client. Refused requests do not count."""

    def __init__(self, limit: RateLimit, now: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._now = now
        self._request_times: dict[str, deque[float]] = {}

    def acquire(self, client: str) -> float:
        """Return 0 when the request is allowed, else the seconds until one would be."""
        if self.limit.requests is None:
            return 0.0
        now = self._now()
        seen = self._request_times.setdefault(client, deque())
        self._drop_expired(seen, now)
        if len(seen) < self.limit.requests:
            seen.append(now)
            return 0.0
        return max(seen[0] + self.limit.seconds - now, 0.001)

    def retry_headers(self, wait: float) -> dict[str, str]:
        return {"Retry-After": str(math.ceil(wait))} if self.limit.retry_after else {}

    def _drop_expired(self, seen: deque[float], now: float) -> None:
        begin = now - self.limit.seconds
        if self.limit.window == "sliding":
            while seen and seen[0] <= begin:
                seen.popleft()
        elif seen and seen[0] <= begin:
            seen.clear()
