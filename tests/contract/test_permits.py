"""The request budget in PostgreSQL: never more than the window, over any processes, however they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import create_engine, func, select

from agent.bootstrap import SystemClock
from agent.model.request_budget import RequestPurpose
from agent.ports.permits import AnsweredRequests, PermitRequest
from agent.scim.purpose import requests_for
from agent.scim.shared_budget import BudgetTerms, SharedWindow
from agent.store.state import SqlState
from agent.store.tables import answered_requests, request_permits
from tests.migrated_state import new_postgres_state
from tests.pgbouncer import pooled

URL = httpx.URL("https://pigment.example/scim")
DEACTIVATION, WRITE, READ = RequestPurpose.DEACTIVATION, RequestPurpose.WRITE, RequestPurpose.READ
WITHIN_SECONDS = 60
TABLES = (answered_requests, request_permits)


def a_request(holder: str, number: int, *waiting: RequestPurpose, **more: object) -> PermitRequest:
    known = PermitRequest(
        host="pigment.example",
        holder=holder,
        number=number,
        outstanding=0,
        answered=(),
        waiting=waiting,
        spare=0,
        requests=24,
        window_seconds=300,
        usable_seconds=360,
        pause_seconds=0,
    )
    return replace(known, **more)  # type: ignore[arg-type]  # fields of the request


@asynccontextmanager
async def opened(url: str, *offsets: float) -> AsyncIterator[list[SqlState]]:
    """Yield a state for each of *offsets*, the seconds by which the clock of its process is wrong."""

    def clock(seconds: float) -> Callable[[], datetime]:
        return lambda: datetime.now(UTC) + timedelta(seconds=seconds)

    states = [await SqlState.open(url, clock(seconds)) for seconds in offsets]
    try:
        yield states
    finally:
        for state in states:
            await state.close()


@pytest.fixture
async def state(postgres_server: str) -> AsyncIterator[SqlState]:
    async with opened(new_postgres_state(postgres_server), 0) as (state,):
        yield state


async def test_permits_of_all_holders_and_their_answered_requests_count(state: SqlState) -> None:
    first = await state.exchange_permits(a_request("one", 1, *[WRITE] * 30))
    second = await state.exchange_permits(a_request("two", 1, WRITE))
    answered = AnsweredRequests(1, 24, 100.0)
    await state.exchange_permits(a_request("one", 2, answered=[answered]))
    third = await state.exchange_permits(a_request("two", 2, WRITE))
    other_host = await state.exchange_permits(a_request("two", 1, WRITE, host="other.example"))

    assert (len(first.admitted), first.free) == (24, 0)
    assert (second.admitted, third.admitted, other_host.admitted) == ((), (), (0,))
    assert 190 < third.retry_seconds <= 200


async def test_permits_given_back_and_requests_of_an_ended_window_are_free_again(state: SqlState) -> None:
    await state.exchange_permits(a_request("one", 1, *[WRITE] * 24))
    await state.exchange_permits(a_request("one", 2, outstanding=2, answered=[AnsweredRequests(1, 10, 301.0)]))

    assert (await state.exchange_permits(a_request("two", 1))).free == 22


async def test_permits_of_a_killed_process_count_until_its_requests_can_not_be_under_way(state: SqlState) -> None:
    short = {"usable_seconds": 0.6, "window_seconds": 0.4}
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    granted = await state.exchange_permits(a_request("killed", 1, *[WRITE] * 24, **short))
    number, free = 0, 0
    while not free:
        number += 1
        free = (await state.exchange_permits(a_request("alive", number, **short))).free

    assert len(granted.admitted) == 24
    assert free == 24
    assert loop.time() - asked_at > 0.9


async def test_exchange_that_arrives_late_changes_nothing(state: SqlState) -> None:
    await state.exchange_permits(a_request("one", 2, outstanding=7))

    late = await state.exchange_permits(a_request("one", 1, WRITE, answered=[AnsweredRequests(1, 3, 0.0)]))

    assert late.admitted == ()
    assert (await state.exchange_permits(a_request("two", 1))).free == 24 - 7


async def test_report_that_is_repeated_counts_once(state: SqlState) -> None:
    report = [AnsweredRequests(1, 3, 0.0)]
    await state.exchange_permits(a_request("one", 1, answered=report))
    await state.exchange_permits(a_request("one", 2, answered=report))

    assert (await state.exchange_permits(a_request("two", 1))).free == 24 - 3


async def test_last_twelfth_is_for_deactivations_of_any_process(state: SqlState) -> None:
    await state.exchange_permits(a_request("one", 1, *[WRITE] * 21))
    reads = await state.exchange_permits(a_request("two", 1, READ, READ))
    assert reads.admitted == (0,), "22 of 24: the reserve is left"
    # Two's second read waits, so a write must not take the reserve; a deactivation does.
    assert (await state.exchange_permits(a_request("three", 1, WRITE))).admitted == ()
    assert (await state.exchange_permits(a_request("four", 1, DEACTIVATION))).admitted == (0,)
    # Nothing but a write waits, and it may.
    await state.exchange_permits(a_request("two", 2, outstanding=1))
    assert (await state.exchange_permits(a_request("three", 2, WRITE))).admitted == (0,)


async def test_write_leaves_what_is_free_to_a_deactivation_that_waits_elsewhere(state: SqlState) -> None:
    await state.exchange_permits(a_request("one", 1, *[WRITE] * 24))
    await state.exchange_permits(a_request("two", 1, DEACTIVATION))
    await state.exchange_permits(a_request("one", 2, outstanding=23))

    assert (await state.exchange_permits(a_request("three", 1, WRITE))).admitted == ()
    assert (await state.exchange_permits(a_request("two", 2, DEACTIVATION))).admitted == (0,)


async def test_spare_permits_are_taken_only_while_there_are_plenty(state: SqlState) -> None:
    plenty = await state.exchange_permits(a_request("one", 1, WRITE, spare=4))
    few = await state.exchange_permits(a_request("two", 1, *[WRITE] * 11, spare=4))

    assert (plenty.spare, few.spare) == (4, 2), "a quarter of the window stays for others"


async def test_pause_that_one_process_notices_stops_all(state: SqlState) -> None:
    await state.exchange_permits(a_request("one", 1, pause_seconds=30))
    await state.exchange_permits(a_request("one", 2, pause_seconds=10))

    seen = await state.exchange_permits(a_request("two", 1, DEACTIVATION))

    assert seen.admitted == ()
    assert 20 < seen.pause_seconds <= 30


async def test_rows_of_ended_windows_and_dead_processes_are_deleted(postgres_server: str) -> None:
    url = new_postgres_state(postgres_server)
    async with opened(url, 0) as (state,):
        gone = {"usable_seconds": -400.0, "answered": [AnsweredRequests(1, 3, 301.0)]}
        for number in range(3):
            await state.exchange_permits(a_request(f"dead-{number}", 1, **gone))
        await state.exchange_permits(a_request("alive", 1))
    engine = create_engine(url)
    with engine.connect() as connection:
        left = [connection.execute(select(func.count()).select_from(each)).scalar() for each in TABLES]
    engine.dispose()

    assert left == [0, 1]


async def use_up(states: list[SqlState], requests: int, window_seconds: float, each: int) -> list[float]:
    """Send *each* requests by a window on each of *states*, two at a time; return the moments of their arrival."""
    clock, arrivals = SystemClock(), list[float]()
    terms = BudgetTerms(requests, window_seconds, 30)

    async def send(window: SharedWindow, purpose: RequestPurpose) -> None:
        for _ in range(each // 2):
            with requests_for(purpose):
                may_send = await window.acquire("PATCH", URL)
            assert may_send()
            await asyncio.sleep(0.002)
            arrivals.append(clock.elapsed())
            await asyncio.sleep(0.002)
            window.on_response(URL, 200, httpx.Headers())

    def warn(event: str, **fields: object) -> None:
        raise AssertionError(f"{event}: {fields}")

    windows = [
        SharedWindow("pigment.example", state, terms, f"process-{number}", clock.elapsed, warn=warn)
        for number, state in enumerate(states)
    ]
    async with asyncio.timeout(WITHIN_SECONDS):
        await asyncio.gather(*(send(window, purpose) for window in windows for purpose in (DEACTIVATION, WRITE)))
        await asyncio.gather(*(window.close() for window in windows))
    return sorted(arrivals)


def most_in_a_window(arrivals: list[float], window_seconds: float) -> int:
    return max(sum(begin <= each < begin + window_seconds for each in arrivals) for begin in arrivals)


async def test_no_window_holds_more_than_the_budget_with_clocks_an_hour_apart(postgres_server: str) -> None:
    async with opened(new_postgres_state(postgres_server), 0, 3600, -3600) as states:
        arrivals = await use_up(states, 24, 0.8, 20)

        assert len(arrivals) == 60
        assert most_in_a_window(arrivals, 0.8) <= 24


@pytest.mark.parametrize(("mode", "size"), [("transaction", 1), ("transaction", 2), ("session", 8)])
async def test_budget_holds_through_a_pooler(mode: str, size: int, postgres_server: str) -> None:
    with pooled(new_postgres_state(postgres_server), mode, size) as url:
        async with opened(url, 0, 0) as states:
            arrivals = await use_up(states, 12, 0.5, 12)

    assert len(arrivals) == 24
    assert most_in_a_window(arrivals, 0.5) <= 12
