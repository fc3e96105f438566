"""Serve SCIM over HTTP for the pretend workspaces: `/{workspace}/scim/v2/Users`."""

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

from sandbox.pigment.errors import ScimError, invalid_value
from sandbox.pigment.listing import listing_page
from sandbox.pigment.member import Member
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.workspace import PigmentWorkspace
from sandbox.pigment.write_log import Write
from sandbox.query import query_problem

__all__ = ["DROP_WRITE_KEY", "Pigment", "pigment_app"]

DROP_WRITE_KEY = "sandbox.dropped"
"""A key of the ASGI scope: report the write as successful, but do not apply it."""

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
LIST_PARAMETERS = ("filter", "startIndex", "count")
WRITE_METHODS = ("POST", "PUT", "PATCH", "DELETE")


class Pigment:
    """All pretend workspaces behind one address, and the rate limit that they share."""

    def __init__(self, workspaces: Iterable[PigmentWorkspace], limiter: RateLimiter | None = None) -> None:
        self.workspaces = {workspace.name: workspace for workspace in workspaces}
        self.limiter = limiter or RateLimiter(RateLimit())

    def add(self, workspace: PigmentWorkspace) -> None:
        self.workspaces[workspace.name] = workspace


@dataclass(frozen=True, slots=True)
class ScimRequest:
    """One authorised request: its workspace, its member's id (empty: all members) and its body."""

    workspace: PigmentWorkspace
    request: Request
    member_id: str
    raw: bytes

    @property
    def base(self) -> str:
        return str(self.request.base_url).rstrip("/") + f"/{quote(self.workspace.name)}/scim/v2"

    def body(self) -> object:
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            raise ScimError(400, "The body is not JSON.", "invalidSyntax") from None


def pigment_app(pigment: Pigment) -> Starlette:
    """Return the application that serves all of *pigment*'s workspaces."""

    async def users(request: Request) -> Response:
        return await _dispatch(pigment, request, _answer_users)

    async def elsewhere(request: Request) -> Response:
        return await _dispatch(pigment, request, _refuse_unknown_path)

    return Starlette(
        routes=[
            Route("/{workspace}/scim/v2/Users", users, methods=METHODS),
            Route("/{workspace}/scim/v2/Users/{member:path}", users, methods=METHODS),
            Route("/{workspace}/scim/v2/{rest:path}", elsewhere, methods=METHODS),
        ]
    )


async def _dispatch(pigment: Pigment, request: Request, act: Callable[[ScimRequest], Response]) -> Response:
    wait = pigment.limiter.acquire(request.client.host if request.client else "")
    if wait:
        return _error_response(ScimError(429, "Too many requests."), pigment.limiter.retry_headers(wait))
    workspace = pigment.workspaces.get(request.path_params["workspace"])
    if workspace is None:
        return _error_response(ScimError(404, "No such workspace."))
    workspace.write_log.request_counts[request.method] += 1
    call = ScimRequest(workspace, request, request.path_params.get("member", ""), await request.body())
    count, about = len(workspace.member_store), workspace.member_store.by_id(call.member_id)
    version = about.version if about else 0
    try:
        _authorize(call)
        answer = act(call)
    except ScimError as refusal:
        answer = _error_response(refusal)
    if request.method in WRITE_METHODS:
        made = workspace.member_store.newest() if len(workspace.member_store) > count else None
        applied = made is not None or (about is not None and about.version != version)
        _record_write(call, answer, made or about, applied=applied)
    return answer


def _authorize(call: ScimRequest) -> None:
    kind, _, secret = call.request.headers.get("authorization", "").partition(" ")
    if kind.casefold() != "bearer" or not call.workspace.tokens.is_valid(secret.strip(), call.workspace.now().date()):
        raise ScimError(401, "The token is missing, expired or revoked.")
    if not call.workspace.options.scim_on:
        raise ScimError(403, "SCIM is not enabled for this workspace.")


