"""Token requests to real HTTP servers have the limits, retries and proxies of every other request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from agent.http_client import create_client
from connectors.base import IncompleteRead
from connectors.entra import EntraSettings
from connectors.entra.auth import MsalTokens
from connectors.http import RequestLimits
from connectors.oauth import MAX_BYTES
from tests.contract.entra_tenant import CLIENT_ID, TENANT_ID, discovery
from tests.contract.okta_org import FakeTime

WITHIN_SECONDS = 120
SECRET = "s3cret-word"
GRANTED = {"token_type": "Bearer", "expires_in": 3599, "access_token": "token-1"}


@dataclass
class Authority:
    """An http authority. *answers* are those to the token requests, the last one again and again."""

    answers: list[Answer]
    received: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /machine"):
                token = {"access_token": "token-of-the-machine", "expires_on": "1900000000", "token_type": "Bearer"}
                writer.write(response(200, json.dumps(token).encode()))
            elif head.startswith(b"GET "):
                document = discovery(f"https://127.0.0.1:{self.port}/{TENANT_ID}")
                writer.write(response(200, json.dumps(document).encode()))
            else:
                (length,) = (
                    line.split(b":")[1] for line in head.splitlines() if line.lower().startswith(b"content-length")
                )
                self.received.append(await reader.readexactly(int(length)))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                await answer(reader, writer)
            await writer.drain()
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def response(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Any", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def status(code: int, *headers: str) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(code, b"<h1>Sorry</h1>", *headers))

    return answer


async def grant(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(response(200, json.dumps(GRANTED).encode()))


async def never_end(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 2**16)
        await writer.drain()


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def keep_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@asynccontextmanager
async def authority(*answers: Answer) -> AsyncIterator[Authority]:
    served = Authority([*answers])
    running: set[asyncio.Task[object]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        await served.serve(reader, writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        served.port = listening.sockets[0].getsockname()[1]
        yield served
        async with asyncio.timeout(WITHIN_SECONDS):
            await asyncio.gather(*running)


async def request_token(
    served: Authority,
    time: FakeTime,
    limits: RequestLimits | None = None,
    environ: Mapping[str, str] | None = None,
    **credential: object,
) -> str:
    settings = EntraSettings.model_validate(
        {"type": "entra", "tenant_id": TENANT_ID, "authority_url": served.root}
        | (credential or {"client_id": CLIENT_ID, "client_secret": SECRET})
    )
    async with create_client(None, 30, environ or {}) as client, asyncio.timeout(WITHIN_SECONDS):
        tokens = MsalTokens("Entra", settings, client, limits or RequestLimits(), time.timer, time.wall)
        return (await tokens.auth_headers(False))["Authorization"]


async def refusal(served: Authority, limits: RequestLimits | None = None) -> str:
    with pytest.raises(IncompleteRead) as raised:
        await request_token(served, FakeTime(), limits)
    assert SECRET not in raised.value.message + raised.value.hint
    assert "authority_url" in raised.value.hint
    return raised.value.message


async def test_token_endpoint_without_end_is_refused_at_the_limit_and_not_retried() -> None:
    async with authority(never_end) as served:
        message = await refusal(served)
    assert message == f"Entra got no token: no answer from {served.root} (an answer of more than {MAX_BYTES:,} bytes)."
    assert len(served.received) == 1


async def test_token_endpoint_that_sends_single_bytes_is_limited_in_time() -> None:
    async with authority(drip) as served:
        message = await refusal(served, RequestLimits(retries=0, max_wait_seconds=5))
    assert message == f"Entra got no token: no answer from {served.root} (no complete answer within 5 s)."


async def test_silent_token_endpoint_is_retried_and_given_up() -> None:
    async with authority(keep_silent) as served:
        message = await refusal(served, RequestLimits(timeout_seconds=3, retries=1))
    assert message == f"Entra got no token: no answer from {served.root} (no answer in time)."
    assert len(served.received) == 2


async def test_redirect_of_the_token_endpoint_to_another_host_is_not_followed() -> None:
    async with authority(grant) as other, authority(status(307, f"Location: {other.root}/")) as served:
        assert "got no token: 307" in await refusal(served)
        assert other.received == []
    assert len(served.received) == 1


@pytest.mark.parametrize("code", [429, 503])
async def test_token_endpoint_is_asked_again_after_the_time_that_it_names(code: int) -> None:
    time = FakeTime()
    async with authority(status(code, "Retry-After: 40"), status(code), grant) as served:
        assert await request_token(served, time) == "Bearer token-1"
    assert len(served.received) == 3
    assert 40 <= max(time.naps) < 42


@pytest.mark.parametrize("code", [429, 503])
async def test_token_endpoint_that_stays_busy_is_given_up_after_the_retries(code: int) -> None:
    async with authority(status(code)) as served:
        assert f'got no token: {code}: "Sorry"' in await refusal(served, RequestLimits(retries=2))
    assert len(served.received) == 3


async def test_only_the_endpoint_of_the_machine_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"HTTP_PROXY": "http://127.0.0.1:1"}
    async with authority(grant) as served:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{served.root}/machine")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        token = await request_token(served, FakeTime(), environ=environ, managed_identity=True)
        assert token == "Bearer token-of-the-machine"
        with pytest.raises(IncompleteRead, match=r"through the proxy http://127\.0\.0\.1:1 "):
            await request_token(served, FakeTime(), environ=environ)
    assert served.received == []
