"""Serve Graph and the token endpoints over HTTP: one address for all of Microsoft's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from sandbox.entra.errors import GraphError, bad_request
from sandbox.entra.graph import GraphRequest
from sandbox.entra.login import login_routes
from sandbox.entra.resources import JsonObject
from sandbox.entra.tenant import EntraTenant
from sandbox.faults.response import capture_response
from sandbox.query import query_problem
from sandbox.request_id import request_id_headers

__all__ = ["entra_app"]

Handler = Callable[[GraphRequest], JsonObject]
Options = frozenset[str]

MEDIA_TYPE = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
MAX_BATCH_SIZE = 20
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
BATCH_PART_KEYS = {"id", "method", "url", "headers"}
USER_CASTS = ("microsoft.graph.user", "graph.user")

OBJECT_OPTIONS: Options = frozenset({"$select"})
DELTA_OPTIONS: Options = OBJECT_OPTIONS | {"$filter", "$deltatoken", "$skiptoken"}
LIST_OPTIONS: Options = OBJECT_OPTIONS | {"$top", "$skiptoken", "$count"}

# path below /v1.0, cost in resource units (entra.md, section 6), handler, supported query options
ROUTES: tuple[tuple[str, int, Handler, Options], ...] = (
    ("/servicePrincipals(appId='{id}')", 1, GraphRequest.principal_by_app_id, OBJECT_OPTIONS),
    ("/servicePrincipals/{id}", 1, GraphRequest.principal, OBJECT_OPTIONS),
    ("/servicePrincipals/{id}/appRoleAssignedTo", 2, GraphRequest.assigned, LIST_OPTIONS | {"$filter"}),
    ("/groups/delta", 1, GraphRequest.groups_delta, DELTA_OPTIONS),
    ("/groups/{id}", 1, GraphRequest.group, OBJECT_OPTIONS),
    ("/groups/{id}/members", 3, GraphRequest.members, LIST_OPTIONS),
    ("/groups/{id}/transitiveMembers", 5, GraphRequest.transitive_members, LIST_OPTIONS),
    *((f"/groups/{{id}}/members/{cast}", 3, GraphRequest.users_only, LIST_OPTIONS) for cast in USER_CASTS),
    *((f"/groups/{{id}}/transitiveMembers/{cast}", 5, GraphRequest.users_only, LIST_OPTIONS) for cast in USER_CASTS),
    ("/users", 2, GraphRequest.users, LIST_OPTIONS | {"$filter"}),
    ("/users/delta", 1, GraphRequest.users_delta, DELTA_OPTIONS),
    ("/users/{id}", 2, GraphRequest.user, OBJECT_OPTIONS),
    ("/users/{id}/memberOf", 2, GraphRequest.groups_of_user, LIST_OPTIONS),
    ("/users/{id}/transitiveMemberOf", 3, GraphRequest.groups_of_user, LIST_OPTIONS),
    *((f"/directory/deletedItems/{cast}", 1, GraphRequest.deleted_users, LIST_OPTIONS) for cast in USER_CASTS),
    ("/directory/deletedItems/{id}", 1, GraphRequest.deleted, OBJECT_OPTIONS),
)


def entra_app(tenant: EntraTenant) -> Starlette:
    """Return the application of *tenant*: Graph, the token endpoint and the managed identity's."""
    graph = Starlette(
        routes=[
            *(
                Route(f"/v1.0{path}", _endpoint(tenant, cost, act, options), methods=METHODS)
                for path, cost, act, options in ROUTES
            ),
            Route("/v1.0/{rest:path}", _endpoint(tenant, 1, _not_found), methods=METHODS),
        ]
    )

    async def batch(request: Request) -> Response:
        return await _answer_batch(tenant, graph, request)

    return Starlette(
        routes=[Route("/v1.0/$batch", batch, methods=["POST"]), *graph.routes, *login_routes(tenant)],
    )


