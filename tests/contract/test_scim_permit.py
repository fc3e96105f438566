"""No write request is sent once the permit has ended, whatever delays occur after planning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from agent.errors import TokensRefused, WriteStopped
from agent.model import Fields, Member
from agent.ports.workspace import WorkspaceWriter
from agent.scim.client import ScimClient
from connectors.http import ApiClient, PermitExpired
from tests.contract.scim_faults import (
    ALWAYS,
    TOKENS,
    URL,
    Answering,
    Fault,
    Scene,
    a_scene,
    answer,
    broken_off,
    reset_after,
    silent,
    unreachable,
)

ANA = Fields(active=False)


@dataclass
class Until:
    """A permit that ends when the clock shows *end*; `expire` ends it at once."""

    now: Callable[[], float]
    end: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def remaining_seconds(self) -> float:
        return 0 if self.ended.is_set() else self.end - self.now()

    async def wait_until_ended(self) -> None:
        await self.ended.wait()

    def expire(self) -> None:
        self.ended.set()


@asynccontextmanager
async def writing(scene: Scene, permit: Until, **more: Any) -> AsyncIterator[WorkspaceWriter]:
    async with httpx.AsyncClient(transport=scene.wire) as http:
        client = ScimClient(
            "latam", URL, [lambda: TOKENS[0], lambda: TOKENS[1]], http, timer=scene.time.timer(), **more
        )
        yield client.writer_for(permit)


def a_permit(scene: Scene, seconds: float = 13) -> Until:
    return Until(lambda: scene.time.now, scene.time.now + seconds)


def writes(scene: Scene) -> list[str]:
    return [kind for kind in scene.wire.kinds() if not kind.startswith("GET")]


async def first(workspace: WorkspaceWriter) -> Member:
    return (await workspace.list_members()).members[0]


async def patched(workspace: WorkspaceWriter) -> None:
    await workspace.patch(await first(workspace), ANA)


async def replaced(workspace: WorkspaceWriter) -> None:
    await workspace.replace(await first(workspace), Fields(email="new@acme.com"))


async def created(workspace: WorkspaceWriter) -> None:
    await workspace.create("ana@acme.com", "Ana Lima", "Ana", "Lima")


WRITES = {"PATCH": patched, "PUT": replaced, "POST": created}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_write_after_the_permit_does_not_leave(write: Callable[[WorkspaceWriter], Awaitable[None]]) -> None:
    scene = a_scene(members=1)

    async with writing(scene, a_permit(scene, 0)) as workspace:
        with pytest.raises(WriteStopped) as stopped:
            await write(workspace)

    assert (writes(scene), stopped.value.may_be_applied) == ([], False)


def then_suspended(scene: Scene, fault: Fault) -> Fault:
    """Return *fault*, with a suspension of 18 s before the response is read."""

    async def slept(request: httpx.Request, real: Answering) -> httpx.Response:
        try:
            return await fault(request, real)
        finally:
            scene.time.now += 18

    return slept


AGAIN: dict[str, tuple[str, Fault, bool]] = {
    "PATCH refused by a limit": ("PATCH", answer(429, Retry_After="3"), False),
    "PATCH without an answer": ("PATCH", silent, True),
    "PATCH that was done": ("PATCH", reset_after, True),
    "PATCH answered by a gateway": ("PATCH", answer(503), True),
    "PATCH that was not sent": ("PATCH", unreachable, False),
    "PATCH redirected": ("PATCH", answer(307, Location=f"{URL}/Users/other"), False),
    "PATCH of an old token": ("PATCH", answer(401), False),
    "PATCH of an unknown type": ("PATCH", answer(415), False),
    "PATCH that is unknown, so PUT": ("PATCH", answer(501), False),
    "PUT refused by a limit": ("PUT", answer(429), False),
    "POST refused by a limit": ("POST", answer(429), False),
    "POST without an answer": ("POST", silent, True),
    "POST broken off": ("POST", broken_off, True),
}


@pytest.mark.parametrize(("method", "fault", "may_be_made"), AGAIN.values(), ids=AGAIN)
async def test_request_is_not_repeated_after_the_permit(method: str, fault: Fault, may_be_made: bool) -> None:
    scene = a_scene(members=1)
    scene.wire.fault(method, ALWAYS, then_suspended(scene, fault))

    async with writing(scene, a_permit(scene)) as workspace:
        with pytest.raises(WriteStopped) as stopped:
            await WRITES[method](workspace)

    assert (writes(scene), stopped.value.may_be_applied) == ([method], may_be_made)


class SlowRateLimiter:
    """Lets a request through once it is released."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.learnt: list[int] = []

    async def acquire(self, method: str, url: httpx.URL) -> None:  # noqa: ARG002  (the pace has it)
        if method != "GET":
            self.asked.set()
            await self.open.wait()

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:  # noqa: ARG002  (the same)
        self.learnt.append(status)


