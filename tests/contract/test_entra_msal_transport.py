"""The HTTP client that msal gets: our own, from msal's thread, with trust, limits and the actual destination."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import respx
import trustme

from agent.http_client import create_client
from connectors.entra.msal_transport import MsalResponse, MsalTransport
from connectors.http import ApiResponse, NoResponse, RequestLimits, RequestNotSent
from connectors.http.send import ResponseTooLarge
from connectors.oauth import MAX_BYTES

URL = "https://login.example.com/token"
WITHIN_SECONDS = 120


@asynccontextmanager
async def server(*pieces: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answer each connection with *pieces*, the last of them again and again, until the client closes it."""

    answers: set[asyncio.Task[object]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answers.add(task)
        with suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces[:-1]:
                writer.write(piece)
            while not reader.at_eof():
                writer.write(pieces[-1])
                await writer.drain()
                await asyncio.sleep(0.001)
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]
        async with asyncio.timeout(WITHIN_SECONDS):
            await asyncio.gather(*answers)


def hello() -> tuple[bytes, ...]:
    return (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"")


@asynccontextmanager
async def transport(
    client: httpx.AsyncClient | None = None,
    limits: RequestLimits | None = None,
    *,
    plain: str = "",
    direct: bool = False,
) -> AsyncIterator[MsalTransport]:
    async with client or create_client(None, 30, {}) as used:
        loop = asyncio.get_running_loop()
        yield MsalTransport("Entra", used, limits or RequestLimits(), loop, plain=plain, is_direct=direct)


async def get(used: MsalTransport, url: str) -> MsalResponse:
    async with asyncio.timeout(WITHIN_SECONDS):
        return await asyncio.to_thread(used.get, url)


async def test_private_authority_is_trusted_through_the_bundle_only(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    async with server(*hello(), context=context) as port:
        async with transport(create_client(bundle, 30, {})) as trusting:
            assert (await get(trusting, f"https://localhost:{port}/")).text == "hello"
        async with transport() as strict:
            with pytest.raises(RequestNotSent, match=r"(?i)certificate"):
                await get(strict, f"https://localhost:{port}/")


async def test_direct_request_does_not_use_the_proxy_of_the_environment() -> None:
    environ = {"HTTP_PROXY": "http://127.0.0.1:1"}
    async with server(*hello()) as port:
        async with transport(create_client(None, 30, environ), direct=True) as direct:
            assert (await get(direct, f"http://127.0.0.1:{port}/")).text == "hello"
        async with transport(create_client(None, 30, environ)) as proxied:
            with pytest.raises(RequestNotSent, match=r"through the proxy http://127\.0\.0\.1:1 "):
                await get(proxied, f"http://127.0.0.1:{port}/")


@respx.mock
@pytest.mark.parametrize(
    ("url", "actual"),
    [
        ("https://127.0.0.1:808/tenant", "http://127.0.0.1:808/tenant"),
        ("https://127.0.0.1:808", "http://127.0.0.1:808/"),
        ("https://127.0.0.1:8089/tenant", "https://127.0.0.1:8089/tenant"),
        (URL, URL),
    ],
)
async def test_only_requests_to_the_http_origin_are_sent_over_http(url: str, actual: str) -> None:
    route = respx.route().respond(text="ok")
    async with transport(plain="http://127.0.0.1:808") as plain:
        await get(plain, url)
    assert str(route.calls[0].request.url) == actual


@pytest.mark.parametrize("url", ["https://127.0.0.1:x/", "ftp://login.example.com/", "no URL"])
async def test_request_to_an_invalid_url_is_not_sent(url: str) -> None:
    async with transport() as used:
        with pytest.raises(RequestNotSent):
            await get(used, url)


@respx.mock
async def test_form_has_bytes_as_text_and_asks_for_an_encoding_with_a_limit() -> None:
    route = respx.post(URL).respond(text="ok")
    form: dict[str, str | bytes] = {"client_assertion": b"eyJ.x", "c": "d e&f"}
    async with transport() as used:
        await asyncio.to_thread(used.post, URL, params={"a": "b"}, data=form, headers={"X-One": "1"})
    request = route.calls[0].request
    assert request.content == b"client_assertion=eyJ.x&c=d+e%26f"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["x-one"] == "1"
    assert request.url.query == b"a=b"


@respx.mock
async def test_last_response_is_kept_until_the_next_request() -> None:
    respx.get(URL).mock(side_effect=[httpx.Response(503, text="busy"), httpx.ConnectError("refused")])
    async with transport() as used:
        response = await get(used, URL)
        last = used.last_response
        assert last is not None
        assert (last.status, last.body, str(last.url), last.method, last.server) == (503, b"busy", URL, "GET", "Entra")
        assert (response.status_code, response.text) == (503, "busy")
        with pytest.raises(RuntimeError, match="503"):
            response.raise_for_status()
        with pytest.raises(RequestNotSent, match="refused"):
            await get(used, URL)
        assert used.last_response is None


def test_successful_response_raises_nothing() -> None:
    MsalResponse(ApiResponse(200, httpx.Headers(), httpx.URL(URL), b"ok")).raise_for_status()


async def test_response_above_the_limit_is_not_read_further() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 2**16) as port, transport() as used:
        with pytest.raises(ResponseTooLarge, match=f"more than {MAX_BYTES:,} bytes"):
            await get(used, f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 100 Continue\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n"),
    ],
    ids=["body", "interim responses", "headers"],
)
async def test_response_that_never_ends_is_limited_in_time(pieces: tuple[bytes, ...]) -> None:
    limits = RequestLimits(timeout_seconds=60, max_wait_seconds=0.3)
    async with server(*pieces) as port, transport(limits=limits) as used:
        with pytest.raises(NoResponse, match=r"within 0\.3 s|broke off"):
            await get(used, f"http://127.0.0.1:{port}/")


def test_end_of_the_event_loop_does_not_wait_for_a_silent_server() -> None:
    async def stop_during_a_request() -> None:
        received = asyncio.Event()

        async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                received.set()
                await reader.read()
            finally:
                writer.close()

        limits = RequestLimits(timeout_seconds=3600, max_wait_seconds=3600)
        async with await asyncio.start_server(keep_silent, "127.0.0.1", 0) as listening:
            client = create_client(None, 3600, {})
            used = MsalTransport("Entra", client, limits, asyncio.get_running_loop())
            url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
            request = asyncio.create_task(asyncio.to_thread(used.get, url))
            await received.wait()
            request.cancel()
            await client.aclose()

    def run() -> None:
        asyncio.run(stop_during_a_request())
        has_ended.set()

    has_ended = threading.Event()
    threading.Thread(target=run, daemon=True).start()
    assert has_ended.wait(WITHIN_SECONDS)
