"""Serve third-party SCIM servers at real addresses, and read their listings without the agent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import httpx

from tests import plain_http
from tests.contract.scim_servers import InThread, Server

__all__ = ["Target", "serving"]

PAGE = 25


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's signature)
        """Log nothing: tests query what they need."""


class _Patient(WSGIServer):
    # The agent has eight requests in flight, and one thread answers.
    request_queue_size = 64


@dataclass(frozen=True)
class Target:
    """A running server: its SCIM URL and a token that it accepts."""

    url: str
    token: str

    def members(self) -> dict[str, dict[str, Any]]:
        """Return the whole listing by id, as the server itself shows it."""
        found: dict[str, dict[str, Any]] = {}
        with plain_http.client(headers={"Authorization": f"Bearer {self.token}"}) as client:
            while True:
                answer = client.get(f"{self.url}/Users", params={"startIndex": len(found) + 1, "count": PAGE})
                answer.raise_for_status()
                page = answer.json()
                found |= {row["id"]: row for row in page.get("Resources", ())}
                if len(found) >= page["totalResults"]:
                    return found


@contextmanager
def serving(server: Server, token: str) -> Iterator[Target]:
    """Serve *server* on loopback until the end of the block, in the one thread that its database knows."""
    transport = server.transport
    if not isinstance(transport, InThread):
        raise TypeError("only WSGI applications are served here")
    httpd = _Patient(("127.0.0.1", 0), _Quiet)
    httpd.set_app(transport.app)
    served = transport.thread.submit(httpd.serve_forever, 0.05)
    try:
        yield Target(f"http://127.0.0.1:{httpd.server_port}{httpx.URL(server.url).path}", token)
    finally:
        httpd.shutdown()
        served.result()
        httpd.server_close()
        transport.thread.shutdown()
