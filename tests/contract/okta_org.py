"""A pretend Okta org behind `httpx.MockTransport`: two `Link` headers to a page, and optional faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

import httpx

from connectors.base import Progress, Source, discard_progress
from connectors.http import DEFAULT_LIMITS, RequestLimits, Timer
from connectors.okta import OktaSettings
from connectors.okta.connector import OktaConnector

ORG = "https://acme.okta.com"
APP, SALES, STAFF = "0oa1b2c3d4", "00g1sales", "00g2staff"
SOURCE = Source("okta-main", APP)

Transport = Callable[[httpx.Request], Coroutine[Any, Any, httpx.Response]]
Fault = Callable[[httpx.Request], httpx.Response]
Row = dict[str, Any]


def error(status: int, code: str = "E0000007", summary: str = "no") -> Fault:
    body = {"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oae1", "errorCauses": []}
    return lambda _: httpx.Response(status, json=body)


def broken_off(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("peer closed connection", request=request)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


def cut_off(request: httpx.Request) -> httpx.Response:
    """Answer 200, and break off in the middle of the body."""

    async def half() -> AsyncIterator[bytes]:
        yield b'[{"id": "00uana",'
        raise httpx.ReadError("connection reset", request=request)

    return httpx.Response(200, content=half())


def body(content: bytes | str, status: int = 200, headers: Mapping[str, str] | None = None) -> Fault:
    return lambda _: httpx.Response(status, content=content, headers=headers)


def user(name: str, status: object = "ACTIVE", **profile: object) -> Row:
    return {
        "id": f"00u{name}",
        "status": status,
        "activated": None,
        "profile": {
            "login": f"{name}@example.com",
            "email": f"{name}@mail.example.com",
            "firstName": name.title(),
            "lastName": "Lima",
            "secondEmail": None,
            "mobilePhone": None,
        }
        | profile,
    }


class FakeTime:
    """Seconds that pass only during sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.naps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += max(0.0, seconds)

    def wall(self) -> float:
        return 1_800_000_000 + self.now

    @property
    def timer(self) -> Timer:
        return Timer(lambda: self.now, self.sleep, self.wall)


def clock_answer(shown: float, request: httpx.Request) -> httpx.Response:
    """Return the answer to a request for the time of a server, which must have no credentials."""
    assert "authorization" not in request.headers
    return httpx.Response(200, headers={"date": formatdate(shown, usegmt=True)})