async def test_wait_for_the_pace_ends_with_the_permit() -> None:
    scene, pace = a_scene(members=1), SlowRateLimiter()
    permit = a_permit(scene)

    async with writing(scene, permit, rate_limiter=pace) as workspace:
        write = asyncio.create_task(patched(workspace))
        await pace.asked.wait()
        permit.expire()
        with pytest.raises(WriteStopped):
            await write

    assert (writes(scene), pace.learnt) == ([], [200])


async def test_request_that_the_pace_lets_through_too_late_does_not_leave_and_is_given_back() -> None:
    scene, pace = a_scene(members=1), SlowRateLimiter()

    async with writing(scene, a_permit(scene), rate_limiter=pace) as workspace:
        write = asyncio.create_task(patched(workspace))
        await pace.asked.wait()
        scene.time.now += 18
        pace.open.set()
        with pytest.raises(WriteStopped):
            await write

    assert (writes(scene), pace.learnt) == ([], [200, 0])


async def test_wait_before_a_repetition_ends_with_the_permit() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("PATCH", ALWAYS, answer(429, Retry_After="250"))
    permit = a_permit(scene)
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    async with httpx.AsyncClient(transport=scene.wire) as http:
        timer = scene.time.timer()
        client = ScimClient("latam", URL, [lambda: TOKENS[0]], http, timer=type(timer)(timer.now, sleep, timer.wall))
        write = asyncio.create_task(patched(client.writer_for(permit)))
        await asleep.wait()
        permit.expire()
        with pytest.raises(WriteStopped):
            await write

    assert writes(scene) == ["PATCH"]


async def test_write_without_a_permit_is_a_bug() -> None:
    async with httpx.AsyncClient(transport=a_scene().wire) as http:
        api = ApiClient("Pigment", URL, http, no_credentials)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(AssertionError):
                await api.send(method, "Users", json={}, retry_policy=api.retry_policy(frozenset()))


@dataclass
class Asked:
    """A permit that holds for a number of checks."""

    looks: int

    def remaining_seconds(self) -> float:
        self.looks -= 1
        return 10 if self.looks >= 0 else 0

    async def wait_until_ended(self) -> None:
        await asyncio.Event().wait()


async def answered_over_a_socket(looks: int) -> tuple[bytes, httpx.Response | None]:
    """PATCH a real server with a permit for *looks* checks; return all it received, and the response if any."""
    received = bytearray()
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            received.extend(piece)
            if BODY in received:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/scim/v2"
    response = None
    async with server, httpx.AsyncClient(trust_env=False) as http:
        api = ApiClient("Pigment", url, http, no_credentials)
        patience = api.retry_policy(frozenset(), (), Asked(looks))
        with suppress(PermitExpired):
            answer = await api.send("PATCH", "Users/1", json={"active": False}, retry_policy=patience)
            response = httpx.Response(answer.status)
        # A connection on which nothing was sent is kept, and closed with the client.
    if received:
        await asyncio.wait_for(closed.wait(), 30)
    return bytes(received), response


BODY = b'{"active":false}'


async def no_credentials(_refused: bool) -> dict[str, str]:
    return {}


async def test_permit_is_asked_until_the_body_leaves() -> None:
    """Suspend between any two checks: the server gets a whole request only if each check found the permit."""
    partial = []
    for looks in range(20):
        received, response = await answered_over_a_socket(looks)
        if response is not None:
            break
        assert BODY not in received
        partial.append(received)

    # Before the rate limiter admits it there is nothing; then a connection; at last the headers without the body.
    assert response is not None
    assert partial[-1].startswith(b"PATCH /scim/v2/Users/1")
    assert partial[-2] == b""


class OneAfterAnother(SlowRateLimiter):
    """Lets the first write through, and the others once it is released."""

    async def acquire(self, method: str, url: httpx.URL) -> None:
        if method != "GET" and not self.asked.is_set():
            self.asked.set()
            return
        await super().acquire(method, url)


async def test_refused_tokens_end_the_waits_of_the_other_writes() -> None:
    """Several changes are in flight, and all but one wait for their pace: no more of them are refused."""
    scene, pace = a_scene(members=4), OneAfterAnother()
    scene.wire.fault("PATCH", ALWAYS, answer(401))

    async with httpx.AsyncClient(transport=scene.wire) as http:
        client = ScimClient("latam", URL, [lambda: TOKENS[0]], http, rate_limiter=pace, timer=scene.time.timer())
        workspace = client.writer_for(a_permit(scene))
        members = (await workspace.list_members()).members
        ended = await asyncio.gather(*(workspace.patch(each, ANA) for each in members), return_exceptions=True)

    assert [type(each) for each in ended] == [TokensRefused] * 4
    assert [each.may_be_applied for each in ended if isinstance(each, TokensRefused)] == [False] * 4
    assert writes(scene) == ["PATCH"]
