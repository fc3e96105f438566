"""Okta's rate limits: the limiter waits before one is exceeded."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import httpx
import pytest

from connectors.base import IncompleteRead
from connectors.okta.rate_limit import OktaRateLimiter, bucket_for_path
from tests.contract.okta_org import FakeTime

ROOT = "https://acme.okta.com"
PEOPLE = httpx.URL(f"{ROOT}/api/v1/apps/0oa1/users")
GROUP = httpx.URL(f"{ROOT}/api/v1/groups/00g1/users")


class Server:
    """Counts a bucket of *limit* requests a window, an hour ahead, and passes each response to the limiter."""

    def __init__(self, time: FakeTime, limiter: OktaRateLimiter, limit: int, window_seconds: int = 60) -> None:
        self.time, self.pace, self.limit, self.window_seconds = time, limiter, limit, window_seconds
        self.ends = 0.0
        self.used = 0
        self.most_used = 0

    async def ask(self, url: httpx.URL = PEOPLE) -> None:
        await self.pace.acquire("GET", url)
        if self.time.now >= self.ends:
            self.ends, self.used = self.time.now + self.window_seconds, 0
        self.used += 1
        self.most_used = max(self.most_used, self.used)
        assert self.used <= self.limit
        self.pace.on_response(url, 200, self.headers(self.limit, self.limit - self.used, self.ends - self.time.now))

    def headers(self, limit: int, remaining: int, seconds: float, date: bool = True) -> httpx.Headers:
        there = self.time.wall() + (3600 if date else 0)
        usual = {"x-rate-limit-limit": str(limit), "x-rate-limit-remaining": str(remaining)}
        usual["x-rate-limit-reset"] = str(int(there + seconds))
        return httpx.Headers(usual | ({"date": formatdate(int(there), usegmt=True)} if date else {}))


def paced(share: float = 0.5, max_wait_seconds: float = 300) -> tuple[FakeTime, OktaRateLimiter]:
    time = FakeTime()
    return time, OktaRateLimiter(share, max_wait_seconds, time.timer, time.wall)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/apps", "apps"),
        ("/api/v1/apps/0oa1", "app"),
        ("/api/v1/apps/0oa1/users", "apps"),
        ("/api/v1/apps/0oa1/groups", "apps"),
        ("/api/v1/groups", "groups"),
        ("/api/v1/groups/00g1", "group"),
        ("/api/v1/groups/00g1/users", "other"),
        ("/api/v1/users", "users"),
        ("/api/v1/users/00u1", "user"),
        ("/api/v1/logs", "logs"),
    ],
)
def test_bucket_is_that_of_oktas_table(path: str, name: str) -> None:
    assert bucket_for_path(path) == name


@pytest.mark.parametrize(("share", "uses"), [(0.5, 50), (0.0, 100), (0.9, 10)])
async def test_share_of_each_window_is_left_to_others(share: float, uses: int) -> None:
    time, limiter = paced(share)
    server = Server(time, limiter, limit=100)
    for _ in range(uses * 2):
        await server.ask()
    assert server.most_used == uses
    assert time.naps == [pytest.approx(61, abs=1)]


async def test_even_the_smallest_limit_lets_one_request_a_window_through() -> None:
    time, limiter = paced(0.95)
    server = Server(time, limiter, limit=1)
    for _ in range(3):
        await server.ask()
    assert len(time.naps) == 2


async def test_each_bucket_is_counted_for_itself() -> None:
    time, limiter = paced()
    limiter.on_response(PEOPLE, 200, Server(time, limiter, 100).headers(100, 1, 30))
    await limiter.acquire("GET", GROUP)
    assert time.naps == []
    await limiter.acquire("GET", PEOPLE)
    assert len(time.naps) == 1


async def test_requests_that_are_still_unanswered_count() -> None:
    time, limiter = paced()
    limiter.on_response(PEOPLE, 200, Server(time, limiter, 10).headers(10, 8, 30))
    for _ in range(3):
        await limiter.acquire("GET", PEOPLE)
    assert time.naps == []
    await limiter.acquire("GET", PEOPLE)
    assert len(time.naps) == 1


async def test_request_without_an_answer_counts_no_longer() -> None:
    time, limiter = paced()
    limiter.on_response(PEOPLE, 200, Server(time, limiter, 10).headers(10, 6, 30))
    await limiter.acquire("GET", PEOPLE)
    limiter.on_response(PEOPLE, 0, httpx.Headers())
    await limiter.acquire("GET", PEOPLE)
    assert time.naps == []


async def test_unanswered_requests_of_one_window_count_in_the_next() -> None:
    time, limiter = paced(max_wait_seconds=50)
    limiter.on_response(PEOPLE, 200, Server(time, limiter, 10).headers(10, 10, 30))
    for _ in range(5):
        await limiter.acquire("GET", PEOPLE)
    time.now += 31
    limiter.on_response(PEOPLE, 0, httpx.Headers())
    await limiter.acquire("GET", PEOPLE)
    assert time.naps == []
    with pytest.raises(IncompleteRead):
        await limiter.acquire("GET", PEOPLE)


async def test_many_waiters_go_on_within_the_next_windows_share() -> None:
    time, limiter = paced()
    server = Server(time, limiter, limit=8)
    await asyncio.gather(*(server.ask() for _ in range(3)))
    await asyncio.gather(*(server.ask() for _ in range(8)))
    assert server.most_used == 4


async def test_late_answer_of_an_earlier_window_changes_nothing() -> None:
    time, limiter = paced()
    server = Server(time, limiter, 100)
    limiter.on_response(PEOPLE, 200, server.headers(100, 99, 70))
    limiter.on_response(PEOPLE, 200, server.headers(100, 0, 10))
    await limiter.acquire("GET", PEOPLE)
    assert time.naps == []


async def test_answers_of_one_window_that_come_in_disorder_count_the_lowest() -> None:
    time, limiter = paced()
    server = Server(time, limiter, 100)
    limiter.on_response(PEOPLE, 200, server.headers(100, 50, 30))
    limiter.on_response(PEOPLE, 200, server.headers(100, 51, 30))
    await limiter.acquire("GET", PEOPLE)
    assert len(time.naps) == 1


async def test_refusal_is_never_retried_before_the_reset() -> None:
    time, limiter = paced(0)
    limiter.on_response(PEOPLE, 429, Server(time, limiter, 100).headers(100, 7, 40))
    await limiter.acquire("GET", PEOPLE)
    assert time.naps == [pytest.approx(41, abs=0.1)]


async def test_refusal_for_concurrency_does_not_change_the_bucket() -> None:
    time, limiter = paced()
    limiter.on_response(PEOPLE, 429, Server(time, limiter, 100).headers(0, 0, 3000))
    await limiter.acquire("GET", PEOPLE)
    assert time.naps == []


async def test_reset_without_a_date_is_taken_by_our_clock() -> None:
    time, limiter = paced()
    limiter.on_response(PEOPLE, 200, Server(time, limiter, 100).headers(100, 0, 20, date=False))
    await limiter.acquire("GET", PEOPLE)
    assert time.naps == [pytest.approx(21, abs=1)]


@pytest.mark.parametrize("word", ["", "-1", "1.5", "many", "9" * 400, "1, many"])
@pytest.mark.parametrize("name", ["limit", "remaining", "reset"])
async def test_headers_that_are_no_numbers_are_ignored(name: str, word: str) -> None:
    time, limiter = paced()
    headers = Server(time, limiter, 100).headers(100, 0, 30)
    headers[f"x-rate-limit-{name}"] = word
    limiter.on_response(PEOPLE, 200, headers)
    await limiter.acquire("GET", PEOPLE)
    assert time.naps == []


async def test_reset_in_the_past_is_waited_for_a_second() -> None:
    time, limiter = paced()
    limiter.on_response(PEOPLE, 200, Server(time, limiter, 100).headers(100, 0, -500))
    await limiter.acquire("GET", PEOPLE)
    assert time.naps == [1]


async def test_wait_beyond_the_bound_is_an_error_with_the_ways_out() -> None:
    time, limiter = paced(max_wait_seconds=10)
    limiter.on_response(PEOPLE, 200, Server(time, limiter, 100).headers(100, 0, 30))
    with pytest.raises(IncompleteRead, match="100 requests a minute") as raised:
        await limiter.acquire("GET", PEOPLE)
    assert "rate_limit_share" in raised.value.hint
    assert time.naps == []
