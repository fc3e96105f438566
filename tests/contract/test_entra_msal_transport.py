"""The HTTP client that msal gets: trust, bounds, and the real destination."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
import respx
import trustme

from connectors.entra.msal_transport import MAX_BYTES, MsalResponse, MsalTransport
from connectors.http import NoResponse, RequestLimits
from tests.contract.okta_org import FakeTime

URL = "https://login.example.com/token"


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def never_silent(*pieces: bytes) -> Iterator[int]:
    """Answer one connection with *pieces*, the last of them again and again, until the client closes it."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            for piece in itertools.chain(pieces, itertools.repeat(pieces[-1])):
                try:
                    connection.sendall(piece)
                except OSError:
                    return
                pause.wait(0.01)

    pause = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(120)
        assert not thread.is_alive(), "it was still listened to"


@contextmanager
def wire(ca_bundle: Path | None = None, plain: str = "", trusts_environment: bool = True) -> Iterator[MsalTransport]:
    made = MsalTransport(
        ca_bundle, RequestLimits(), FakeTime().timer.now, plain=plain, trusts_environment=trusts_environment
    )
    try:
        yield made
    finally:
        made.close()


def test_private_authority_is_trusted_through_the_bundle_alone(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with listening(context) as port:
        with wire(bundle) as trusting:
            assert trusting.get(f"https://localhost:{port}/").text == "hello"
        with wire() as strict, pytest.raises(NoResponse, match=r"(?i)certificate"):
            strict.get(f"https://localhost:{port}/")


def test_proxy_of_the_environment_is_passed_by_where_it_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with listening() as port:
        with wire(trusts_environment=False) as direct:
            assert direct.get(f"http://127.0.0.1:{port}/").text == "hello"
        with wire() as proxied, pytest.raises(NoResponse):
            proxied.get(f"http://127.0.0.1:{port}/")


@respx.mock
@pytest.mark.parametrize(
    ("url", "real"),
    [
        ("https://127.0.0.1:808/tenant", "http://127.0.0.1:808/tenant"),
        ("https://127.0.0.1:808", "http://127.0.0.1:808/"),
        ("https://127.0.0.1:8089/tenant", "https://127.0.0.1:8089/tenant"),
        (URL, URL),
    ],
)
def test_only_the_origin_that_is_http_in_truth_is_asked_so(url: str, real: str) -> None:
    route = respx.route().respond(text="ok")
    with wire(plain="http://127.0.0.1:808") as plain:
        plain.get(url)
    assert str(route.calls[0].request.url) == real


@pytest.mark.parametrize("url", ["https://127.0.0.1:x/", "ftp://login.example.com/", "no URL"])
def test_url_that_cannot_be_asked_has_no_answer(url: str) -> None:
    with wire() as asking, pytest.raises(NoResponse):
        asking.get(url)


@respx.mock
def test_form_is_sent_with_bytes_as_the_text_that_they_are() -> None:
    route = respx.post(URL).respond(text="ok")
    with wire() as asking:
        asking.post(URL, params={"a": "b"}, data={"client_assertion": b"eyJ.x", "c": "d e&f"}, headers={"X-One": "1"})
    request = route.calls[0].request
    assert request.content == b"client_assertion=eyJ.x&c=d+e%26f"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["x-one"] == "1"
    assert request.url.query == b"a=b"


@respx.mock
def test_last_answer_is_kept_and_forgotten_at_the_next_request() -> None:
    respx.get(URL).mock(side_effect=[httpx.Response(503, text="busy"), httpx.ConnectError("refused")])
    with wire() as asking:
        reply = asking.get(URL)
        assert asking.last_response is reply
        assert (reply.status_code, reply.text, str(reply.url)) == (503, "busy", URL)
        with pytest.raises(RuntimeError, match="503"):
            reply.raise_for_status()
        with pytest.raises(NoResponse, match="refused"):
            asking.get(URL)
        assert asking.last_response is None


def test_reply_that_is_well_raises_nothing() -> None:
    MsalResponse(httpx.Response(200, request=httpx.Request("GET", URL)), "ok").raise_for_status()


@respx.mock
def test_answer_over_the_bound_is_not_read_on() -> None:
    read: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            read.append(number)
            yield b"x" * (MAX_BYTES // 4)

    respx.get(URL).mock(return_value=httpx.Response(200, content=pieces()))
    with wire() as asking, pytest.raises(NoResponse, match="does not end"):
        asking.get(URL)
    assert len(read) < 7


@respx.mock
def test_answer_that_drips_is_not_waited_for_longer_than_a_request_may_take() -> None:
    time = FakeTime()

    def drops() -> Iterator[bytes]:
        for _ in range(1000):
            time.now += 29
            yield b"x"

    respx.get(URL).mock(return_value=httpx.Response(200, content=drops()))
    began = time.now
    asking = MsalTransport(None, RequestLimits(max_wait_seconds=300), time.timer.now)
    with pytest.raises(NoResponse, match="does not end"):
        asking.get(URL)
    asking.close()
    assert time.now - began <= 330


@pytest.mark.parametrize("pieces", [(b"HTTP/1.1 100 Continue\r\n\r\n",), (b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n")])
def test_answer_that_never_begins_is_not_waited_for_longer_either(pieces: tuple[bytes, ...]) -> None:
    with never_silent(*pieces) as port:
        asking = MsalTransport(
            None, RequestLimits(timeout_seconds=5, max_wait_seconds=0.3), time.monotonic, trusts_environment=False
        )
        with pytest.raises(NoResponse, match="does not end"):
            asking.get(f"http://127.0.0.1:{port}/")
        asking.close()
