"""Decide whether a request is made again, and when: bounded in number and time, jittered, and as the server asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import tenacity

from connectors.base import Permit
from connectors.rest.answer import Answer
from connectors.rest.bounds import Bounds, Timer
from connectors.rest.header import is_rate_limit, retry_after_seconds
from connectors.rest.permit import wait_permitted
from connectors.rest.transfer import NoAnswer, NotSent, TooLarge

__all__ = ["HEALING", "Patience", "Promise"]

Promise = Callable[[Answer], float | None]
"""Returns in how many seconds a server that answers like this wants to be asked again, None when it names no time."""

TOO_MANY, SERVER_ERROR = 429, 500
SERVER_ERROR_RETRIES = 2
"""A 500 is more often a bug that stays than a fault that heals."""

HEALING = frozenset({408, 425, TOO_MANY, SERVER_ERROR, 502, 503, 504, *range(520, 531)})
"""520 to 530 are a content delivery network's: it did not reach the server behind it, or not in time."""

GROWING = tenacity.wait_exponential(multiplier=0.5, max=30) + tenacity.wait_random(0, 1)
JITTER = tenacity.wait_random(0, 1)
SHORTEST_PROMISE_SECONDS = 1.0
"""Below it a server names no time: a client that followed `Retry-After: 0` would never stop asking."""

NAGGING = tenacity.wait_exponential(multiplier=0.5, max=5)
"""The least that is waited between two refusals that each name a shorter time."""


@dataclass(slots=True)
class Patience:
    """The attempts at one request. *paced* are the seconds that its pace made it wait, which are not the server's.

    Refusals that name a time (*promise*; without it by `Retry-After`) are bounded by the time alone, as long as they
    name it; all others by their number too. Nothing is waited for once *permit* has ended: `NotPermitted`.
    """

    bounds: Bounds
    timer: Timer
    healing: frozenset[int]
    transient: tuple[type[Exception], ...] = (NotSent, NoAnswer)
    promise: Promise | None = None
    permit: Permit | None = None
    paced: float = 0.0
    _started: float = field(init=False)
    _server_errors: int = 0
    _failures: int = 0

    def __post_init__(self) -> None:
        self._started = self.timer.now()

    async def attempt(self, once: Callable[[], Awaitable[Answer]]) -> Answer:
        """Call *once* until its answer is one that stays. Returns the last answer, or raises what it raised last."""

        async def attempted() -> Answer:
            return await once()

        return await tenacity.AsyncRetrying(
            sleep=self._sleep,
            retry=tenacity.retry_any(
                tenacity.retry_if_result(self._may_heal), tenacity.retry_if_exception(self._is_transient)
            ),
            wait=self._wait,
            stop=self._is_over,
            retry_error_callback=_outcome,
        )(attempted)

    async def _sleep(self, seconds: float) -> None:
        if self.permit is None:
            await self.timer.sleep(seconds)
        else:
            await wait_permitted(self.timer.sleep(seconds), self.permit)

    def _may_heal(self, answer: Answer) -> bool:
        if answer.status == SERVER_ERROR:
            self._server_errors += 1
            return SERVER_ERROR in self.healing and self._server_errors <= SERVER_ERROR_RETRIES
        if TOO_MANY in self.healing and is_rate_limit(answer.status, answer.headers):
            return True
        return answer.status in self.healing

    def _is_transient(self, error: BaseException) -> bool:
        return isinstance(error, self.transient) and not isinstance(error, TooLarge)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        seconds = self._promised(state)
        if seconds is None:
            self._failures += 1
            return GROWING(state)
        # For a limit's reset the pace already holds back all requests. Other waits need jitter to spread them.
        return max(seconds, NAGGING(state)) + (JITTER(state) if self.promise is None else 0)

    def _promised(self, state: tenacity.RetryCallState) -> float | None:
        """Return the seconds that the server asks for, None when it names no time worth the name."""
        if state.outcome is None or state.outcome.failed:
            return None
        answer: Answer = state.outcome.result()
        promise = self.promise or self._retry_after
        seconds = promise(answer)
        return seconds if seconds is not None and seconds >= SHORTEST_PROMISE_SECONDS else None

    def _retry_after(self, answer: Answer) -> float | None:
        return retry_after_seconds(answer.headers, self.timer.wall)

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        spent = self.timer.now() - self._started - self.paced
        is_late = spent + state.upcoming_sleep > self.bounds.max_wait_seconds
        return is_late or self._failures > self.bounds.retries


def _outcome(state: tenacity.RetryCallState) -> Answer:
    if state.outcome is None:
        raise AssertionError("tenacity stops only after an attempt")
    answer: Answer = state.outcome.result()
    return answer
