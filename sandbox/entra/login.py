"""The token endpoint, the documents that msal reads first, and the endpoints of a managed identity."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.entra.errors import TokenError
from sandbox.entra.tenant import EntraTenant
from sandbox.entra.token import LIFETIME_SECONDS
from sandbox.query import query_problem
from sandbox.request_id import request_id_from_scope

__all__ = ["login_routes"]

Form = Mapping[str, str]
Handler = Callable[[EntraTenant, Request, Form], Response]

API_VERSIONS = {
    "/metadata/identity/oauth2/token": frozenset({"2018-02-01"}),
    "/msi/token": frozenset({"2019-08-01"}),
    "/common/discovery/instance": frozenset({"1.0", "1.1"}),
}
IDENTITY_HEADER = "sandbox-identity"
"""The value of the environment variable of that name in App Service."""


def login_routes(tenant: EntraTenant) -> list[Route]:
    """Return the routes below the authority: `/{tenant}/…`, and those of the managed identity."""
    identity = "api-version resource client_id"
    # method, path, handler, supported query parameters
    routes: list[tuple[str, str, Handler, str]] = [
        ("GET", "/metadata/identity/oauth2/token", _imds, identity),
        ("GET", "/msi/token", _app_service, identity),
        ("GET", "/common/discovery/instance", _instance_discovery, "api-version authorization_endpoint"),
        ("POST", "/{tenant}/oauth2/v2.0/token", _token, ""),
        ("GET", "/{tenant}/v2.0/.well-known/openid-configuration", _openid_configuration, ""),
    ]
    return [
        Route(path, _endpoint(tenant, method, act, known.split()), methods=[method])
        for method, path, act, known in routes
    ]


def _endpoint(
    tenant: EntraTenant, method: str, act: Handler, known: list[str]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if request.method != method:
            # Starlette adds HEAD to GET.
            return _json_response({"error": "method_not_allowed"}, 405)
        problem = query_problem(request.query_params, known) or _version_problem(request)
        if problem:
            return _json_response({"error": "invalid_request", "error_description": problem}, 400)
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        try:
            return act(tenant, request, form)
        except TokenError as refusal:
            return _json_response(refusal.body(request_id_from_scope(request.scope)), refusal.status)

    return endpoint


def _version_problem(request: Request) -> str:
    version, expected = request.query_params.get("api-version"), API_VERSIONS.get(request.url.path, frozenset())
    if version is None or version in expected:
        return ""
    return f"The api-version '{version}' is not supported here."


def _token(tenant: EntraTenant, request: Request, form: Form) -> Response:
    _require_tenant(tenant, request)
    return _json_response(tenant.token_issuer.issue_token(form, request.url.path))


def _instance_discovery(tenant: EntraTenant, request: Request, _form: Form) -> Response:
    authority = f"https://{request.url.netloc}/{tenant.tenant_id}/v2.0/.well-known/openid-configuration"
    return _json_response({"tenant_discovery_endpoint": authority, "api-version": "1.1", "metadata": []})


def _imds(tenant: EntraTenant, request: Request, _form: Form) -> Response:
    if request.headers.get("metadata") != "true":
        return _json_response(
            {"error": "bad_request_102", "error_description": "Required metadata header not specified"}, 400
        )
    return _managed_identity_token(tenant, request, expires_in=True)


def _app_service(tenant: EntraTenant, request: Request, _form: Form) -> Response:
    if request.headers.get("x-identity-header") != IDENTITY_HEADER:
        return _json_response({"statusCode": 401, "message": "The X-IDENTITY-HEADER is missing or wrong."}, 401)
    return _managed_identity_token(tenant, request, expires_in=False)


def _require_tenant(tenant: EntraTenant, request: Request) -> None:
    tenant_id = request.path_params["tenant"]
    if tenant_id.casefold() != tenant.tenant_id.casefold():
        raise TokenError(400, "invalid_tenant", 90002, f"Tenant '{tenant_id}' not found.")


def _openid_configuration(tenant: EntraTenant, request: Request, _form: Form) -> Response:
    """The addresses are https even where the sandbox speaks http: msal accepts no others."""
    _require_tenant(tenant, request)
    root = f"https://{request.url.netloc}/{request.path_params['tenant']}"
    document = {
        "token_endpoint": f"{root}/oauth2/v2.0/token",
        "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
        "jwks_uri": f"{root}/discovery/v2.0/keys",
        "issuer": f"{root}/v2.0",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "response_types_supported": ["code", "id_token", "token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }
    return _json_response(document)


def _managed_identity_token(tenant: EntraTenant, request: Request, *, expires_in: bool) -> Response:
    """Issue a token to the machine's own identity. Numbers are strings here, unlike at the token endpoint."""
    resource = request.query_params.get("resource", "")
    if not resource or "api-version" not in request.query_params:
        return _json_response(
            {"error": "invalid_request", "error_description": "resource and api-version are required"}, 400
        )
    client_id = request.query_params.get("client_id", "system")
    granted = tenant.token_issuer.token_response(client_id, resource)
    until = str(int(tenant.now()) + LIFETIME_SECONDS)
    body = {"access_token": granted["access_token"], "expires_on": until, "resource": resource, "token_type": "Bearer"}
    return _json_response(
        body | {"client_id": client_id} | ({"expires_in": str(LIFETIME_SECONDS)} if expires_in else {})
    )


def _json_response(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store"}, media_type="application/json")
