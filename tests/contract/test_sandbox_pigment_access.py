"""The pretend Pigment admits the right requests, within its rate limit."""

from __future__ import annotations

import pytest

from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.token import Token
from sandbox.pigment.workspace import PigmentWorkspace
from tests.contract.pretend_pigment import TEMPLATE, a_client, a_space


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_pigment_knows_no_strangers(method: str) -> None:
    async with a_client(a_space(members=1)) as client:
        answer = await client.request(method, "/Users/none", json={})
    assert (answer.status_code, answer.json()["status"]) == (404, "404")


@pytest.mark.parametrize(("method", "where"), [("PUT", "/Users"), ("DELETE", "/Users"), ("POST", "/Users/x")])
async def test_pigment_refuses_methods_it_does_not_have(method: str, where: str) -> None:
    async with a_client(a_space()) as client:
        assert (await client.request(method, where, json={})).status_code == 405


@pytest.mark.parametrize("token", ["", "bad", "until-june"])
async def test_pigment_refuses_tokens_that_are_unknown_or_expired(token: str) -> None:
    space = a_space(at="2026-07-01T00:00:00")
    async with a_client(space, token=token or " ") as client:
        answer = await client.post("/Users", json=TEMPLATE)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert [(write.status, write.applied) for write in space.write_log.writes] == [(401, False)]


async def test_pigment_takes_a_token_until_the_day_before_it_expires_and_until_it_is_revoked() -> None:
    space = a_space(at="2026-06-30T23:59:59")
    async with a_client(space, token="until-june") as client:
        assert (await client.get("/Users")).status_code == 200
        space.tokens.revoke("until-june")
        assert (await client.get("/Users")).status_code == 401
        space.tokens.add(Token("next"))
        assert (await client.get("/Users", headers={"Authorization": "bearer next"})).status_code == 200
    assert {token.secret for token in space.tokens} == {"good", "next"}


async def test_pigment_refuses_when_scim_is_off() -> None:
    async with a_client(a_space(WorkspaceOptions(scim_on=False))) as client:
        assert (await client.get("/Users")).status_code == 403


@pytest.mark.parametrize(("where", "status"), [("/Groups", 501), ("/Groups/1", 501), ("/Schemas", 404)])
async def test_pigment_has_no_groups(where: str, status: int) -> None:
    async with a_client(a_space()) as client:
        assert (await client.get(where)).status_code == 404
    async with a_client(a_space(WorkspaceOptions(groups_status=501))) as client:
        assert (await client.get(where)).status_code == status


async def test_pigment_workspaces_do_not_share_members_or_tokens() -> None:
    one, other = a_space(members=2), PigmentWorkspace("emea", ["emea-token"])
    async with a_client(one, other) as client:
        assert (await client.get("http://127.0.0.1/emea/scim/v2/Users")).status_code == 401
        emea = {"Authorization": "Bearer emea-token"}
        page = await client.get("http://127.0.0.1/emea/scim/v2/Users", headers=emea)
        assert page.json()["totalResults"] == 0
        assert (await client.get("http://127.0.0.1/none/scim/v2/Users", headers=emea)).status_code == 404


@pytest.mark.parametrize(("retry_after", "header"), [(True, "200"), (False, None)])
async def test_pigment_limits_requests_of_a_client_until_the_window_resets(
    retry_after: bool, header: str | None
) -> None:
    clock = [1000.0]
    limiter = RateLimiter(RateLimit(3, 300, retry_after=retry_after), now=lambda: clock[0])
    async with a_client(a_space(), limiter=limiter) as client:
        statuses = []
        for _ in range(3):
            statuses.append((await client.get("/Users")).status_code)
            clock[0] += 50
        clock[0] -= 50
        refused = await client.post("/Users", json=TEMPLATE)
        clock[0] = 1300.0
        statuses.append((await client.get("/Users")).status_code)
    assert statuses == [200, 200, 200, 200]
    assert (refused.status_code, refused.headers.get("retry-after")) == (429, header)


def test_pigment_sliding_limit_counts_the_last_seconds_at_each_request() -> None:
    clock = [0.0]
    limiter = RateLimiter(RateLimit(2, 10, "sliding"), now=lambda: clock[0])
    waits = []
    for clock[0] in (0.0, 9.0, 9.5, 10.0, 10.5, 19.0):
        waits.append(limiter.acquire("a"))
    assert waits == [0.0, 0.0, 0.5, 0.0, 8.5, 0.0]
    assert limiter.acquire("b") == 0.0
