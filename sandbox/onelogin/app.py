"""Serve OneLogin's v2 API, the events of v1, and its token endpoint over HTTP."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.company import Person
from sandbox.onelogin import resources
from sandbox.onelogin.account import OneLoginAccount
from sandbox.onelogin.errors import OneLoginError, not_found, token_error
from sandbox.onelogin.pagination import paginate
from sandbox.onelogin.resources import JsonObject
from sandbox.query import query_problem
from sandbox.quota import QuotaState
from sandbox.request_id import request_id_headers

__all__ = ["onelogin_app"]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PAGING = "limit page cursor"
EVENT_FILTERS = "event_type_id since until limit sort after_cursor user_id"
FILTERS = ("email", "username", "status", "user_ids", "updated_since")
TIME_FORM = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?Z)?")
HEADER_FORM = re.compile(r"client_id:\s*(?P<id>[^,\s]+)\s*,\s*client_secret:\s*(?P<secret>\S+)")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OneLoginRequest:
    """One authorised request."""

    account: OneLoginAccount
    request: Request

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        return self.request.query_params.get(name, "")


Handler = Callable[[OneLoginRequest], Response]


def onelogin_app(account: OneLoginAccount) -> Starlette:
    """Return the application of *account*."""
    about_apps, about_people = True, False
    # path below /api/2, whether it needs more than reading people, handler, supported query parameters
    routes: list[tuple[str, bool, Handler, str]] = [
        ("/apps", about_apps, _apps, PAGING),
        ("/apps/{app}", about_apps, _app, ""),
        ("/apps/{app}/users", about_apps, _app_users, PAGING),
        ("/roles", about_people, _roles, f"{PAGING} app_id fields role_name name"),
        ("/roles/{role}", about_people, _role, ""),
        ("/roles/{role}/users", about_people, _role_users, f"{PAGING} include_unassigned"),
        ("/roles/{role}/apps", about_people, _role_apps, PAGING),
        ("/users", about_people, _users, f"{PAGING} fields {' '.join(FILTERS)}"),
        ("/users/{user}", about_people, _user, ""),
        ("/users/{user}/apps", about_people, _user_apps, f"{PAGING} ignore_visibility"),
        ("/{rest:path}", about_people, _not_found, "*"),
    ]
    reading = [
        Route(f"/api/2{path}", _endpoint(account, apps, act, known.split()), methods=METHODS)
        for path, apps, act, known in routes
    ]
    return Starlette(
        routes=[
            Route("/auth/oauth2/v2/token", _token_endpoint(account), methods=["POST"]),
            Route("/auth/rate_limit", _endpoint(account, about_people, _rate_limit, []), methods=["GET"]),
            Route("/api/1/events", _endpoint(account, about_people, _events, EVENT_FILTERS.split()), methods=METHODS),
            Route("/api/1/events/types", _endpoint(account, about_people, _event_types, []), methods=METHODS),
            *reading,
        ]
    )


def _endpoint(account: OneLoginAccount, apps: bool, act: Handler, known: list[str]) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        is_about_events = act in (_events, _event_types)
        reading = (account.events_quota if is_about_events else account.quota).count_request()
        try:
            _authorize(account, request, reading, apps=apps)
            _refuse_unknown_parameters(request, known)
            answer = act(OneLoginRequest(account, request))
        except OneLoginError as refusal:
            worded = refusal.legacy_form() if act in (_users, _user) else refusal
            worded = refusal.first_form() if is_about_events else worded
            answer = _json_response(worded.body, refusal.status)
        answer.headers["X-RateLimit-Limit"] = str(reading.limit)
        answer.headers["X-RateLimit-Remaining"] = str(reading.remaining)
        answer.headers["X-RateLimit-Reset"] = str(reading.seconds_left(account.now()))
        answer.headers.update(request_id_headers("onelogin", request.scope))
        return answer

    return endpoint


def _authorize(account: OneLoginAccount, request: Request, reading: QuotaState, *, apps: bool) -> None:
    if reading.is_refused:
        raise OneLoginError(429, "Too Many Requests")
    account.authorize(request.headers.get("authorization", ""), apps=apps)
    if request.method != "GET":
        raise OneLoginError(405, "Method Not Allowed")


def _refuse_unknown_parameters(request: Request, known: list[str]) -> None:
    """Refuse parameters that are not modelled here: ignoring one would hide a client's mistake."""
    problem = "" if known == ["*"] else query_problem(request.query_params, known)
    if problem:
        raise OneLoginError(400, problem)


def _token_endpoint(account: OneLoginAccount) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        try:
            _refuse_unknown_parameters(request, [])
            client_id, secret = _parse_credentials(request.headers.get("authorization", ""), await request.body())
            token = account.issue_token(client_id, secret)
        except OneLoginError as refusal:
            return _json_response(refusal.body, refusal.status)
        wrapped = {"status": resources.SUCCESS, "data": [token]}
        return _json_response(wrapped if account.options.wraps_token else token)

    return endpoint


