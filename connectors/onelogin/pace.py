"""Keep to the account's rate limit, ahead of it.

Every answer tells `X-RateLimit-Limit`, `-Remaining` and `-Reset`, which is seconds from now, unlike Okta's.
"""

from __future__ import annotations

import httpx

from connectors.rest import Answer, Pause, Timer, header_numbers, retry_after_seconds

__all__ = ["OneLoginPace", "reset_promise"]

RESERVE = 8
"""So many requests may be under way when the last of the limit is announced."""

LONGEST_SECONDS = 3600
TOO_MANY = 429


class OneLoginPace:
    """A `connectors.rest.Pace` for one account.

    Whoever would have to wait longer than *max_wait_seconds* is told so instead. A reset of more than an hour is not
    believed: the reader's own growing waits, or `Retry-After`, take its place.
    """

    def __init__(self, who: str, max_wait_seconds: float, timer: Timer) -> None:
        self._timer = timer
        self._pause = Pause(who, max_wait_seconds, timer)

    async def admit(self, method: str, url: httpx.URL) -> None:
        """Wait for the limit to be renewed once it is nearly used up. Raises `IncompleteRead`."""
        await self._pause.admit(method, url)

    def learned(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
        remaining, reset = header_numbers(headers, "X-RateLimit-Remaining"), _reset_seconds(headers)
        is_spent = status == TOO_MANY or (remaining and remaining[0] < RESERVE)
        if is_spent and reset is not None:
            self._pause.hold(reset)
        else:
            self._pause.learned(url, status, headers)

    def promise(self, answer: Answer) -> float | None:
        return reset_promise(answer, self._timer)


def reset_promise(answer: Answer, timer: Timer) -> float | None:
    """Return the seconds until the reset that a refusal names, else what `Retry-After` asks for, else None."""
    reset = _reset_seconds(answer.headers) if answer.status == TOO_MANY else None
    return retry_after_seconds(answer.headers, timer.wall) if reset is None else reset


def _reset_seconds(headers: httpx.Headers) -> int | None:
    """Return the reset; of two different ones the later."""
    found = header_numbers(headers, "X-RateLimit-Reset")
    return found[-1] if found and 0 < found[-1] <= LONGEST_SECONDS else None
