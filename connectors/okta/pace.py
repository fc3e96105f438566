"""Keep to Okta's rate limits ahead of them, and leave a share of every bucket to the customer's other clients.

Okta counts requests in buckets, each with a limit for a minute that starts when Okta says. Every answer tells
`X-Rate-Limit-Limit`, `-Remaining` and `-Reset` (UTC seconds, by Okta's own clock: hence its `Date` beside it).
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

from connectors.base import IncompleteRead
from connectors.rest import Timer

__all__ = ["OktaPace", "bucket"]

TOO_MANY = 429
MARGIN_SECONDS = 1
"""Added to every wait, because Okta rounds the reset down to whole seconds."""

WINDOW_SECONDS = 60
LONGEST_NUMBER = 15

BUCKETS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"/api/v1/apps/[^/]+", "app"),
        (r"/api/v1/apps(/.*)?", "apps"),
        (r"/api/v1/groups", "groups"),
        (r"/api/v1/groups/[^/]+", "group"),
        (r"/api/v1/users", "users"),
        (r"/api/v1/users/.*", "user"),
    )
)


def bucket(path: str) -> str:
    """Return the bucket that Okta counts a path in, by its last published table."""
    return next((name for pattern, name in BUCKETS if pattern.fullmatch(path)), "other")


@dataclass(slots=True)
class _Window:
    """What one bucket has left; without limit until an answer tells one.

    *unanswered* requests were admitted, and no answer has told of them yet.
    """

    limit: int = 0
    remaining: int = sys.maxsize
    reset_epoch: int = 0
    resets_at: float = math.inf
    unanswered: int = 0

    def renew(self, now: float) -> None:
        """Start the next window, of which nothing is known to be used; its first answer will tell its end."""
        self.remaining, self.resets_at = self.limit, now + WINDOW_SECONDS

    def tell(self, limit: int, remaining: int, reset_epoch: int, resets_at: float) -> None:
        """Take in what an answer said, unless it came late and speaks of a window that is over."""
        if reset_epoch < self.reset_epoch:
            return
        self.remaining = remaining if reset_epoch > self.reset_epoch else min(self.remaining, remaining)
        self.limit, self.reset_epoch, self.resets_at = limit, reset_epoch, resets_at


class OktaPace:
    """A `connectors.rest.Pace` for one Okta org and one token.

    *share* (0 to below 1) of each limit is left to others: when no more than that remains, requests wait for the reset.
    A refusal (429) is never retried before the reset; one for concurrency (limit and remaining 0) tells no reset that
    can be relied on, and is left to the reader's own growing waits.
    """

    def __init__(self, share: float, max_wait_seconds: float, timer: Timer, wall: Callable[[], float]) -> None:
        self._share = share
        self._max_wait_seconds = max_wait_seconds
        self._timer = timer
        self._wall = wall
        self._windows: dict[str, _Window] = {}

    async def admit(self, method: str, url: httpx.URL) -> None:  # noqa: ARG002
        """Wait until the bucket has more left than the others' share."""
        window = self._window(url)
        deadline = self._timer.now() + self._max_wait_seconds
        while not self._has_room(window):
            if window.resets_at > deadline:
                raise IncompleteRead(
                    f"Okta's rate limit of {window.limit} requests a minute leaves no room for {bucket(url.path)} "
                    f"requests within {self._max_wait_seconds:g} s.",
                    "Run again later, give this token's application a larger share in Okta (Reports > Rate Limits), "
                    "or lower `rate_limit_share` of the connector or raise `http.max_wait_seconds`.",
                )
            await self._timer.sleep(window.resets_at - self._timer.now())
        window.unanswered += 1

    def _has_room(self, window: _Window) -> bool:
        if self._timer.now() >= window.resets_at:
            window.renew(self._timer.now())
        return window.remaining - window.unanswered > window.limit * self._share

    def learned(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
        window = self._window(url)
        window.unanswered = max(0, window.unanswered - 1)
        limit, remaining, reset = (_number(headers, f"x-rate-limit-{word}") for word in ("limit", "remaining", "reset"))
        # A limit of 0 is the concurrency limit's way to refuse: its reset is a guess.
        if not limit or remaining is None or reset is None:
            return
        if status == TOO_MANY:
            remaining = 0
        resets_at = self._timer.now() + max(0, reset - self._server_time(headers)) + MARGIN_SECONDS
        window.tell(limit, remaining, reset, resets_at)

    def _window(self, url: httpx.URL) -> _Window:
        return self._windows.setdefault(bucket(url.path), _Window())

    def _server_time(self, headers: httpx.Headers) -> float:
        try:
            return parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            return self._wall()


def _number(headers: httpx.Headers, name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None
