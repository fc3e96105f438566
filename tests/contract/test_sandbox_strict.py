"""The pretend systems refuse what they do not model, so that they never hide a mistake of a client."""

from __future__ import annotations

import httpx
import pytest

from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.workspace import PigmentWorkspace
from tests.contract.pretend_directories import PretendOkta, PretendOneLogin
from tests.contract.pretend_entra import Harness, code

GRAPH_QUERIES = (
    "?$filter=accountEnabled eq true",
    '?$search="displayName:ana"',
    "?$orderby=displayName",
    "?$expand=manager",
    "?$skip=2",
    "?$count=true",
    "?$top=2&$top=3",
    "?$select=id,shoeSize",
    "?select=id",
    "?$selct=id",
)


@pytest.mark.parametrize("query", GRAPH_QUERIES)
@pytest.mark.parametrize(
    "what", ["group", "members", "transitiveMembers", "person", "memberOf", "principal", "assigned"]
)
async def test_graph_refuses_what_it_does_not_model(what: str, query: str) -> None:
    harness = Harness()
    paths = {
        "group": f"/groups/{harness.sales.id}",
        "members": f"/groups/{harness.sales.id}/members",
        "transitiveMembers": f"/groups/{harness.sales.id}/transitiveMembers",
        "person": f"/users/{harness.staff[0].id}",
        "memberOf": f"/users/{harness.staff[0].id}/memberOf",
        "principal": f"/servicePrincipals/{harness.app.id}",
        "assigned": f"/servicePrincipals/{harness.app.id}/appRoleAssignedTo",
    }
    async with harness.client() as client:
        assert code(await client.get(paths[what] + query))[0] == 400
        assert (await client.get(paths[what] + "?$select=id")).status_code == 200


async def test_graph_shows_of_assignments_what_is_selected() -> None:
    harness = Harness()
    async with harness.client() as client:
        answer = await client.get(f"/servicePrincipals/{harness.app.id}/appRoleAssignedTo?$select=principalId")
    assert {name for row in answer.json()["value"] for name in row} == {"id", "principalId"}


@pytest.mark.parametrize(("path", "query"), [("/apps", "expand"), ("/users", "sortBy"), ("/groups", "filter")])
async def test_okta_refuses_what_it_does_not_model(path: str, query: str) -> None:
    assert (await PretendOkta().get(path, **{query: "x"})).status_code == 400


@pytest.mark.parametrize(("path", "query"), [("/users", "directory_id"), ("/apps", "name"), ("/roles", "aplication")])
async def test_onelogin_refuses_what_it_does_not_model(path: str, query: str) -> None:
    pretend = PretendOneLogin()
    await pretend.sign_in()
    assert (await pretend.get(path, **{query: "x"})).status_code == 400


@pytest.mark.parametrize("query", ["?attributes=userName", "?sortBy=id", "?startindex=1", "?cont=5"])
async def test_workspace_refuses_what_it_does_not_model(query: str) -> None:
    space = PigmentWorkspace("latam", ["good"])
    app = pigment_app(Pigment([space], RateLimiter(RateLimit(None))))
    headers = {"Authorization": "Bearer good"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x", headers=headers) as client:
        answer = await client.get(f"/latam/scim/v2/Users{query}")
    assert answer.status_code == 400
