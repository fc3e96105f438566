"""TCP and TLS connections of asyncio for httpcore, in place of anyio's, which take twice as much CPU.

See "Network Backends" in the documentation of httpcore.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import ssl
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
from aiohappyeyeballs import start_connection

__all__ = ["AsyncioNetwork", "NetworkStream"]

MAX_UNREAD_BYTES = 2**18
"""A server that sends faster than it is read waits at this many bytes."""

HAPPY_EYEBALLS_SECONDS = 0.25
"""When the next address of a host is tried as well (RFC 8305, section 5)."""

EXTRA_INFO = {"client_addr": "sockname", "server_addr": "peername"}
"""What asyncio calls what httpcore asks for, where their names differ."""


class AsyncioNetwork(httpcore.AsyncNetworkBackend):
    """Connects over TCP."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (httpcore's interface)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection. Raises `httpcore.ConnectError` and `httpcore.ConnectTimeout`."""
        if local_address is not None or socket_options is not None:
            raise AssertionError("a local address and socket options are not supported")
        with _errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                loop = asyncio.get_running_loop()
                addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                # Not `create_connection`, which leaves a socket open when it is cancelled as the connection is made.
                connected = await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS)
                _, protocol = await loop.create_connection(_Protocol, sock=connected)
        return NetworkStream(protocol)


class NetworkStream(httpcore.AsyncNetworkStream):
    """*has_read*: something was read since the last write."""

    def __init__(self, protocol: _Protocol) -> None:
        self.has_read = False
        self._protocol = protocol
        self._poll = select.poll()
        self._poll.register(protocol.extra_info("socket"), select.POLLIN)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        protocol = self._protocol
        with _errors(httpcore.ReadTimeout, httpcore.ReadError):
            if not protocol.readable.is_set():
                async with asyncio.timeout(timeout):
                    await protocol.readable.wait()
            data = protocol.read(max_bytes)
            self.has_read = True
            return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.has_read = False
        with _errors(httpcore.WriteTimeout, httpcore.WriteError):
            self._protocol.write(buffer)
            if not self._protocol.writable.is_set():
                async with asyncio.timeout(timeout):
                    await self._protocol.writable.wait()
                self._protocol.require_connection()

    async def aclose(self) -> None:
        self._protocol.abort()
        # The event loop closes the socket in its next turn.
        await asyncio.sleep(0)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            with _errors(httpcore.ConnectTimeout, httpcore.ConnectError):
                async with asyncio.timeout(timeout):
                    await self._protocol.start_tls(ssl_context, server_hostname)
        except BaseException:
            await self.aclose()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return whether there is something to read, which ends an idle connection, or what asyncio knows."""
        if info == "is_readable":
            # Also what the event loop has not seen yet: it may have had no turn since the server closed the connection.
            return self._protocol.readable.is_set() or bool(self._poll.poll(0))
        return self._protocol.extra_info(EXTRA_INFO.get(info, info))


class _Protocol(asyncio.Protocol):
    """Keeps what has arrived until it is read.

    *readable*: something has arrived, or the connection has ended. *writable*: not too much waits to be sent.
    """

    def __init__(self) -> None:
        self._transport: Any = None
        self._unread: deque[bytes | memoryview] = deque()
        self._unread_bytes = 0
        self._is_paused = self._has_ended = self._is_lost = False
        self._error: Exception | None = None
        self.readable = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes >= MAX_UNREAD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self.readable.set()

    def eof_received(self) -> None:
        self._has_ended = True
        self.readable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_ended = self._is_lost = True
        self._error = exc
        self.readable.set()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def read(self, max_bytes: int) -> bytes:
        """Return at most *max_bytes* of what has arrived, nothing at the end. Raises what ended the connection."""
        if not self._unread:
            if self._error is not None:
                raise self._error
            return b""
        part = self._unread.popleft()
        if len(part) > max_bytes:
            view = memoryview(part)
            part = view[:max_bytes]
            self._unread.appendleft(view[max_bytes:])
        self._unread_bytes -= len(part)
        if not self._unread and not self._has_ended:
            self.readable.clear()
        if self._is_paused and self._unread_bytes < MAX_UNREAD_BYTES:
            self._is_paused = False
            self._transport.resume_reading()
        return bytes(part)

    def write(self, data: bytes) -> None:
        """Send *data*, or keep it for later. Raises what ended the connection."""
        self.require_connection()
        self._transport.write(data)

    def require_connection(self) -> None:
        """Raise what ended the connection, if anything has."""
        if self._is_lost:
            raise self._error or ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        if self._unread:
            # Anyone on the way may have sent it, and it would be read as if the server had.
            raise ConnectionError("the server sent data before the TLS handshake")
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(self._transport, self, context, server_hostname=server_hostname)

    def abort(self) -> None:
        """Close the connection at once. What has not been sent never leaves."""
        self._transport.abort()

    def extra_info(self, name: str) -> Any:
        return self._transport.get_extra_info(name)


@contextmanager
def _errors(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(_reason(error)) from error


def _reason(error: OSError) -> str:
    """Return the words of the operating system: those of asyncio name an address, and repeat it for each attempt."""
    if isinstance(error, ssl.SSLError) or not error.errno:
        return str(error)
    return str(error.strerror) if isinstance(error, socket.gaierror) else os.strerror(error.errno)
