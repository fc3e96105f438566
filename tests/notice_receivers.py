"""Receivers of notices in tests: a webhook that records requests, and a mail server."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from connectors.secret import Secret

__all__ = ["Mailbox", "Webhook", "mail_server", "webhook"]


@dataclass
class Webhook:
    """A receiver that records requests, and answers *status*."""

    port: int = 0
    status: int = 200
    scheme: str = "json"
    received: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> Secret:
        return Secret("value", f"{self.scheme}://127.0.0.1:{self.port}/hook")

    @property
    def titles(self) -> list[str]:
        return [each["title"].removeprefix("pigment-sync: ") for each in self.received]


@contextmanager
def webhook(tls: ssl.SSLContext | None = None) -> Iterator[Webhook]:
    """Yield a receiver, behind TLS if there is a context for it."""
    receiver = Webhook(scheme="jsons" if tls else "json")

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.status == 200:
                receiver.received.append(json.loads(body))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


class Mailbox:
    """The handler that aiosmtpd calls for each mail."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.mails: list[Envelope] = []

    @property
    def url(self) -> Secret:
        return Secret("value", f"mailto://127.0.0.1:{self._port}?from=sync@acme.com&to=ops@acme.com&mode=insecure")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert server.session is session
        self.mails.append(envelope)
        return "250 taken"


@contextmanager
def mail_server(max_bytes: int = 2**25) -> Iterator[Mailbox]:
    """Yield a mail server that refuses mails of more than *max_bytes*."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    mailbox = Mailbox(port)
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, data_size_limit=max_bytes)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
