"""The pretend Pigment behind a transport that fails single requests, and a clock that only sleeping moves."""

from __future__ import annotations

import asyncio
import gzip
import heapq
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from agent.model import Fields, Member
from agent.scim.client import ScimClient, ScimWriter
from connectors.http import Timer
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.token import Token
from sandbox.pigment.workspace import PigmentWorkspace

URL = "https://pigment.example/latam/scim/v2"
TOKENS = ("first-token", "second-token")

Answering = Callable[[httpx.Request], Awaitable[httpx.Response]]
Fault = Callable[[httpx.Request, Answering], Awaitable[httpx.Response]]
"""Called with the request and the real server; returns any response."""


class Unending:
    """A permit that never ends."""

    def remaining_seconds(self) -> float:
        return float("inf")

    async def wait_until_ended(self) -> None:
        await asyncio.Event().wait()


class OpenClient(ScimClient):
    """A client that may write: what the tests of a workspace, not of the permit, work with."""

    @property
    def writer(self) -> ScimWriter:
        if not hasattr(self, "_open"):
            self._open = self.writer_for(Unending())
        return self._open

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> Member:
        return await self.writer.create(email, display_name, given_name, family_name)

    async def patch(self, member: Member, wanted: Fields) -> Member:
        return await self.writer.patch(member, wanted)

    async def replace(self, member: Member, wanted: Fields) -> Member:
        return await self.writer.replace(member, wanted)


ALWAYS = range(1, 1_000_000)


class FakeTime:
    """A clock that advances only while a task sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.naps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += max(0.0, seconds)

    def timer(self) -> Timer:
        return Timer(lambda: self.now, self.sleep, lambda: self.now)


@dataclass(order=True, slots=True)
class _PendingSleep:
    until: float
    order: int
    over: asyncio.Event = field(compare=False)


class Hours:
    """A clock for concurrent sleepers: when all of them sleep, it advances to the first wake-up."""

    def __init__(self) -> None:
        self.now = 0.0
        self._naps: list[_PendingSleep] = []
        self._order = 0

    def timer(self) -> Timer:
        return Timer(lambda: self.now, self.sleep, lambda: self.now)

    async def sleep(self, seconds: float) -> None:
        self._order += 1
        pending_sleep = _PendingSleep(self.now + seconds, self._order, asyncio.Event())
        heapq.heappush(self._naps, pending_sleep)
        await pending_sleep.over.wait()

    async def run(self, *people: asyncio.Task[Any]) -> None:
        while not all(person.done() for person in people):
            for _ in range(10):
                await asyncio.sleep(0)
            if self._naps:
                pending_sleep = heapq.heappop(self._naps)
                self.now = max(self.now, pending_sleep.until)
                pending_sleep.over.set()
        for person in people:
            person.result()


@dataclass(slots=True)
class Wire(httpx.AsyncBaseTransport):
    """A transport to *server* that records every request, and fails the k-th one of a method."""

    server: httpx.AsyncBaseTransport
    sent: list[httpx.Request] = field(default_factory=list)
    faults: list[tuple[str, Iterable[int], Fault]] = field(default_factory=list)

    def fault(self, method: str, which: Iterable[int] | int, fault: Fault) -> None:
        """Apply *fault* to the requests number *which* (from 1) of *method*, a prefix of a `kind`."""
        self.faults.append((method, (which,) if isinstance(which, int) else which, fault))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        for method, which, fault in self.faults:
            if kind(request).startswith(method) and len(self.kinds(method)) in which:
                return await fault(request, self.server.handle_async_request)
        return await self.server.handle_async_request(request)

    def kinds(self, prefix: str = "") -> list[str]:
        return [kind(request) for request in self.sent if kind(request).startswith(prefix)]

    def bodies(self, method: str) -> list[Any]:
        return [json.loads(request.content) for request in self.sent if request.method == method]


def kind(request: httpx.Request) -> str:
    """Return the method and its target: `GET list`, `GET find`, `GET one`, `POST`, `PUT`, `PATCH`."""
    if request.method != "GET":
        return request.method
    if "filter" in request.url.params:
        return "GET find"
    return "GET list" if request.url.path.endswith("/Users") else "GET one"


@dataclass(slots=True)
class Scene:
    """One workspace with its transport, its clock and its warnings."""

    space: PigmentWorkspace
    wire: Wire
    time: FakeTime = field(default_factory=FakeTime)
    warnings: list[dict[str, object]] = field(default_factory=list)

    def warn(self, event: str, **fields: object) -> None:
        self.warnings.append({"event": event, **fields})

    @asynccontextmanager
    async def client(self, *tokens: str, **more: Any) -> AsyncIterator[OpenClient]:
        reveal = [lambda token=token: token for token in tokens or TOKENS[:1]]
        async with httpx.AsyncClient(transport=self.wire) as http:
            more.setdefault("timer", self.time.timer())
            yield OpenClient("latam", URL, reveal, http, warn=self.warn, **more)


def a_scene(members: int = 0, **switches: Any) -> Scene:
    """Return a workspace with that many members: p1@acme.com and so on."""
    space = PigmentWorkspace("latam", [Token(token) for token in TOKENS], WorkspaceOptions(**switches))
    for number in range(1, members + 1):
        space.admin_create(f"p{number}@acme.com", f"Person {number}")
    app = pigment_app(Pigment([space], RateLimiter(RateLimit(None))))
    return Scene(space, Wire(httpx.ASGITransport(app)))


def answer(status: int, content: str | bytes = b"", **headers: str) -> Fault:
    """Return this response, and do nothing."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def fault(request: httpx.Request, real: Answering) -> httpx.Response:
        return httpx.Response(status, content=content, headers=named)

    return fault


