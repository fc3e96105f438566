"""Send requests straight to their server, without a proxy, over connections that are kept for the next request.

The protocol is httpcore's. Its pool is not used: it goes through all connections before and after each request. That
and the streams of anyio took two thirds of the CPU of a request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import httpcore
import httpx

from connectors.http.network import AsyncioNetwork, NetworkStream

__all__ = ["DirectTransport"]

SCHEMES = frozenset({"http", "https"})
MAX_CONNECTIONS = 64
"""At once to one server. Further requests wait, as long as the time limit of the pool allows."""

KEEPALIVE_SECONDS = 5.0
"""How long an idle connection is kept, as in httpx."""

HTTPX_ERRORS: dict[type[Exception], type[httpx.HTTPError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}


class _Origin(NamedTuple):
    scheme: bytes
    host: bytes
    port: int | None


class DirectTransport(httpx.AsyncBaseTransport):
    """Belongs to one event loop. Trusts the authorities of *context*."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._pools: dict[_Origin, _Pool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme not in SCHEMES:
            raise httpx.UnsupportedProtocol(f"{url.scheme}:// is not supported")
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        pool = self._pool(_Origin(target.scheme, target.host, target.port), target.origin)
        connection = await pool.take(request.extensions.get("timeout", {}).get("pool"))
        try:
            with _httpx_errors():
                response = await connection.handle_async_request(
                    httpcore.Request(
                        request.method,
                        target,
                        headers=request.headers.raw,
                        content=cast(AsyncIterable[bytes], request.stream),
                        extensions=request.extensions,
                    )
                )
                _require_read(response)
        except BaseException:
            await pool.put_back(connection)
            raise
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response, pool, connection),
            extensions=response.extensions,
        )

    def _pool(self, origin: _Origin, target: httpcore.Origin) -> _Pool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = _Pool(target, self._context)
        return pool

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.close()


class _Pool:
    """The connections to one server. Each belongs to one request at a time."""

    def __init__(self, origin: httpcore.Origin, context: ssl.SSLContext) -> None:
        self._origin = origin
        self._context = context
        self._network = AsyncioNetwork()
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        # The one that was used last is the last.
        self._idle: deque[httpcore.AsyncHTTPConnection] = deque()
        self._is_closed = False

    async def take(self, seconds: float | None) -> httpcore.AsyncHTTPConnection:
        """Return a connection that must be put back. Raises `httpx.PoolTimeout` when none is free in time."""
        if self._places.locked():
            try:
                async with asyncio.timeout(seconds):
                    await self._places.acquire()
            except TimeoutError as error:
                raise httpx.PoolTimeout("no free connection in time") from error
        else:
            await self._places.acquire()
        try:
            return await self._idle_connection() or self._new_connection()
        except BaseException:
            self._places.release()
            raise

    async def _idle_connection(self) -> httpcore.AsyncHTTPConnection | None:
        while self._idle and self._idle[0].has_expired():
            await self._idle.popleft().aclose()
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    def _new_connection(self) -> httpcore.AsyncHTTPConnection:
        return httpcore.AsyncHTTPConnection(
            self._origin, self._context, keepalive_expiry=KEEPALIVE_SECONDS, network_backend=self._network
        )

    async def put_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
        """Keep *connection* for the next request, or close it unless its response was read to the end."""
        try:
            if connection.is_available() and not self._is_closed:
                self._idle.append(connection)
            else:
                await connection.aclose()
        finally:
            self._places.release()

    async def close(self) -> None:
        """Close the idle connections. The others are closed when they are put back."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().aclose()


class _Body(httpx.AsyncByteStream):
    """The body of a response. Puts its connection back when it is closed."""

    def __init__(self, response: httpcore.Response, pool: _Pool, connection: httpcore.AsyncHTTPConnection) -> None:
        self._response = response
        self._pool = pool
        self._connection = connection
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with _httpx_errors():
                await self._response.aclose()
        finally:
            await self._pool.put_back(self._connection)


def _require_read(response: httpcore.Response) -> None:
    """Raise `httpcore.RemoteProtocolError` for a response that had come with the one before, so to no request."""
    # Absent where a test answers in place of a server.
    stream = response.extensions.get("network_stream")
    if isinstance(stream, NetworkStream) and not stream.has_read:
        raise httpcore.RemoteProtocolError("the server sent a response without a request")


@contextmanager
def _httpx_errors() -> Iterator[None]:
    try:
        yield
    except tuple(HTTPX_ERRORS) as error:
        raise HTTPX_ERRORS[type(error)](str(error)) from error
