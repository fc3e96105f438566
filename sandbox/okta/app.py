"""Serve Okta's management API and its token endpoint over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.company import App, Group, Person
from sandbox.okta.dpop import ALGORITHMS, ProofError, ProofRequest
from sandbox.okta.errors import OktaError, forbidden, not_found, too_many_requests, unauthorized
from sandbox.okta.filter import filter_people
from sandbox.okta.org import DEPROVISIONED, OktaOrg
from sandbox.okta.pagination import paginate
from sandbox.okta.resources import JsonObject, ResourceBuilder
from sandbox.okta.token import TokenError
from sandbox.query import query_problem
from sandbox.quota import QuotaState

__all__ = ["okta_app"]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OktaRequest:
    """One authorised request."""

    org: OktaOrg
    request: Request

    @property
    def url(self) -> URL:
        return self.request.url

    @property
    def limit(self) -> str | None:
        return self.request.query_params.get("limit")

    @property
    def after(self) -> str | None:
        return self.request.query_params.get("after")

    @property
    def cursor_age(self) -> int:
        return self.org.cursor_age

    @property
    def resources(self) -> ResourceBuilder:
        return ResourceBuilder(str(self.request.base_url).rstrip("/"), self.org.directory)

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        return self.request.query_params.get(name, "")

    @property
    def is_expanded(self) -> bool:
        return "expand" in self.request.query_params


Handler = Callable[[OktaRequest], Response]


def okta_app(org: OktaOrg) -> Starlette:
    """Return the application of *org*."""
    # path below /api/v1, bucket of the rate limit, scope, handler, supported query parameters with their only value
    routes: list[tuple[str, str, str, Handler, str]] = [
        ("/apps", "apps", "okta.apps.read", _apps, "limit after"),
        ("/apps/{app}", "app", "okta.apps.read", _app, ""),
        ("/apps/{app}/users", "apps", "okta.apps.read", _app_users, "limit after q expand=user"),
        ("/apps/{app}/users/{user}", "apps", "okta.apps.read", _app_user, "expand=user"),
        ("/apps/{app}/groups", "apps", "okta.apps.read", _app_groups, "limit after expand=group"),
        ("/groups", "groups", "okta.groups.read", _groups, "limit after q expand=stats"),
        ("/groups/{group}", "group", "okta.groups.read", _group, ""),
        ("/groups/{group}/users", "other", "okta.groups.read", _members, "limit after"),
        ("/users", "users", "okta.users.read", _users, "limit after q filter search"),
        ("/users/{user}", "other", "okta.users.read", _user, ""),
        ("/users/{user}/groups", "other", "okta.users.read", _groups_of_user, ""),
        ("/logs", "logs", "okta.logs.read", _logs, "since after limit filter sortOrder"),
        ("/{rest:path}", "other", "", _not_found, "*"),
    ]
    management = [
        Route(f"/api/v1{path}", _endpoint(org, bucket, scope, act, known.split()), methods=METHODS)
        for path, bucket, scope, act, known in routes
    ]
    return Starlette(routes=[Route("/oauth2/v1/token", _token_endpoint(org), methods=["POST"]), *management])


def _endpoint(org: OktaOrg, bucket: str, scope: str, act: Handler, known: list[str]) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        reading = org.count_request(bucket)
        try:
            if reading.is_refused:
                raise too_many_requests()
            _authorize(org, request, scope)
            _refuse_unknown_parameters(request, known)
            answer = act(OktaRequest(org, request))
        except OktaError as refusal:
            answer = _json_response(refusal.body(), refusal.status)
        except ProofError as refusal:
            answer = _refused_proof_response(refusal, request)
        if org.api_proofs.requires_nonce:
            answer.headers["DPoP-Nonce"] = org.api_proofs.nonce
        return _with_rate_limit_headers(answer, reading)

    return endpoint


def _refused_proof_response(refusal: ProofError, request: Request) -> Response:
    """Return the challenge of RFC 9449, section 7.1. Okta answers 400 to a proof that is not valid."""
    algorithms = " ".join(ALGORITHMS)
    response = Response(status_code=401 if refusal.error == "use_dpop_nonce" else 400)
    response.headers["WWW-Authenticate"] = (
        f'DPoP algs="{algorithms}", realm="{request.url.scheme}://{request.url.netloc}", error="{refusal.error}", '
        f'error_description="{refusal.description}", resource="{request.url.path}"'
    )
    return response


def _proof_request(request: Request) -> ProofRequest:
    return ProofRequest(request.method, str(request.url), request.headers.getlist("dpop"))


def _token_endpoint(org: OktaOrg) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        reading = org.count_request("token")
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        audience = str(request.url.replace(query=""))
        try:
            if reading.is_refused:
                raise too_many_requests()
            _refuse_unknown_parameters(request, [])
            proof = _proof_request(request)
            verify_proof = partial(org.token_proofs.verify, proof) if proof.proofs else None
            answer = _json_response(org.token_issuer.issue_token(form, audience, verify_proof))
        except ProofError as refused:
            answer = _json_response({"error": refused.error, "error_description": refused.description}, 400)
        except TokenError as refused:
            answer = _json_response(refused.body, refused.status)
        except OktaError as refusal:
            answer = _json_response(refusal.body(), refusal.status)
        if "dpop" in request.headers and org.token_proofs.requires_nonce:
            answer.headers["DPoP-Nonce"] = org.token_proofs.nonce
        return _with_rate_limit_headers(answer, reading)

    return endpoint


def _authorize(org: OktaOrg, request: Request, scope: str) -> None:
    allowed = org.is_allowed(request.headers.get("authorization", ""), scope, _proof_request(request))
    if allowed is None:
        raise unauthorized()
    if request.method != "GET":
        raise OktaError(405, "E0000022", "The endpoint does not support the provided HTTP method")
    if not allowed and scope:
        raise forbidden()


def _refuse_unknown_parameters(request: Request, known: list[str]) -> None:
    """Refuse parameters and values that are not modelled: Okta ignores them, which would hide a client's mistake."""
    if known == ["*"]:
        return
    query, values = request.query_params, dict(each.split("=") for each in known if "=" in each)
    problem = query_problem(query, {each.partition("=")[0] for each in known})
    wrong = next((name for name, value in values.items() if query.get(name, value) != value), None)
    if not problem and wrong is not None:
        problem = f"The value '{query[wrong]}' of the query parameter '{wrong}' is not supported here."
    if not problem and len(query.keys() & {"q", "filter", "search"}) > 1:
        problem = "Only one of the query parameters q, filter and search is supported."
    if problem:
        raise OktaError(400, "E0000001", "Api validation failed: query", problem)


