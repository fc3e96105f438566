"""Every route of every pretend system refuses what it does not model. The routes are those of the applications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from sandbox.entra import entra_app
from sandbox.okta import okta_app
from sandbox.onelogin import onelogin_app
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from tests.contract.pretend_directories import PretendOkta, PretendOneLogin
from tests.contract.pretend_entra import CLIENT, TENANT, Harness
from tests.contract.pretend_pigment import GOOD, a_space
from tests.contract.vendor_spec import IS_THERE, query_parameters

METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"}
GET, POST = frozenset({"GET"}), frozenset({"POST"})
RUBBISH = "rubbish"
DOCUMENTED = {
    "okta": "after expand fields filter limit q search since sortBy sortOrder until",
    "onelogin": (
        "after_cursor app_id app_name assigned client_id created_at created_since created_until cursor "
        "custom_attributes.{attribute_name} directory_id email event_type_id external_id fields firstname id "
        "ignore_visibility "
        "include_unassigned last_login_since last_login_until lastname limit name page resolution role_name "
        "samaccountname since sort status until updated_since updated_until user_id user_ids username"
    ),
    "entra": ("$count $deltatoken $expand $filter $format $orderby $search $select $skip $skiptoken $top api-version"),
    "pigment": "attributes count cursor excludedAttributes filter sortBy sortOrder startIndex",
}
"""Every query parameter that a vendor documents anywhere; Pigment's are those of RFC 7644 and RFC 9865."""


