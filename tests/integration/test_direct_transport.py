"""The transport of the agent and that of httpx, each on real sockets: the same server gives both the same result."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import httpcore
import httpx
import pytest
import trustme

from connectors.http import PermitExpired
from connectors.http import transport as transport_module
from connectors.http.network import AsyncioNetwork
from connectors.http.transport import MAX_CONNECTIONS, DirectTransport
from tests.waiting import wait_until

WITHIN_SECONDS = 60
PATIENT = httpx.Timeout(WITHIN_SECONDS)
PAGE = bytes(range(256)) * 4096
"""1 MiB, more than is kept unread."""

LENGTH = [("content-length", str(len(PAGE)))]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


Answer = Callable[[socket.socket], None]


@dataclass
class Server:
    """A server in threads of its own. It calls *answer* after each head of a request, until the connection ends."""

    answer: Answer
    context: ssl.SSLContext | None = None
    greeting: bytes = b""
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if self.context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def is_serving(self) -> bool:
        return any(thread.is_alive() for thread in self._threads[1:])

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(WITHIN_SECONDS)
            connection.sendall(self.greeting)
            if self.context is None:
                self._serve_requests(connection)
            else:
                with self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as encrypted:
                    self._serve_requests(encrypted)

    def _serve_requests(self, connection: socket.socket) -> None:
        while True:
            head = b""
            # Byte by byte: the body is left to the answer.
            while not head.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                if not byte:
                    return
                head += byte
            self.heads.append(head)
            self.answer(connection)


def httpx_transport(context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False)


TRANSPORTS = {"own": DirectTransport, "httpx": httpx_transport}


async def outcomes(transport: httpx.AsyncBaseTransport, url: str) -> list[object]:
    """Return what two requests in turn end with: status, headers and body, or the name of the error."""
    found: list[object] = []
    async with httpx.AsyncClient(transport=transport, timeout=PATIENT, trust_env=False) as client:
        for _ in range(2):
            try:
                response = await client.get(url)
                found.append((response.status_code, response.headers.multi_items(), response.content))
            except httpx.HTTPError as error:
                found.append(type(error).__name__)
    return found


def whole(body: bytes, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), head, body)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS = {
    "empty": whole(b""),
    "short": whole(b"{}", b"Link: <a>; rel=next\r\nLink: <b>; rel=self\r\nX-Odd:  spaces \r\n"),
    "long": whole(PAGE),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "redirect": b"HTTP/1.1 307 Elsewhere\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
    "refused": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}",
    "informational first": b"HTTP/1.1 103 Early Hints\r\nLink: <c>\r\n\r\n" + whole(b"{}"),
    "chunked": CHUNKED + b"3\r\nabc\r\n10000;note=1\r\n" + PAGE[:65536] + b"\r\n0\r\nTrailer: t\r\n\r\n",
    "chunk of a wrong length": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "chunk without a length": CHUNKED + b"zz\r\nabc\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "head without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    "control character in a header": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
}
ENDS = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "body that is too short": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    "chunks without end": CHUNKED + b"3\r\nabc\r\n",
    "body until the end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PAGE,
}


PIECES = {"at once": 1 << 30, "in large pieces": 100_000, "in small pieces": 7}
CASES = [
    pytest.param(sent, is_closed, piece, id=f"{name}{', then closed' if is_closed else ''}, {how}")
    for is_closed, answers in ((False, ANSWERS), (True, ENDS))
    for name, sent in answers.items()
    for how, piece in PIECES.items()
    if len(sent) < piece * 10_000
]


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(("sent", "is_closed", "piece"), CASES)
async def test_every_answer_is_what_it_is_to_httpx(
    sent: bytes, is_closed: bool, piece: int, is_encrypted: bool, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    def answer(connection: socket.socket) -> None:
        for start in range(0, len(sent), piece):
            connection.sendall(sent[start : start + piece])
        if is_closed:
            connection.shutdown(socket.SHUT_RDWR)

    seen = {}
    for who, create in TRANSPORTS.items():
        with Server(answer, server_context(authority) if is_encrypted else None) as server:
            seen[who] = await outcomes(create(trusting), server.url), server.connections
    assert seen["own"] == seen["httpx"]


async def test_connection_is_kept_for_the_next_request(trusting: ssl.SSLContext) -> None:
    with Server(lambda connection: connection.sendall(whole(PAGE))) as server:
        assert await outcomes(DirectTransport(trusting), server.url) == [(200, LENGTH, PAGE)] * 2
    assert server.connections == 1


@pytest.mark.parametrize("late", [b"", whole(b"late"), b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
@pytest.mark.parametrize("has_a_turn", [False, True], ids=["event loop busy", "event loop free"])
async def test_what_an_idle_connection_sends_is_no_answer_to_the_next_request(
    late: bytes, has_a_turn: bool, trusting: ssl.SSLContext
) -> None:
    may_send, has_sent = threading.Event(), threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(whole(b"own"))
        if not has_sent.is_set():
            may_send.wait(WITHIN_SECONDS)
            connection.sendall(late)
            if not late:
                connection.shutdown(socket.SHUT_RDWR)
            has_sent.set()

    with Server(answer) as server:
        async with httpx.AsyncClient(transport=DirectTransport(trusting), timeout=PATIENT) as client:
            await client.get(server.url)
            may_send.set()
            if has_a_turn:
                await asyncio.to_thread(has_sent.wait, WITHIN_SECONDS)
                for _ in range(10):
                    await asyncio.sleep(0)
            else:
                has_sent.wait(WITHIN_SECONDS)
            response = await client.get(server.url)
    assert response.content == b"own"
    assert server.connections == 2


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_response_that_came_with_another_is_no_answer_to_the_next_request(
    method: str, trusting: ssl.SSLContext
) -> None:
    with Server(lambda connection: connection.sendall(whole(b"own") + whole(b"late"))) as server:
        async with httpx.AsyncClient(transport=DirectTransport(trusting), timeout=PATIENT) as client:
            for _ in range(2):
                assert (await client.get(server.url)).content == b"own"
                with pytest.raises(httpx.RemoteProtocolError, match="without a request"):
                    await client.request(method, server.url)
    assert server.connections == 2


async def test_connection_that_has_been_idle_for_long_is_not_used_again(
    trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "KEEPALIVE_SECONDS", -1)
    with Server(lambda connection: connection.sendall(whole(b"{}"))) as server:
        assert len(await outcomes(DirectTransport(trusting), server.url)) == 2
    assert server.connections == 2


async def test_connection_of_a_closed_transport_is_closed_after_its_response(trusting: ssl.SSLContext) -> None:
    with Server(lambda connection: connection.sendall(whole(b"{}"))) as server:
        transport = DirectTransport(trusting)
        client = httpx.AsyncClient(transport=transport, timeout=PATIENT)
        async with client.stream("GET", server.url) as response:
            await transport.aclose()
            assert await response.aread() == b"{}"
        # The thread of the connection ends only when the client closes it.
        await asyncio.to_thread(wait_until, lambda: not server.is_serving, "the end of the connection")
        await client.aclose()


async def test_request_that_is_cancelled_or_late_frees_its_place(trusting: ssl.SSLContext) -> None:
    is_silent = True

    def answer(connection: socket.socket) -> None:
        connection.sendall(whole(b"{}")[: -1 if is_silent else None])

    async def request(client: httpx.AsyncClient, read_seconds: float) -> None:
        await client.get(server.url, timeout=httpx.Timeout(WITHIN_SECONDS, read=read_seconds))

    with Server(answer) as server:
        async with httpx.AsyncClient(transport=DirectTransport(trusting)) as client:
            waiting = [asyncio.create_task(request(client, WITHIN_SECONDS)) for _ in range(MAX_CONNECTIONS)]
            await asyncio.to_thread(wait_until, lambda: len(server.heads) == MAX_CONNECTIONS, "all requests")
            with pytest.raises(httpx.PoolTimeout):
                await client.get(server.url, timeout=httpx.Timeout(WITHIN_SECONDS, pool=0.01))
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            late = [request(client, 0.01) for _ in range(MAX_CONNECTIONS)]
            errors = await asyncio.gather(*late, return_exceptions=True)
            assert {type(each) for each in errors} == {httpx.ReadTimeout}
            is_silent = False
            await asyncio.gather(*(request(client, WITHIN_SECONDS) for _ in range(MAX_CONNECTIONS * 2)))


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["http", "https"])
async def test_request_that_is_cancelled_at_any_moment_leaves_no_socket_open(
    is_encrypted: bool, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    context = server_context(authority) if is_encrypted else None
    with Server(lambda connection: connection.sendall(whole(b"{}")), context) as server:
        for turns in [*range(40)] * 5:
            async with httpx.AsyncClient(transport=DirectTransport(trusting), timeout=PATIENT) as client:
                waiting = asyncio.create_task(client.get(server.url))
                for _ in range(turns):
                    # Some turns come at once, others after something has arrived.
                    await asyncio.sleep(turns % 2 * 0.0001)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
    # An open socket is an error of this test once it is collected.
    gc.collect()


async def test_server_that_sends_faster_than_it_is_read_waits(trusting: ssl.SSLContext) -> None:
    sent = 0
    body = PAGE * 64

    def answer(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(whole(body)[: -len(body)])
        for start in range(0, len(body), 65536):
            connection.sendall(body[start : start + 65536])
            sent += 65536

    with Server(answer) as server:
        async with (
            httpx.AsyncClient(transport=DirectTransport(trusting), timeout=PATIENT) as client,
            client.stream("GET", server.url) as response,
        ):
            before = -1
            while before < sent:
                before = sent
                await asyncio.sleep(0.2)
            assert sent < len(body) / 2
            assert await response.aread() == body


async def test_nothing_of_a_request_leaves_after_its_time_to_write(trusting: ssl.SSLContext) -> None:
    body = PAGE * 64
    has_ended, received = threading.Event(), 0

    def answer(connection: socket.socket) -> None:
        nonlocal received
        has_ended.wait(WITHIN_SECONDS)
        while data := connection.recv(1 << 20):
            received += len(data)

    with Server(answer) as server:
        async with httpx.AsyncClient(transport=DirectTransport(trusting), timeout=PATIENT) as client:
            with pytest.raises(httpx.WriteTimeout):
                await client.put(server.url, content=body, timeout=httpx.Timeout(WITHIN_SECONDS, write=0.2))
        has_ended.set()
    assert received < len(body) / 2


async def test_large_request_arrives_whole(trusting: ssl.SSLContext) -> None:
    body = PAGE * 8
    received = bytearray()

    def answer(connection: socket.socket) -> None:
        while len(received) < len(body) and (data := connection.recv(4096)):
            received.extend(data)
        connection.sendall(whole(b"{}"))

    with Server(answer) as server:
        async with httpx.AsyncClient(transport=DirectTransport(trusting), timeout=PATIENT) as client:
            assert (await client.put(server.url, content=body)).status_code == 200
    assert received == body


async def test_request_that_is_refused_before_it_leaves_sends_no_byte(trusting: ssl.SSLContext) -> None:
    async def refuse(event: str, _info: object) -> None:
        if event.endswith("send_request_headers.started"):
            raise PermitExpired

    with Server(lambda connection: connection.sendall(whole(b"{}"))) as server:
        async with httpx.AsyncClient(transport=DirectTransport(trusting), timeout=PATIENT) as client:
            for _ in range(2):
                with pytest.raises(PermitExpired):
                    await client.get(server.url, extensions={"trace": refuse})
            assert not server.heads
            assert (await client.get(server.url)).status_code == 200


async def test_certificate_is_checked(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    for context, host in ((ssl.create_default_context(), "127.0.0.1"), (trusting, "elsewhere.example.com")):
        with Server(lambda _: None, server_context(authority, host)) as server:
            async with httpx.AsyncClient(transport=DirectTransport(context), timeout=PATIENT) as client:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await client.get(server.url)
        assert not server.heads


async def test_server_without_tls_is_an_error_of_the_connection(trusting: ssl.SSLContext) -> None:
    with Server(lambda _: None, greeting=whole(b"{}")) as server:
        assert await outcomes(DirectTransport(trusting), server.url.replace("http", "https")) == ["ConnectError"] * 2


async def test_what_comes_before_the_handshake_is_never_read(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    with Server(lambda _: None, server_context(authority), greeting=whole(b"forged")) as server:
        stream = await AsyncioNetwork().connect_tcp("127.0.0.1", httpx.URL(server.url).port or 0, WITHIN_SECONDS)
        # The event loop reads it, as when an attacker's bytes come first.
        await asyncio.to_thread(wait_until, lambda: stream.get_extra_info("is_readable"), "the greeting")
        for _ in range(10):
            await asyncio.sleep(0)
        with pytest.raises(httpcore.ConnectError, match="before the TLS handshake"):
            await stream.start_tls(trusting, "127.0.0.1", WITHIN_SECONDS)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_port_where_nobody_listens_is_named_by_its_error(scheme: str, trusting: ssl.SSLContext) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with httpx.AsyncClient(transport=DirectTransport(trusting), timeout=PATIENT) as client:
            with pytest.raises(httpx.ConnectError, match=r"^Connection refused$"):
                await client.get(f"{scheme}://127.0.0.1:{bound.getsockname()[1]}/")


async def test_host_without_an_address_is_an_error_of_the_connection(trusting: ssl.SSLContext) -> None:
    async with httpx.AsyncClient(transport=DirectTransport(trusting), timeout=PATIENT) as client:
        with pytest.raises(httpx.ConnectError) as raised:
            await client.get("http://nowhere.invalid/")
        # The words depend on the system, and on whether it has a network at all.
        assert re.fullmatch(r"[A-Z][A-Za-z ]+", str(raised.value))
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://127.0.0.1/")


async def test_connection_that_takes_too_long_is_an_error_in_time(trusting: ssl.SSLContext) -> None:
    with Server(lambda _: None) as server:
        hurried = httpx.Timeout(WITHIN_SECONDS, connect=0.2)
        async with httpx.AsyncClient(transport=DirectTransport(trusting), timeout=hurried) as client:
            # The server waits for a head, and never answers the handshake.
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(server.url.replace("http", "https"))
        assert server.connections == 1


def server_context(authority: trustme.CA, host: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context
