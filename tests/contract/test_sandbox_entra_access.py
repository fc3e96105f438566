"""The pretend Graph keeps permissions, tokens and its budget of resource units, and answers batches part by part."""

from __future__ import annotations

import pytest

from sandbox.entra import EntraOptions
from tests.contract.pretend_entra import Harness, code, rows


async def test_without_user_permission_members_are_ids_and_nulls() -> None:
    harness = Harness()
    harness.tenant.roles = {"Application.Read.All", "GroupMember.Read.All"}
    async with harness.client() as client:
        plain = (await rows(client, harness.members_path()))[-1]
        selected = await rows(client, harness.members_path("?$select=id,userPrincipalName,accountEnabled"))
        assert code(await client.get(f"/users/{harness.staff[0].id}")) == (403, "Authorization_RequestDenied")
    assert plain == {
        "@odata.type": "#microsoft.graph.user",
        "id": harness.staff[-1].id,
        "displayName": None,
        "mail": None,
        "userPrincipalName": None,
        "givenName": None,
        "surname": None,
    }
    people = [row for row in selected if row["@odata.type"] == "#microsoft.graph.user"]
    assert {row["accountEnabled"] for row in people} == {None}
    assert [row["id"] for row in people] == [person.id for person in harness.staff]


@pytest.mark.parametrize(
    ("missing", "path"),
    [
        ("Application.Read.All", "/servicePrincipals/{app}"),
        ("Application.Read.All", "/servicePrincipals/{app}/appRoleAssignedTo"),
        ("GroupMember.Read.All", "/groups/{group}"),
        ("GroupMember.Read.All", "/groups/{group}/members"),
        ("GroupMember.Read.All", "/groups/{group}/transitiveMembers"),
        ("User.Read.All", "/users/{user}"),
        ("User.Read.All", "/directory/deletedItems/{user}"),
    ],
)
async def test_a_missing_permission_is_refused(missing: str, path: str) -> None:
    harness = Harness()
    where = path.format(app=harness.app.id, group=harness.sales.id, user=harness.staff[0].id)
    harness.tenant.roles = harness.tenant.roles - {missing}
    async with harness.client() as client:
        assert code(await client.get(where)) == (403, "Authorization_RequestDenied")
    harness.tenant.roles = {"Directory.Read.All"}
    async with harness.client() as client:
        assert (await client.get(where)).status_code in (200, 404)


async def test_a_token_is_needed_and_not_an_expired_or_revoked_one() -> None:
    harness = Harness()
    async with harness.client(authorised=False) as client:
        refused = await client.get("/users/x")
        assert code(refused) == (401, "InvalidAuthenticationToken")
        assert refused.headers["www-authenticate"].startswith("Bearer ")
        for wrong in ("Bearer nonsense", "Basic abc"):
            assert (await client.get("/users/x", headers={"Authorization": wrong})).status_code == 401
    async with harness.client() as client:
        assert (await client.get(harness.members_path())).status_code == 200
        harness.clock[0] += 3600
        assert (await client.get(harness.members_path())).status_code == 401
    async with harness.client() as client:
        harness.tenant.token_issuer.revoke_all()
        assert (await client.get(harness.members_path())).status_code == 401
    async with harness.client() as client:
        assert (await client.get(harness.members_path())).status_code == 200


async def test_resource_units_are_counted_and_refused_with_the_wait() -> None:
    harness = Harness(switches=EntraOptions(units=10, seconds=10))
    async with harness.client() as client:
        answers = [await client.get(harness.members_path("?$select=id")) for _ in range(6)]
        harness.clock[0] += 10
        again = await client.get(harness.members_path())
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert [answer.headers["x-ms-resource-unit"] for answer in (answers[0], again)] == ["2", "3"]
    assert [answer.headers.get("x-ms-throttle-limit-percentage") for answer in answers[3:5]] == [None, "1.00"]
    assert (code(answers[5]), answers[5].headers["retry-after"]) == ((429, "TooManyRequests"), "10")
    assert again.status_code == 200


async def test_request_has_an_id_and_that_of_the_client_is_echoed() -> None:
    async with Harness().client() as client:
        answers = [await client.get("/users/none", headers={"client-request-id": "abc"}) for _ in range(2)]
    for answer in answers:
        inner = answer.json()["error"]["innerError"]
        assert inner["client-request-id"] == answer.headers["client-request-id"] == "abc"
        assert inner["request-id"] == answer.headers["request-id"] != "abc"
    assert answers[0].headers["request-id"] != answers[1].headers["request-id"]


async def test_batch_answers_each_part_by_itself() -> None:
    harness = Harness()
    parts = [
        {"id": "1", "method": "GET", "url": f"/users/{harness.staff[0].id}?$select=id,accountEnabled"},
        {"id": "2", "method": "GET", "url": "/users/none"},
        {"id": "3", "method": "GET", "url": f"/groups/{harness.sales.id}/members?$top=1"},
    ]
    async with harness.client() as client:
        answer = await client.post("/$batch", json={"requests": parts})
    found = {part["id"]: part for part in answer.json()["responses"]}
    assert answer.status_code == 200
    assert [part["id"] for part in answer.json()["responses"]] == ["3", "2", "1"]
    assert {key: part["status"] for key, part in found.items()} == {"1": 200, "2": 404, "3": 200}
    assert found["1"]["body"]["accountEnabled"] is True
    assert found["2"]["body"]["error"]["code"] == "Request_ResourceNotFound"
    assert found["3"]["body"]["@odata.nextLink"].startswith("http://127.0.0.1:8080/v1.0/groups/")
    assert harness.tenant.request_count == 3


async def test_batch_parts_are_throttled_each_by_itself() -> None:
    harness = Harness(switches=EntraOptions(units=4, seconds=10))
    parts = [{"id": str(number), "url": f"/users/{harness.staff[0].id}"} for number in range(3)]
    async with harness.client() as client:
        found = (await client.post("/$batch", json={"requests": parts})).json()["responses"]
    assert [part["status"] for part in found] == [200, 200, 429]
    assert found[2]["headers"]["Retry-After"] == "10"


@pytest.mark.parametrize(
    "body", [b"{", b"{}", b"[]", b'{"requests": 3}', b'{"requests": [{"id": "1"}]}', b'{"requests": ["x"]}']
)
async def test_invalid_batch_is_refused(body: bytes) -> None:
    async with Harness().client() as client:
        assert code(await client.post("/$batch", content=body)) == (400, "BadRequest")


async def test_batch_of_more_than_twenty_or_without_a_token_is_refused() -> None:
    harness = Harness()
    parts = {"requests": [{"id": str(number), "url": "/users/x"} for number in range(21)]}
    async with harness.client() as client:
        assert code(await client.post("/$batch", json=parts)) == (400, "BadRequest")
    async with harness.client(authorised=False) as client:
        assert (await client.post("/$batch", json=parts)).status_code == 401
