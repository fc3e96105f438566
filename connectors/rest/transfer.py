"""Send one request and take in its whole answer, within the bounds, whatever the server does."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

import httpx

from connectors.base import Permit
from connectors.rest.bounds import Bounds
from connectors.rest.permit import guard_departure, remaining_seconds

__all__ = ["NoAnswer", "NotSent", "TooLarge", "transfer"]


class NotSent(Exception):
    """The request never reached the server."""


class NoAnswer(Exception):
    """The request was sent, and no whole answer came: what it asks for may have been done."""


class TooLarge(NoAnswer):
    """The answer is over the bounds, or packed in a way that can't be bounded: asking again won't help."""


UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


async def transfer(
    client: httpx.AsyncClient, request: httpx.Request, bounds: Bounds, permit: Permit | None = None
) -> tuple[httpx.Response, bytes]:
    """Return the answer with its decoded body. Redirects are not followed.

    Raises `NotSent`, `NoAnswer`, or `NotPermitted` when *permit* ended before the request had left.
    """
    timeout = httpx.Timeout(bounds.timeout_seconds)
    if permit is not None:
        left = min(bounds.timeout_seconds, remaining_seconds(permit))
        timeout = httpx.Timeout(connect=left, write=left, pool=left, read=bounds.timeout_seconds)
        request.extensions["trace"] = guard_departure(permit)
    request.extensions["timeout"] = timeout.as_dict()
    try:
        # A server that sends one byte at a time never runs into a timeout between two of them.
        async with asyncio.timeout(bounds.max_wait_seconds):
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                return response, await _body(response, bounds.max_bytes)
            finally:
                await response.aclose()
    except UNSENT as error:
        raise NotSent(_cause(error, request)) from error
    except (httpx.HTTPError, httpx.StreamError, zlib.error) as error:
        raise NoAnswer(_cause(error, request)) from error
    except (httpx.InvalidURL, UnicodeError) as error:
        # httpx reads where a redirect leads though it is not to follow it, and trips over a host like `xn--a`.
        raise NoAnswer("it redirects to where nothing can be") from error
    except TimeoutError as error:
        proxy = request.extensions.get("proxy")
        way = f", through the proxy {proxy}" if proxy else ""
        raise NoAnswer(f"no complete answer within {bounds.max_wait_seconds:g} s{way}") from error


async def _body(response: httpx.Response, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in _decoded(response, most):
        size += len(part)
        if size > most:
            raise TooLarge(f"an answer of more than {most:,} bytes")
        parts.append(part)
    return b"".join(parts)


async def _decoded(response: httpx.Response, most: int) -> AsyncIterator[bytes]:
    """Unpack as far as the bound and no further: httpx would unpack each piece whole, and layer upon layer."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if response.is_stream_consumed:  # an in-memory transport had it whole
        yield response.content
    elif encoding in {"identity", ""}:
        async for piece in response.aiter_raw():
            yield piece
    elif encoding in {"gzip", "x-gzip"}:
        unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
        has_begun = False
        async for piece in response.aiter_raw():
            has_begun = True
            yield unpacking.decompress(piece, most + 1)
        if has_begun and not unpacking.eof:
            raise zlib.error("the answer was cut off")
    else:
        raise TooLarge("an answer packed in a way that was not asked for")


def _cause(error: Exception, request: httpx.Request) -> str:
    """Return why, and through which proxy: the first thing to check, and the last that people think of."""
    proxy = request.extensions.get("proxy")
    return f"{_words(error)}, through the proxy {proxy}" if proxy else _words(error)


def _words(error: Exception) -> str:
    words: dict[type[Exception], str] = {
        httpx.ConnectTimeout: "no connection in time",
        httpx.ReadTimeout: "no answer in time",
        httpx.RemoteProtocolError: "the connection broke off",
        httpx.ReadError: "the connection broke off",
    }
    return words.get(type(error)) or str(error) or type(error).__name__
