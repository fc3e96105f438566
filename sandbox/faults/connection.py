"""Lose the connection to a client: over a real socket by aborting it, in process by raising."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["AbortableProtocol", "abort_connection"]

ABORT_KEY = "sandbox.abort"
NO_LINGER = struct.pack("ii", 1, 0)


class AbortableProtocol(H11Protocol):
    """An HTTP protocol for `uvicorn.Config(http=…)` whose applications can abort their connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        inner = cast(ASGIApp, self.app)

        def abort(*, reset: bool) -> None:
            peer = transport.get_extra_info("socket")
            if reset and peer is not None:  # closing with data unsent then sends RST, not FIN
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            transport.abort()

        async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
            scope[ABORT_KEY] = abort
            await inner(scope, receive, send)

        self.app = with_abort


async def abort_connection(scope: Scope, receive: Receive, error: Callable[[str], Exception], *, reset: bool) -> None:
    """Abort the connection of a request, with *reset* (its body was read then) so that the client's socket sees a
    reset. Where there is no socket, raise *error*."""
    abort = scope.get(ABORT_KEY)
    if abort is None:
        raise error("The connection was lost.")
    while not reset and (await receive()).get("more_body"):  # closing with data unread would be a reset
        pass
    abort(reset=reset)
    while (await receive())["type"] != "http.disconnect":  # until the server has seen it too, it would answer 500
        pass
