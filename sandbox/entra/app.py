"""Speak Graph and the token endpoints over HTTP: one address stands for all of Microsoft's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from sandbox.entra.graph import Call
from sandbox.entra.login import login_routes
from sandbox.entra.refusal import GraphRefusal, bad_request
from sandbox.entra.row import Row
from sandbox.entra.tenant import EntraTenant
from sandbox.faults.answer import answer_of

__all__ = ["entra_app"]

Act = Callable[[Call], Row]
Options = frozenset[str]

MEDIA = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
BATCH = 20
CAST = ("microsoft.graph.user", "graph.user")

OBJECT: Options = frozenset({"$select"})
LIST: Options = OBJECT | {"$top", "$skiptoken", "$count"}

# path below /v1.0, cost in resource units (entra.md, section 6), what answers, query options that it knows
ROUTES: tuple[tuple[str, int, Act, Options], ...] = (
    ("/servicePrincipals(appId='{id}')", 1, Call.principal_by_app_id, OBJECT),
    ("/servicePrincipals/{id}", 1, Call.principal, OBJECT),
    ("/servicePrincipals/{id}/appRoleAssignedTo", 2, Call.assigned, LIST | {"$filter"}),
    ("/groups/{id}", 1, Call.group, OBJECT),
    ("/groups/{id}/members", 3, Call.members, LIST),
    ("/groups/{id}/transitiveMembers", 5, Call.nested_members, LIST),
    *((f"/groups/{{id}}/members/{cast}", 3, Call.users_only, LIST) for cast in CAST),
    *((f"/groups/{{id}}/transitiveMembers/{cast}", 5, Call.users_only, LIST) for cast in CAST),
    ("/users/{id}", 2, Call.user, OBJECT),
    ("/users/{id}/memberOf", 2, Call.groups_of_user, LIST),
    ("/users/{id}/transitiveMemberOf", 3, Call.groups_of_user, LIST),
    *((f"/directory/deletedItems/{cast}", 1, Call.deleted_users, LIST) for cast in CAST),
    ("/directory/deletedItems/{id}", 1, Call.deleted, OBJECT),
)


def entra_app(tenant: EntraTenant) -> Starlette:
    """Return the application that answers for *tenant*: Graph, the token endpoint and the managed identity's."""
    graph = Starlette(
        routes=[
            *(
                Route(f"/v1.0{path}", _endpoint(tenant, cost, act, options), methods=["GET"])
                for path, cost, act, options in ROUTES
            ),
            Route("/v1.0/{rest:path}", _endpoint(tenant, 1, _nothing), methods=["GET", "POST", "PATCH", "DELETE"]),
        ]
    )

    async def batch(request: Request) -> Response:
        return await _batch(tenant, graph, request)

    return Starlette(
        routes=[Route("/v1.0/$batch", batch, methods=["POST"]), *graph.routes, *login_routes(tenant)],
    )


def _endpoint(
    tenant: EntraTenant, cost: int, act: Act, options: Options | None = None
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        units = max(1, cost - ("$select" in request.query_params))
        headers = {"x-ms-resource-unit": str(units)}
        try:
            share = tenant.spend(units)
            if share > 0.8:
                headers["x-ms-throttle-limit-percentage"] = f"{share:.2f}"
            roles = _roles(tenant, request)
            if options is not None:
                _hold_to(request, options)
            answer = act(Call(tenant, request, roles))
        except GraphRefusal as refusal:
            return _refused(request, refusal)
        return _json(request, answer, 200, headers)

    return endpoint


def _hold_to(request: Request, options: Options) -> None:
    """Refuse what is not modelled here: an option that was ignored would hide a mistake of who sends it."""
    query = request.query_params
    names = [name for name, _ in query.multi_items()]
    unknown = next((name for name in names if name not in options), None)
    if unknown is not None:
        raise bad_request(f"The query parameter '{unknown}' is not supported here.", "Request_UnsupportedQuery")
    if len(names) > len(set(names)):
        raise bad_request("A query parameter occurs twice.", "BadRequest")
    is_advanced = request.headers.get("consistencylevel", "").casefold() == "eventual"
    if "$count" in names and not is_advanced:
        raise bad_request("$count requires ConsistencyLevel: eventual.", "Request_UnsupportedQuery")
    if query.get("$count", "true") not in {"true", "false"}:
        raise bad_request(f"Invalid value '{query['$count']}' for $count.")


def _roles(tenant: EntraTenant, request: Request) -> frozenset[str]:
    roles = tenant.grants.roles_of(request.headers.get("authorization", ""))
    if roles is None:
        asks = 'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'
        message = "Lifetime validation failed, the token is expired."
        raise GraphRefusal(401, "InvalidAuthenticationToken", message, {"WWW-Authenticate": asks})
    return roles


def _nothing(call: Call) -> Row:
    raise bad_request(f"Resource not found for the segment '{call.request.path_params['rest']}'.")


async def _batch(tenant: EntraTenant, graph: Starlette, request: Request) -> Response:
    """Answer each part by itself; the whole is 200 whatever became of them, in an order of its own."""
    try:
        _roles(tenant, request)
        parts = _parts(await request.body())
    except GraphRefusal as refusal:
        return _refused(request, refusal)
    answers = [await _part(graph, request, part) for part in reversed(parts)]
    return _json(request, {"responses": answers}, 200, {})


def _parts(body: bytes) -> list[dict[str, object]]:
    try:
        parts = orjson.loads(body)["requests"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise bad_request("Invalid batch payload format.", "BadRequest") from None
    if not isinstance(parts, list) or not all(
        isinstance(part, dict) and {"id", "url"} <= part.keys() for part in parts
    ):
        raise bad_request("Invalid batch payload format.", "BadRequest")
    if len(parts) > BATCH:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {BATCH}.", "BadRequest")
    return parts


async def _part(graph: Starlette, request: Request, part: dict[str, object]) -> dict[str, object]:
    url = urlsplit(str(part["url"]))
    path = f"/v1.0{unquote(url.path)}"
    scope: dict[str, object] = {
        key: request.scope[key] for key in ("type", "asgi", "http_version", "scheme", "server", "client")
    }
    scope |= {"method": part.get("method", "GET"), "path": path, "raw_path": path.encode(), "root_path": ""}
    scope |= {"query_string": url.query.encode(), "headers": _part_headers(request, part)}

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    answer = await answer_of(graph, scope, nothing)
    shown = ("retry-after", "x-ms-resource-unit", "content-type")
    headers = {name.title(): value for name, value in answer.headers if name in shown}
    return {"id": part["id"], "status": answer.status, "headers": headers, "body": answer.json()}


def _part_headers(request: Request, part: dict[str, object]) -> list[tuple[bytes, bytes]]:
    """A part has the batch's authorisation and host, and headers of its own."""
    own = part.get("headers")
    kept = [(name, value) for name, value in request.headers.raw if name in (b"authorization", b"host")]
    more = own.items() if isinstance(own, dict) else ()
    return kept + [(str(name).lower().encode(), str(value).encode()) for name, value in more]


def _refused(request: Request, refusal: GraphRefusal) -> Response:
    asked = request.headers.get("client-request-id", "sandbox")
    return _json(request, refusal.body(asked), refusal.status, refusal.headers)


def _json(request: Request, body: object, status: int, headers: dict[str, str]) -> Response:
    asked = request.headers.get("client-request-id", "sandbox")
    usual = {"OData-Version": "4.0", "request-id": asked, "client-request-id": asked, "Cache-Control": "no-cache"}
    return Response(orjson.dumps(body), status, usual | headers, media_type=MEDIA)