def _apps(call: OktaRequest) -> Response:
    return _list_response(call, list(call.org.directory.apps.values()), _resource_id, (1, 20, 200), call.resources.app)


def _app(call: OktaRequest) -> Response:
    return _json_response(call.resources.app(call.org.app(call.path("app"))))


def _app_users(call: OktaRequest) -> Response:
    app = call.org.app(call.path("app"))
    begins = call.query("q").casefold()
    found = [each for each in call.org.app_assignments(app) if _has_name_prefix(each.person, begins)]
    rows, with_user = call.resources, call.is_expanded
    return _list_response(
        call,
        found,
        lambda each: each.person.id,
        (1, 50, 500),
        lambda each: rows.app_user(app, each, with_user=with_user),
    )


def _app_user(call: OktaRequest) -> Response:
    app, key = call.org.app(call.path("app")), call.path("user")
    found = next((each for each in call.org.app_assignments(app) if each.person.id == key), None)
    if found is None:
        raise not_found("AppUser", key)
    return _json_response(call.resources.app_user(app, found, with_user=call.is_expanded))


def _app_groups(call: OktaRequest) -> Response:
    app = call.org.app(call.path("app"))
    rows, with_group = call.resources, call.is_expanded
    return _list_response(
        call, app.groups, str, (20, 20, 200), lambda each: rows.app_group(app, each, with_group=with_group)
    )


def _groups(call: OktaRequest) -> Response:
    begins = call.query("q").casefold()
    found = [group for group in call.org.directory.groups.values() if group.name.casefold().startswith(begins)]
    rows, with_stats = call.resources, call.is_expanded
    return _list_response(
        call, found, _resource_id, (1, 200, 10_000), lambda each: rows.group(each, with_stats=with_stats)
    )


def _group(call: OktaRequest) -> Response:
    return _json_response(call.resources.group(call.org.group(call.path("group"))))


def _members(call: OktaRequest) -> Response:
    members = list(call.org.directory.members(call.org.group(call.path("group"))))
    return _list_response(call, members, _resource_id, (1, 1000, 1000), call.resources.user)


def _users(call: OktaRequest) -> Response:
    """List people: without a filter the deactivated ones are left out."""
    people = list(call.org.directory.people.values())
    expression = call.query("filter") or call.query("search")
    present = [person for person in people if person.status != DEPROVISIONED]
    found = filter_people(people, expression) if expression else present
    begins = call.query("q").casefold()
    return _list_response(
        call,
        [each for each in found if _has_name_prefix(each, begins)],
        _resource_id,
        (1, 200, 200),
        call.resources.user,
    )


def _user(call: OktaRequest) -> Response:
    return _json_response(call.resources.user(call.org.person(call.path("user"))))


def _groups_of_user(call: OktaRequest) -> Response:
    person = call.org.person(call.path("user"))
    return _json_response([call.resources.group(group) for group in call.org.directory.groups_of(person.id)])


def _logs(call: OktaRequest) -> Response:
    events, following = call.org.system_log.query(call.url, call.request.query_params)
    answer = _json_response(events)
    answer.headers.append("link", f'<{call.url}>; rel="self"')
    answer.headers.append("link", f'<{following}>; rel="next"')
    return answer


def _not_found(call: OktaRequest) -> Response:
    raise not_found("Endpoint", call.request.url.path)


def _list_response(
    call: OktaRequest,
    things: Sequence[T],
    key: Callable[[T], str],
    sizes: tuple[int, int, int],
    row: Callable[[T], JsonObject],
) -> Response:
    shown, links = paginate(call, things, key, sizes)
    answer = _json_response([row(thing) for thing in shown])
    for link in links:
        answer.headers.append("link", link)
    return answer


def _resource_id(thing: App | Group | Person) -> str:
    return thing.id


def _has_name_prefix(person: Person, text: str) -> bool:
    return any(word.casefold().startswith(text) for word in (person.given, person.family, person.email))


def _with_rate_limit_headers(answer: Response, reading: QuotaState) -> Response:
    """Set the rate headers. *Reset* is in whole seconds since 1970."""
    answer.headers["X-Rate-Limit-Limit"] = str(reading.limit)
    answer.headers["X-Rate-Limit-Remaining"] = str(reading.remaining)
    answer.headers["X-Rate-Limit-Reset"] = str(reading.seconds_left(0))
    return answer


def _json_response(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
