"""Over real sockets a lost connection looks like a real one: closed, or reset after the write was done."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from sandbox.faults.action import System
from sandbox.faults.connection import AbortableProtocol
from sandbox.faults.middleware import FaultMiddleware
from sandbox.faults.registry import FaultRegistry
from sandbox.pigment.workspace import PigmentWorkspace
from tests.contract.pretend_lists import a_book, a_full_space, an_app

NEW = {"userName": "new@acme.com", "displayName": "New"}


@contextmanager
def served(space: PigmentWorkspace, book: FaultRegistry) -> Iterator[httpx.Client]:
    """Serve a workspace on a free port of the loopback; the client is ready when the server is."""
    app = FaultMiddleware(an_app(System.PIGMENT, space), book, System.PIGMENT)
    config = uvicorn.Config(app, http=AbortableProtocol, ws="none", lifespan="off", log_level="error", log_config=None)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))  # it queues connections until the server takes them
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/latam/scim/v2"
    try:
        with httpx.Client(base_url=url, headers={"Authorization": "Bearer good"}, timeout=120) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def test_disconnect_closes_the_connection_before_anything_is_done(caplog: pytest.LogCaptureFixture) -> None:
    space = a_full_space()
    with served(space, a_book({"do": "disconnect", "times": 1})) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("/Users", json=NEW)
        assert space.find_member("new@acme.com") is None
        assert client.post("/Users", json=NEW).status_code == 201
    assert not caplog.records


def test_reset_breaks_the_connection_after_the_write_was_done(caplog: pytest.LogCaptureFixture) -> None:
    space = a_full_space()
    with served(space, a_book({"do": "reset", "times": 1})) as client:
        with pytest.raises(httpx.ReadError):
            client.post("/Users", json=NEW)
        assert space.find_member("new@acme.com") is not None
        assert client.post("/Users", json=NEW).status_code == 409
    assert not caplog.records


def test_huge_body_is_streamed_and_may_be_left_in_the_middle(caplog: pytest.LogCaptureFixture) -> None:
    book = a_book({"do": "huge-body", "size": 2**30, "times": 1})
    with served(a_full_space(), book) as client:
        with client.stream("GET", "/Users") as answer:
            assert int(answer.headers["content-length"]) == 2**30
            assert next(answer.iter_bytes(2**20))[:3] == b"[  "
        assert client.get("/Users").status_code == 200
    assert not caplog.records
