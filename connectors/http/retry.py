"""Decide whether and when to retry a request: bounded in number and time, jittered, and as the server asks."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from connectors.base import Permit
from connectors.http.attempts import number_attempts
from connectors.http.headers import is_rate_limit, retry_after_seconds
from connectors.http.limits import RequestLimits, Timer
from connectors.http.permit import wait_while_permitted
from connectors.http.response import ApiResponse
from connectors.http.send import NoResponse, RequestNotSent, ResponseTooLarge

__all__ = ["RETRYABLE_STATUSES", "RetryDelay", "RetryPolicy"]

RetryDelay = Callable[[ApiResponse], float | None]
"""Returns the seconds after which a response allows a retry, None where it names no time."""

TOO_MANY, SERVER_ERROR = 429, 500
MAX_SERVER_ERROR_RETRIES = 2
"""A 500 is more often a permanent bug than a temporary failure."""

RETRYABLE_STATUSES = frozenset({408, 425, TOO_MANY, SERVER_ERROR, 502, 503, 504, *range(520, 531)})
"""520 to 530 come from a content delivery network that did not reach the server behind it in time."""

FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 30.0
MAX_JITTER_SECONDS = 1.0
MIN_RETRY_AFTER_SECONDS = 1.0
"""A shorter delay counts as none: a client that followed `Retry-After: 0` would retry without end."""

MAX_REFUSAL_DELAY_SECONDS = 5.0
"""The minimum delay between refusals that name shorter delays grows up to this."""


@dataclass(slots=True)
class RetryPolicy:
    """The attempts at one request.

    *rate_limited_seconds* are the seconds that the rate limiter took, which do not count as the server's.

    Refusals that name a time (by *retry_delay*, else `Retry-After`) are bounded by time only; all others by their
    number too. A wait raises `PermitExpired` once *permit* has ended.
    """

    limits: RequestLimits
    timer: Timer
    retryable_statuses: frozenset[int]
    retryable_errors: tuple[type[Exception], ...] = (RequestNotSent, NoResponse)
    retry_delay: RetryDelay | None = None
    permit: Permit | None = None
    rate_limited_seconds: float = 0.0
    _started: float = field(init=False)
    _server_errors: int = 0
    _failures: int = 0

    def __post_init__(self) -> None:
        self._started = self.timer.now()

    async def attempt(self, once: Callable[[], Awaitable[ApiResponse]]) -> ApiResponse:
        """Call *once* until its response is final. Return the last response, or raise the last error."""
        with number_attempts():
            for number in count():
                outcome = await self._outcome(once)
                if not self._is_retryable(outcome):
                    break
                seconds = self._delay_seconds(outcome, number)
                if self._is_exhausted(seconds):
                    break
                await self._sleep(seconds)
        if isinstance(outcome, ApiResponse):
            return outcome
        raise outcome

    async def _outcome(self, once: Callable[[], Awaitable[ApiResponse]]) -> ApiResponse | Exception:
        """Return the response of an attempt, or the error that may allow another."""
        try:
            return await once()
        except self.retryable_errors as error:
            return error

    async def _sleep(self, seconds: float) -> None:
        if self.permit is None:
            await self.timer.sleep(seconds)
        else:
            await wait_while_permitted(self.timer.sleep(seconds), self.permit)

    def _is_retryable(self, outcome: ApiResponse | Exception) -> bool:
        if not isinstance(outcome, ApiResponse):
            return not isinstance(outcome, ResponseTooLarge)
        if outcome.status == SERVER_ERROR:
            self._server_errors += 1
            return SERVER_ERROR in self.retryable_statuses and self._server_errors <= MAX_SERVER_ERROR_RETRIES
        if TOO_MANY in self.retryable_statuses and is_rate_limit(outcome.status, outcome.headers):
            return True
        return outcome.status in self.retryable_statuses

    def _delay_seconds(self, outcome: ApiResponse | Exception, earlier: int) -> float:
        """Return how long to wait after *outcome*, which followed *earlier* attempts."""
        seconds = self._requested_delay(outcome)
        if seconds is None:
            self._failures += 1
            return _exponential_delay(earlier, MAX_DELAY_SECONDS) + _jitter()
        # The rate limiter already delays all requests until a reset. Other waits need jitter to spread them.
        least = _exponential_delay(earlier, MAX_REFUSAL_DELAY_SECONDS)
        return max(seconds, least) + (_jitter() if self.retry_delay is None else 0)

    def _requested_delay(self, outcome: ApiResponse | Exception) -> float | None:
        """Return the seconds that the server asks for, None where it names no usable delay."""
        if not isinstance(outcome, ApiResponse):
            return None
        requested_delay = self.retry_delay or self._retry_after_delay
        seconds = requested_delay(outcome)
        return seconds if seconds is not None and seconds >= MIN_RETRY_AFTER_SECONDS else None

    def _retry_after_delay(self, answer: ApiResponse) -> float | None:
        return retry_after_seconds(answer.headers, self.timer.wall)

    def _is_exhausted(self, seconds: float) -> bool:
        """Return whether another attempt after *seconds* would pass a bound."""
        spent = self.timer.now() - self._started - self.rate_limited_seconds
        return spent + seconds > self.limits.max_wait_seconds or self._failures > self.limits.retries


def _exponential_delay(earlier: int, longest: float) -> float:
    # A server that names times can refuse for as long as the bound in time permits: a power of 2 could overflow.
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(earlier, 10), longest)


def _jitter() -> float:
    return random.uniform(0, MAX_JITTER_SECONDS)  # noqa: S311, spreads load, not used for security
