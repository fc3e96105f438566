"""A pretend Graph behind `httpx.MockTransport`, with a fault where one is wanted, and a sign-in that gives tokens."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx
import jwt
import respx

from connectors.base import Progress, Source, discard_progress
from connectors.entra import EntraSettings
from connectors.entra.connector import EntraConnector
from connectors.http import DEFAULT_LIMITS, RequestLimits
from tests.contract.okta_org import FakeTime, Fault, Row, Transport, clock_answer

GRAPH, LOGIN = "https://graph.microsoft.com", "https://login.microsoftonline.com"
TENANT_ID, CLIENT_ID = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
AUTHORITY = f"{LOGIN}/{TENANT_ID}"
# To load the usual authorities takes longer than a test, and no test connects to any.
TRUSTS_NONE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
APP, SALES, STAFF, INNER = "sp-pigment", "g-sales", "g-staff", "g-inner"
SOURCE = Source("entra-eu", APP)

THE_APP = f"/v1.0/servicePrincipals/{APP}"
ASSIGNED = f"{THE_APP}/appRoleAssignedTo"
MEMBERS = f"/v1.0/groups/{SALES}/members"
PERSON = "/v1.0/users/u-udo"


def error(status: int, code: str = "", message: str = "no") -> Fault:
    usual = {401: "InvalidAuthenticationToken", 403: "Authorization_RequestDenied", 404: "Request_ResourceNotFound"}
    word = code or usual.get(status, "Request_BadRequest")
    inner = {"date": "2026-11-23T08:00:00", "request-id": "r", "client-request-id": "c"}
    return lambda _: httpx.Response(status, json={"error": {"code": word, "message": message, "innerError": inner}})


def page(rows: Iterable[object], onwards: object = None) -> Fault:
    """Answer with one page of a list."""
    more = {} if onwards is None else {"@odata.nextLink": onwards}
    return lambda _: httpx.Response(200, json={"@odata.context": f"{GRAPH}/v1.0/$metadata"} | more | {"value": [*rows]})


def user(name: str, **fields: object) -> Row:
    return {
        "@odata.type": "#microsoft.graph.user",
        "id": f"u-{name}",
        "userPrincipalName": f"{name}@example.com",
        "mail": f"{name}@mail.example.com",
        "displayName": name.title(),
        "givenName": name.title(),
        "surname": None,
        "accountEnabled": True,
        "userType": "Member",
        "otherMails": [],
        "proxyAddresses": [],
    } | fields


class _Network(httpx.AsyncBaseTransport):
    """Sends Graph's requests to *graph*, and those for tokens to the network, where respx answers them."""

    def __init__(self, graph: httpx.MockTransport) -> None:
        self._graph = graph
        self._network = httpx.AsyncHTTPTransport(verify=TRUSTS_NONE, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_graph = "/v1.0/" in request.url.path
        return await (self._graph if is_graph else self._network).handle_async_request(request)


@dataclass
class Tenant:
    """One application with two groups; *page* is the most rows it gives at once.

    *nth* and *at* replace the answers to requests: by number (the k-th request, from 1), or by path for as long as
    they last. *tokens* are those that Graph takes.
    """

    page: int = 2
    app: Row = field(
        default_factory=lambda: {
            "id": APP,
            "displayName": "Pigment",
            "accountEnabled": True,
            "appRoleAssignmentRequired": True,
        }
    )
    users: dict[str, Row] = field(default_factory=dict)
    others: dict[str, Row] = field(default_factory=dict)
    deleted: dict[str, Row] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=lambda: {SALES: [], STAFF: []})
    names: dict[str, str] = field(default_factory=lambda: {SALES: "Sales", STAFF: "Staff"})
    hidden: set[str] = field(default_factory=set)
    assigned: list[Row] = field(default_factory=list)
    nth: dict[int, Fault] = field(default_factory=dict)
    at: dict[str, list[Fault]] = field(default_factory=dict)
    is_token: Callable[[str], bool] = lambda header: header.startswith("Bearer token-")
    requests: list[httpx.Request] = field(default_factory=list)
    time: FakeTime = field(default_factory=FakeTime)
    clock_ahead: int = 0

    def __post_init__(self) -> None:
        for group, name in self.names.items():
            self.assign(group, "Group", name)

    def assign(self, key: str, kind: str, name: str | None, role: str = "00000000") -> None:
        row = {"principalId": key, "principalType": kind, "principalDisplayName": name, "appRoleId": role}
        self.assigned.append(row | {"id": f"{key}/{role}", "resourceId": APP})

    def hire(self, name: str, *groups: str, individual: bool = False, **fields: object) -> Row:
        """Add a person to groups, and to the application itself; return the user, for changes."""
        made = self.users[f"u-{name}"] = user(name, **fields)
        for group in groups:
            self.members[group].append(f"u-{name}")
        if individual:
            self.assign(f"u-{name}", "User", name.title())
        return made

    def inside(self, group: str) -> list[Row]:
        return [(self.users | self.others)[key] for key in self.members[group]]

    def rows(self, path: str) -> list[Row] | Row | None:
        """Return what is at a path: a list, an object, or nothing."""
        what, _, rest = path.removeprefix("/v1.0/").partition("/")
        key, _, relation = rest.partition("/")
        match what, relation:
            case "groups", "members" if key in self.members:
                return self.inside(key)
            case "groups", "transitiveMembers" if key in self.members:
                nested = [each for inner in self.members[key] if inner in self.members for each in self.inside(inner)]
                return self.inside(key) + nested
            case "groups", "" if key in self.members:
                return {"id": key, "visibility": "HiddenMembership" if key in self.hidden else None}
            case "users", "":
                disabled = [each for each in self.users.values() if each["accountEnabled"] is False]
                return self.users.get(key) if key else disabled
            case "users", "memberOf" if key in self.users:
                return [self.group(each) for each, inside in self.members.items() if key in inside]
            case "users", "transitiveMemberOf" if key in self.users:
                direct = {each for each, inside in self.members.items() if key in inside}
                outer = {each for each, inside in self.members.items() if direct & set(inside)}
                return [self.group(each) for each in sorted(direct | outer)]
            case "directory", _:
                return self.deleted.get(relation)
        return self.assigned if path == ASSIGNED else self.app if path == THE_APP else None

    def group(self, key: str) -> Row:
        return {"@odata.type": "#microsoft.graph.group", "id": key}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return clock_answer(self.time.wall() + self.clock_ahead, request)
        self.requests.append(request)
        fault = self.nth.get(len(self.requests))
        if fault is None and (faults := self.at.get(request.url.path)):
            fault = faults.pop(0)
        return self.answer(request) if fault is None else fault(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if not self.is_token(request.headers.get("authorization", "")):
            return error(401, message="Lifetime validation failed, the token is expired.")(request)
        found = self.rows(request.url.path)
        if found is None:
            return error(404, message="Resource does not exist")(request)
        return self.paged(request, found) if isinstance(found, list) else httpx.Response(200, json=found)

    def paged(self, request: httpx.Request, rows: list[Row]) -> httpx.Response:
        query = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
        start = int(query.pop("$skiptoken", "0"))
        end = start + min(int(query["$top"]), self.page)
        words = "&".join(f"{name}={value}" for name, value in query.items())
        # As Graph writes it: the dollar signs are not escaped.
        onwards = f"{GRAPH}{request.url.path}?{words}&$skiptoken={end}" if end < len(rows) else None
        return page(rows[start:end], onwards)(request)

    def requests_to(self, path: str) -> list[httpx.Request]:
        return [request for request in self.requests if request.url.path == path]

    def connector(
        self,
        bounds: RequestLimits = DEFAULT_LIMITS,
        progress: Progress = discard_progress,
        transport: Transport | None = None,
        **settings: object,
    ) -> EntraConnector:
        usual = {"type": "entra", "tenant_id": TENANT_ID, "client_id": CLIENT_ID, "client_secret": "s3cret-word"}
        parsed = EntraSettings.model_validate(usual | settings)
        client = httpx.AsyncClient(transport=_Network(httpx.MockTransport(transport or self)))
        timer, wall = self.time.timer, self.time.wall
        return EntraConnector("entra-eu", parsed, client, limits=bounds, timer=timer, wall=wall, progress=progress)


def company() -> Tenant:
    """Four people, one of them disabled, a guest, a nested group with one more person, a device and a service.

    Ana is in both groups, Eva in one and assigned individually, Udo individually only.
    """
    tenant = Tenant()
    tenant.hire("ana", SALES, STAFF)
    tenant.hire("eva", SALES, individual=True)
    tenant.hire("ivo", STAFF, accountEnabled=False)
    tenant.hire("udo", individual=True)
    tenant.hire("gus", STAFF, userType="Guest", userPrincipalName="gus_acme.com#EXT#@example.onmicrosoft.com")
    tenant.others[INNER] = {"@odata.type": "#microsoft.graph.group", "id": INNER, "displayName": "Inner"}
    tenant.others["d-1"] = {"@odata.type": "#microsoft.graph.device", "id": "d-1", "accountEnabled": True}
    tenant.members[STAFF].append(INNER)
    tenant.members[SALES].append("d-1")
    tenant.members[INNER] = []
    tenant.hire("zoe", INNER)
    tenant.assign(SALES, "Group", "Sales", "11111111")
    tenant.assign("sp-export", "ServicePrincipal", "Nightly export")
    tenant.deleted["u-old"] = user("old", deletedDateTime="2026-10-26T16:56:36Z")
    return tenant


def granted(number: int = 1, expires_in: object = 3599, token: str = "") -> httpx.Response:
    return httpx.Response(
        200, json={"token_type": "Bearer", "expires_in": expires_in, "access_token": token or f"token-{number}"}
    )


def token_with(*roles: str) -> str:
    """Return an access token that shows the permissions, as Graph's own do."""
    return jwt.encode({"aud": GRAPH, "roles": [*roles]} if roles else {"aud": GRAPH}, "k" * 32, "HS256")


def discovery(root: str = AUTHORITY) -> dict[str, object]:
    return {
        "token_endpoint": f"{root}/oauth2/v2.0/token",
        "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
        "issuer": f"{root}/v2.0",
    }


@contextmanager
def sign_in() -> Iterator[respx.MockRouter]:
    """Answer at Microsoft's sign-in host, and at no other, with the documents and the tokens that msal asks for."""
    with respx.mock(assert_all_called=False) as router:
        url = f"{AUTHORITY}/v2.0/.well-known/openid-configuration"
        router.get(url, name="discovery").respond(json=discovery())
        router.post(f"{AUTHORITY}/oauth2/v2.0/token", name="token").mock(
            side_effect=lambda _: granted(router["token"].call_count + 1)
        )
        yield router


def ids(rows: Iterable[Any]) -> list[str]:
    return [row.id for row in rows]
