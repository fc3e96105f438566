"""The budget of one host that all processes of one egress address share, by permits from a ledger.

No request is sent without a permit, and no permit is used once another process may count on it: the ledger counts a
permit until its use is reported, or until its request can't be under way any more. The process measures durations
only, by a clock that continues while it is suspended.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from agent.errors import StateError
from agent.model.request_budget import RequestPurpose
from agent.ports.permits import AnsweredRequests, PermitAnswer, PermitLedger, PermitRequest
from agent.scim.pauses import PauseRule
from agent.scim.purpose import purpose_of
from agent.scim.tokens import WarnFunction
from connectors.http import REAL_TIME, SendLimit, Timer

__all__ = ["BudgetTerms", "SharedWindow"]

SEND_SECONDS = 60.0
"""How long a granted permit may be used: connecting takes part of it."""

SPARE_SECONDS = 1.0
"""How long an unused permit is kept for a next request. A pause that another process noticed is seen after that."""

REPORT_SECONDS = 1.0
"""How long after its response a request is reported, when no exchange happens before."""

REFRESH_SECONDS = 10.0
RETRY_SECONDS, RETRY_LIMIT_SECONDS = 1.0, 12.0
LEAST_WAIT_SECONDS, MOST_WAIT_SECONDS = 0.05, 5.0
SPARE_SHARE, MOST_SPARE = 60, 64
MERGED_SHARE = 200
"""Responses within this part of a window are reported as one, with the time of the last of them."""


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """At most *requests* in any *window_seconds*; no request is under way for longer than *request_seconds*."""

    requests: int
    window_seconds: float
    request_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    purpose: RequestPurpose
    admitted: asyncio.Future[float]


@dataclass(slots=True)
class _Answered:
    """*is_reported*: the ledger may have counted it already, so it must not change any more."""

    number: int
    count: int
    at: float
    is_reported: bool = False


class SharedWindow:
    """Implements `agent.scim.rate_limit.HostBudget`. *holder* is this process, and no other one ever."""

    def __init__(  # noqa: PLR0913  (`bootstrap` passes them by name)
        self,
        host: str,
        ledger: PermitLedger,
        terms: BudgetTerms,
        holder: str,
        elapsed: Callable[[], float],
        *,
        warn: WarnFunction,
        timer: Timer = REAL_TIME,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._host = host
        self._ledger = ledger
        self._terms = terms
        self._holder = holder
        self._elapsed = elapsed
        self._warn = warn
        self._timer = timer
        self._jitter = jitter
        self._pause = PauseRule(terms.window_seconds, elapsed, timer.wall)
        self._waiting: list[_Waiter] = []
        self._in_flight = 0
        self._answered: list[_Answered] = []
        self._spare, self._spare_granted_at = 0, float("-inf")
        self._number = self._answered_number = 0
        self._exchange_lock = asyncio.Lock()
        self._serving: asyncio.Task[None] | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._has_new_pause = self._needs_refresh = False
        self._reported_outstanding = 0
        self._free: int | None = None
        self._seen_at = float("-inf")

    def budget_left(self) -> int | None:
        """Return how many requests the ledger had left when it was last asked, None before that.

        An old number is replaced soon after the call.
        """
        if self._free is not None and self._elapsed() - self._seen_at > REFRESH_SECONDS:
            self._needs_refresh = True
            self._report_later(LEAST_WAIT_SECONDS)
        return self._free

    async def acquire(self, method: str, url: httpx.URL) -> SendLimit:  # noqa: ARG002
        """Wait for a permit. Raises `StateError` when the ledger can't give one: then nothing may be sent."""
        waiter = _Waiter(purpose_of(method), asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._use_spare()
        if not waiter.admitted.done():
            self._serve()
        try:
            usable_until = await waiter.admitted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.admitted.done() and not waiter.admitted.cancelled() and waiter.admitted.exception() is None:
                self._in_flight -= 1
                self._report_later(REPORT_SECONDS)
            raise
        return lambda: self._elapsed() < usable_until

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:  # noqa: ARG002
        """Count the request from now on, and pause the requests of all processes when the host is rate limiting."""
        now = self._elapsed()
        self._in_flight -= 1
        last = self._answered[-1] if self._answered else None
        if last is not None and not last.is_reported and now - last.at < self._terms.window_seconds / MERGED_SHARE:
            last.count, last.at = last.count + 1, now
        else:
            self._answered_number += 1
            self._answered.append(_Answered(self._answered_number, 1, now))
        before = self._pause.remaining_seconds()
        self._pause.record(status, headers)
        if self._pause.remaining_seconds() > max(0.0, before):
            self._has_new_pause = True
            self._report_later(0)
        else:
            self._report_later(REPORT_SECONDS)

    async def close(self) -> None:
        """Report what was sent and give back the rest. Raises nothing: what is not reported expires."""
        for task in (self._serving, self._reporting):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (self._serving, self._reporting) if task), return_exceptions=True)
        if self._number:
            await self._report()

    def _use_spare(self) -> None:
        """Admit waiting requests with spare permits, deactivations first."""
        if not self._spare or self._pause.remaining_seconds() > 0:
            return
        if self._elapsed() - self._spare_granted_at >= SPARE_SECONDS:
            return
        in_order = sorted(self._waiting, key=lambda each: each.purpose is not RequestPurpose.DEACTIVATION)
        for waiter in in_order[: self._spare]:
            self._spare -= self._admit(waiter, self._spare_granted_at)

    def _admit(self, waiter: _Waiter, granted_at: float) -> int:
        """Admit *waiter*, and return how many permits that took: none for one that has been cancelled."""
        self._waiting.remove(waiter)
        if waiter.admitted.done():
            return 0
        self._in_flight += 1
        waiter.admitted.set_result(granted_at + SEND_SECONDS)
        return 1

    def _serve(self) -> None:
        """Ask the ledger for those who wait, until each has a permit."""
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve_waiting())
        elif self._waiting[-1].purpose is RequestPurpose.DEACTIVATION:
            self._woken.set()

    async def _serve_waiting(self) -> None:
        try:
            while self._waiting:
                self._woken.clear()
                answer = await self._exchange_with_retries()
                if self._waiting and not answer.admitted:
                    await self._wait(answer)
        except StateError as error:
            self._refuse_waiting(error)
        finally:
            self._serving = None
            self._report_later(REPORT_SECONDS)

    async def _wait(self, answer: PermitAnswer) -> None:
        """Wait until more may be free; a deactivation that comes meanwhile asks at once."""
        seconds = max(answer.pause_seconds, min(answer.retry_seconds, MOST_WAIT_SECONDS), LEAST_WAIT_SECONDS)
        # Processes that wait for the same moment must not all meet at the one row.
        sleeping = asyncio.ensure_future(self._timer.sleep(seconds + self._jitter() * LEAST_WAIT_SECONDS))
        waking = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def _refuse_waiting(self, error: StateError) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.admitted.done():
                waiter.admitted.set_exception(
                    StateError(
                        f"No request was sent to {self._host}: the request budget that all processes share is kept in "
                        f"the state. {error.message}",
                        error.hint,
                        is_transient=error.is_transient,
                    )
                )

    def _report_later(self, seconds: float) -> None:
        """Report what was sent, and give back what is not used, after *seconds* at the latest."""
        if self._reporting is not None and not self._reporting.done():
            if seconds > 0:
                return
            self._reporting.cancel()
        self._reporting = asyncio.create_task(self._wait_and_report(seconds))

    async def _wait_and_report(self, seconds: float) -> None:
        if seconds > 0:
            await self._timer.sleep(seconds)
            if not self._has_news():
                return
        await asyncio.shield(self._report())

    def _has_news(self) -> bool:
        is_settled = self._in_flight == self._reported_outstanding and not self._spare
        return bool(self._answered) or self._needs_refresh or not is_settled

    async def _report(self) -> None:
        try:
            await self._exchange()
        except StateError as error:
            # Requests that are not reported count for longer than they need: nothing is lost.
            self._warn("budget.not_reported", host=self._host, error=error.message)

    async def _exchange_with_retries(self) -> PermitAnswer:
        until = self._elapsed() + RETRY_LIMIT_SECONDS
        while True:
            try:
                return await self._exchange()
            except StateError as error:
                if not error.is_transient or self._elapsed() >= until:
                    raise
            await self._timer.sleep(RETRY_SECONDS)

    async def _exchange(self) -> PermitAnswer:
        async with self._exchange_lock:
            waiting = [each for each in self._waiting if not each.admitted.done()]
            self._waiting = list(waiting)
            reported, self._answered = self._answered, []
            for each in reported:
                each.is_reported = True
            # Spare permits are given back with each exchange, and taken again if there are plenty.
            self._spare = 0
            self._number += 1
            asked_at = self._elapsed()
            request = self._request(waiting, reported, asked_at)
            self._has_new_pause = False
            try:
                answer = await self._ledger.exchange_permits(request)
            except BaseException:
                self._answered = [*reported, *self._answered]
                self._has_new_pause = self._has_new_pause or request.pause_seconds > 0
                raise
            self._reported_outstanding = request.outstanding + len(answer.admitted)
            for waiter in [waiting[at] for at in answer.admitted]:
                if waiter in self._waiting:
                    self._admit(waiter, asked_at)
            self._spare, self._spare_granted_at = answer.spare, asked_at
            self._free, self._seen_at, self._needs_refresh = answer.free, asked_at, False
            self._pause.extend(answer.pause_seconds)
            return answer

    def _request(self, waiting: list[_Waiter], answered: list[_Answered], now: float) -> PermitRequest:
        terms = self._terms
        return PermitRequest(
            host=self._host,
            holder=self._holder,
            number=self._number,
            outstanding=self._in_flight,
            answered=[AnsweredRequests(each.number, each.count, now - each.at) for each in answered],
            waiting=[each.purpose for each in waiting],
            spare=min(MOST_SPARE, terms.requests // SPARE_SHARE) if waiting else 0,
            requests=terms.requests,
            window_seconds=terms.window_seconds,
            usable_seconds=SEND_SECONDS + terms.request_seconds,
            # Only a pause that this process noticed: repeating what others noticed would prolong it.
            pause_seconds=max(0.0, self._pause.remaining_seconds()) if self._has_new_pause else 0.0,
        )
