"""Speak Okta's management API and its token endpoint over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.company import App, Group, Person
from sandbox.okta.expression import matching
from sandbox.okta.org import LEFT, OktaOrg
from sandbox.okta.page import page
from sandbox.okta.refusal import Refusal, forbidden, not_found, too_many, unauthorised
from sandbox.okta.row import Row, Rows
from sandbox.okta.token import TokenRefusal
from sandbox.quota import Reading

__all__ = ["okta_app"]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
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
    def rows(self) -> Rows:
        return Rows(str(self.request.base_url).rstrip("/"), self.org.directory)

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        return self.request.query_params.get(name, "")

    def expands(self, what: str) -> bool:
        return what in self.query("expand").split(",")


Act = Callable[[Call], Response]


def okta_app(org: OktaOrg) -> Starlette:
    """Return the application that answers for *org*."""
    # path below /api/v1, bucket of the rate limit, scope, what answers, query parameters that it knows
    routes: list[tuple[str, str, str, Act, str]] = [
        ("/apps", "apps", "okta.apps.read", _apps, "limit after"),
        ("/apps/{app}", "app", "okta.apps.read", _app, ""),
        ("/apps/{app}/users", "apps", "okta.apps.read", _app_users, "limit after q expand"),
        ("/apps/{app}/users/{user}", "apps", "okta.apps.read", _app_user, "expand"),
        ("/apps/{app}/groups", "apps", "okta.apps.read", _app_groups, "limit after expand"),
        ("/groups", "groups", "okta.groups.read", _groups, "limit after q expand"),
        ("/groups/{group}", "group", "okta.groups.read", _group, ""),
        ("/groups/{group}/users", "other", "okta.groups.read", _members, "limit after"),
        ("/users", "users", "okta.users.read", _users, "limit after q filter search"),
        ("/users/{user}", "other", "okta.users.read", _user, ""),
        ("/users/{user}/groups", "other", "okta.users.read", _groups_of_user, ""),
        ("/{rest:path}", "other", "", _nothing, "*"),
    ]
    management = [
        Route(f"/api/v1{path}", _endpoint(org, bucket, scope, act, known.split()), methods=METHODS)
        for path, bucket, scope, act, known in routes
    ]
    return Starlette(routes=[Route("/oauth2/v1/token", _token_endpoint(org), methods=["POST"]), *management])


def _endpoint(org: OktaOrg, bucket: str, scope: str, act: Act, known: list[str]) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        reading = org.take(bucket)
        try:
            if reading.refused:
                raise too_many()
            _authorise(org, request, scope)
            _hold_to(request, known)
            answer = act(Call(org, request))
        except Refusal as refusal:
            answer = _json(refusal.body(), refusal.status)
        return _marked(answer, reading)

    return endpoint


def _token_endpoint(org: OktaOrg) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        reading = org.take("token")
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        audience = str(request.url.replace(query=""))
        try:
            if reading.refused:
                raise too_many()
            answer = _json(org.grants.answer(form, audience, has_proof="dpop" in request.headers))
        except TokenRefusal as refused:
            answer = _json(refused.body, refused.status)
        except Refusal as refusal:
            answer = _json(refusal.body(), refusal.status)
        return _marked(answer, reading)

    return endpoint


def _authorise(org: OktaOrg, request: Request, scope: str) -> None:
    allowed = org.allows(request.headers.get("authorization", ""), scope)
    if allowed is None:
        raise unauthorised()
    if request.method != "GET":
        raise Refusal(405, "E0000022", "The endpoint does not support the provided HTTP method")
    if not allowed and scope:
        raise forbidden()


def _hold_to(request: Request, known: list[str]) -> None:
    """Refuse what is not modelled here. Okta ignores it: then a mistake of who sends it would not show."""
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None and known != ["*"]:
        raise Refusal(400, "E0000001", f"Api validation failed: {unknown}", f"{unknown}: not known here.")


def _apps(call: Call) -> Response:
    return _listed(call, list(call.org.directory.apps.values()), _id, (1, 20, 200), call.rows.app)


def _app(call: Call) -> Response:
    return _json(call.rows.app(call.org.app(call.path("app"))))


def _app_users(call: Call) -> Response:
    app = call.org.app(call.path("app"))
    begins = call.query("q").casefold()
    found = [each for each in call.org.assigned(app) if _begins(each.person, begins)]
    rows, with_user = call.rows, call.expands("user")
    return _listed(
        call,
        found,
        lambda each: each.person.id,
        (1, 50, 500),
        lambda each: rows.app_user(app, each, with_user=with_user),
    )


def _app_user(call: Call) -> Response:
    app, key = call.org.app(call.path("app")), call.path("user")
    found = next((each for each in call.org.assigned(app) if each.person.id == key), None)
    if found is None:
        raise not_found("AppUser", key)
    return _json(call.rows.app_user(app, found, with_user=call.expands("user")))


def _app_groups(call: Call) -> Response:
    app = call.org.app(call.path("app"))
    rows, with_group = call.rows, call.expands("group")
    return _listed(call, app.groups, str, (20, 20, 200), lambda each: rows.app_group(app, each, with_group=with_group))


def _groups(call: Call) -> Response:
    begins = call.query("q").casefold()
    found = [group for group in call.org.directory.groups.values() if group.name.casefold().startswith(begins)]
    rows, with_stats = call.rows, call.expands("stats")
    return _listed(call, found, _id, (1, 200, 10_000), lambda each: rows.group(each, with_stats=with_stats))


def _group(call: Call) -> Response:
    return _json(call.rows.group(call.org.group(call.path("group"))))


def _members(call: Call) -> Response:
    members = list(call.org.directory.members(call.org.group(call.path("group"))))
    return _listed(call, members, _id, (1, 1000, 1000), call.rows.user)


def _users(call: Call) -> Response:
    """List people: without a filter those who were deactivated are left out."""
    people = list(call.org.directory.people.values())
    expression = call.query("filter") or call.query("search")
    present = [person for person in people if person.status != LEFT]
    found = matching(people, expression) if expression else present
    begins = call.query("q").casefold()
    return _listed(call, [each for each in found if _begins(each, begins)], _id, (1, 200, 200), call.rows.user)


def _user(call: Call) -> Response:
    return _json(call.rows.user(call.org.person(call.path("user"))))


def _groups_of_user(call: Call) -> Response:
    person = call.org.person(call.path("user"))
    return _json([call.rows.group(group) for group in call.org.directory.groups_of(person.id)])


def _nothing(call: Call) -> Response:
    raise not_found("Endpoint", call.request.url.path)


def _listed(
    call: Call, things: Sequence[T], key: Callable[[T], str], sizes: tuple[int, int, int], row: Callable[[T], Row]
) -> Response:
    shown, links = page(call, things, key, sizes)
    answer = _json([row(thing) for thing in shown])
    for link in links:
        answer.headers.append("link", link)
    return answer


def _id(thing: App | Group | Person) -> str:
    return thing.id


def _begins(person: Person, text: str) -> bool:
    return any(word.casefold().startswith(text) for word in (person.given, person.family, person.email))


def _marked(answer: Response, reading: Reading) -> Response:
    """Set the rate headers. *Reset* is in whole seconds since 1970."""
    answer.headers["X-Rate-Limit-Limit"] = str(reading.limit)
    answer.headers["X-Rate-Limit-Remaining"] = str(reading.remaining)
    answer.headers["X-Rate-Limit-Reset"] = str(reading.seconds_left(0))
    return answer


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
