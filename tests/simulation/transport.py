"""The pretend workspace as an HTTP transport in memory, with everything that goes wrong on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote

import httpx
import orjson

from sandbox.pigment.journal import Write
from sandbox.pigment.listing import listing
from sandbox.pigment.member import Member
from sandbox.pigment.refusal import Refusal
from tests.simulation.invariants import Broken
from tests.simulation.world import World

__all__ = ["BASE", "SimulatedPigment"]

BASE = "https://pigment.example.com/scim/v2"
Watching = Callable[[str, Member, Mapping[str, object]], None]
FAULTS = ("lost", "refused", "broken", "dropped", "token", "unsent")


class SimulatedPigment(httpx.AsyncBaseTransport):
    """Answers SCIM from the world's space. Between any two steps the process may die or hang."""

    def __init__(self, world: World, watch: Watching, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._world = world
        self._watch = watch
        self._meanwhile = meanwhile
        self._posted = ""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        world, space = self._world, self._world.space
        await self._arrives(request)
        space.journal.requests[request.method] += 1
        fault = world.chance.choice(FAULTS) if world.chance.random() < world.fault_rate else ""
        if fault == "unsent":
            raise httpx.ConnectError("refused", request=request)
        if fault == "token":
            world.rotate_token()
        if fault == "refused":
            return httpx.Response(503, request=request)
        if not space.tokens.is_valid(request.headers["Authorization"].removeprefix("Bearer "), world.moment.date()):
            return httpx.Response(401, request=request)
        try:
            response = self._answer(request, is_dropped=fault == "dropped")
        except Refusal as refusal:
            error = {"status": str(refusal.status), "scimType": refusal.scim_type, "detail": refusal.detail}
            response = httpx.Response(refusal.status, content=orjson.dumps(error), request=request)
        world.live()
        if fault == "lost":
            raise httpx.ReadError("reset", request=request)
        return httpx.Response(500, request=request) if fault == "broken" else response

    async def _arrives(self, request: httpx.Request) -> None:
        world = self._world
        world.live()
        if world.hangs():
            await self._meanwhile()
            # Where it hangs nothing has left yet: httpcore asks this before it writes.
            trace = request.extensions.get("trace")
            if trace is not None:
                await trace("http11.send_request_headers.started", {})
        if world.chance.random() >= world.unrest:
            return
        if request.method == "POST":
            world.take_address(orjson.loads(request.content)["userName"])
        else:
            world.edit_by_hand()

    def _answer(self, request: httpx.Request, *, is_dropped: bool) -> httpx.Response:
        space = self._world.space
        member_id = unquote(request.url.raw_path.decode().partition("?")[0].partition("/Users")[2].lstrip("/"))
        if request.method == "GET":
            self._posted = ""
            if not member_id:
                body = listing(space, dict(request.url.params), BASE)
                return httpx.Response(200, content=body, request=request)
            return self._shown(space.known(member_id), 200, request)
        body = orjson.loads(request.content)
        if request.method == "POST":
            if self._posted == body["userName"]:
                raise Broken("a create was sent twice without a look")
            self._posted = body["userName"]
            member = space.create(body)
            self._journal(request, body, 201, member)
            return self._shown(member, 201, request)
        member = space.known(member_id)
        self._watch(request.method, member, body)
        if not is_dropped:
            if request.method == "PUT":
                space.replace(member, body)
            else:
                space.patch(member, body)
            self._journal(request, body, 200, member)
        return self._shown(member, 200, request)

    def _shown(self, member: Member, status: int, request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=member.json(BASE, self._world.space.switches), request=request)

    def _journal(self, request: httpx.Request, body: object, status: int, member: Member) -> None:
        journal = self._world.space.journal
        path = request.url.path
        journal.writes.append(
            Write(len(journal.writes), self._world.moment, request.method, path, body, status, True, member.id)
        )