@dataclass
class Org:
    """One application with two groups; *page* is the most rows it gives at once.

    *faults* replace the answers to requests: by number (the k-th request, from 1), or by path for as long as they last.
    """

    page: int = 2
    app: Row = field(default_factory=lambda: {"id": APP, "label": "Pigment", "status": "ACTIVE"})
    users: dict[str, Row] = field(default_factory=dict)
    scopes: dict[str, Row] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=lambda: {SALES: [], STAFF: []})
    names: dict[str, str] = field(default_factory=lambda: {SALES: "Sales", STAFF: "Staff"})
    nth: dict[int, Fault] = field(default_factory=dict)
    at: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    time: FakeTime = field(default_factory=FakeTime)
    clock_ahead: int = 0

    def hire(self, name: str, *groups: str, scope: str = "GROUP", status: str = "ACTIVE") -> Row:
        """Add a person to groups and to the application's list; return the user, for changes."""
        made = self.users[f"00u{name}"] = user(name, status)
        links: Row = {"user": {"href": f"{ORG}/api/v1/users/00u{name}"}}
        if scope == "GROUP" and groups:
            links["group"] = {"name": groups[0], "href": f"{ORG}/api/v1/groups/{groups[0]}"}
        self.scopes[f"00u{name}"] = {
            "id": f"00u{name}",
            "scope": scope,
            "status": "ACTIVE",
            "profile": {},
            "_links": links,
        }
        for group in groups:
            self.members[group].append(f"00u{name}")
        return made

    def rows(self, path: str) -> list[Row] | Row | None:
        """Return what is at a path: a list, an object, or nothing."""
        app, _, group = f"/api/v1/apps/{APP}", *path.rpartition("/groups/")[1:]
        if path == f"{app}/users":
            return [row | {"_embedded": {"user": self.users[key]}} for key, row in self.scopes.items()]
        if path == f"{app}/groups":
            return [self.group(each) for each in self.names]
        if path.endswith("/users") and group.removesuffix("/users") in self.members:
            return [self.users[key] for key in self.members[group.removesuffix("/users")]]
        if path.endswith("/groups") and (key := path.split("/")[-2]) in self.users:
            inside = [each for each in self.names if key in self.members[each]]
            return [{"id": each, "profile": {"name": self.names[each]}} for each in inside]
        objects = {app: self.app} | {f"/api/v1/users/{key}": each for key, each in self.users.items()}
        objects |= {f"/api/v1/groups/{key}": {"id": key, "profile": {"name": name}} for key, name in self.names.items()}
        return [self.app] if path == "/api/v1/apps" else objects.get(path)

    def group(self, key: str) -> Row:
        return {"id": key, "priority": 0, "profile": {}, "_embedded": {"group": {"profile": {"name": self.names[key]}}}}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return clock_answer(self.time.wall() + self.clock_ahead, request)
        self.requests.append(request)
        fault = self.nth.get(len(self.requests))
        if fault is None and (faults := self.at.get(request.url.path)):
            fault = faults.pop(0)
        return self.answer(request) if fault is None else fault(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != "SSWS 00token":
            return error(401, "E0000011", "Invalid token provided")(request)
        found = self.rows(request.url.path)
        if request.url.path == "/api/v1/users":
            wanted = request.url.params["filter"]
            found = [each for each in self.users.values() if wanted == f'status eq "{each["status"]}"']
        if found is None:
            return error(404)(request)
        return httpx.Response(200, json=found) if isinstance(found, dict) else self.paged(request, found)

    def paged(self, request: httpx.Request, rows: list[Row]) -> httpx.Response:
        query = parse_qs(request.url.query.decode())
        # The groups of a person are the one list that takes no limit (listUserGroups in Okta's specification).
        is_of_a_person = request.url.path.startswith("/api/v1/users/")
        assert is_of_a_person is ("limit" not in query), request.url
        limit = int(query.get("limit", ["200"])[0])
        start, end = int(query.get("after", ["0"])[0]), 0
        end = start + min(limit, self.page)
        links = [("link", f'<{request.url}>; rel="self"')]
        if end < len(rows):
            onwards = request.url.copy_set_param("after", str(end))
            links.append(("link", f'<{onwards}>; rel="next"'))
        return httpx.Response(200, json=rows[start:end], headers=links)

    def requests_to(self, path: str) -> list[httpx.Request]:
        return [request for request in self.requests if request.url.path == path]

    def limits(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:
        """Return rate headers for a window that ends in *seconds* by Okta's clock, which is an hour ahead."""
        there = int(self.time.wall()) + 3600
        return {
            "x-rate-limit-limit": str(limit),
            "x-rate-limit-remaining": str(remaining),
            "x-rate-limit-reset": str(int(there + seconds)),
            "date": formatdate(there, usegmt=True),
        }

    def connector(
        self,
        bounds: RequestLimits = DEFAULT_LIMITS,
        progress: Progress = discard_progress,
        transport: Transport | None = None,
        **settings: object,
    ) -> OktaConnector:
        parsed = OktaSettings.model_validate({"type": "okta", "org_url": ORG, "api_token": "00token"} | settings)
        client = httpx.AsyncClient(transport=httpx.MockTransport(transport or self))
        timer, wall = self.time.timer, self.time.wall
        return OktaConnector("okta-main", parsed, client, limits=bounds, timer=timer, wall=wall, progress=progress)


def company() -> Org:
    """Five people: three through groups, one of them suspended and one also directly; one individually; one pending."""
    org = Org()
    org.hire("ana", SALES, STAFF)
    org.hire("eva", SALES, scope="USER")
    org.hire("ivo", STAFF, status="SUSPENDED")
    org.hire("udo", scope="USER")
    org.hire("zoe", STAFF)
    del org.scopes["00uzoe"]
    return org


def ids(rows: Iterable[Any]) -> list[str]:
    return [row.id for row in rows]
