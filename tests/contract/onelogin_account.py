"""A pretend OneLogin account behind `httpx.MockTransport`: cursors that are offsets, and faults where wanted."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import httpx

from connectors.base import Progress, Source, discard_progress
from connectors.http import DEFAULT_LIMITS, RequestLimits
from connectors.onelogin import OneLoginSettings
from connectors.onelogin.connector import OneLoginConnector
from tests.contract.okta_org import FakeTime, Fault, clock_answer

ROOT = "https://acme.onelogin.com"
APP, SALES, STAFF, OTHER = "2000001", "501", "502", "503"
SOURCE = Source("onelogin-apac", APP)
TOKEN_PATH = "/auth/oauth2/v2/token"
THE_APP, PEOPLE, ROLES, USERS = f"/api/2/apps/{APP}", f"/api/2/apps/{APP}/users", "/api/2/roles", "/api/2/users"
MEMBERS = f"/api/2/roles/{SALES}/users"
NAMES = ("ana", "eva", "ivo", "udo", "zoe")
ANA, EVA, IVO, UDO, ZOE = (str(number) for number in range(101, 106))

Transport = Callable[[httpx.Request], Coroutine[Any, Any, httpx.Response]]
Row = dict[str, Any]


def error(status: int, message: str = "no", name: str = "SomeError") -> Fault:
    return lambda _: httpx.Response(status, json={"message": message, "statusCode": status, "name": name})


def not_found(older: bool = False) -> Fault:
    message = "The resource with the given id could not be found"
    body = {"error": True, "code": 404, "type": "NotFoundError", "message": message}
    return lambda _: httpx.Response(404, json=body) if older else error(404, message, "NotFoundError")(_)


def user(key: str, name: str, status: object = 1, state: object = 1) -> Row:
    row = {"id": int(key), "firstname": name.title(), "lastname": "Lima", "email": f"{name}@example.com"}
    return row | {"username": None, "status": status, "state": state, "external_id": None}


@dataclass
class Account:
    """One application with two of three roles; *page* is the number of rows of a page, *counts* whether it sends a
    total.

    *faults* replace the answers to requests: by number (the k-th request, from 1, those for tokens aside), or by path
    for as long as they last, `None` standing for the answer as it is.
    """

    page: int = 2
    counts: bool = True
    app: Row = field(default_factory=lambda: {"id": int(APP), "name": "Pigment", "role_ids": [int(STAFF), int(SALES)]})
    users: dict[str, Row] = field(default_factory=dict)
    direct: list[str] = field(default_factory=list)
    roles: dict[str, list[str]] = field(default_factory=lambda: {SALES: [], STAFF: [], OTHER: []})
    names: dict[str, str] = field(default_factory=lambda: {SALES: "Sales", STAFF: "Staff", OTHER: "Other"})
    nth: dict[int, Fault] = field(default_factory=dict)
    at: dict[str, list[Fault | None]] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    token_requests: list[httpx.Request] = field(default_factory=list)
    time: FakeTime = field(default_factory=FakeTime)

    def hire(self, name: str, *roles: str, direct: bool = False, status: object = 1, state: object = 1) -> Row:
        key = str(101 + len(self.users))
        made = self.users[key] = user(key, name, status, state)
        for role in roles:
            self.roles[role].append(key)
        if direct:
            self.direct.append(key)
        return made

    def granting(self) -> list[str]:
        return [str(each) for each in self.app["role_ids"]]

    def app_users(self) -> list[Row]:
        inside = {key for role in self.granting() for key in self.roles.get(role, [])} | set(self.direct)
        fields = ("id", "firstname", "lastname", "email", "username")
        return [{name: self.users[key][name] for name in fields} for key in sorted(inside)]

    def rows(self, path: str, query: dict[str, str]) -> list[Row] | Row | None:
        """Return what is at a path: a list, an object, or nothing."""
        if path == PEOPLE:
            return self.app_users()
        if path == USERS:
            return [
                each for each in self.users.values() if str(each["status"]) == query.get("status", str(each["status"]))
            ]
        if path == ROLES:
            shown = self.granting() if "app_id" in query else list(self.names)
            return [{"id": int(key), "name": self.names[key]} for key in shown if key in self.names]
        role, _, rest = path.removeprefix(f"{ROLES}/").partition("/")
        if rest == "users" and role in self.roles:
            return [self.member(key) for key in self.roles[role] if key in self.users]
        objects = {THE_APP: self.app} | {f"{USERS}/{key}": self.alone(key) for key in self.users}
        return (objects | {f"{ROLES}/{key}": {"id": int(key), "name": self.names[key]} for key in self.names}).get(path)

    def alone(self, key: str) -> Row:
        """Return the row of one user, which alone shows their roles."""
        return self.users[key] | {"role_ids": [int(role) for role, inside in self.roles.items() if key in inside]}

    def member(self, key: str) -> Row:
        name = f"{self.users[key]['firstname']} {self.users[key]['lastname']}"
        return {"id": int(key), "name": name, "username": None, "added_by": None, "assigned": True}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN_PATH:
            return self.token(request)
        if request.method == "HEAD":
            return clock_answer(self.time.wall(), request)
        self.requests.append(request)
        fault = self.nth.get(len(self.requests))
        if fault is None and (faults := self.at.get(request.url.path)):
            fault = faults.pop(0)
        return self.answer(request) if fault is None else fault(request)

    def token(self, request: httpx.Request) -> httpx.Response:
        self.token_requests.append(request)
        if request.headers["authorization"] != f"Basic {b64encode(b'id:secret').decode()}":
            body = {"error": True, "code": 401, "type": "Unauthorized", "message": "Unauthorized Error"}
            return httpx.Response(401, json=body)
        return httpx.Response(200, json={"access_token": "abcdef", "expires_in": 36000, "token_type": "bearer"})

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != "bearer abcdef":
            return error(401, "Unauthorized", "UnauthorizedError")(request)
        query = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
        found = self.rows(request.url.path, query)
        if found is None:
            return not_found()(request)
        return httpx.Response(200, json=found) if isinstance(found, dict) else self.paged(found, query)

    def paged(self, rows: list[Row], query: dict[str, str]) -> httpx.Response:
        if "cursor" in query:
            if query.keys() & {"limit", "page"}:
                return error(400, "cursor excludes limit and page")(httpx.Request("GET", ROOT))
            query = dict(parse_qsl(b64decode(query["cursor"]).decode()))
        limit, number = min(int(query["limit"]), self.page), int(query.get("page", "1"))
        headers = {"Total-Count": str(len(rows))} if self.counts else {}
        if number * limit < len(rows):
            headers["After-Cursor"] = cursor(limit, number + 1)
        return httpx.Response(200, json=rows[(number - 1) * limit : number * limit], headers=headers)

    def requests_to(self, path: str) -> list[httpx.Request]:
        return [request for request in self.requests if request.url.path == path]

    def without(self, *names: str) -> Fault:
        """Return a fault that takes headers away."""

        def spoil(request: httpx.Request) -> httpx.Response:
            answer = self.answer(request)
            for name in names:
                answer.headers.pop(name, None)
            return answer

        return spoil

    def with_headers(self, **headers: str) -> Fault:
        """Return a fault that sets headers, `_` standing for `-`."""

        def spoil(request: httpx.Request) -> httpx.Response:
            answer = self.answer(request)
            answer.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
            return answer

        return spoil

    def meanwhile(self, act: Callable[[], object]) -> Fault:
        """Return a fault that lets something happen just before the answer."""

        def late(request: httpx.Request) -> httpx.Response:
            act()
            return self.answer(request)

        return late

    def connector(
        self,
        bounds: RequestLimits = DEFAULT_LIMITS,
        progress: Progress = discard_progress,
        transport: Transport | None = None,
        **settings: object,
    ) -> OneLoginConnector:
        usual: dict[str, object] = {
            "type": "onelogin",
            "subdomain": "acme",
            "client_id": "id",
            "client_secret": "secret",
        }
        client = httpx.AsyncClient(transport=httpx.MockTransport(transport or self))
        parsed = OneLoginSettings.model_validate(usual | settings)
        return OneLoginConnector(
            "onelogin-apac", parsed, client, limits=bounds, timer=self.time.timer, progress=progress
        )


def cursor(limit: int, number: int) -> str:
    return b64encode(f"limit={limit}&page={number}".encode()).decode()


def company() -> Account:
    """Five people: three through roles, one of them suspended; one individually; one in an unrelated role."""
    account = Account()
    account.hire("ana", SALES, STAFF)
    account.hire("eva", SALES, direct=True)
    account.hire("ivo", STAFF, status=2)
    account.hire("udo", direct=True)
    account.hire("zoe", OTHER)
    return account


def crowd() -> Account:
    """The same among so many that the assigned are asked for one by one."""
    account = company()
    for number in range(200):
        account.hire(f"extra{number}", OTHER)
    return account
