"""Speak OneLogin's v2 API and its token endpoint over HTTP."""

from __future__ import annotations

import binascii
import re
import secrets
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
from sandbox.onelogin import row
from sandbox.onelogin.account import OneLoginAccount
from sandbox.onelogin.page import page
from sandbox.onelogin.refusal import Refusal, not_found, token_refusal
from sandbox.onelogin.row import Row
from sandbox.quota import Reading

__all__ = ["onelogin_app"]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PAGING = "limit page cursor"
FILTERS = ("email", "username", "status", "user_ids", "updated_since")
HEADER_FORM = re.compile(r"client_id:\s*(?P<id>[^,\s]+)\s*,\s*client_secret:\s*(?P<secret>\S+)")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One authorised request."""

    account: OneLoginAccount
    request: Request

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        return self.request.query_params.get(name, "")


Act = Callable[[Call], Response]


def onelogin_app(account: OneLoginAccount) -> Starlette:
    """Return the application that answers for *account*."""
    about_apps, about_people = True, False
    # path below /api/2, whether it needs more than to read people, what answers, query parameters that it knows
    routes: list[tuple[str, bool, Act, str]] = [
        ("/apps", about_apps, _apps, PAGING),
        ("/apps/{app}", about_apps, _app, ""),
        ("/apps/{app}/users", about_apps, _app_users, PAGING),
        ("/roles", about_people, _roles, f"{PAGING} app_id fields role_name name"),
        ("/roles/{role}", about_people, _role, ""),
        ("/roles/{role}/users", about_people, _role_users, f"{PAGING} include_unassigned"),
        ("/roles/{role}/apps", about_people, _role_apps, PAGING),
        ("/users", about_people, _users, f"{PAGING} fields {' '.join(FILTERS)}"),
        ("/users/{user}", about_people, _user, ""),
        ("/{rest:path}", about_people, _nothing, "*"),
    ]
    reading = [
        Route(f"/api/2{path}", _endpoint(account, apps, act, known.split()), methods=METHODS)
        for path, apps, act, known in routes
    ]
    return Starlette(
        routes=[
            Route("/auth/oauth2/v2/token", _token_endpoint(account), methods=["POST"]),
            Route("/auth/rate_limit", _endpoint(account, about_people, _rate_limit, []), methods=["GET"]),
            *reading,
        ]
    )


def _endpoint(account: OneLoginAccount, apps: bool, act: Act, known: list[str]) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        reading = account.quota.take()
        try:
            _admit(account, request, reading, apps=apps)
            _hold_to(request, known)
            answer = act(Call(account, request))
        except Refusal as refusal:
            worded = refusal.older() if act in (_users, _user) else refusal
            answer = _json(worded.body, refusal.status)
        answer.headers["X-RateLimit-Limit"] = str(reading.limit)
        answer.headers["X-RateLimit-Remaining"] = str(reading.remaining)
        answer.headers["X-RateLimit-Reset"] = str(reading.seconds_left(account.now()))
        answer.headers["x-request-id"] = secrets.token_hex(8)
        return answer

    return endpoint


def _admit(account: OneLoginAccount, request: Request, reading: Reading, *, apps: bool) -> None:
    if reading.refused:
        raise Refusal(429, "Too Many Requests")
    account.authorise(request.headers.get("authorization", ""), apps=apps)
    if request.method != "GET":
        raise Refusal(405, "Method Not Allowed")


def _hold_to(request: Request, known: list[str]) -> None:
    """Refuse what is not modelled here: a parameter that was ignored would hide a mistake of who sends it."""
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None and known != ["*"]:
        raise Refusal(400, f'unknown parameter "{unknown}"')


def _token_endpoint(account: OneLoginAccount) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        try:
            client_id, secret = _credentials(request.headers.get("authorization", ""), await request.body())
            token = account.token(client_id, secret)
        except Refusal as refusal:
            return _json(refusal.body, refusal.status)
        wrapped = {"status": {"error": False, "code": 200, "type": "success", "message": "Success"}, "data": [token]}
        return _json(wrapped if account.switches.wraps_token else token)

    return endpoint


def _credentials(authorization: str, body: bytes) -> tuple[str, str]:
    """Return client id and secret from one of the three places where they may stand."""
    asked = _fields(body)
    if asked.get("grant_type") != "client_credentials":
        raise token_refusal(400, "bad request", "grant_type is incorrect/absent")
    kind, _, rest = authorization.partition(" ")
    if kind.casefold() == "basic":
        try:
            client_id, _, secret = b64decode(rest, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise token_refusal(400, "bad request", "Authorization Information is incorrect") from None
        return client_id, secret
    header = HEADER_FORM.fullmatch(authorization)
    if header is not None:
        return header["id"], header["secret"]
    return asked.get("client_id", ""), asked.get("client_secret", "")


def _fields(body: bytes) -> dict[str, str]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return dict(parse_qsl(body.decode("utf-8", "replace")))
    return {str(key): str(value) for key, value in document.items()} if isinstance(document, dict) else {}


def _apps(call: Call) -> Response:
    apps = list(call.account.directory.apps.values())
    return _listed(call, apps, 100, 1000, lambda each: row.app(each, whole=False))


def _app(call: Call) -> Response:
    return _json(row.app(call.account.app(call.path("app")), whole=True))


def _app_users(call: Call) -> Response:
    directory = call.account.directory
    assigned = directory.assigned(call.account.app(call.path("app")))
    return _listed(call, sorted(map(int, assigned)), 100, 1000, lambda key: row.app_user(directory.people[str(key)]))


def _roles(call: Call) -> Response:
    directory, app_id = call.account.directory, call.query("app_id")
    granting = set(directory.apps[app_id].groups) if app_id in directory.apps else set()
    roles = [group for group in directory.groups.values() if not app_id or group.id in granting]
    wanted = call.query("role_name") or call.query("name")
    return _listed(
        call,
        [role for role in roles if not wanted or role.name == wanted],
        100,
        650,
        lambda each: _projected(call, row.role(each, directory)),
    )


def _role(call: Call) -> Response:
    return _json(row.role(call.account.role(call.path("role")), call.account.directory))


def _role_users(call: Call) -> Response:
    role = call.account.role(call.path("role"))
    people, inside = call.account.directory.people, set(role.people)
    all_too = call.query("include_unassigned").casefold() == "true"
    keys = sorted(people if all_too else inside & people.keys(), key=int)
    return _listed(call, keys, 50, 100, lambda key: row.role_user(people[key], assigned=key in inside))


def _role_apps(call: Call) -> Response:
    role = call.account.role(call.path("role"))
    granted = [app for app in call.account.directory.apps.values() if role.id in app.groups]
    return _listed(call, granted, 50, 100, row.role_app)


def _users(call: Call) -> Response:
    people = sorted(call.account.directory.people.values(), key=lambda person: int(person.id))
    filters = [name for name in FILTERS if call.query(name)]
    if filters:
        people = [each for each in people if all(_is_wanted(each, name, call.query(name)) for name in filters)]
    return _listed(call, people, 50, 100, lambda each: _projected(call, row.user(each)))


def _is_wanted(person: Person, name: str, value: str) -> bool:
    shown = row.user(person)
    if name == "user_ids":
        return person.id in value.split(",")
    if name == "updated_since":
        return str(shown["updated_at"]) >= value
    return str(shown[name]) == value


def _user(call: Call) -> Response:
    person = call.account.person(call.path("user"))
    return _json(row.user(person, call.account.directory.groups_of(person.id)))


def _nothing(_: Call) -> Response:
    raise not_found()


def _rate_limit(call: Call) -> Response:
    quota = call.account.quota.reading()
    told = {
        "X-RateLimit-Limit": quota.limit,
        "X-RateLimit-Remaining": quota.remaining,
        "X-RateLimit-Reset": quota.seconds_left(call.account.now()),
    }
    status = {"error": False, "code": 200, "type": "success", "message": "Success"}
    return _json({"status": status, "data": told})


def _projected(call: Call, shown: Row) -> Row:
    wanted = set(filter(None, call.query("fields").split(",")))
    return {name: value for name, value in shown.items() if name in wanted} if wanted else shown


def _listed(call: Call, things: Sequence[T], usual: int, largest: int, shown: Callable[[T], Row]) -> Response:
    found, headers = page(call.request.query_params, things, usual, largest, call.account.switches.end_cursor)
    answer = _json([shown(thing) for thing in found])
    answer.headers.update(headers)
    return answer


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
