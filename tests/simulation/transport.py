"""The pretend workspaces as an HTTP transport in memory, with everything that goes wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from urllib.parse import unquote

import httpx
import orjson

from sandbox.pigment.errors import ScimError
from sandbox.pigment.listing import listing_page
from sandbox.pigment.member import Member
from sandbox.pigment.write_log import Write
from tests.simulation.invariants import Broken, Sender
from tests.simulation.world import Workspace, World

__all__ = ["SimulatedPigment", "Watching"]

Watching = Callable[[Sender, Workspace, str, Member | None, Mapping[str, object]], Awaitable[None]]
"""Looks at a write as it reaches the workspace: who sends it, where to, method, the member it is about, the body."""

FAULTS = ("lost", "refused", "broken", "dropped", "token", "unsent")


class SimulatedPigment(httpx.AsyncBaseTransport):
    """Answers SCIM from the world's workspaces, to one process. Before and after each request it may die or wait."""

    def __init__(self, world: World, sender: Sender, watch: Watching) -> None:
        self._world = world
        self._sender = sender
        self._watch = watch
        self._posted: set[tuple[str, str]] = set()
        self._writing = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return await self._handle(request)
        self._writing += 1
        try:
            self._check_count()
            return await self._handle(request)
        except Broken as error:
            # The task that sent it may be cancelled before anyone sees this.
            self._world.found.append(error)
            raise
        finally:
            self._writing -= 1

    def _check_count(self) -> None:
        if self._writing > self._world.in_flight * len(self._sender.policies):
            raise Broken("more changes were sent at once than allowed")

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        await self._travel(request)
        await self._wait(f"request {request.method}", request, "connect", httpx.ConnectTimeout)
        # Until here nothing has left: httpcore asks this before it writes.
        trace = request.extensions.get("trace")
        if trace is not None:
            await trace("http11.send_request_headers.started", {})
        world = self._world
        base, _, rest = str(request.url).partition("/Users")
        workspace = world.workspaces[base]
        space = workspace.space
        self._disturb(request, workspace)
        space.write_log.request_counts[request.method] += 1
        fault = world.chance.choice(FAULTS) if world.chance.random() < world.fault_rate else ""
        if fault == "unsent":
            raise httpx.ConnectError("refused", request=request)
        if fault == "token":
            world.rotate_token(workspace)
        if fault == "refused":
            return httpx.Response(503, request=request)
        if not space.tokens.is_valid(request.headers["Authorization"].removeprefix("Bearer "), world.now().date()):
            return httpx.Response(401, request=request)
        try:
            response = await self._answer(request, workspace, rest, is_dropped=fault == "dropped")
        except ScimError as refusal:
            error = {"status": str(refusal.status), "scimType": refusal.scim_type, "detail": refusal.detail}
            response = httpx.Response(refusal.status, content=orjson.dumps(error), request=request)
        if fault == "lost":
            raise httpx.ReadError("reset", request=request)
        await self._wait(f"answer {request.method}", request, "read", httpx.ReadTimeout)
        return httpx.Response(500, request=request) if fault == "broken" else response

    async def _travel(self, request: httpx.Request) -> None:
        """Wait until the request arrives: those that are sent at once arrive in any order.

        What a process had sent when it was killed may still arrive.
        """
        world = self._world
        if world.in_flight == 1:
            await asyncio.sleep(world.latency)
            return
        try:
            await asyncio.sleep(world.latency * world.order.uniform(1, 2))
        except asyncio.CancelledError:
            if self._sender.process.is_dead and request.method != "GET" and world.order.random() < 0.5:
                base, _, rest = str(request.url).partition("/Users")
                with suppress(ScimError):
                    await self._answer(request, world.workspaces[base], rest, is_dropped=False)
            raise

    async def _wait(self, point: str, request: httpx.Request, limit: str, late: type[httpx.TimeoutException]) -> None:
        seconds = request.extensions.get("timeout", {}).get(limit)
        try:
            await self._sender.process.at(point, seconds)
        except TimeoutError as error:
            raise late("too late", request=request) from error

    def _disturb(self, request: httpx.Request, workspace: Workspace) -> None:
        """Let people and administrators move while the request is under way."""
        world = self._world
        if world.chance.random() >= world.unrest:
            return
        if request.method == "POST":
            world.take_address(workspace.space, orjson.loads(request.content)["userName"])
        else:
            world.move_on()

    async def _answer(
        self, request: httpx.Request, workspace: Workspace, rest: str, *, is_dropped: bool
    ) -> httpx.Response:
        space = workspace.space
        member_id = unquote(rest.partition("?")[0].lstrip("/"))
        if request.method == "GET":
            if not member_id:
                self._posted = {each for each in self._posted if each[0] != workspace.url}
                if "filter" not in request.url.params:
                    self._sender.listed_at[workspace.url] = self._world.elapsed()
                return self._listed(request, workspace)
            return self._shown(space.require_member(member_id), 200, request)
        body = orjson.loads(request.content)
        member = None if request.method == "POST" else space.require_member(member_id)
        await self._watch(self._sender, workspace, request.method, member, body)
        if member is None:
            address = (workspace.url, body["userName"])
            if address in self._posted:
                raise Broken("a create was sent twice without a look")
            self._posted.add(address)
            member = space.create(body)
            self._journal(request, workspace, body, 201, member)
            return self._shown(member, 201, request)
        if not is_dropped:
            if request.method == "PUT":
                space.replace(member, body)
            else:
                space.patch(member, body)
            self._journal(request, workspace, body, 200, member)
        return self._shown(member, 200, request)

    def _listed(self, request: httpx.Request, workspace: Workspace) -> httpx.Response:
        space = workspace.space
        present = space.member_store
        if workspace.were is not None and workspace.lists_past_until > self._world.elapsed():
            space.member_store = workspace.were
        try:
            content = listing_page(space, dict(request.url.params), workspace.url)
        finally:
            space.member_store = present
        return httpx.Response(200, content=content, request=request)

    def _shown(self, member: Member, status: int, request: httpx.Request) -> httpx.Response:
        space = self._world.workspaces[str(request.url).partition("/Users")[0]].space
        content = member.to_json(str(request.url).partition("/Users")[0], space.options)
        return httpx.Response(status, content=content, request=request)

    def _journal(self, request: httpx.Request, workspace: Workspace, body: object, status: int, member: Member) -> None:
        journal = workspace.space.write_log
        path = request.url.path
        now = self._world.now()
        self._sender.writes.add((workspace.url, len(journal.writes)))
        journal.writes.append(Write(len(journal.writes), now, request.method, path, body, status, True, member.id))
