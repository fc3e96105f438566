"""Serve ASGI applications on loopback, each at a port of its own, by one uvicorn server in a background thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping

import uvicorn
from starlette.types import ASGIApp

from sandbox.faults.connection import AbortableProtocol
from sandbox.request_log import PortRouter

__all__ = ["SandboxError", "host_apps"]

LOOPBACK = "127.0.0.1"
START_SECONDS = 10
STOP_SECONDS = 2


class SandboxError(Exception):
    """The sandbox can't be started: the message says why and what to do."""


@contextlib.contextmanager
def host_apps(apps: Mapping[str, ASGIApp], port: int) -> Iterator[dict[str, str]]:
    """Serve *apps* until the end of the block, and give their URLs: at *port* and those after it, 0 for free ones.

    Signals are left to the process, and so is its logging. Raise `SandboxError` when a port is taken.
    """
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(_listen(port and port + place)) for place, name in enumerate(apps)}
        ports = {name: each.getsockname()[1] for name, each in sockets.items()}
        config = uvicorn.Config(
            PortRouter({ports[name]: app for name, app in apps.items()}),
            http=AbortableProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        stack.enter_context(_run_server(_Server(config), list(sockets.values())))
        yield {name: f"http://{LOOPBACK}:{number}" for name, number in ports.items()}


def _listen(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((LOOPBACK, port))
    except OSError as error:
        made.close()
        raise SandboxError(
            f"Port {port} of this machine is taken ({error.strerror}); stop what listens there, or choose another."
        ) from error
    made.listen(512)
    return made


class _Server(uvicorn.Server):
    """Tells when it has started. Outside the main thread uvicorn leaves signals alone."""

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
