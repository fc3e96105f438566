"""The shared HTTP client, against transports in memory: what it sends, repeats, refuses and counts."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from connectors.base import CredentialsRefused, IncompleteRead, PermissionMissing
from connectors.http import ApiClient, ApiResponse, NoResponse, RequestLimits, RequestNotSent, RetryPolicy, Timer
from tests.contract.scim_faults import Unending


class Harness:
    """An API on a transport in memory; *answers* are given in turn, the last one repeatedly."""

    def __init__(
        self, *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response], **more: Any
    ) -> None:
        self.requests: list[httpx.Request] = []
        self.renewals = 0
        self.naps: list[float] = []
        self.now = 0.0
        self._answers = list(answers)
        self.api = ApiClient(
            "Acme (main)",
            "https://acme.example/api",
            httpx.AsyncClient(transport=httpx.MockTransport(self._answer)),
            self._authorize,
            timer=Timer(lambda: self.now, self._sleep, lambda: self.now),
            **more,
        )

    async def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    async def _authorize(self, refused: bool) -> Mapping[str, str]:
        self.renewals += refused
        return {"Authorization": f"Bearer token-{self.renewals}", "X-More": "1"}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


def may_write(harness: Harness) -> RetryPolicy:
    return harness.api.retry_policy(frozenset(), permit=Unending())


def ok(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[])


async def test_get_sends_our_headers_and_encodes_parameters_whole() -> None:
    harness = Harness(ok)

    answer = await harness.api.get("/users", {"$filter": "a eq 'b+c'", "q": "é&"})

    (request,) = harness.requests
    assert request.url.raw_path == b"/api/users?$filter=a%20eq%20%27b%2Bc%27&q=%C3%A9%26"
    assert (request.headers["authorization"], request.headers["x-more"]) == ("Bearer token-0", "1")
    assert request.headers["accept-encoding"] == "gzip"
    assert (answer.status, answer.rows(None), harness.api.request_count) == (200, [], 1)


async def test_request_leaves_nothing_for_the_garbage_collector() -> None:
    answered: list[weakref.ref[httpx.Response]] = []

    def seen(request: httpx.Request) -> httpx.Response:
        response = httpx.Response(200, json=[])
        answered.append(weakref.ref(response))
        return response

    harness = Harness(seen)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        await harness.api.get("/users")
        assert [each() for each in answered] == [None]
    finally:
        if was_enabled:
            gc.enable()


async def test_403_that_names_a_time_is_waited_for_and_never_blamed_on_the_credentials() -> None:
    def limited(request: httpx.Request) -> httpx.Response:
        return httpx.Response(403, headers={"retry-after": "2"})

    assert (await Harness(limited, limited, ok).api.get("/users")).status == 200
    with pytest.raises(IncompleteRead, match="answered 403 to GET"):
        await Harness(limited, limits=RequestLimits(retries=1)).api.get("/users")
    with pytest.raises(CredentialsRefused):
        await Harness(httpx.Response(403)).api.get("/users")


async def test_next_link_is_asked_for_as_it_is() -> None:
    harness = Harness(ok)

    await harness.api.get("https://acme.example/other?after=a%2Bb&x=$y")

    assert harness.requests[0].url.raw_path == b"/other?after=a%2Bb&x=$y"


@pytest.mark.parametrize("url", ["https://evil.example/next", "http://acme.example/api/next", "https://xn--a/"])
async def test_link_to_another_origin_is_not_asked(url: str) -> None:
    harness = Harness(ok)

    with pytest.raises(IncompleteRead, match="another server"):
        await harness.api.get(url)

    assert (harness.requests, harness.api.request_count) == ([], 0)


async def test_refused_credentials_are_made_fresh_once() -> None:
    harness = Harness(httpx.Response(401), ok)

    await harness.api.get("users")

    assert [request.headers["authorization"] for request in harness.requests] == ["Bearer token-0", "Bearer token-1"]
    assert harness.naps == []


async def test_credentials_that_stay_refused_are_an_error() -> None:
    harness = Harness(httpx.Response(401, json={"detail": "token-1 is unknown"}))

    with pytest.raises(CredentialsRefused, match="Acme \\(main\\) answered 401 to GET /api/users") as refused:
        await harness.api.get("users")

    assert len(harness.requests) == 2
    assert "token-1" not in refused.value.message


async def test_requests_refused_together_make_fresh_credentials_once() -> None:
    renewals = 0

    async def authorize(refused: bool) -> Mapping[str, str]:
        nonlocal renewals
        renewals += refused
        return {"Authorization": f"Bearer token-{renewals}"}

    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)  # so that all are under way with the same token
        return httpx.Response(401 if request.headers["authorization"] == "Bearer token-0" else 200, json=[])

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        api = ApiClient("Acme", "https://acme.example", http, authorize)
        await asyncio.gather(*(api.get(f"users/{number}") for number in range(8)))

    assert renewals == 1
    assert api.request_count == 16


async def test_renewal_that_failed_for_one_request_is_tried_again_for_the_next() -> None:
    renewals = 0

    async def authorize(refused: bool) -> Mapping[str, str]:
        nonlocal renewals
        renewals += refused
        if renewals == 1:
            raise IncompleteRead("Acme gave no token.", "Try again.")
        return {"Authorization": f"Bearer token-{renewals}"}

    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)  # so that both are under way with the same token
        return httpx.Response(401 if request.headers["authorization"] == "Bearer token-0" else 200, json=[])

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        api = ApiClient("Acme", "https://acme.example", http, authorize)
        found = await asyncio.gather(*(api.get(f"users/{number}") for number in range(2)), return_exceptions=True)

    # The second is not answered with the refused token, and its credentials are not blamed.
    assert [type(each) for each in found] == [IncompleteRead, ApiResponse]


async def test_missing_permission_is_a_matter_of_credentials() -> None:
    harness = Harness(httpx.Response(403, json={"error": {"message": "Insufficient privileges"}}))

    with pytest.raises(PermissionMissing, match="Insufficient privileges") as refused:
        await harness.api.get("users")

    assert "permissions" in refused.value.hint
    assert len(harness.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_status_that_is_accepted_is_returned_at_once(status: int) -> None:
    harness = Harness(httpx.Response(status))

    answer = await harness.api.get("users", accept=(200, status))

    assert (answer.status, len(harness.requests), harness.renewals) == (status, 1, 0)


@pytest.mark.parametrize(
    ("status", "hint"),
    [(404, "does not exist"), (400, "URL and the ids"), (302, "redirects"), (501, "later"), (201, "URL")],
)
async def test_other_status_is_an_error_with_a_way_out(status: int, hint: str) -> None:
    harness = Harness(httpx.Response(status, headers={"location": "https://acme.example/api/x"}))

    with pytest.raises(IncompleteRead, match=f"answered {status} to GET /api/users") as failed:
        await harness.api.get("users")

    assert hint in failed.value.hint
    assert len(harness.requests) == 1


async def test_attempts_are_bounded_in_number() -> None:
    harness = Harness(httpx.Response(503), limits=RequestLimits(retries=4))

    with pytest.raises(IncompleteRead, match="503"):
        await harness.api.get("users")

    assert len(harness.requests) == 5
    assert all(low <= slept <= low + 1 for low, slept in zip([0.5, 1, 2, 4], harness.naps, strict=True))


async def test_waits_between_attempts_grow_to_half_a_minute_and_are_spread() -> None:
    harness = Harness(httpx.Response(503), limits=RequestLimits(retries=12, max_wait_seconds=3600))

    with pytest.raises(IncompleteRead, match="503"):
        await harness.api.get("users")

    assert all(30 <= slept <= 31 for slept in harness.naps[6:])
    assert len(set(harness.naps[6:])) == 6


async def test_attempts_are_bounded_in_time() -> None:
    harness = Harness(
        httpx.Response(503, headers={"retry-after": "20"}), limits=RequestLimits(retries=100, max_wait_seconds=70)
    )

    with pytest.raises(IncompleteRead, match="503"):
        await harness.api.get("users")

    assert len(harness.requests) == 4


@pytest.mark.parametrize("status", [408, 425, 502, 503, 504, 520, 522, 524, 530])
async def test_gateway_that_did_not_reach_the_server_is_asked_again(status: int) -> None:
    harness = Harness(httpx.Response(status), ok)

    assert (await harness.api.get("users")).status == 200


async def test_refusals_that_name_a_time_are_not_counted() -> None:
    harness = Harness(*[httpx.Response(429, headers={"retry-after": "1"})] * 12, ok, limits=RequestLimits(retries=1))

    assert (await harness.api.get("users")).status == 200
    assert all(1 <= slept <= 6 for slept in harness.naps)


async def test_refusals_that_name_a_time_may_go_on_for_hours() -> None:
    refusals = [httpx.Response(429, headers={"retry-after": "1"})] * 1_100
    harness = Harness(*refusals, ok, limits=RequestLimits(max_wait_seconds=86_400))

    assert (await harness.api.get("users")).status == 200


@pytest.mark.parametrize("named", ["0", "0.5", "soon", ""])
async def test_refusals_that_name_no_time_worth_it_are_counted(named: str) -> None:
    harness = Harness(httpx.Response(429, headers={"retry-after": named}), limits=RequestLimits(retries=4))

    with pytest.raises(IncompleteRead, match="429"):
        await harness.api.get("users")

    assert len(harness.requests) == 5


async def test_failures_between_refusals_that_name_a_time_are_counted() -> None:
    named, bare = httpx.Response(503, headers={"retry-after": "2"}), httpx.Response(503)
    harness = Harness(named, bare, named, bare, named, bare, named, ok, limits=RequestLimits(retries=2))

    with pytest.raises(IncompleteRead, match="503"):
        await harness.api.get("users")

    assert len(harness.requests) == 6


async def test_waits_of_the_pace_are_not_counted_against_the_server() -> None:
    class Slow:
        async def acquire(self, method: str, url: httpx.URL) -> None:  # noqa: ARG002
            patient.now += 1_000

        def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
            """Learn nothing."""

    patient = Harness(httpx.Response(503), ok, rate_limiter=Slow(), limits=RequestLimits(max_wait_seconds=10))

    assert (await patient.api.get("users")).status == 200


async def test_rate_limiter_sees_each_request_and_each_response() -> None:
    calls: list[tuple[str, int]] = []

    class RecordingLimiter:
        async def acquire(self, method: str, url: httpx.URL) -> None:
            calls.append((f"{method} {url.path}", -1))

        def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:  # noqa: ARG002
            calls.append((url.path, status))

    harness = Harness(
        httpx.Response(307, headers={"location": "/moved"}),
        httpx.ReadError("x"),
        httpx.Response(503),
        ok,
        rate_limiter=RecordingLimiter(),
    )
    await harness.api.get("users")

    assert calls == [
        ("GET /api/users", -1), ("/api/users", 307), ("GET /moved", -1), ("/moved", 0),
        ("GET /api/users", -1), ("/api/users", 503), ("GET /api/users", -1), ("/api/users", 200),
    ]  # fmt: skip
    assert harness.api.request_count == 4


async def test_no_more_than_eight_requests_are_in_flight() -> None:
    flying = most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.001)
        flying -= 1
        return httpx.Response(200, json=[])

    async def authorize(refused: bool) -> Mapping[str, str]:
        return {}

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        api = ApiClient("Acme", "https://acme.example", http, authorize)
        await asyncio.gather(*(api.get(f"users/{number}") for number in range(50)))

    assert most == 8


@pytest.mark.parametrize(
    "location", ["https://evil.example/users", "http://acme.example/users", "https://acme.example:1/"]
)
async def test_redirect_to_another_origin_is_not_followed(location: str) -> None:
    harness = Harness(httpx.Response(307, headers={"location": location}))

    with pytest.raises(IncompleteRead, match="307"):
        await harness.api.get("users")

    assert len(harness.requests) == 1


@pytest.mark.parametrize("location", ["https://xn--a/", "https://[::1/", "https://acme.example:999999/"])
async def test_redirect_to_nowhere_is_an_incomplete_read(location: str) -> None:
    harness = Harness(httpx.Response(307, headers={"location": location}))

    with pytest.raises(IncompleteRead):
        await harness.api.get("users")


async def test_redirects_end() -> None:
    harness = Harness(httpx.Response(308, headers={"location": "/round"}))

    with pytest.raises(IncompleteRead, match="308"):
        await harness.api.get("users")

    assert len(harness.requests) == 4


async def test_redirect_keeps_method_and_body_of_a_write() -> None:
    harness = Harness(httpx.Response(307, headers={"location": "/moved"}), httpx.Response(201))

    answer = await harness.api.send("POST", "users", json={"a": 1}, retry_policy=may_write(harness))

    assert [(request.method, request.content) for request in harness.requests] == [("POST", b'{"a":1}')] * 2
    assert (answer.status, answer.url.path) == (201, "/moved")


async def test_send_makes_one_attempt_and_judges_no_status() -> None:
    harness = Harness(httpx.Response(503))

    answer = await harness.api.send(
        "PUT", "users/1", json=[], params={"a": "b"}, headers={"If-Match": "x"}, retry_policy=may_write(harness)
    )

    (request,) = harness.requests
    assert (answer.status, request.method, request.url.query) == (503, "PUT", b"a=b")
    assert (request.headers["if-match"], request.headers["content-type"]) == ("x", "application/json")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("refused"), RequestNotSent),
        (httpx.ConnectTimeout(""), RequestNotSent),
        (httpx.PoolTimeout(""), RequestNotSent),
        (httpx.ProxyError("no"), RequestNotSent),
        (httpx.ReadTimeout(""), NoResponse),
        (httpx.WriteError("x"), NoResponse),
        (httpx.ReadError("x"), NoResponse),
        (httpx.RemoteProtocolError("x"), NoResponse),
    ],
)
async def test_send_distinguishes_requests_that_the_server_may_have_received(
    error: Exception, kind: type[Exception]
) -> None:
    harness = Harness(error)

    with pytest.raises(kind) as failed:
        await harness.api.send("POST", "users", json={}, retry_policy=may_write(harness))

    assert str(failed.value)
    assert len(harness.requests) == 1


async def test_unreachable_server_is_named_with_what_to_look_at() -> None:
    harness = Harness(httpx.ConnectError("[Errno -2] Name or service not known"))

    with pytest.raises(IncompleteRead, match=r"Acme \(main\) can't be reached at acme\.example") as failed:
        await harness.api.get("users")

    assert "proxy" in failed.value.hint


async def test_walk_of_an_api_knows_its_first_page() -> None:
    walk = Harness(ok).api.page_guard("users", {"limit": "2"})

    with pytest.raises(IncompleteRead):
        walk.advance("https://acme.example/api/users?limit=2")
