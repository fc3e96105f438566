"""The bounds on connections, on a real server over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from agent.web.connections import LOG_INTERVAL_SECONDS, LogRateLimit, bounded_protocol

HEAD_SECONDS = 0.5
WITHIN_SECONDS = 60
ASK = b"GET / HTTP/1.1\r\nHost: agent\r\n\r\n"


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes\n")


@asynccontextmanager
async def listening(most: int, head_seconds: float = HEAD_SECONDS) -> AsyncIterator[int]:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    protocol = bounded_protocol(most, head_seconds)
    config = uvicorn.Config(app, http=protocol, log_config=None, lifespan="off", port=0, timeout_keep_alive=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    for _ in range(WITHIN_SECONDS * 100):
        if server.started:
            break
        await asyncio.sleep(0.01)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await serving


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(port: int, sent: bytes) -> Connection:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def read(connection: Connection) -> bytes:
    """Return all that comes until the server closes the connection."""
    async with asyncio.timeout(WITHIN_SECONDS):
        try:
            return await connection[0].read()
        except ConnectionError:
            return b""
        finally:
            connection[1].close()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: agent\r\nX: "])
async def test_connection_without_a_whole_head_is_closed_in_time(sent: bytes) -> None:
    async with listening(10) as port:
        assert await read(await connected(port, sent)) == b""


async def test_head_that_trickles_has_no_more_time_than_another() -> None:
    async with listening(10) as port:
        reader, writer = await connected(port, b"GET / HTTP/1.1\r\n")

        async def trickle() -> None:
            while True:
                writer.write(b"X-More: 1\r\n")
                await asyncio.sleep(HEAD_SECONDS / 10)

        trickling = asyncio.create_task(trickle())
        assert await read((reader, writer)) == b""
        trickling.cancel()


async def test_second_request_of_a_connection_has_its_time_too() -> None:
    async with listening(10) as port:
        answer = await read(await connected(port, ASK + b"GET / HTTP/1.1\r\nHost: ag"))

        assert answer.count(b"HTTP/1.1 200") == 1


async def test_body_may_take_longer_than_a_head() -> None:
    async with listening(10) as port:
        reader, writer = await connected(port, b"POST / HTTP/1.1\r\nHost: agent\r\nContent-Length: 4\r\n\r\n12")
        await asyncio.sleep(HEAD_SECONDS * 2)
        writer.write(b"34")

        assert b"4 bytes" in await reader.readuntil(b"bytes")
        writer.close()


async def test_new_connection_takes_the_place_of_one_that_asks_nothing() -> None:
    async with listening(3, head_seconds=3600) as port:
        idle = [await connected(port, b"GET / HT") for _ in range(3)]
        for _ in range(5):
            reader, writer = await connected(port, ASK)
            assert b"0 bytes" in await reader.readuntil(b"bytes")
            writer.close()

        assert await read(idle[0]) == b"", "the oldest made room"
        for _, writer in idle:
            writer.close()


async def test_answered_connections_that_stay_open_make_room_too() -> None:
    async with listening(3, head_seconds=3600) as port:
        clients = []
        for _ in range(6):
            reader, writer = await connected(port, ASK)
            assert b"0 bytes" in await reader.readuntil(b"bytes")
            clients.append(writer)
        for writer in clients:
            writer.close()


def test_log_has_one_line_a_minute_of_a_kind_and_counts_the_others() -> None:
    now = 0.0
    limit = LogRateLimit(lambda: now)

    assert [limit.admit("full") for _ in range(3)] == [0, None, None]
    assert limit.admit("bad request") == 0
    now = LOG_INTERVAL_SECONDS
    assert limit.admit("full") == 2
