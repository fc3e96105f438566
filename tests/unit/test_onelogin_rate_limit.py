"""OneLogin's rate limit: the limiter waits before it is exceeded."""

from __future__ import annotations

import httpx
import pytest

from connectors.base import IncompleteRead
from connectors.http import Timer
from connectors.onelogin.rate_limit import OneLoginRateLimiter
from tests.contract.okta_org import FakeTime

URL = httpx.URL("https://acme.onelogin.com/api/2/users")


def paced(max_wait_seconds: float = 4000) -> tuple[FakeTime, OneLoginRateLimiter]:
    clock = FakeTime()
    return clock, OneLoginRateLimiter("OneLogin (onelogin-apac)", max_wait_seconds, clock.timer)


def rate_headers(remaining: object, reset: object) -> httpx.Headers:
    numbers = {"X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}
    return httpx.Headers({name: str(number) for name, number in numbers.items() if number is not None})


@pytest.mark.parametrize(("remaining", "naps"), [(4000, []), (8, []), (7, [832]), (0, [832])])
async def test_limit_is_waited_for_once_eight_requests_would_use_it_up(remaining: int, naps: list[float]) -> None:
    clock, limiter = paced()
    limiter.on_response(URL, 200, rate_headers(remaining, 832))
    await limiter.acquire("GET", URL)
    assert clock.naps == naps


async def test_reset_is_seconds_from_the_answer() -> None:
    clock, limiter = paced()
    limiter.on_response(URL, 200, rate_headers(0, 100))
    clock.now += 60
    await limiter.acquire("GET", URL)
    assert clock.naps == [40]
    await limiter.acquire("GET", URL)
    assert clock.naps == [40]


@pytest.mark.parametrize("remaining", [4000, None])
async def test_refusal_is_never_retried_before_the_reset(remaining: int | None) -> None:
    clock, limiter = paced()
    limiter.on_response(URL, 429, rate_headers(remaining, 40))
    await limiter.acquire("GET", URL)
    assert clock.naps == [40]


@pytest.mark.parametrize("reset", [None, "", "0", "-5", "3601", "1800000000", "soon", "4.5", "9" * 400])
async def test_reset_that_cannot_be_is_ignored(reset: str | None) -> None:
    clock, limiter = paced()
    limiter.on_response(URL, 429, rate_headers(0, reset))
    await limiter.acquire("GET", URL)
    assert clock.naps == []


@pytest.mark.parametrize("remaining", [None, "", "-1", "few", "9" * 400])
async def test_remainder_that_is_no_number_is_ignored(remaining: str | None) -> None:
    clock, limiter = paced()
    limiter.on_response(URL, 200, rate_headers(remaining, 100))
    await limiter.acquire("GET", URL)
    assert clock.naps == []


async def test_request_without_a_response_changes_nothing() -> None:
    clock, limiter = paced()
    limiter.on_response(URL, 0, httpx.Headers())
    await limiter.acquire("GET", URL)
    assert clock.naps == []


async def test_earlier_reset_does_not_shorten_a_wait() -> None:
    clock, limiter = paced()
    limiter.on_response(URL, 200, rate_headers(0, 100))
    limiter.on_response(URL, 200, rate_headers(7, 10))
    await limiter.acquire("GET", URL)
    assert clock.naps == [100]


async def test_reset_that_arrives_during_a_wait_extends_it() -> None:
    clock = FakeTime()

    async def sleep(seconds: float) -> None:
        if not clock.naps:
            limiter.on_response(URL, 429, rate_headers(0, 150))
        await clock.sleep(seconds)

    limiter = OneLoginRateLimiter("OneLogin (onelogin-apac)", 4000, Timer(lambda: clock.now, sleep, clock.wall))
    limiter.on_response(URL, 200, rate_headers(0, 100))
    await limiter.acquire("GET", URL)
    assert clock.naps == [100, 50]


async def test_wait_beyond_the_bound_is_an_error_with_the_ways_out() -> None:
    clock, limiter = paced(max_wait_seconds=300)
    limiter.on_response(URL, 200, rate_headers(0, 832))
    with pytest.raises(IncompleteRead, match="another 832 seconds") as raised:
        await limiter.acquire("GET", URL)
    assert "http.max_wait_seconds" in raised.value.hint
    assert clock.naps == []
    clock.now += 532
    await limiter.acquire("GET", URL)
    assert clock.naps == [300]
