"""One budget per host: never more requests than allowed in any window, wherever it starts."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.request_budget import RequestPurpose
from agent.scim.purpose import requests_for
from agent.scim.rate_limit import RateLimiters, SlidingWindow
from connectors.http import Timer
from tests.contract.scim_faults import Hours

URL = httpx.URL("https://pigment.example/scim")


@given(
    requests=st.integers(1, 3),
    journeys=st.lists(
        st.tuples(
            st.integers(0, 40),
            st.integers(0, 12),
            st.sampled_from([0, 0.5, 1]),
            st.sampled_from([0, 200, 200, 429, 503]),
        ),
        max_size=20,
    ),
)
def test_no_window_ever_holds_more_than_the_budget(
    requests: int, journeys: list[tuple[float, float, float, int]]
) -> None:
    window = 10.0
    arrivals: list[float] = []

    async def all_of_them() -> None:
        hours = Hours()
        pace = SlidingWindow(requests, window, hours.timer())

        async def one(wait: float, duration: float, arrives: float, status: int) -> None:
            await hours.sleep(wait)
            await pace.acquire("GET", URL)
            # The request reaches the host at some moment between its sending and its response.
            arrivals.append(hours.now + duration * arrives)
            await hours.sleep(duration)
            pace.on_response(URL, status, httpx.Headers())

        await hours.run(*(asyncio.create_task(one(*journey)) for journey in journeys))

    asyncio.run(all_of_them())

    assert len(arrivals) == len(journeys)
    for begin in arrivals:
        assert sum(begin <= arrival < begin + window for arrival in arrivals) <= requests


async def paced(pace: SlidingWindow, status: int = 200, method: str = "GET", **headers: str) -> None:
    await pace.acquire(method, URL)
    pace.on_response(URL, status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}))


class Clock:
    """A clock with a single sleeper."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def timer(self) -> Timer:
        return Timer(lambda: self.now, self.sleep, lambda: 1_000.0)


async def test_budget_goes_out_in_one_burst_and_then_waits_for_the_window() -> None:
    clock = Clock()
    pace = SlidingWindow(480, 300, clock.timer())

    for _ in range(480):
        await paced(pace, method="PATCH")
    assert (clock.now, pace.budget_left()) == (0, 0)
    clock.now = 299.5
    assert pace.budget_left() == 0
    await paced(pace)

    assert (clock.now, pace.budget_left()) == (300, 479)


async def test_reads_leave_a_twelfth_of_the_window_to_deactivations() -> None:
    hours = Hours()
    pace = SlidingWindow(480, 300, hours.timer())
    for _ in range(440):
        await paced(pace)
    read = asyncio.create_task(paced(pace))
    await asyncio.sleep(0)
    assert not read.done()

    with requests_for(RequestPurpose.DEACTIVATION):
        for _ in range(40):
            await paced(pace, method="PATCH")
        assert (hours.now, pace.budget_left()) == (0, 0)

    await hours.run(read)
    assert hours.now == 300


