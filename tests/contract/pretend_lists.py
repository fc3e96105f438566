"""Four small systems that page a list of people like the real systems, behind faults, for the contract tests."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.faults.action import System
from sandbox.faults.middleware import FaultMiddleware, Runtime
from sandbox.faults.parse import parse_rules
from sandbox.faults.registry import FaultRegistry
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.workspace import PigmentWorkspace

PATH = {
    System.OKTA: "/api/v1/apps/0oa1/users?limit=2",
    System.ENTRA: "/v1.0/groups/1/members?$top=2",
    System.ONELOGIN: "/api/2/apps/1/users?limit=2",
    System.PIGMENT: "/latam/scim/v2/Users?startIndex=1&count=2",
}
PEOPLE = [f"p{number}" for number in range(5)]


def an_app(system: System, space: PigmentWorkspace | None = None) -> Starlette:
    if system is System.PIGMENT:
        return pigment_app(Pigment([space or a_full_space()], RateLimiter(RateLimit(None))))
    page = {System.OKTA: _okta, System.ENTRA: _entra, System.ONELOGIN: _onelogin}[system]
    return Starlette(routes=[Route("/{rest:path}", page, methods=["GET", "POST"])])


def a_full_space() -> PigmentWorkspace:
    space = PigmentWorkspace("latam", ["good"], WorkspaceOptions(page_size=2))
    for person in PEOPLE:
        space.admin_create(f"{person}@acme.com", person)
    return space


def a_book(*rows: dict[str, object]) -> FaultRegistry:
    book = FaultRegistry()
    book.put(parse_rules({"faults": list(rows)}))
    return book


def a_client(
    system: System,
    *rows: dict[str, object],
    app: Starlette | None = None,
    book: FaultRegistry | None = None,
    around: Runtime = Runtime(connection_error=httpx.ReadError),  # noqa: B008  # it is frozen
) -> httpx.AsyncClient:
    faults = FaultMiddleware(app or an_app(system), book or a_book(*rows), system, around)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(faults),
        base_url="http://127.0.0.1:8080",
        headers={"Authorization": "Bearer good"},
    )


def names(system: System, answer: httpx.Response) -> list[str]:
    """Return who is on a page."""
    document = answer.json()
    key = {System.ENTRA: "value", System.PIGMENT: "Resources"}.get(system)
    rows = document if key is None else document[key]
    return [str(row["displayName"]) for row in rows]


def total(system: System, answer: httpx.Response) -> int | None:
    if system is System.PIGMENT:
        return int(answer.json()["totalResults"])
    if system is System.ONELOGIN:
        return int(answer.headers["total-count"])
    return int(answer.json()["@odata.count"]) if system is System.ENTRA else None


def next_url(system: System, answer: httpx.Response, seen: int) -> str | None:
    """Return where a simple client would go on after having seen *seen* rows."""
    match system:
        case System.OKTA:
            return answer.links.get("next", {}).get("url")
        case System.ENTRA:
            link = answer.json().get("@odata.nextLink")
            return None if link is None else str(link)
        case System.ONELOGIN:
            cursor = answer.headers.get("after-cursor")
            return f"/api/2/apps/1/users?cursor={cursor}" if cursor else None
        case System.PIGMENT:
            page = answer.json()
            if "nextCursor" in page:
                return f"/latam/scim/v2/Users?cursor={page['nextCursor']}&count=2"
            more = seen < page["totalResults"]
            return f"/latam/scim/v2/Users?startIndex={seen + 1}&count=2" if more else None


async def pages(system: System, client: httpx.AsyncClient, most: int = 12) -> list[httpx.Response]:
    """Return the pages that a simple client reads, *most* at most."""
    found: list[httpx.Response] = []
    url: str | None = PATH[system]
    seen = 0
    while url is not None and len(found) < most:
        found.append(await client.get(url))
        seen += len(names(system, found[-1]))
        url = next_url(system, found[-1], seen)
    return found


async def listed(system: System, client: httpx.AsyncClient, most: int = 12) -> list[str]:
    return [name for page in await pages(system, client, most) for name in names(system, page)]


def _rows(people: Iterable[str]) -> list[dict[str, object]]:
    return [
        {"id": f"id-{name}", "displayName": name, "@odata.type": "#microsoft.graph.user", "profile": {"login": name}}
        for name in people
    ]


async def _okta(request: Request) -> Response:
    start = int(request.query_params.get("after", "0"))
    answer = JSONResponse(_rows(PEOPLE[start : start + 2]))
    url = str(request.url)
    answer.headers.append("link", f'<{url}>; rel="self"')
    if start + 2 < len(PEOPLE):
        answer.headers.append("link", f'<{request.url.replace_query_params(after=start + 2, limit=2)}>; rel="next"')
    return answer


async def _entra(request: Request) -> Response:
    start = int(request.query_params.get("$skiptoken", "0"))
    body: dict[str, object] = {"@odata.count": len(PEOPLE), "value": _rows(PEOPLE[start : start + 2])}
    if start + 2 < len(PEOPLE):
        body["@odata.nextLink"] = f"{request.url.replace(query='')}?$top=2&$skiptoken={start + 2}"
    return JSONResponse(body)


async def _onelogin(request: Request) -> Response:
    start = int(b64decode(request.query_params.get("cursor", "MA==")))
    headers = {"Total-Count": str(len(PEOPLE))}
    if start + 2 < len(PEOPLE):
        headers["After-Cursor"] = b64encode(str(start + 2).encode()).decode()
    return JSONResponse(_rows(PEOPLE[start : start + 2]), headers=headers)
