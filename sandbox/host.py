"""Serve ASGI applications on loopback, each at a port of its own, by one uvicorn server in a background thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from email.utils import formatdate

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.faults.connection import AbortableProtocol
from sandbox.request_log import PortRouter

__all__ = ["SandboxError", "host_apps", "with_date"]

LOOPBACK = "127.0.0.1"
START_SECONDS = 10
STOP_SECONDS = 2


class SandboxError(Exception):
    """The sandbox can't start; the message has the reason and the next step."""


@contextlib.contextmanager
def host_apps(
    apps: Mapping[str, ASGIApp], port: int, addresses: Mapping[str, str] | None = None
) -> Iterator[dict[str, str]]:
    """Serve *apps* until the end of the block, and yield their URLs: from *port* on, or free ports for 0.

    *addresses* has the loopback address of each application that is not at 127.0.0.1; not every system has others.
    Signals and logging stay with the process. Raise `SandboxError` when a port is taken.
    """
    hosts = dict.fromkeys(apps, LOOPBACK) | dict(addresses or {})
    with contextlib.ExitStack() as stack:
        sockets = {
            name: stack.enter_context(_listen(hosts[name], port and port + index)) for index, name in enumerate(apps)
        }
        ports = {name: each.getsockname()[1] for name, each in sockets.items()}
        config = uvicorn.Config(
            with_date(PortRouter({ports[name]: app for name, app in apps.items()})),
            http=AbortableProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            # uvicorn would send a second one next to that of a skewed clock.
            date_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        stack.enter_context(_run_server(_Server(config), list(sockets.values())))
        yield {name: f"http://{hosts[name]}:{number}" for name, number in ports.items()}


def with_date(app: ASGIApp) -> ASGIApp:
    """Return *app* with a `Date` in each answer that has none (RFC 9110, section 6.6.1)."""

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            headers = message.get("headers", [])
            if message["type"] == "http.response.start" and not any(name.lower() == b"date" for name, _ in headers):
                message = {**message, "headers": [*headers, (b"date", formatdate(usegmt=True).encode())]}
            await send(message)

        await app(scope, receive, send_dated)

    return dated


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SandboxError(
            f"Port {port} is in use ({error.strerror}). Stop the process that listens there, or choose another port."
        ) from error
    listener.listen(512)
    return listener


class _Server(uvicorn.Server):
    """A server that sets *has_started*. Outside the main thread uvicorn leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_started.set()


@contextlib.contextmanager
def _run_server(server: _Server, sockets: list[socket.socket]) -> Iterator[None]:
    thread = threading.Thread(target=server.run, args=(sockets,), name="sandbox", daemon=True)
    thread.start()
    try:
        if not server.has_started.wait(START_SECONDS):
            raise SandboxError(f"The sandbox did not start in {START_SECONDS} s.")
        yield
    finally:
        server.should_exit = True
        thread.join()