def _parse_credentials(authorization: str, body: bytes) -> tuple[str, str]:
    """Return client id and secret from one of the three places that OneLogin accepts."""
    fields = _parse_fields(body)
    if fields.get("grant_type") != "client_credentials":
        raise token_error(400, "bad request", "grant_type is incorrect/absent")
    kind, _, rest = authorization.partition(" ")
    if kind.casefold() == "basic":
        try:
            client_id, _, secret = b64decode(rest, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise token_error(400, "bad request", "Authorization Information is incorrect") from None
        return client_id, secret
    header = HEADER_FORM.fullmatch(authorization)
    if header is not None:
        return header["id"], header["secret"]
    return fields.get("client_id", ""), fields.get("client_secret", "")


def _parse_fields(body: bytes) -> dict[str, str]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return dict(parse_qsl(body.decode("utf-8", "replace")))
    return {str(key): str(value) for key, value in document.items()} if isinstance(document, dict) else {}


def _apps(call: OneLoginRequest) -> Response:
    apps = list(call.account.directory.apps.values())
    return _list_response(call, apps, 100, 1000, lambda each: resources.app(each, whole=False))


def _app(call: OneLoginRequest) -> Response:
    return _json_response(resources.app(call.account.app(call.path("app")), whole=True))


def _app_users(call: OneLoginRequest) -> Response:
    directory = call.account.directory
    assigned = directory.assignments(call.account.app(call.path("app")))
    return _list_response(
        call, sorted(map(int, assigned)), 100, 1000, lambda key: resources.app_user(directory.people[str(key)])
    )


def _roles(call: OneLoginRequest) -> Response:
    directory, app_id = call.account.directory, call.query("app_id")
    if app_id and not app_id.isdecimal():
        raise _invalid_value("app_id")
    if call.query("role_name") and call.query("name"):
        raise OneLoginError(400, "role_name can't be used together with name")
    granting = set(directory.apps[app_id].groups) if app_id in directory.apps else set()
    roles = [group for group in directory.groups.values() if not app_id or group.id in granting]
    wanted = call.query("role_name") or call.query("name")
    return _list_response(
        call,
        [role for role in roles if not wanted or role.name == wanted],
        100,
        650,
        lambda each: _select_fields(call, resources.role(each, directory)),
    )


def _role(call: OneLoginRequest) -> Response:
    return _json_response(resources.role(call.account.role(call.path("role")), call.account.directory))


def _role_users(call: OneLoginRequest) -> Response:
    role = call.account.role(call.path("role"))
    people, inside = call.account.directory.people, set(role.people)
    unassigned = call.query("include_unassigned").casefold()
    if unassigned not in {"", "true", "false"}:
        raise _invalid_value("include_unassigned")
    all_too = unassigned == "true"
    keys = sorted(people if all_too else inside & people.keys(), key=int)
    return _list_response(call, keys, 50, 100, lambda key: resources.role_user(people[key], assigned=key in inside))


def _role_apps(call: OneLoginRequest) -> Response:
    role = call.account.role(call.path("role"))
    granted = [app for app in call.account.directory.apps.values() if role.id in app.groups]
    return _list_response(call, granted, 50, 100, resources.role_app)


def _users(call: OneLoginRequest) -> Response:
    people = sorted(call.account.directory.people.values(), key=lambda person: int(person.id))
    filters = [name for name in FILTERS if call.query(name)]
    if "updated_since" in filters and TIME_FORM.fullmatch(call.query("updated_since")) is None:
        raise _invalid_value("updated_since")
    if filters:
        people = [each for each in people if all(_is_match(each, name, call.query(name)) for name in filters)]
    return _list_response(call, people, 50, 100, lambda each: _select_fields(call, resources.user(each)))


def _is_match(person: Person, name: str, value: str) -> bool:
    shown = resources.user(person)
    if name == "user_ids":
        return person.id in value.split(",")
    if name == "updated_since":
        return str(shown["updated_at"]) >= value
    return str(shown[name]) == value


def _user(call: OneLoginRequest) -> Response:
    person = call.account.person(call.path("user"))
    return _json_response(resources.user(person, call.account.events.roles_of(person.id)))


def _user_apps(call: OneLoginRequest) -> Response:
    """Answer with a person's applications; those hidden in the portal only where they are asked for."""
    person, directory = call.account.person(call.path("user")), call.account.directory
    hidden_too = call.query("ignore_visibility").casefold()
    if hidden_too not in {"", "true", "false"}:
        raise _invalid_value("ignore_visibility")
    apps = [
        app
        for app in directory.apps.values()
        if person.id in directory.assignments(app) and (app.active or hidden_too == "true")
    ]
    return _list_response(call, apps, 100, 1000, resources.user_app)


def _events(call: OneLoginRequest) -> Response:
    page = call.account.events.query(call.request.query_params)
    pagination = {"before_cursor": None, "after_cursor": page.after, "previous_link": None, "next_link": None}
    if page.after is not None:
        following = call.request.url.include_query_params(after_cursor=page.after)
        pagination["next_link"] = str(following)
    return _json_response({"status": resources.SUCCESS, "pagination": pagination, "data": page.rows})


def _event_types(call: OneLoginRequest) -> Response:
    return _json_response({"status": resources.SUCCESS, "data": call.account.events.types()})


def _not_found(_: OneLoginRequest) -> Response:
    raise not_found()


def _rate_limit(call: OneLoginRequest) -> Response:
    quota = call.account.quota.state()
    quota_json = {
        "X-RateLimit-Limit": quota.limit,
        "X-RateLimit-Remaining": quota.remaining,
        "X-RateLimit-Reset": quota.seconds_left(call.account.now()),
    }
    return _json_response({"status": resources.SUCCESS, "data": quota_json})


def _invalid_value(name: str) -> OneLoginError:
    return OneLoginError(422, f'invalid value in "{name}"')


def _select_fields(call: OneLoginRequest, shown: JsonObject) -> JsonObject:
    wanted = set(filter(None, call.query("fields").split(",")))
    if wanted - shown.keys():
        raise _invalid_value("fields")
    return {name: value for name, value in shown.items() if name in wanted} if wanted else shown


def _list_response(
    call: OneLoginRequest, things: Sequence[T], usual: int, largest: int, shown: Callable[[T], JsonObject]
) -> Response:
    found, headers = paginate(call.request.query_params, things, usual, largest, call.account.options.end_cursor)
    answer = _json_response([shown(thing) for thing in found])
    answer.headers.update(headers)
    return answer


def _json_response(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
