"""Decide whether a request is made again, and when: bounded in number and time, jittered, and as the server asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx
import tenacity

from connectors.rest.answer import Answer
from connectors.rest.bounds import Bounds, Timer
from connectors.rest.transfer import NoAnswer, NotSent, TooLarge

__all__ = ["HEALING", "Patience", "retry_after_seconds"]

SERVER_ERROR = 500
SERVER_ERROR_RETRIES = 2
"""A 500 is more often a bug that stays than a fault that heals."""

HEALING = frozenset({429, SERVER_ERROR, 502, 503, 504})
GROWING = tenacity.wait_exponential(multiplier=0.5, max=30) + tenacity.wait_random(0, 1)
JITTER = tenacity.wait_random(0, 1)


def retry_after_seconds(headers: httpx.Headers, wall: Callable[[], float]) -> float | None:
    """Return what `Retry-After` asks for (RFC 9110, section 10.2.3: seconds or a date), None when it asks nothing.

    A date is compared with the server's own clock where the answer shows it.
    """
    text = headers.get("retry-after", "").strip()
    try:
        if text.isascii() and text.replace(".", "", 1).isdigit():
            return float(text)
        until = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    try:
        return max(0.0, until - parsedate_to_datetime(headers.get("date", "")).timestamp())
    except (ValueError, OverflowError):
        return max(0.0, until - wall())


@dataclass(slots=True)
class Patience:
    """The attempts at one request. *paced* are the seconds that its pace made it wait, which are not the server's."""

    bounds: Bounds
    timer: Timer
    healing: frozenset[int]
    transient: tuple[type[Exception], ...] = (NotSent, NoAnswer)
    paced: float = 0.0
    _started: float = field(init=False)
    _server_errors: int = 0

    def __post_init__(self) -> None:
        self._started = self.timer.now()

    async def attempt(self, once: Callable[[], Awaitable[Answer]]) -> Answer:
        """Call *once* until its answer is one that stays. Returns the last answer, or raises what it raised last."""

        async def attempted() -> Answer:
            return await once()

        return await tenacity.AsyncRetrying(
            sleep=self.timer.sleep,
            retry=tenacity.retry_any(
                tenacity.retry_if_result(self._may_heal), tenacity.retry_if_exception(self._is_transient)
            ),
            wait=self._wait,
            stop=self._is_over,
            retry_error_callback=_outcome,
        )(attempted)

    def _may_heal(self, answer: Answer) -> bool:
        if answer.status == SERVER_ERROR:
            self._server_errors += 1
            return SERVER_ERROR in self.healing and self._server_errors <= SERVER_ERROR_RETRIES
        return answer.status in self.healing

    def _is_transient(self, error: BaseException) -> bool:
        return isinstance(error, self.transient) and not isinstance(error, TooLarge)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        asked = None
        if state.outcome is not None and not state.outcome.failed:
            asked = retry_after_seconds(state.outcome.result().headers, self.timer.wall)
        return GROWING(state) if asked is None else asked + JITTER(state)

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        spent = self.timer.now() - self._started - self.paced
        is_late = spent + state.upcoming_sleep > self.bounds.max_wait_seconds
        return is_late or state.attempt_number > self.bounds.retries


def _outcome(state: tenacity.RetryCallState) -> Answer:
    if state.outcome is None:
        raise AssertionError("tenacity stops only after an attempt")
    answer: Answer = state.outcome.result()
    return answer
