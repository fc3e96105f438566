"""Hostile servers: each at an address of its own, in one thread, over plain sockets.

empty       an empty list for each request; it records the requests
milliard    one page, and the claim that there are a milliard members
gigabyte    a body of a gibibyte
bomb        a gibibyte of zeros, compressed into a megabyte
deep        arrays in arrays
drip        a byte of the body now and then
headers     header lines without end
interim     `100 Continue` again and again
circle      a redirect to a place of its own that redirects to itself
silent      accepts the request, and never responds
garbage     bytes that are not HTTP
"""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

__all__ = ["Hostile", "hostile"]

GIGABYTE = 2**30
PIECE = b'{"userName": "' + b"x" * 2**16
EVERY_SECONDS = 0.05


def _head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *lines, "", ""]).encode()


def _whole(document: object) -> bytes:
    body = json.dumps(document).encode()
    return _head(f"Content-Length: {len(body)}") + body


async def _forever(piece: bytes) -> AsyncIterator[bytes]:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        yield piece


def _packed() -> bytes:
    packing = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    first, each = (packing.compress(bytes(2**24)) + packing.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    # To compress a gibibyte takes seconds. The checksum at its end is wrong, but the end is never read.
    return first + each * (2**6 - 1) + packing.flush()


class Hostile:
    """The servers while they run: where they listen, what they were asked with, and how many bytes each sent."""

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}
        self.methods: defaultdict[str, list[str]] = defaultdict(list)
        self.sent: Counter[str] = Counter()
        self._packed = _packed()
        self.kinds: dict[str, Callable[[], AsyncIterator[bytes]]] = {
            "empty": self._empty,
            "milliard": self._milliard,
            "gigabyte": self._gigabyte,
            "bomb": self._bomb,
            "deep": self._deep,
            "drip": self._drip,
            "headers": self._headers,
            "interim": self._interim,
            "circle": self._circle,
            "silent": self._silent,
            "garbage": self._garbage,
        }

    async def _empty(self) -> AsyncIterator[bytes]:
        yield _whole({"totalResults": 0, "Resources": []})

    async def _milliard(self) -> AsyncIterator[bytes]:
        member = {"id": "1", "userName": "p1@acme.com", "active": True}
        yield _whole({"totalResults": 10**9, "Resources": [member]})

    async def _gigabyte(self) -> AsyncIterator[bytes]:
        yield _head(f"Content-Length: {GIGABYTE}")
        for _ in range(GIGABYTE // len(PIECE)):
            yield PIECE

    async def _bomb(self) -> AsyncIterator[bytes]:
        yield _head("Content-Encoding: gzip", f"Content-Length: {len(self._packed)}") + self._packed

    async def _deep(self) -> AsyncIterator[bytes]:
        depth = 100_000
        yield _head(f"Content-Length: {2 * depth}") + b"[" * depth + b"]" * depth

    async def _drip(self) -> AsyncIterator[bytes]:
        yield _head("Content-Length: 1000000")
        async for byte in _forever(b" "):
            yield byte

    async def _headers(self) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        number = 0
        while True:
            number += 1
            yield f"X-Header-{number}: {'y' * 1000}\r\n".encode()

    async def _interim(self) -> AsyncIterator[bytes]:
        async for answer in _forever(b"HTTP/1.1 100 Continue\r\n\r\n"):
            yield answer

    async def _circle(self) -> AsyncIterator[bytes]:
        yield _head("Location: /again", "Content-Length: 0", status="307 Temporary Redirect")

    async def _silent(self) -> AsyncIterator[bytes]:
        async for _ in _forever(b""):
            yield b""

    async def _garbage(self) -> AsyncIterator[bytes]:
        yield bytes(range(256)) * 10 + b"\r\n\r\n"

    async def serve(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, until the client closes it."""
        try:
            while True:
                self.methods[kind].append(await _method(reader))
                async for piece in self.kinds[kind]():
                    writer.write(piece)
                    await writer.drain()
                    self.sent[kind] += len(piece)
                    if reader.at_eof():
                        return
        except (ConnectionError, asyncio.IncompleteReadError):
            # They have hung up, as they should.
            return
        finally:
            writer.close()


async def _method(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    length = next((line.split(":")[1] for line in lines if line.lower().startswith("content-length:")), "0")
    await reader.readexactly(int(length))
    return first.split(" ")[0]


@contextmanager
def hostile() -> Iterator[Hostile]:
    """Serve until the end of the block."""
    made, ready = Hostile(), threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        async with asyncio.TaskGroup() as connections:
            servers = []
            for kind in made.kinds:

                async def connected(
                    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str = kind
                ) -> None:
                    tasks.append(connections.create_task(made.serve(kind, reader, writer)))

                server = await asyncio.start_server(connected, "127.0.0.1", 0)
                servers.append(server)
                made.urls[kind] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            ready.set()
            await stopping.wait()
            for server in servers:
                server.close()
            for task in tasks:
                task.cancel()

    tasks: list[asyncio.Task[None]] = []
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        ready.wait(10)
        yield made
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()
