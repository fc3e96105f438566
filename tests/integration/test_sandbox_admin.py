"""The sandbox's admin API changes people and options, and reports what it does not understand."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from sandbox.admin import admin_app
from sandbox.admin.actions import DIRECTORY_ACTIONS, WORKSPACE_ACTIONS
from sandbox.admin.people import ACTIONS
from sandbox.environment import Environment


@pytest.fixture
def world() -> Environment:
    return Environment(1, size=40)


@pytest.fixture
def admin(world: Environment) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(admin_app(world)), base_url="http://127.0.0.1")


async def test_person_is_hired(world: Environment, admin: httpx.AsyncClient) -> None:
    answer = await admin.post(
        "/people", json={"directory": "entra", "given": "Zoë", "family": "Ørsted", "groups": ["Pigment EU People"]}
    )

    assert answer.status_code == 201
    assert answer.json()["email"] == "zoe.orsted@acme.com"
    assert answer.json()["groups"] == ["Pigment EU People"]
    assert world.company.person("zoe.orsted@acme.com").id == answer.json()["id"]


@pytest.mark.parametrize(
    ("action", "body", "shows"),
    [
        ("leave", {}, {"status": "DEPROVISIONED", "groups": []}),
        ("deactivate", {}, {"status": "DEPROVISIONED", "groups": ["Pigment LatAm"]}),
        ("suspend", {}, {"status": "SUSPENDED"}),
        ("reinstate", {}, {"status": "ACTIVE"}),
        ("delete", {}, {"deleted": True}),
        ("rehire", {"groups": ["Sales Brasil"]}, {"status": "ACTIVE"}),
        ("rename", {"given": "Anna"}, {"display_name": "Anna Lima", "email": "ana.lima@acme.com"}),
        ("rename", {"email": "anna@acme.com"}, {"display_name": "Ana Lima", "email": "anna@acme.com"}),
        ("marry", {"family": "Souza"}, {"display_name": "Ana Souza", "email": "ana.souza@acme.com"}),
        ("move", {"from": "Pigment LatAm", "to": "Sales Brasil"}, {"groups": ["Sales Brasil"]}),
        ("join", {"group": "Sales Brasil"}, {"groups": ["Pigment LatAm", "Sales Brasil"]}),
        ("quit", {"group": "Pigment LatAm"}, {"groups": []}),
        ("assign", {}, {"individually_assigned": True}),
    ],
)
async def test_person_has_it_happen(
    admin: httpx.AsyncClient, action: str, body: dict[str, object], shows: dict[str, object]
) -> None:
    answer = await admin.post(f"/people/ana.lima@acme.com/{action}", json=body)

    assert answer.status_code == 200
    assert answer.json() | shows == answer.json()


async def test_person_is_unassigned_again(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/people/felipe.neto@acme.com/unassign")

    assert answer.json()["individually_assigned"] is False


async def test_each_action_is_shown_at_the_root(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/")).json()["what can happen to people"] == sorted(ACTIONS)


async def test_person_is_found_by_id_and_by_any_part_of_their_name(
    world: Environment, admin: httpx.AsyncClient
) -> None:
    ana = world.company.person("ana.lima@acme.com")

    assert (await admin.get(f"/people/{ana.id}")).json()["email"] == ana.email
    assert (await admin.get("/people/ANA.LIMA@acme.com")).json()["id"] == ana.id
    assert [each["id"] for each in (await admin.get("/people", params={"q": "ana.lima@"})).json()] == [ana.id]
    assert (await admin.get("/people", params={"q": "ana.lima@", "directory": "entra"})).json() == []
    assert len((await admin.get("/people")).json()) == len(world.company.everyone())


async def test_plus_in_an_address_is_a_plus(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/people/caio.fonseca+planning@acme.com/suspend")

    assert answer.json()["status"] == "SUSPENDED"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/people/nobody@acme.com/leave", {}, 404, "nobody@acme.com"),
        ("/people/ana.lima@acme.com/promote", {}, 400, "reinstate"),
        ("/people/ana.lima@acme.com/marry", {}, 400, "family is missing"),
        ("/people/ana.lima@acme.com/marry", {"family": 3}, 400, "family must be a text"),
        ("/people/ana.lima@acme.com/marry", {"name": "Souza"}, 400, "'name'"),
        ("/people/ana.lima@acme.com/rename", {}, 400, "given, family and email"),
        ("/people/ana.lima@acme.com/join", {"group": "Nowhere"}, 404, "Pigment LatAm Finance"),
        ("/people/ana.lima@acme.com/rename", {"email": "davi.rocha@acme.com"}, 409, "davi.rocha@acme.com"),
        ("/people", {"directory": "ldap", "given": "A", "family": "B"}, 404, "okta, entra, onelogin"),
        ("/people", {"directory": "okta", "given": "A", "family": "B", "groups": "x"}, 400, "list of texts"),
        ("/directories/ldap/revoke-tokens", {}, 404, "ldap"),
        ("/directories/okta/explode", {}, 400, "unassign-group"),
        ("/directories/entra/limit", {"preset": "free"}, 400, "Only okta"),
        ("/directories/okta/limit", {"preset": "huge"}, 400, "workforce"),
        ("/directories/okta/hide-members", {"group": "Pigment LatAm"}, 400, "Only groups of entra"),
        ("/directories/entra/hide-members", {"group": "none"}, 404, "none"),
        ("/directories/okta/grant", {"permissions": []}, 400, "Only entra"),
        ("/directories/entra/require-dpop", {}, 400, "Only okta"),
        ("/workspaces/pigment-mars/switch", {}, 404, "pigment-latam"),
        ("/workspaces/pigment-eu/switch", {"page_size": "ten"}, 400, "page_size"),
        ("/workspaces/pigment-eu/explode", {}, 400, "add-token"),
        ("/workspaces/pigment-eu/restrict", {"on": "yes"}, 400, "true or false"),
        ("/workspaces/pigment-eu/add-token", {"secret": "x", "expires": "soon"}, 400, "date"),
        ("/workspaces/pigment-eu/rename", {"email": "no@acme.com", "display_name": "N"}, 404, "no@acme.com"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_reason(
    admin: httpx.AsyncClient, path: str, body: dict[str, object], status: int, message: str
) -> None:
    answer = await admin.post(path, json=body)

    assert answer.status_code == status
    assert message in answer.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"'])
async def test_body_that_is_not_an_object_is_refused(admin: httpx.AsyncClient, body: bytes) -> None:
    assert (await admin.post("/people", content=body)).status_code == 400


async def test_group_is_unassigned_and_assigned(world: Environment, admin: httpx.AsyncClient) -> None:
    body = {"group": "Pigment APAC"}

    without = await admin.post("/directories/onelogin/unassign-group", json=body)
    with_it = await admin.post("/directories/onelogin/assign-group", json=body)

    assert without.json()["apps"]["Pigment APAC"] == ["Pigment APAC Planners"]
    assert with_it.json()["apps"]["Pigment APAC"] == ["Pigment APAC Planners", "Pigment APAC"]


async def test_group_is_deleted(admin: httpx.AsyncClient) -> None:
    await admin.post("/directories/entra/delete-group", json={"group": "Pigment EU Board"})

    assert "Pigment EU Board" not in (await admin.get("/directories")).json()["entra"]["groups"]


async def test_tokens_of_a_provider_are_revoked(world: Environment, admin: httpx.AsyncClient) -> None:
    token = str(world.onelogin.issue_token(world.onelogin_client_id, world.secret("onelogin"))["access_token"])

    for name in ("okta", "entra", "onelogin"):
        assert (await admin.post(f"/directories/{name}/revoke-tokens")).status_code == 200

    assert world.onelogin.issue_token(world.onelogin_client_id, world.secret("onelogin"))["access_token"] != token


async def test_okta_is_given_the_limits_of_a_free_org(world: Environment, admin: httpx.AsyncClient) -> None:
    await admin.post("/directories/okta/limit", json={"preset": "free"})

    assert world.okta.count_request("apps").limit == 10


async def test_group_of_entra_hides_its_members_and_permissions_are_granted(
    world: Environment, admin: httpx.AsyncClient
) -> None:
    board = "Pigment EU Board"

    for hides in (True, False):
        await admin.post("/directories/entra/hide-members", json={"group": board, "on": hides})
        assert world.company.entra.group(board).hides_members is hides
    await admin.post("/directories/entra/grant", json={"permissions": ["Member.Read.Hidden"]})
    assert world.entra.roles == {"Member.Read.Hidden"}


async def test_service_app_of_okta_requires_dpop(world: Environment, admin: httpx.AsyncClient) -> None:
    client = world.okta.token_issuer.clients[world.okta_client_id]

    await admin.post("/directories/okta/require-dpop", json={"api_nonce": True})
    assert (client.requires_dpop, world.okta.api_proofs.requires_nonce) == (True, True)
    await admin.post("/directories/okta/require-dpop", json={"on": False})
    assert (client.requires_dpop, world.okta.api_proofs.requires_nonce) == (False, False)


async def test_workspace_switches_are_thrown(world: Environment, admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/workspaces/pigment-eu/switch", json={"page_size": 7, "etags": True})

    assert answer.json()["switches"]["page_size"] == 7
    assert world.pigment.workspaces["pigment-eu"].options.etags


async def test_workspace_tokens_are_rotated(world: Environment, admin: httpx.AsyncClient) -> None:
    old, spare = world.tokens("pigment-eu")

    await admin.post("/workspaces/pigment-eu/add-token", json={"secret": "new", "expires": "2027-07-01"})
    answer = await admin.post("/workspaces/pigment-eu/revoke-token", json={"secret": old})

    assert answer.json()["tokens"] == [
        {"secret": spare, "expires": None},
        {"secret": "new", "expires": "2027-07-01"},
    ]


async def test_domain_restriction_is_set(world: Environment, admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/workspaces/pigment-eu/restrict", json={"on": True, "domains": ["example.com"]})

    assert answer.json()["restriction"] == {"on": True, "domains": ["example.com"]}


async def test_members_are_changed_by_hand(admin: httpx.AsyncClient) -> None:
    for action, body in (
        ("create", {"email": "hand@acme.com", "display_name": "By Hand"}),
        ("rename", {"email": "hand@acme.com", "display_name": "Other"}),
        ("move", {"email": "hand@acme.com", "to": "other@acme.com"}),
        ("deactivate", {"email": "other@acme.com"}),
    ):
        assert (await admin.post(f"/workspaces/pigment-eu/{action}", json=body)).status_code == 200

    listed = {each["email"]: each for each in (await admin.get("/workspaces/pigment-eu/members")).json()}
    assert (listed["other@acme.com"]["display_name"], listed["other@acme.com"]["active"]) == ("Other", False)
    await admin.post("/workspaces/pigment-eu/reactivate", json={"email": "other@acme.com"})
    assert (await admin.get("/workspaces")).json()["pigment-eu"]["writes"] == 0
    await admin.post("/workspaces/pigment-eu/remove", json={"email": "other@acme.com"})
    assert "other@acme.com" not in {
        each["email"] for each in (await admin.get("/workspaces/pigment-eu/members")).json()
    }


async def test_week_passes(world: Environment, admin: httpx.AsyncClient) -> None:
    lines = (await admin.post("/week")).json()

    assert any("marries" in line for line in lines)
    assert world.company.person("ana.souza@acme.com").family == "Souza"


async def test_week_passes_only_once(admin: httpx.AsyncClient) -> None:
    await admin.post("/week")

    answer = await admin.post("/week")

    assert answer.status_code in {400, 404, 409}
    assert "error" in answer.json()


async def test_requests_are_shown_and_forgotten(world: Environment, admin: httpx.AsyncClient) -> None:
    pigment = httpx.AsyncClient(transport=httpx.ASGITransport(world.apps()["pigment"]), base_url="http://127.0.0.1")
    for _ in range(3):
        await pigment.get("/pigment-eu/scim/v2/Users")

    shown = (await admin.get("/requests", params={"system": "pigment", "limit": "2"})).json()

    assert shown["count"] == 3
    assert [(each["path"], each["status"]) for each in shown["newest"]] == [("/pigment-eu/scim/v2/Users", 401)] * 2
    assert (await admin.get("/requests", params={"system": "okta"})).json()["count"] == 0
    assert (await admin.delete("/requests")).json()["count"] == 0
    assert (await admin.get("/requests")).json() == {"count": 0, "newest": []}


async def test_faults_are_set_here_too(world: Environment, admin: httpx.AsyncClient) -> None:
    await admin.put("/faults", json={"faults": [{"do": "status", "status": 503, "system": "okta"}]})

    assert len(world.faults.rules) == 1
    assert (await admin.delete("/faults")).json()["faults"] == []


def test_each_action_is_in_the_guide() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text("utf-8")

    assert [word for word in (*ACTIONS, *DIRECTORY_ACTIONS, *WORKSPACE_ACTIONS) if f"/{word}`" not in text] == []


def test_each_special_person_of_the_guide_is_in_the_company_or_a_workspace(world: Environment) -> None:
    text = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text("utf-8")
    table = text.partition("## Who is special")[2].partition("##")[0]
    there = {person.email for person in world.company.everyone()}
    there |= {member.user_name for space in world.pigment.workspaces.values() for member in space.members}

    named = set(re.findall(r"[\w.+']+@[\w.]+", table))

    assert named
    assert named - there == set()
