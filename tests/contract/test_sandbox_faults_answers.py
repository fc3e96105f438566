"""Faults that replace or corrupt a system's response do what they promise."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import cast

import httpx
import pytest
from starlette.applications import Starlette

from sandbox.faults.action import System
from sandbox.faults.middleware import Runtime
from sandbox.host import with_date
from tests.contract.pretend_lists import PATH, a_client, a_full_space, an_app

ERROR_WORDS = {
    System.OKTA: ("errorCode", "E0000006"),
    System.ENTRA: ("error", "Authorization_RequestDenied"),
    System.ONELOGIN: ("name", "ForbiddenError"),
    System.PIGMENT: ("status", "403"),
}
NEW = {"userName": "new@acme.com", "displayName": "New"}


@pytest.mark.parametrize("system", System)
async def test_status_comes_with_the_systems_own_error(system: System) -> None:
    async with a_client(system, {"do": "status", "status": 403, "headers": {"X-Why": "so"}}) as client:
        answer = await client.get(PATH[system])
    key, value = ERROR_WORDS[system]
    error = answer.json()[key]
    assert (error["code"] if isinstance(error, dict) else error) == value
    assert (answer.status_code, answer.headers["x-why"]) == (403, "so")


async def test_status_at_a_token_endpoint_speaks_oauth() -> None:
    async with a_client(System.OKTA, {"do": "status", "status": 401}) as client:
        answer = await client.post("/oauth2/v1/token")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_status_may_have_any_body() -> None:
    async with a_client(System.OKTA, {"do": "status", "status": 418, "body": "tea"}) as client:
        answer = await client.get(PATH[System.OKTA])
    assert (answer.status_code, answer.text) == (418, "tea")


@pytest.mark.parametrize("word", ["status", "html"])
@pytest.mark.parametrize("committed", [True, False])
async def test_an_error_may_come_after_the_write_was_done(word: str, committed: bool) -> None:
    space = a_full_space()
    rule = {"do": word, "status": 502, "method": "POST", "committed": committed}
    async with a_client(System.PIGMENT, rule, app=an_app(System.PIGMENT, space)) as client:
        answer = await client.post("/latam/scim/v2/Users", json=NEW)
    assert answer.status_code == 502
    assert (space.find_member("new@acme.com") is not None) is committed


async def test_html_is_a_gateways_page() -> None:
    async with a_client(System.PIGMENT, {"do": "html", "status": 503}) as client:
        answer = await client.get(PATH[System.PIGMENT])
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html")
    assert answer.text.startswith("<html>")
    assert "503 Service Unavailable" in answer.text


@pytest.mark.parametrize(("word", "done"), [("disconnect", False), ("reset", True)])
async def test_a_lost_connection_is_an_error_of_the_transport(word: str, done: bool) -> None:
    space = a_full_space()
    async with a_client(System.PIGMENT, {"do": word}, app=an_app(System.PIGMENT, space)) as client:
        with pytest.raises(httpx.ReadError):
            await client.post("/latam/scim/v2/Users", json=NEW)
    assert (space.find_member("new@acme.com") is not None) is done


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_dropped_write_is_answered_as_if_it_was_done_and_journalled_as_not(method: str) -> None:
    space = a_full_space()
    member = space.members[0]
    bodies = {"PATCH": {"Operations": [{"op": "replace", "path": "active", "value": False}]}, "PUT": NEW}
    async with a_client(System.PIGMENT, {"do": "dropped"}, app=an_app(System.PIGMENT, space)) as client:
        answer = await client.request(method, f"/latam/scim/v2/Users/{member.id}", json=bodies.get(method))
    assert (answer.status_code, answer.json()["userName"], answer.json()["active"]) == (200, "p0@acme.com", True)
    assert (member.user_name, member.active) == ("p0@acme.com", True)
    assert [(write.method, write.applied) for write in space.write_log.writes] == [(method, False)]


@pytest.mark.parametrize("posts", [False, True])
async def test_dropped_create_is_answered_as_accepted_only_where_posts_are_asked_for(posts: bool) -> None:
    space = a_full_space()
    async with a_client(System.PIGMENT, {"do": "dropped", "posts": posts}, app=an_app(System.PIGMENT, space)) as client:
        answer = await client.post("/latam/scim/v2/Users", json=NEW)
    assert answer.status_code == (202 if posts else 201)
    assert (space.find_member("new@acme.com") is None) is posts


@pytest.mark.parametrize("system", System)
async def test_revoked_token_is_refused_from_its_request_on_and_others_are_not(system: System) -> None:
    space = a_full_space()
    space.tokens.add("other")
    app = an_app(system, space)
    async with a_client(system, {"do": "revoke-token", "at": 2}, app=app) as client:
        statuses = [(await client.get(PATH[system])).status_code for _ in range(4)]
        other = await client.get(PATH[system], headers={"Authorization": "Bearer other"})
    assert statuses == [200, 401, 401, 401]
    assert other.status_code == 200


WAITS = {
    System.OKTA: ("x-rate-limit-reset", 1_000_003),
    System.ENTRA: ("retry-after", 3),
    System.ONELOGIN: ("x-ratelimit-reset", 3),
    System.PIGMENT: ("retry-after", 3),
}


@pytest.mark.parametrize("system", System)
async def test_early_retry_must_wait_twice_as_long(system: System) -> None:
    clock = [1_000_000.0]
    around = Runtime(now=lambda: clock[0])
    name, first = WAITS[system]
    async with a_client(system, {"do": "early-retry", "at": 1, "seconds": 3}, around=around) as client:
        error = []
        for clock[0] in (1_000_000.0, 1_000_002.9):
            answer = await client.get(PATH[system])
            assert answer.status_code == 429
            error.append(int(answer.headers[name]))
        clock[0] += 5.9
        assert (await client.get(PATH[system])).status_code == 429
        clock[0] += 12.0
        if system is System.OKTA:
            clock[0] += 1
        assert (await client.get(PATH[system])).status_code == 200
    assert error == [first, first + (6 if system is System.OKTA else 3)]


@pytest.mark.parametrize("system", System)
async def test_early_retry_lets_through_who_waited(system: System) -> None:
    clock = [1_000_000.0]
    around = Runtime(now=lambda: clock[0])
    async with a_client(system, {"do": "early-retry", "at": 1, "seconds": 3}, around=around) as client:
        statuses = []
        for clock[0] in (1_000_000.0, 1_000_003.0, 1_000_003.1):
            statuses.append((await client.get(PATH[system])).status_code)
    assert statuses == [429, 200, 200]


@pytest.mark.parametrize("system", System)
async def test_concurrency_refuses_those_beyond_the_limit_only_while_they_are_beyond(system: System) -> None:
    gate, both = asyncio.Event(), asyncio.Event()
    waiting: list[float] = []

    async def wait(seconds: float) -> None:
        waiting.append(seconds)
        if len(waiting) == 2:
            both.set()
        await gate.wait()

    rules: list[dict[str, object]] = [
        {"name": "limit", "do": "concurrency", "limit": 2},
        {"name": "hold", "do": "slow", "times": 2},
    ]
    async with a_client(system, *rules, around=Runtime(now=lambda: 100.5, sleep=wait)) as client:
        held = [asyncio.create_task(client.get(PATH[system])) for _ in range(2)]
        await both.wait()
        beyond = await client.get(PATH[system])
        gate.set()
        statuses = [(await task).status_code for task in held]
        after = await client.get(PATH[system])
    assert (beyond.status_code, statuses, after.status_code) == (429, [200, 200], 200)
    if system is System.OKTA:
        shown = [beyond.headers[f"x-rate-limit-{name}"] for name in ("limit", "remaining", "reset")]
        assert shown == ["0", "0", "161"]


async def test_slow_waits_before_the_request_is_done() -> None:
    waited: list[float] = []
    space = a_full_space()

    async def sleep(seconds: float) -> None:
        assert space.find_member("new@acme.com") is None
        waited.append(seconds)

    rule = {"do": "slow", "seconds": 2.5}
    app = an_app(System.PIGMENT, space)
    async with a_client(System.PIGMENT, rule, app=app, around=Runtime(sleep=sleep)) as client:
        assert (await client.post("/latam/scim/v2/Users", json=NEW)).status_code == 201
    assert waited == [2.5]


EXPIRED = {
    System.OKTA: ("errorCode", "E0000029"),
    System.ENTRA: ("error", "Directory_ExpiredPageToken"),
    System.ONELOGIN: ("description", "Invalid pagination cursor"),
    System.PIGMENT: ("scimType", "expiredCursor"),
}


@pytest.mark.parametrize("system", System)
async def test_expired_cursor_has_the_systems_own_error(system: System) -> None:
    async with a_client(system, {"do": "expired-cursor"}) as client:
        answer = await client.get(PATH[system])
    key, value = EXPIRED[system]
    error = answer.json()[key]
    assert (answer.status_code, error["code"] if isinstance(error, dict) else error) == (400, value)


OTHERS: tuple[dict[str, object], ...] = (
    {"do": "headers", "headers": {"X-Rate-Limit-Reset": "7"}},
    {"do": "early-retry", "seconds": 30.0},
)


@pytest.mark.parametrize("other", OTHERS)
async def test_headers_that_are_doubled_stand_twice_in_answers_and_in_refusals(other: dict[str, object]) -> None:
    async with a_client(System.OKTA, other, {"do": "doubled-headers", "names": "x-rate-limit-*"}) as client:
        answer = await client.get(PATH[System.OKTA])
    found = answer.headers.get_list("x-rate-limit-reset")
    assert len(found) == 2
    assert len(set(found)) == 1
    assert len(answer.headers.get_list("content-type")) == 1


@pytest.mark.parametrize("system", System)
async def test_statuses_of_a_network_in_front_are_worded(system: System) -> None:
    async with a_client(system, {"do": "html", "status": 522}) as client:
        assert (await client.get(PATH[system])).status_code == 522


async def test_truncated_response_has_the_length_of_what_is_left() -> None:
    async with a_client(System.OKTA) as client:
        whole = (await client.get(PATH[System.OKTA])).content
    async with a_client(System.OKTA, {"do": "truncated", "keep": 0.8}) as client:
        cut = await client.get(PATH[System.OKTA])
    assert cut.content == whole[: int(len(whole) * 0.8)]
    assert (cut.status_code, int(cut.headers["content-length"])) == (200, len(cut.content))
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|Invalid"):
        cut.json()


async def test_invalid_json_has_the_content_type_of_json() -> None:
    async with a_client(System.OKTA, {"do": "invalid-json", "text": "<<<"}) as client:
        answer = await client.get(PATH[System.OKTA])
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (200, "application/json", "<<<")


@pytest.mark.parametrize("status", [204, 200])
async def test_no_body_comes_after_the_write_was_done(status: int) -> None:
    space = a_full_space()
    rule = {"do": "no-body", "status": status}
    async with a_client(System.PIGMENT, rule, app=an_app(System.PIGMENT, space)) as client:
        answer = await client.post("/latam/scim/v2/Users", json=NEW)
    assert (answer.status_code, answer.content) == (status, b"")
    assert "content-type" not in answer.headers
    assert space.find_member("new@acme.com")


async def test_headers_are_set_and_taken_away() -> None:
    rule: dict[str, object] = {"do": "headers", "headers": {"Total-Count": "", "X-RateLimit-Remaining": "0"}}
    async with a_client(System.ONELOGIN, rule) as client:
        answer = await client.get(PATH[System.ONELOGIN])
    assert "total-count" not in answer.headers
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert len(answer.json()) == 2


async def test_huge_body_is_json_of_the_requested_size() -> None:
    async with a_client(System.OKTA, {"do": "huge-body", "size": 200_001}) as client:
        answer = await client.get(PATH[System.OKTA])
    assert len(answer.content) == int(answer.headers["content-length"]) == 200_001
    assert answer.json() == []


async def test_deep_json_has_the_requested_depth() -> None:
    async with a_client(System.OKTA, {"do": "deep-json", "depth": 5000}) as client:
        answer = await client.get(PATH[System.OKTA])
    assert answer.content == b"[" * 5000 + b"]" * 5000


async def test_faults_meet_in_one_request() -> None:
    rules: list[dict[str, object]] = [
        {"do": "duplicate-rows"},
        {"do": "headers", "headers": {"X-Seen": "yes"}},
        {"do": "concurrency", "limit": 5},
    ]
    async with a_client(System.ONELOGIN, *rules) as client:
        answer = await client.get(PATH[System.ONELOGIN])
    assert len(answer.json()) == 3
    assert answer.headers["x-seen"] == "yes"


@pytest.mark.parametrize("ahead", [600, -90])
async def test_skewed_clock_shows_another_time_once(ahead: int) -> None:
    app = cast(Starlette, with_date(an_app(System.PIGMENT, a_full_space())))
    async with a_client(System.PIGMENT, {"do": "skewed-clock", "ahead": ahead, "at": 1}, app=app) as client:
        skewed, right = await client.get(PATH[System.PIGMENT]), await client.get(PATH[System.PIGMENT])
    assert [len(answer.headers.get_list("date")) for answer in (skewed, right)] == [1, 1]
    shown, real = (parsedate_to_datetime(answer.headers["date"]).timestamp() for answer in (skewed, right))
    assert shown - real == pytest.approx(ahead, abs=30)