def _answer_users(call: ScimRequest) -> Response:
    method = call.request.method
    _refuse_unknown_parameters(call)
    if method not in METHODS:
        raise ScimError(405, f"{method} is not supported here.")
    if not call.member_id:
        if method == "GET":
            return _scim_response(
                200, _with_byte_order_mark(call, listing_page(call.workspace, call.request.query_params, call.base))
            )
        if method == "POST":
            return _create_member(call)
        raise ScimError(405, f"{method} is not supported here.")
    if method == "POST":
        raise ScimError(405, "POST is not supported here.")
    if method == "GET":
        return _member_response(call, _visible_member(call))
    return _write_member(call, call.workspace.require_member(call.member_id))


def _visible_member(call: ScimRequest) -> Member:
    """Return the member as reads show it; raise `ScimError` 404 when they do not show it (yet, or under this id)."""
    if not call.workspace.options.reads_lag:
        return call.workspace.require_member(call.member_id)
    for member in call.workspace.members:
        shown = call.workspace.visible_member(member)
        if shown is not None and shown.id == call.member_id:
            return shown
    raise ScimError(404, f"Resource {call.member_id} not found.")


def _create_member(call: ScimRequest) -> Response:
    if call.request.scope.get(DROP_WRITE_KEY):
        return Response(status_code=202)
    return _write_response(call, call.workspace.create(call.body()), 201)


def _refuse_unknown_parameters(call: ScimRequest) -> None:
    """Refuse parameters that are not modelled here: ignoring one would hide a client's mistake."""
    lists = call.request.method == "GET" and not call.member_id
    paging = ("cursor",) if call.workspace.options.next_cursor else ()
    problem = query_problem(call.request.query_params, (*LIST_PARAMETERS, *paging) if lists else (), {"filter"})
    if problem:
        raise invalid_value(problem)


def _write_member(call: ScimRequest, member: Member) -> Response:
    if call.workspace.options.etags:
        _check_version(call, member)
    if call.request.scope.get(DROP_WRITE_KEY):
        return _member_response(call, member)
    if call.request.method == "DELETE":
        call.workspace.deactivate(member)
        return Response(status_code=204)
    if call.request.method == "PUT":
        call.workspace.replace(member, call.body())
    elif call.workspace.patch(member, call.body()) and call.workspace.options.patch_dropped == "204":
        return Response(status_code=204)
    return _write_response(call, member)


def _check_version(call: ScimRequest, member: Member) -> None:
    condition, versions = call.request.headers.get("if-match"), call.workspace.options.versions
    if condition is None and versions == "demanded":
        raise ScimError(428, "If-Match is required.")
    is_weak = versions == "strict" and str(condition).startswith("W/")
    if is_weak or condition not in (None, "*", member.etag):
        raise ScimError(412, "The resource has changed.")


def _write_response(call: ScimRequest, member: Member, status: int = 200) -> Response:
    """Return the response to a successful write."""
    if call.workspace.options.writes_shown:
        return _member_response(call, member, status)
    return Response(status_code=202 if status == 201 else 204)


def _with_byte_order_mark(call: ScimRequest, body: bytes) -> bytes:
    return BOM_UTF8 + body if call.workspace.options.byte_order_mark else body


def _refuse_unknown_path(call: ScimRequest) -> Response:
    is_group = call.request.path_params["rest"].split("/")[0] == "Groups"
    raise ScimError(call.workspace.options.groups_status if is_group else 404, "Not found.")


def _record_write(call: ScimRequest, answer: Response, member: Member | None, *, applied: bool) -> None:
    path = f"/Users/{call.member_id}" if call.member_id else call.request.url.path.rpartition("/scim/v2")[2]
    try:
        body = call.body() if call.raw else None
    except ScimError:
        body = None
    workspace = call.workspace
    seq, scim_id = len(workspace.write_log.writes) + 1, member.id if member else None
    workspace.write_log.writes.append(
        Write(seq, workspace.now(), call.request.method, path, body, answer.status_code, applied, scim_id)
    )


def _member_response(call: ScimRequest, member: Member, status: int = 200) -> Response:
    headers = {"Location": member.location(call.base)}
    if call.workspace.options.etags:
        headers["ETag"] = member.etag
    return _scim_response(
        status, _with_byte_order_mark(call, member.to_json(call.base, call.workspace.options)), headers
    )


def _error_response(refusal: ScimError, headers: dict[str, str] | None = None) -> Response:
    extra = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    return _scim_response(refusal.status, orjson.dumps(refusal.body()), extra | (headers or {}))


def _scim_response(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/scim+json")
