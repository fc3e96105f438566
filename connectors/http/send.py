"""Send one request and read its whole response, within limits, whatever the server does."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import httpx

from connectors.base import Permit
from connectors.http.attempts import set_attempt
from connectors.http.limits import RequestLimits, SendLimit
from connectors.http.permit import permit_trace, require_remaining_seconds

__all__ = ["NoResponse", "RequestNotSent", "ResponseTooLarge", "send_request"]


class RequestNotSent(Exception):
    """The request never reached the server."""


class NoResponse(Exception):
    """The request was sent without a complete response: it may have had its effect."""


class ResponseTooLarge(NoResponse):
    """The response exceeds the limits, or has an encoding that can't be bounded. A retry won't help."""


PART_BYTES = 2**20
"""How much of a compressed body is unpacked at a time: a few bytes of it may unpack to thousands of times as many."""

NO_STREAM = httpx.ByteStream(b"")
NOT_SENT_ERRORS = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


async def send_request(
    client: httpx.AsyncClient,
    request: httpx.Request,
    limits: RequestLimits,
    permit: Permit | None = None,
    send_limit: SendLimit | None = None,
) -> tuple[httpx.Response, bytes]:
    """Return the response with its decoded body. Redirects are not followed.

    Raises `RequestNotSent`, `NoResponse`, or `PermitExpired` when *permit* ended before the request had left. After
    *send_limit* it is not sent.
    """

    timeout = httpx.Timeout(limits.timeout_seconds)
    if permit is not None:
        left = min(limits.timeout_seconds, require_remaining_seconds(permit))
        timeout = httpx.Timeout(connect=left, write=left, pool=left, read=limits.timeout_seconds)
    if permit is not None or send_limit is not None:
        # Without either, it would only cost: httpcore calls it at 12 moments of each request.
        request.extensions["trace"] = permit_trace(permit, _refuse_after(send_limit))
    request.extensions["timeout"] = timeout.as_dict()
    set_attempt(request)
    try:
        # A server that sends single bytes slowly never exceeds the timeout between two of them.
        async with asyncio.timeout(limits.max_wait_seconds):
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                return response, await _read_body(response, limits.max_bytes)
            finally:
                await response.aclose()
                # httpx's refers back to the response: it would keep all of the request for the garbage collector.
                response.stream = NO_STREAM
    except NOT_SENT_ERRORS as error:
        raise RequestNotSent(_error_cause(error, request)) from error
    except (httpx.HTTPError, httpx.StreamError, zlib.error) as error:
        raise NoResponse(_error_cause(error, request)) from error
    except (httpx.InvalidURL, UnicodeError) as error:
        # httpx parses the target of a redirect even if it does not follow it, and raises for a host like `xn--a`.
        raise NoResponse("it redirects to an invalid URL") from error
    except TimeoutError as error:
        proxy = request.extensions.get("proxy")
        way = f", through the proxy {proxy}" if proxy else ""
        raise NoResponse(f"no complete answer within {limits.max_wait_seconds:g} s{way}") from error


def _refuse_after(send_limit: SendLimit | None) -> Callable[[], None]:
    def refuse_late() -> None:
        if send_limit is not None and not send_limit():
            raise RequestNotSent("its place in the request budget ended before it could leave")

    return refuse_late


async def _read_body(response: httpx.Response, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in _iterate_decoded(response):
        size += len(part)
        if size > max_bytes:
            raise ResponseTooLarge(f"an answer of more than {max_bytes:,} bytes")
        parts.append(part)
    return b"".join(parts)


async def _iterate_decoded(response: httpx.Response) -> AsyncIterator[bytes]:
    """Decompress in bounded parts: httpx would decompress whole pieces, and nested encodings."""
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
            for part in _unpack(unpacking, piece):
                yield part
        if has_begun and not unpacking.eof:
            raise zlib.error("the answer was cut off")
    else:
        raise ResponseTooLarge("a response with an encoding that was not requested")


def _unpack(unpacking: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    """Yield what *piece* unpacks to, at most `PART_BYTES` at a time. What follows the packed body is ignored."""
    part = b""
    # A full part may have more behind it, also once all of the piece is consumed.
    while not unpacking.eof and (piece or len(part) == PART_BYTES):
        part = unpacking.decompress(piece, PART_BYTES)
        piece = unpacking.unconsumed_tail
        yield part


def _error_cause(error: Exception, request: httpx.Request) -> str:
    """Return the cause and the proxy, if any: proxies are a common cause and easily forgotten."""
    proxy = request.extensions.get("proxy")
    return f"{_error_message(error)}, through the proxy {proxy}" if proxy else _error_message(error)


def _error_message(error: Exception) -> str:
    words: dict[type[Exception], str] = {
        httpx.ConnectTimeout: "no connection in time",
        httpx.ReadTimeout: "no answer in time",
        httpx.RemoteProtocolError: "the connection broke off",
        httpx.ReadError: "the connection broke off",
    }
    return words.get(type(error)) or str(error) or type(error).__name__
