"""Speak SCIM over HTTP for the pretend workspaces: `/{workspace}/scim/v2/Users`."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.pigment.journal import Write
from sandbox.pigment.listing import listing
from sandbox.pigment.member import Member
from sandbox.pigment.pace import Limit, Limiter
from sandbox.pigment.refusal import Refusal, bad_value
from sandbox.pigment.space import PigmentSpace

__all__ = ["DROPPED", "Pigment", "pigment_app"]

DROPPED = "sandbox.dropped"
"""A key of the ASGI scope: the write is to be answered as if it was done, and is not to be done."""

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
LISTING = ("filter", "startIndex", "count", "cursor")
WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Pigment:
    """All pretend workspaces behind one address, and the rate limit that they share."""

    def __init__(self, spaces: Iterable[PigmentSpace], limiter: Limiter | None = None) -> None:
        self.spaces = {space.name: space for space in spaces}
        self.limiter = limiter or Limiter(Limit())

    def add(self, space: PigmentSpace) -> None:
        self.spaces[space.name] = space


@dataclass(frozen=True, slots=True)
class Call:
    """One authorised request: to which workspace, about which member (empty: about all), with which body."""

    space: PigmentSpace
    request: Request
    member_id: str
    raw: bytes

    @property
    def base(self) -> str:
        return str(self.request.base_url).rstrip("/") + f"/{quote(self.space.name)}/scim/v2"

    def body(self) -> object:
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            raise Refusal(400, "The body is not JSON.", "invalidSyntax") from None


def pigment_app(pigment: Pigment) -> Starlette:
    """Return the application that answers for all of *pigment*'s workspaces."""

    async def users(request: Request) -> Response:
        return await _answer(pigment, request, _users)

    async def elsewhere(request: Request) -> Response:
        return await _answer(pigment, request, _elsewhere)

    return Starlette(
        routes=[
            Route("/{space}/scim/v2/Users", users, methods=METHODS),
            Route("/{space}/scim/v2/Users/{member:path}", users, methods=METHODS),
            Route("/{space}/scim/v2/{rest:path}", elsewhere, methods=METHODS),
        ]
    )


async def _answer(pigment: Pigment, request: Request, act: Callable[[Call], Response]) -> Response:
    wait = pigment.limiter.wait(request.client.host if request.client else "")
    if wait:
        return _refused(Refusal(429, "Too many requests."), pigment.limiter.headers(wait))
    space = pigment.spaces.get(request.path_params["space"])
    if space is None:
        return _refused(Refusal(404, "There is no such workspace."))
    space.journal.requests[request.method] += 1
    call = Call(space, request, request.path_params.get("member", ""), await request.body())
    count, about = len(space.roster), space.roster.by_id(call.member_id)
    version = about.version if about else 0
    try:
        _authorise(call)
        answer = act(call)
    except Refusal as refusal:
        answer = _refused(refusal)
    if request.method in WRITES:
        made = space.roster.newest() if len(space.roster) > count else None
        applied = made is not None or (about is not None and about.version != version)
        _record(call, answer, made or about, applied=applied)
    return answer


def _authorise(call: Call) -> None:
    kind, _, secret = call.request.headers.get("authorization", "").partition(" ")
    if kind.casefold() != "bearer" or not call.space.tokens.is_valid(secret.strip(), call.space.now().date()):
        raise Refusal(401, "The token is missing, expired or revoked.")
    if not call.space.switches.scim_on:
        raise Refusal(403, "SCIM is not enabled for this workspace.")


def _users(call: Call) -> Response:
    method = call.request.method
    if method == "GET":
        _hold_to(call.request, () if call.member_id else LISTING)
    if not call.member_id:
        if method == "GET":
            return _scim(200, _marked(call, listing(call.space, call.request.query_params, call.base)))
        if method == "POST":
            return _create(call)
        raise Refusal(405, f"{method} is not supported here.")
    if method == "POST":
        raise Refusal(405, "POST is not supported here.")
    if method == "GET":
        return _shown(call, _visible(call))
    return _write(call, call.space.known(call.member_id))


def _visible(call: Call) -> Member:
    """Return the member as reads show it; `Refusal` 404 when they do not show it (yet, or under this id)."""
    if not call.space.switches.reads_lag:
        return call.space.known(call.member_id)
    for member in call.space.members:
        shown = call.space.shown(member)
        if shown is not None and shown.id == call.member_id:
            return shown
    raise Refusal(404, f"Resource {call.member_id} not found.")


def _create(call: Call) -> Response:
    if call.request.scope.get(DROPPED):
        return Response(status_code=202)
    return _answered(call, call.space.create(call.body()), 201)


def _hold_to(request: Request, known: Iterable[str]) -> None:
    """Refuse what is not modelled here: a parameter that was ignored would hide a mistake of who sends it."""
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        raise bad_value(f"The query parameter {unknown} is not supported.")


def _write(call: Call, member: Member) -> Response:
    if call.space.switches.etags:
        _hold_to_version(call, member)
    if call.request.scope.get(DROPPED):
        return _shown(call, member)
    if call.request.method == "DELETE":
        call.space.deactivate(member)
        return Response(status_code=204)
    if call.request.method == "PUT":
        call.space.replace(member, call.body())
    elif call.space.patch(member, call.body()) and call.space.switches.patch_dropped == "204":
        return Response(status_code=204)
    return _answered(call, member)


def _hold_to_version(call: Call, member: Member) -> None:
    condition, versions = call.request.headers.get("if-match"), call.space.switches.versions
    if condition is None and versions == "demanded":
        raise Refusal(428, "If-Match is required.")
    is_weak = versions == "strict" and str(condition).startswith("W/")
    if is_weak or condition not in (None, "*", member.etag):
        raise Refusal(412, "The resource has changed.")


def _answered(call: Call, member: Member, status: int = 200) -> Response:
    """Answer a write that was done."""
    if call.space.switches.writes_shown:
        return _shown(call, member, status)
    return Response(status_code=202 if status == 201 else 204)


def _marked(call: Call, body: bytes) -> bytes:
    return BOM_UTF8 + body if call.space.switches.byte_order_mark else body


def _elsewhere(call: Call) -> Response:
    is_group = call.request.path_params["rest"].split("/")[0] == "Groups"
    raise Refusal(call.space.switches.groups_status if is_group else 404, "There is nothing here.")


def _record(call: Call, answer: Response, member: Member | None, *, applied: bool) -> None:
    path = f"/Users/{call.member_id}" if call.member_id else call.request.url.path.rpartition("/scim/v2")[2]
    try:
        body = call.body() if call.raw else None
    except Refusal:
        body = None
    space = call.space
    seq, scim_id = len(space.journal.writes) + 1, member.id if member else None
    space.journal.writes.append(
        Write(seq, space.now(), call.request.method, path, body, answer.status_code, applied, scim_id)
    )


def _shown(call: Call, member: Member, status: int = 200) -> Response:
    headers = {"Location": member.location(call.base)}
    if call.space.switches.etags:
        headers["ETag"] = member.etag
    return _scim(status, _marked(call, member.json(call.base, call.space.switches)), headers)


def _refused(refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    extra = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    return _scim(refusal.status, orjson.dumps(refusal.body()), extra | (headers or {}))


def _scim(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/scim+json")