async def test_writes_use_the_reserve_while_no_deactivation_waits() -> None:
    hours = Hours()
    pace = SlidingWindow(24, 10, hours.timer())
    for _ in range(22):
        await paced(pace)
    served: list[str] = []

    async def one(name: str, purpose: RequestPurpose) -> None:
        with requests_for(purpose):
            await paced(pace)
        served.append(name)

    for _ in range(2):
        await one("write", RequestPurpose.WRITE)
    tasks = [asyncio.create_task(one("write", RequestPurpose.WRITE)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(one("deactivation", RequestPurpose.DEACTIVATION)))
    await hours.run(*tasks)

    assert served == ["write", "write", "deactivation", "write", "write", "write"]
    assert hours.now == 10


async def test_waiter_cancelled_as_it_is_admitted_gives_its_place_back() -> None:
    hours = Hours()
    pace = SlidingWindow(1, 10, hours.timer())
    await pace.acquire("GET", URL)
    waiting = [asyncio.create_task(pace.acquire("GET", URL)) for _ in range(2)]
    await asyncio.sleep(0)
    pace.on_response(URL, 200, httpx.Headers())
    hours.now = 10
    first, second = waiting
    next_one = asyncio.create_task(pace.acquire("GET", URL))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await hours.run(second)
    pace.on_response(URL, 200, httpx.Headers())
    await hours.run(next_one)

    assert hours.now == 20


async def test_first_come_is_first_served() -> None:
    hours = Hours()
    pace = SlidingWindow(1, 10, hours.timer())
    served: list[int] = []

    async def one(number: int) -> None:
        await paced(pace)
        served.append(number)

    await hours.run(*(asyncio.create_task(one(number)) for number in range(8)))

    assert served == list(range(8))
    assert hours.now == 70


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry_after": "30"}, 30),
        (503, {"retry_after": "30"}, 30),
        (403, {"retry_after": "30"}, 30),
        (403, {}, 0),
        (429, {"retry_after": "Thu, 01 Jan 1970 00:17:00 GMT"}, 20),
        (429, {"retry_after": "Tue, 01 Jan 2030 00:00:30 GMT", "date": "Tue, 01 Jan 2030 00:00:10 GMT"}, 20),
        (429, {"retry_after": "86400"}, 300),
        (429, {"retry_after": "soon"}, 1),
        (429, {}, 1),
        (503, {}, 0),
        (200, {"retry_after": "30"}, 0),
        (0, {}, 0),
    ],
)
async def test_refusal_pauses_the_whole_host(status: int, headers: dict[str, str], seconds: float) -> None:
    clock = Clock()
    pace = SlidingWindow(480, 300, clock.timer())

    await paced(pace, status, **headers)
    await paced(pace)

    assert clock.now == seconds


async def test_refusals_without_a_time_are_waited_out_longer_and_longer() -> None:
    clock = Clock()
    pace = SlidingWindow(480, 300, clock.timer())
    waits: list[float] = []

    for status in (429, 429, 429, 429, 429, 429, 200, 429, 200):
        before = clock.now
        await paced(pace, status)
        waits.append(clock.now - before)

    assert waits == [0, 1, 4, 16, 64, 256, 300, 0, 1]


async def test_requests_refused_together_are_one_refusal() -> None:
    clock = Clock()
    pace = SlidingWindow(480, 300, clock.timer())

    for _ in range(8):
        await pace.acquire("GET", URL)
    for _ in range(8):
        pace.on_response(URL, 429, httpx.Headers())
    await paced(pace)

    assert clock.now == 1


async def test_request_under_way_takes_its_place() -> None:
    hours = Hours()
    pace = SlidingWindow(2, 10, hours.timer())
    await pace.acquire("GET", URL)
    await pace.acquire("GET", URL)
    assert pace.budget_left() == 0

    third = asyncio.create_task(pace.acquire("GET", URL))
    await asyncio.sleep(0.01)
    assert not third.done()
    pace.on_response(URL, 0, httpx.Headers())  # even without an answer it may have been counted there
    await hours.run(third)

    assert hours.now == 10


def test_workspaces_on_one_host_share_its_budget() -> None:
    paces = RateLimiters(5, 300)
    one, same, other = (
        paces.for_url(url)
        for url in ("https://pigment.example/a", "https://PIGMENT.example/b", "https://other.example/a")
    )

    assert one is same
    assert one is not other
    assert other.budget_left() == 5


async def test_cancelled_waiter_does_not_change_the_budget() -> None:
    hours = Hours()
    pace = SlidingWindow(1, 10, hours.timer())
    await paced(pace)

    waiting = asyncio.create_task(pace.acquire("GET", URL))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    next_one = asyncio.create_task(paced(pace))
    await hours.run(next_one)

    assert pace.budget_left() == 0