def scim_error(status: int, scim_type: str = "", detail: str = "no") -> Fault:
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": str(status), "detail": detail}
    return answer(status, json.dumps(body | ({"scimType": scim_type} if scim_type else {})))


def unreachable(request: httpx.Request, real: Answering) -> Awaitable[httpx.Response]:
    raise httpx.ConnectError("connection refused", request=request)


def silent(request: httpx.Request, real: Answering) -> Awaitable[httpx.Response]:
    """Accept the request, do nothing, and never respond."""
    raise httpx.ReadTimeout("", request=request)


async def reset_after(request: httpx.Request, real: Answering) -> httpx.Response:
    """Execute the request, and drop the connection before the response."""
    await real(request)
    raise httpx.ReadError("connection reset", request=request)


async def broken_off(request: httpx.Request, real: Answering) -> httpx.Response:
    """Drop the connection in the middle of the response."""

    async def half() -> AsyncIterator[bytes]:
        yield b'{"totalResults": 3, "Resou'
        raise httpx.RemoteProtocolError("peer closed connection", request=request)

    return httpx.Response(200, content=half())


def done_but(status: int, content: bytes = b"") -> Fault:
    """Execute the request, and return another response."""

    async def fault(request: httpx.Request, real: Answering) -> httpx.Response:
        await real(request)
        return httpx.Response(status, content=content)

    return fault


def edited(edit: Callable[[dict[str, Any]], object]) -> Fault:
    """Return the response of the server, with its JSON changed by *edit*."""

    async def fault(request: httpx.Request, real: Answering) -> httpx.Response:
        response = await real(request)
        document = json.loads(await response.aread())
        edit(document)
        return httpx.Response(response.status_code, json=document)

    return fault


def streamed(parts: Iterable[bytes], headers: Mapping[str, str] | None = None) -> Fault:
    async def fault(request: httpx.Request, real: Answering) -> httpx.Response:
        async def body() -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        return httpx.Response(200, content=body(), headers=headers)

    return fault


def bomb(size: int) -> Fault:
    """Return a small gzip body that expands to *size* bytes."""
    return streamed([gzip.compress(b" " * size)], {"content-encoding": "gzip"})