def _endpoint(
    tenant: EntraTenant, cost: int, act: Handler, options: Options | None = None
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        units = max(1, cost - ("$select" in request.query_params))
        headers = {"x-ms-resource-unit": str(units)}
        try:
            share = tenant.consume_units(units)
            if share > 0.8:
                headers["x-ms-throttle-limit-percentage"] = f"{share:.2f}"
            roles = _require_roles(tenant, request)
            if options is not None:
                _require_get(request)
                _refuse_unknown_options(request, options)
            answer = act(GraphRequest(tenant, request, roles))
        except GraphError as refusal:
            return _error_response(request, refusal)
        return _json_response(request, answer, 200, headers)

    return endpoint


def _require_get(request: Request) -> None:
    if request.method != "GET":
        raise GraphError(
            405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.", {"Allow": "GET"}
        )


def _refuse_unknown_options(request: Request, options: Options) -> None:
    """Refuse options that are not modelled here: ignoring one would hide a client's mistake."""
    query = request.query_params
    problem = query_problem(query, options)
    if problem:
        raise bad_request(problem, "Request_UnsupportedQuery")
    level = request.headers.get("consistencylevel")
    if level is not None and (level.casefold() != "eventual" or "$count" not in options):
        raise bad_request(f"The ConsistencyLevel '{level}' is not supported here.", "Request_UnsupportedQuery")
    preference = request.headers.get("prefer")
    if preference is not None:
        raise bad_request(f"The preference '{preference}' is not supported here.")
    if "$count" in query and level is None:
        raise bad_request("$count requires ConsistencyLevel: eventual.", "Request_UnsupportedQuery")
    if query.get("$count", "true") not in {"true", "false"}:
        raise bad_request(f"Invalid value '{query['$count']}' for $count.")


def _require_roles(tenant: EntraTenant, request: Request) -> frozenset[str]:
    roles = tenant.token_issuer.token_roles(request.headers.get("authorization", ""))
    if roles is None:
        asks = 'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'
        message = "Lifetime validation failed, the token is expired."
        raise GraphError(401, "InvalidAuthenticationToken", message, {"WWW-Authenticate": asks})
    return roles


def _not_found(call: GraphRequest) -> JsonObject:
    raise bad_request(f"Resource not found for the segment '{call.request.path_params['rest']}'.")


async def _answer_batch(tenant: EntraTenant, graph: Starlette, request: Request) -> Response:
    """Serve each part by itself; the whole is 200 in any case, with its parts in another order."""
    try:
        _require_roles(tenant, request)
        _refuse_unknown_options(request, frozenset())
        parts = _parse_batch(await request.body())
    except GraphError as refusal:
        return _error_response(request, refusal)
    answers = [await _answer_batch_part(graph, request, part) for part in reversed(parts)]
    return _json_response(request, {"responses": answers}, 200, {})


def _parse_batch(body: bytes) -> list[dict[str, object]]:
    try:
        parts = orjson.loads(body)["requests"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise bad_request("Invalid batch payload format.", "BadRequest") from None
    if not isinstance(parts, list) or not all(
        isinstance(part, dict) and {"id", "url"} <= part.keys() <= BATCH_PART_KEYS for part in parts
    ):
        raise bad_request("Invalid batch payload format.", "BadRequest")
    if len(parts) > MAX_BATCH_SIZE:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {MAX_BATCH_SIZE}.", "BadRequest")
    return parts


async def _answer_batch_part(graph: Starlette, request: Request, part: dict[str, object]) -> dict[str, object]:
    url = urlsplit(str(part["url"]))
    path = f"/v1.0{unquote(url.path)}"
    scope: dict[str, object] = {
        key: request.scope[key] for key in ("type", "asgi", "http_version", "scheme", "server", "client")
    }
    scope |= {"method": part.get("method", "GET"), "path": path, "raw_path": path.encode(), "root_path": ""}
    scope |= {"query_string": url.query.encode(), "headers": _batch_part_headers(request, part)}

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    answer = await capture_response(graph, scope, nothing)
    shown = ("retry-after", "x-ms-resource-unit", "content-type")
    headers = {name.title(): value for name, value in answer.headers if name in shown}
    return {"id": part["id"], "status": answer.status, "headers": headers, "body": answer.json()}


def _batch_part_headers(request: Request, part: dict[str, object]) -> list[tuple[bytes, bytes]]:
    """A part has the batch's authorisation and host, and its own headers."""
    own = part.get("headers")
    inherited = [(name, value) for name, value in request.headers.raw if name in (b"authorization", b"host")]
    more = own.items() if isinstance(own, dict) else ()
    return inherited + [(str(name).lower().encode(), str(value).encode()) for name, value in more]


def _error_response(request: Request, refusal: GraphError) -> Response:
    ids = request_id_headers("entra", request.scope)
    return _json_response(request, refusal.body(ids), refusal.status, refusal.headers)


def _json_response(request: Request, body: object, status: int, headers: dict[str, str]) -> Response:
    usual = {"OData-Version": "4.0", "Cache-Control": "no-cache", **request_id_headers("entra", request.scope)}
    return Response(orjson.dumps(body), status, usual | headers, media_type=MEDIA_TYPE)
