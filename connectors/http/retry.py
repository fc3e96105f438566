"""Decide whether and when to retry a request: bounded in number and time, jittered, and as the server asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from connectors.base import Permit
from connectors.http.attempts import number_attempts
from connectors.http.headers import is_rate_limit, retry_after_seconds
from connectors.http.limits import RequestLimits, Timer
from connectors.http.permit import wait_while_permitted
from connectors.http.response import ApiResponse
from connectors.http.send import NoResponse, RequestNotSent, ResponseTooLarge

if TYPE_CHECKING:
    import tenacity
    from tenacity.wait import wait_base

__all__ = ["RETRYABLE_STATUSES", "RetryDelay", "RetryPolicy"]

RetryDelay = Callable[[ApiResponse], float | None]
"""Returns the seconds after which a response allows a retry, None where it names no time."""

TOO_MANY, SERVER_ERROR = 429, 500
MAX_SERVER_ERROR_RETRIES = 2
"""A 500 is more often a permanent bug than a temporary failure."""

RETRYABLE_STATUSES = frozenset({408, 425, TOO_MANY, SERVER_ERROR, 502, 503, 504, *range(520, 531)})
"""520 to 530 come from a content delivery network that did not reach the server behind it in time."""

MIN_RETRY_AFTER_SECONDS = 1.0
"""A shorter delay counts as none: a client that followed `Retry-After: 0` would retry without end."""


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
            # Nearly every request succeeds at once, and tenacity takes a tenth of the processor's time of one.
            first: ApiResponse | Exception | None = await self._first_outcome(once)
            if isinstance(first, ApiResponse) and first.is_success:
                return first

            async def attempted() -> ApiResponse:
                nonlocal first
                outcome, first = first, None
                if isinstance(outcome, Exception):
                    raise outcome
                return await once() if outcome is None else outcome

            # Most runs need no second attempt, and start faster without it.
            import tenacity

            return await tenacity.AsyncRetrying(
                sleep=self._sleep,
                retry=tenacity.retry_any(
                    tenacity.retry_if_result(self._is_retryable_response),
                    tenacity.retry_if_exception(self._is_retryable_error),
                ),
                wait=self._delay_seconds,
                stop=self._is_exhausted,
                retry_error_callback=_final_response,
            )(attempted)

    async def _first_outcome(self, once: Callable[[], Awaitable[ApiResponse]]) -> ApiResponse | Exception:
        """Return the response of the first attempt, or the error that may allow a second one."""
        try:
            return await once()
        except self.retryable_errors as error:
            return error

    async def _sleep(self, seconds: float) -> None:
        if self.permit is None:
            await self.timer.sleep(seconds)
        else:
            await wait_while_permitted(self.timer.sleep(seconds), self.permit)

    def _is_retryable_response(self, answer: ApiResponse) -> bool:
        if answer.status == SERVER_ERROR:
            self._server_errors += 1
            return SERVER_ERROR in self.retryable_statuses and self._server_errors <= MAX_SERVER_ERROR_RETRIES
        if TOO_MANY in self.retryable_statuses and is_rate_limit(answer.status, answer.headers):
            return True
        return answer.status in self.retryable_statuses

    def _is_retryable_error(self, error: BaseException) -> bool:
        return isinstance(error, self.retryable_errors) and not isinstance(error, ResponseTooLarge)

    def _delay_seconds(self, state: tenacity.RetryCallState) -> float:
        seconds = self._requested_delay(state)
        if seconds is None:
            self._failures += 1
            return _waits().backoff(state)
        # The rate limiter already delays all requests until a reset. Other waits need jitter to spread them.
        return max(seconds, _waits().refused(state)) + (_waits().jitter(state) if self.retry_delay is None else 0)

    def _requested_delay(self, state: tenacity.RetryCallState) -> float | None:
        """Return the seconds that the server asks for, None where it names no usable delay."""
        if state.outcome is None or state.outcome.failed:
            return None
        answer: ApiResponse = state.outcome.result()
        requested_delay = self.retry_delay or self._retry_after_delay
        seconds = requested_delay(answer)
        return seconds if seconds is not None and seconds >= MIN_RETRY_AFTER_SECONDS else None

    def _retry_after_delay(self, answer: ApiResponse) -> float | None:
        return retry_after_seconds(answer.headers, self.timer.wall)

    def _is_exhausted(self, state: tenacity.RetryCallState) -> bool:
        spent = self.timer.now() - self._started - self.rate_limited_seconds
        is_late = spent + state.upcoming_sleep > self.limits.max_wait_seconds
        return is_late or self._failures > self.limits.retries


class _Waits(NamedTuple):
    """Delays after an attempt: *backoff* after a failure; *refused* is the least after a refusal that names a time."""

    backoff: wait_base
    refused: wait_base
    jitter: wait_base


@cache
def _waits() -> _Waits:
    from tenacity import wait_exponential, wait_random

    jitter = wait_random(0, 1)
    return _Waits(wait_exponential(multiplier=0.5, max=30) + jitter, wait_exponential(multiplier=0.5, max=5), jitter)


def _final_response(state: tenacity.RetryCallState) -> ApiResponse:
    if state.outcome is None:
        raise AssertionError("tenacity stops only after an attempt")
    answer: ApiResponse = state.outcome.result()
    return answer
