"""A budget that processes share: no request without a permit, whatever the ledger does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from agent.errors import StateError
from agent.model.request_budget import RequestPurpose, admit
from agent.ports.permits import PermitAnswer, PermitRequest
from agent.scim.purpose import requests_for
from agent.scim.shared_budget import SEND_SECONDS, BudgetTerms, SharedWindow
from tests.contract.scim_faults import Hours

URL = httpx.URL("https://pigment.example/scim")
SILENT = StateError("The state has not answered for 4 s.", "Check that its server runs.", is_transient=True)


@dataclass
class FakeLedger:
    """A ledger with *free* permits for good, and the calls so far."""

    free: int = 100
    pause_seconds: float = 0.0
    error: StateError | None = None
    retry_seconds: float = 1.0
    calls: list[PermitRequest] = field(default_factory=list)
    on_call: Callable[[], object] = lambda: None

    async def exchange_permits(self, request: PermitRequest) -> PermitAnswer:
        self.calls.append(request)
        self.on_call()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if self.pause_seconds:
            return PermitAnswer(pause_seconds=self.pause_seconds, free=self.free)
        admitted = tuple(admit(request.waiting, self.free, 0))
        self.free -= len(admitted)
        spare = min(request.spare, self.free)
        self.free -= spare
        return PermitAnswer(admitted=admitted, spare=spare, free=self.free, retry_seconds=self.retry_seconds)


@dataclass
class Harness:
    ledger: FakeLedger = field(default_factory=FakeLedger)
    hours: Hours = field(default_factory=Hours)
    warnings: list[str] = field(default_factory=list)

    def window(self, requests: int = 480) -> SharedWindow:
        def warn(event: str, **_fields: object) -> None:
            self.warnings.append(event)

        return SharedWindow(
            "pigment.example",
            self.ledger,
            BudgetTerms(requests, 300, 300),
            "one",
            lambda: self.hours.now,
            warn=warn,
            timer=self.hours.timer(),
            jitter=lambda: 0,
        )


def answered(window: SharedWindow, status: int = 200, **headers: str) -> None:
    window.on_response(URL, status, httpx.Headers({name.replace("_", "-"): each for name, each in headers.items()}))


async def test_permits_are_taken_in_batches_and_reported_together() -> None:
    harness = Harness()
    window = harness.window()

    for _ in range(9):
        assert (await window.acquire("GET", URL))()
        answered(window)
    assert len(harness.ledger.calls) == 1, "one permit and eight spare ones"
    await window.close()

    assert [(each.outstanding, [(a.number, a.count) for a in each.answered]) for each in harness.ledger.calls] == [
        (0, []),
        (0, [(1, 9)]),
    ]
    assert window.budget_left() == 100 - 9


async def test_idle_process_reports_and_gives_back_within_a_second() -> None:
    harness = Harness()
    window = harness.window()
    await window.acquire("GET", URL)
    answered(window)

    await harness.hours.run(asyncio.create_task(harness.hours.sleep(1.5)))

    last = harness.ledger.calls[-1]
    assert (last.outstanding, last.spare, [each.count for each in last.answered]) == (0, 0, [1])
    assert [round(each.seconds_ago, 3) for each in last.answered] == [1.0]
    before = len(harness.ledger.calls)
    await harness.hours.run(asyncio.create_task(harness.hours.sleep(60)))
    assert len(harness.ledger.calls) == before, "an idle process asks for nothing"


async def test_number_shown_is_asked_for_again_once_when_it_is_old() -> None:
    harness = Harness()
    window = harness.window()
    assert window.budget_left() is None
    await window.acquire("GET", URL)
    answered(window)
    await harness.hours.run(asyncio.create_task(harness.hours.sleep(5)))
    before, harness.ledger.free = len(harness.ledger.calls), 7
    assert window.budget_left() != 7

    await harness.hours.run(asyncio.create_task(harness.hours.sleep(10)))
    for _ in range(20):
        window.budget_left()
    await harness.hours.run(asyncio.create_task(harness.hours.sleep(1)))

    assert window.budget_left() == 7
    assert len(harness.ledger.calls) == before + 1


async def test_spare_permit_is_not_used_after_a_second() -> None:
    harness = Harness()
    window = harness.window()
    await window.acquire("GET", URL)
    harness.hours.now += 1.0

    await window.acquire("GET", URL)

    assert len(harness.ledger.calls) == 2
    assert harness.ledger.calls[-1].outstanding == 1


async def test_permit_can_not_be_used_after_the_ledger_may_have_given_it_away() -> None:
    harness = Harness()
    window = harness.window()
    harness.ledger.on_call = lambda: setattr(harness.hours, "now", harness.hours.now + 5)

    may_send = await window.acquire("GET", URL)

    harness.hours.now = SEND_SECONDS - 0.1
    assert may_send()
    harness.hours.now = SEND_SECONDS
    assert not may_send(), "counted from before the ledger was asked"
    assert harness.ledger.calls[0].usable_seconds == SEND_SECONDS + 300


async def test_silent_ledger_refuses_every_request_and_names_the_host() -> None:
    harness = Harness(FakeLedger(error=SILENT))
    window = harness.window()
    waiting = [asyncio.create_task(window.acquire("GET", URL)) for _ in range(3)]

    await harness.hours.run(asyncio.create_task(asyncio.wait(waiting)))

    for each in waiting:
        with pytest.raises(StateError, match=r"No request was sent to pigment\.example.*has not answered"):
            each.result()
    assert 12 <= harness.hours.now <= 14
    numbers = [each.number for each in harness.ledger.calls]
    assert numbers == sorted(set(numbers)), "an exchange that hangs must not count as a later one"

    harness.ledger.error = None
    assert (await window.acquire("GET", URL))()


async def test_permanent_error_of_the_ledger_is_not_retried() -> None:
    harness = Harness(FakeLedger(error=StateError("A table is missing.", "Restore a backup.")))

    with pytest.raises(StateError, match="A table is missing"):
        await harness.window().acquire("GET", URL)

    assert len(harness.ledger.calls) == 1


async def test_responses_of_a_failed_report_are_reported_again_and_never_merged_with_later_ones() -> None:
    harness = Harness()
    window = harness.window()
    for _ in range(2):
        await window.acquire("GET", URL)
    answered(window)
    harness.ledger.error = SILENT
    await harness.hours.run(asyncio.create_task(harness.hours.sleep(1.2)))
    harness.ledger.error = None
    answered(window)
    await window.close()

    assert harness.warnings == ["budget.not_reported"]
    # The first call may have been recorded although it failed: the same number with another count would be lost.
    assert [[(each.number, each.count) for each in call.answered] for call in harness.ledger.calls[-2:]] == [
        [(1, 1)],
        [(1, 1), (2, 1)],
    ]


async def test_pause_that_one_process_notices_is_reported_at_once_and_only_once() -> None:
    harness = Harness()
    window = harness.window()
    await window.acquire("GET", URL)
    answered(window, 429, retry_after="30")

    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert harness.ledger.calls[-1].pause_seconds == 30
    next_one = asyncio.create_task(window.acquire("GET", URL))
    await harness.hours.run(next_one)

    assert [each.pause_seconds for each in harness.ledger.calls].count(30) == 1
    assert all(each.pause_seconds in {0, 30} for each in harness.ledger.calls)


async def test_pause_of_another_process_stops_spare_permits_too() -> None:
    harness = Harness()
    window = harness.window()
    await window.acquire("GET", URL)
    harness.ledger.pause_seconds = 20
    answered(window)
    await harness.hours.run(asyncio.create_task(harness.hours.sleep(1.1)))
    waiting = asyncio.create_task(window.acquire("GET", URL))
    await asyncio.sleep(0)
    harness.ledger.on_call = lambda: setattr(harness.ledger, "pause_seconds", 20.0 if harness.hours.now < 21 else 0.0)

    await harness.hours.run(waiting)

    assert harness.hours.now >= 21


async def test_deactivation_does_not_wait_until_the_next_look() -> None:
    harness = Harness(FakeLedger(free=0, retry_seconds=300))
    window = harness.window()
    read = asyncio.create_task(window.acquire("GET", URL))
    for _ in range(5):
        await asyncio.sleep(0)
    harness.ledger.free = 1

    with requests_for(RequestPurpose.DEACTIVATION):
        leaver = asyncio.create_task(window.acquire("PATCH", URL))
    for _ in range(10):
        await asyncio.sleep(0)

    assert leaver.done()
    assert not read.done()
    assert harness.hours.now == 0
    read.cancel()
    await window.close()


async def test_cancelled_waiter_takes_no_permit_and_one_admitted_gives_it_back() -> None:
    harness = Harness(FakeLedger(free=0))
    window = harness.window()
    waiting = asyncio.create_task(window.acquire("GET", URL))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    harness.ledger.free = 1
    admitted = asyncio.create_task(window.acquire("GET", URL))
    harness.ledger.on_call = lambda: admitted.cancel() if harness.ledger.free else None
    await harness.hours.run(asyncio.create_task(harness.hours.sleep(10)))
    await window.close()

    assert admitted.cancelled()
    assert harness.ledger.calls[-1].outstanding == 0