@dataclass
class Served:
    """A pretend system, and a client that may do everything.

    *fill* replaces the braces of a route's path; *queries* has what a route does not answer without, *methods* the
    methods of a route that has others than GET.
    """

    app: Starlette
    fill: Callable[[str], str]
    headers: Mapping[str, str]
    queries: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, frozenset[str]] = field(default_factory=dict)

    async def send(self, method: str, template: str, query: str = "", **headers: str) -> httpx.Response:
        return await self.send_to(method, self.fill(template), query, **headers)

    async def send_to(self, method: str, path: str, query: str = "", **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            url = f"{path}?{query}" if query else path
            return await client.request(method, url, headers={**self.headers, **headers})

    async def usual(self, template: str, query: str = "", **headers: str) -> httpx.Response:
        """Read as a client does that knows the route, with *query* in addition."""
        needed = self.queries.get(template, "")
        return await self.send("GET", template, "&".join(filter(None, (needed, query))), **headers)

    def templates(self) -> list[str]:
        return [route.path_format for route in self.app.routes if isinstance(route, Route)]

    def methods_of(self, template: str) -> frozenset[str]:
        return self.methods.get(template, GET)


def okta() -> Served:
    pretend = PretendOkta()
    ana = pretend.company.person("ana.lima@acme.com")
    # The System Log shows what has happened.
    pretend.company.rename(ana, given="Ana")
    ids = {"app": pretend.app.id, "group": pretend.app.groups[0], "user": ana.id, "rest": "nothing"}
    methods = {"/oauth2/v1/token": POST}
    return Served(
        okta_app(pretend.org), lambda path: path.format(**ids), {"Authorization": "SSWS api-token"}, {}, methods
    )


def onelogin() -> Served:
    pretend = PretendOneLogin()
    token = pretend.account.issue_token("id", "secret")["access_token"]
    role = pretend.app.groups[0]
    someone = pretend.company.onelogin.groups[role].people[0]
    # The events show what has happened.
    pretend.company.rename(someone, given="Ana")
    ids = {"app": pretend.app.id, "role": role, "user": someone, "rest": "nothing"}
    app, headers = onelogin_app(pretend.account), {"Authorization": f"bearer {token}"}
    return Served(app, lambda path: path.format(**ids), headers, {}, {"/auth/oauth2/v2/token": POST})


def entra() -> Served:
    harness = Harness(people=5)
    token = harness.tenant.token_issuer.token_response(CLIENT, "https://graph.microsoft.com")["access_token"]
    gone = harness.company.delete(harness.staff[4])
    # Each path has its own kind of id, under one name.
    ids = {
        "/v1.0/servicePrincipals(": harness.app.client_id,
        "/v1.0/servicePrincipals/": harness.app.id,
        "/v1.0/groups/": harness.sales.id,
        "/v1.0/users/": harness.staff[0].id,
        "/v1.0/directory/deletedItems/": gone.id,
    }

    def fill(path: str) -> str:
        key = next((key for start, key in ids.items() if path.startswith(start)), "")
        return path.format(id=key, tenant=TENANT, rest="nothing")

    headers = {"Authorization": f"Bearer {token}", "Metadata": "true", "X-Identity-Header": "sandbox-identity"}
    app = entra_app(harness.tenant)
    queries = {
        "/metadata/identity/oauth2/token": "api-version=2018-02-01&resource=https://graph.microsoft.com",
        "/msi/token": "api-version=2019-08-01&resource=https://graph.microsoft.com",
    }
    return Served(app, fill, headers, queries, {"/{tenant}/oauth2/v2.0/token": POST, "/v1.0/$batch": POST})


def pigment() -> Served:
    space = a_space(members=3)
    ids = {"workspace": "latam", "member": space.members[0].id, "rest": "nothing"}
    app = pigment_app(Pigment([space], RateLimiter(RateLimit(None))))
    users = "/{workspace}/scim/v2/Users"
    methods = {users: GET | POST, f"{users}/{{member}}": GET | {"PUT", "PATCH", "DELETE"}}
    return Served(app, lambda path: path.format(**ids), {"Authorization": f"Bearer {GOOD}"}, {}, methods)


SYSTEMS = {"okta": okta, "onelogin": onelogin, "entra": entra, "pigment": pigment}


def methods(served: Served) -> dict[str, frozenset[str]]:
    """Return the methods of each template."""
    return {template: served.methods_of(template) for template in served.templates()}


TEMPLATES = {system: methods(serve()) for system, serve in SYSTEMS.items()}
ALL = [(system, template) for system, templates in TEMPLATES.items() for template in templates]
READABLE = [
    (system, template) for system, template in ALL if "{rest}" not in template and "GET" in TEMPLATES[system][template]
]


def advanced(template: str) -> dict[str, str]:
    """Return the header that Graph demands where the members of a group are cast to users."""
    return {"ConsistencyLevel": "eventual"} if is_cast(template) else {}


def counted(template: str) -> str:
    return "$count=true" if is_cast(template) else ""


def is_cast(template: str) -> bool:
    return "/groups/" in template and template.endswith("graph.user")


async def read(served: Served, template: str, query: str = "") -> httpx.Response:
    """Read a route, which answers when *query* is empty."""
    needed = "" if "$count" in query else counted(template)
    return await served.usual(template, "&".join(filter(None, (needed, query))), **advanced(template))


def rows(answer: httpx.Response) -> object:
    """Return what an answer shows, without what names the request."""
    document = answer.json()
    if not isinstance(document, dict):
        return document
    return document.get("value", document.get("Resources", document))


@pytest.mark.parametrize(("system", "template"), READABLE)
async def test_usual_request_is_answered(system: str, template: str) -> None:
    answer = await read(SYSTEMS[system](), template)

    assert answer.status_code == 200, answer.text
    assert rows(answer)


@pytest.mark.parametrize(("system", "template"), READABLE)
async def test_unknown_parameter_is_refused_by_its_name(system: str, template: str) -> None:
    answer = await read(SYSTEMS[system](), template, "unmodelled=1")

    assert answer.status_code == 400
    assert "unmodelled" in answer.text


@pytest.mark.parametrize(("system", "template"), READABLE)
async def test_no_documented_parameter_is_ignored(system: str, template: str) -> None:
    """A value that means nothing is refused, as is a parameter that is not modelled; or nothing is found."""
    served = SYSTEMS[system]()
    usual = rows(await read(served, template))

    for name in DOCUMENTED[system].split():
        answer = await read(served, template, f"{name}={RUBBISH}")
        assert answer.status_code in {400, 422} or rows(answer) != usual, name


@pytest.mark.parametrize(("system", "template"), READABLE)
async def test_parameter_without_value_or_twice_is_refused(system: str, template: str) -> None:
    served = SYSTEMS[system]()

    for name in DOCUMENTED[system].split():
        assert (await read(served, template, f"{name}=")).status_code in {400, 422}, name
        assert (await read(served, template, f"{name}=1&{name}=1")).status_code in {400, 422}, name


@pytest.mark.parametrize(("system", "template"), ALL)
async def test_other_methods_are_refused(system: str, template: str) -> None:
    served = SYSTEMS[system]()

    for method in METHODS - served.methods_of(template):
        answer = await served.send(method, template, counted(template), **advanced(template))
        assert 400 <= answer.status_code < 500, method


@pytest.mark.parametrize(("system", "template"), ALL)
async def test_unknown_paths_are_refused(system: str, template: str) -> None:
    served = SYSTEMS[system]()
    path = served.fill(template)

    for unknown in (f"{path}/nothing", f"{path.rpartition('/')[0]}/nothing", "/", "/nothing", f"/beta{path}"):
        for method in ("GET", "POST"):
            answer = await served.send_to(method, unknown)
            assert 400 <= answer.status_code < 500, (method, unknown)


@pytest.mark.parametrize(("system", "template"), ALL)
async def test_what_writes_or_signs_in_refuses_parameters(system: str, template: str) -> None:
    served = SYSTEMS[system]()

    for method in served.methods_of(template) - {"GET"}:
        answer = await served.send(method, template, "unmodelled=1")
        assert answer.status_code == 400
        assert "unmodelled" in answer.text


@pytest.mark.parametrize("header", [{"Prefer": "return=minimal"}, {"ConsistencyLevel": "session"}])
@pytest.mark.parametrize("template", [template for system, template in READABLE if template.startswith("/v1.0")])
async def test_graph_refuses_headers_that_it_does_not_model(template: str, header: dict[str, str]) -> None:
    answer = await entra().usual(template, counted(template), **(advanced(template) | header))

    assert answer.status_code == 400
    assert "not supported" in answer.text


@pytest.mark.parametrize("vendor", ["okta", "onelogin", "graph-derived"] if IS_THERE else [])
def test_every_parameter_of_the_vendors_documents_is_tried(vendor: str) -> None:
    system = {"graph-derived": "entra"}.get(vendor, vendor)
    assert query_parameters(vendor) - set(DOCUMENTED[system].split()) == set()
