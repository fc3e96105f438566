"""How the OneLogin connector gets its access token, and its errors without one."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from connectors.base import CredentialsRefused, IncompleteRead, ReadError
from connectors.onelogin.connector import OneLoginConnector
from tests.contract.okta_org import Fault, body, broken_off, unreachable
from tests.contract.onelogin_account import ROOT, SOURCE, TOKEN_PATH, Account, company, error

UNAUTHORIZED = {"error": True, "code": 401, "type": "Unauthorized", "message": "Unauthorized Error"}


class TokenAccount:
    """An account that gives out one token until it is revoked, as OneLogin does, and takes that one alone."""

    def __init__(self, lifetime_seconds: object = 36_000, *faults: Fault) -> None:
        self.account = company()
        self.lifetime_seconds = lifetime_seconds
        self.faults = list(faults)
        self.asked: list[httpx.Request] = []
        self.token = "token-1"

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN_PATH:
            self.asked.append(request)
            await asyncio.sleep(0)
            return self.faults.pop(0)(request) if self.faults else self.given()
        if request.headers["authorization"] != f"bearer {self.token}":
            return error(401, "Unauthorized", "UnauthorizedError")(request)
        request.headers["authorization"] = "bearer abcdef"
        return self.account(request)

    def given(self) -> httpx.Response:
        fields = {"access_token": self.token, "expires_in": self.lifetime_seconds, "token_type": "bearer"}
        return httpx.Response(200, json=fields | {"account_id": 555555, "refresh_token": "deprecated"})

    def connector(self, **settings: Any) -> OneLoginConnector:
        return self.account.connector(transport=self, **settings)

    async def read(self, **settings: Any) -> int:
        return len((await self.connector(**settings).read(SOURCE)).people)


async def test_token_request_follows_the_specification() -> None:
    server = TokenAccount()
    assert await server.read() == 4
    (request,) = server.asked
    assert (request.method, str(request.url)) == ("POST", f"{ROOT}{TOKEN_PATH}")
    assert orjson.loads(request.content) == {"grant_type": "client_credentials"}
    assert request.headers["content-type"] == "application/json"
    kind, _, pair = request.headers["authorization"].partition(" ")
    assert (kind, b64decode(pair)) == ("Basic", b"id:secret")


async def test_secret_is_read_from_its_file_at_each_request(tmp_path: Path) -> None:
    file = tmp_path / "onelogin"
    file.write_text("old\n")
    server = TokenAccount(36_000, lambda _: httpx.Response(401, json=UNAUTHORIZED))
    connector = server.connector(client_secret={"file": str(file)})
    with pytest.raises(CredentialsRefused):
        await connector.read(SOURCE)
    file.write_text("secret:with:colons\n")
    await connector.read(SOURCE)
    pairs = [b64decode(request.headers["authorization"].split()[1]) for request in server.asked]
    assert pairs == [b"id:old", b"id:secret:with:colons"]


async def test_token_is_used_until_shortly_before_it_ends() -> None:
    server = TokenAccount()
    connector = server.connector()
    await connector.read(SOURCE)
    server.account.time.now += 36_000 - 121
    await connector.read(SOURCE)
    assert len(server.asked) == 1
    server.account.time.now += 1
    await connector.read(SOURCE)
    assert len(server.asked) == 2


@pytest.mark.parametrize("lifetime_seconds", [30, 0, None, "soon", 1.5])
async def test_token_without_a_usable_lifetime_is_used_for_a_minute(lifetime_seconds: object) -> None:
    server = TokenAccount(lifetime_seconds)
    connector = server.connector()
    await connector.read(SOURCE)
    server.account.time.now += 59
    await connector.read(SOURCE)
    assert len(server.asked) == 1
    server.account.time.now += 1
    await connector.read(SOURCE)
    assert len(server.asked) == 2


async def test_requests_that_start_together_share_one_token() -> None:
    server = TokenAccount()
    connector = server.connector()
    first, second = await asyncio.gather(connector.read(SOURCE), connector.read(SOURCE))
    assert first == second
    assert len(server.asked) == 1


async def test_token_in_the_older_wrapping_is_taken() -> None:
    status = {"error": False, "code": 200, "type": "success", "message": "Success"}
    wrapped = {"status": status, "data": [{"access_token": "token-1", "expires_in": 36_000}]}
    assert await TokenAccount(36_000, lambda _: httpx.Response(200, json=wrapped)).read() == 4


async def test_token_refused_during_a_read_is_requested_again_once() -> None:
    server = TokenAccount()
    connector = server.connector()
    await connector.read(SOURCE)
    server.token = "token-2"
    await connector.read(SOURCE)
    assert len(server.asked) == 2


async def test_token_is_never_revoked() -> None:
    server = TokenAccount()
    await server.read()
    assert {request.url.path for request in server.asked} == {TOKEN_PATH}
    assert {request.method for request in server.account.requests} == {"GET"}


@pytest.mark.parametrize(
    "fault", [body("<html>", 502), body("", 429), body("", 503), body("", 500), body("", 522), broken_off, unreachable]
)
async def test_token_request_that_fails_in_passing_is_made_again(fault: Fault) -> None:
    server = TokenAccount(36_000, fault, fault)
    assert await server.read() == 4
    assert len(server.asked) == 3


@pytest.mark.parametrize("named", ["X-RateLimit-Reset", "Retry-After"])
async def test_token_endpoint_that_names_a_time_is_asked_as_long_as_the_longest_wait(named: str) -> None:
    server = TokenAccount(36_000, *[lambda _: httpx.Response(429, headers={named: "20"})] * 8)
    assert await server.read() == 4
    assert server.account.time.now >= 1160


async def refusal(server: TokenAccount, secret: str = "secret-word") -> ReadError:  # noqa: S107  (of the pretend account)
    with pytest.raises(ReadError) as raised:
        await server.read(client_secret=secret)
    assert raised.value.hint
    assert secret not in raised.value.message + raised.value.hint
    assert server.account.requests == []
    return raised.value


def echoed(request: httpx.Request) -> httpx.Response:
    """Refuse, and repeat what was sent, as some servers do."""
    pair = request.headers["authorization"].split()[1]
    text = f"bad credentials {pair} ({b64decode(pair).decode().partition(':')[2]})"
    return httpx.Response(401, json=UNAUTHORIZED | {"message": text})


@pytest.mark.parametrize(
    "fault",
    [
        lambda _: httpx.Response(401, json=UNAUTHORIZED),
        lambda _: httpx.Response(400, json=UNAUTHORIZED | {"code": 400, "type": "bad request"}),
        lambda _: httpx.Response(401, json={"status": UNAUTHORIZED}),
        body("<html>no</html>", 403),
        echoed,
    ],
)
async def test_refused_token_request_is_a_matter_of_credentials(fault: Fault) -> None:
    server = TokenAccount(36_000, fault)
    ended = await refusal(server)
    assert isinstance(ended, CredentialsRefused)
    assert "to the token request" in ended.message
    assert "client_id" in ended.hint
    assert "aWQ6" not in ended.message
    assert len(server.asked) == 1


async def test_token_request_that_keeps_answering_500_names_the_deleted_administrator() -> None:
    server = TokenAccount(36_000, *[error(500, "Internal server error")] * 9)
    ended = await refusal(server)
    assert isinstance(ended, IncompleteRead)
    assert 'answered 500 to the token request: "Internal server error"' in ended.message
    assert "administrator who made the API credential" in ended.hint
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_token_request_that_keeps_failing_ends_the_read(status: int) -> None:
    server = TokenAccount(36_000, *[body("<html><h1>Sorry</h1></html>", status)] * 9)
    ended = await refusal(server)
    assert isinstance(ended, IncompleteRead)
    assert f'answered {status} to the token request: "Sorry"' in ended.message
    assert len(server.asked) == 5


@pytest.mark.parametrize(
    "fault",
    [
        unreachable,
        broken_off,
        body("<html>"),
        body("[]"),
        body("{}"),
        body('{"data": []}'),
        body('{"data": [7]}'),
        body('{"access_token": ""}'),
        body('{"access_token": null}'),
        body('{"access_token": "a\\nb"}'),
        body('{"access_token": "é"}'),
        body("", 404),
        body("", 302, {"location": "https://evil.example.com/"}),
        body("", 307, {"location": "https://evil.example.com/"}),
    ],
)
async def test_token_answer_that_holds_no_token_ends_the_read(fault: Fault) -> None:
    server = TokenAccount(36_000, *[fault] * 9)
    ended = await refusal(server)
    assert isinstance(ended, IncompleteRead)
    assert "address" in ended.hint or "not JSON" in ended.message
    assert {request.url.host for request in server.asked} == {"acme.onelogin.com"}


async def test_account_elsewhere_is_asked_at_its_address() -> None:
    account = Account()
    account.app["role_ids"] = []
    await account.connector(subdomain=None, api_url="https://acme.onelogin.example:8443").read(SOURCE)
    everything = [*account.token_requests, *account.requests]
    assert {(request.url.host, request.url.port) for request in everything} == {("acme.onelogin.example", 8443)}
