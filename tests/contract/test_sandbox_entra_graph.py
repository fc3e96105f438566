"""The pretend Graph answers as the real one is documented."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from sandbox.entra import EntraOptions
from tests.contract.pretend_entra import Harness, code, rows

SELECT = "id,userPrincipalName,mail,displayName,accountEnabled,userType,proxyAddresses"


async def test_service_principal_is_found_by_object_id_and_by_app_id() -> None:
    harness = Harness()
    async with harness.client() as client:
        one = (await client.get(f"/servicePrincipals/{harness.app.id}?$select=id,appId,displayName,appRoles")).json()
        other = (await client.get(f"/servicePrincipals(appId='{harness.app.client_id}')")).json()
        assert code(await client.get("/servicePrincipals/none")) == (404, "Request_ResourceNotFound")
        harness.app.active = False
        off = (await client.get(f"/servicePrincipals/{harness.app.id}")).json()
    assert set(one) == {"@odata.context", "id", "appId", "displayName", "appRoles"}
    assert (one["id"], other["id"], other["appRoleAssignmentRequired"]) == (harness.app.id, harness.app.id, True)
    assert (other["accountEnabled"], off["accountEnabled"]) == (True, False)


async def test_assignments_show_groups_people_and_a_service_principal_some_of_them_twice() -> None:
    harness = Harness()
    harness.company.assign_individually(harness.staff[0])
    async with harness.client() as client:
        found = await rows(client, f"/servicePrincipals/{harness.app.id}/appRoleAssignedTo?$top=2")
    assert [(row["principalType"], row["principalDisplayName"]) for row in found] == [
        ("Group", "Sales"),
        ("Group", "Sales"),
        ("Group", "Board"),
        ("User", "Ann0 Ek"),
        ("ServicePrincipal", "Nightly export"),
    ]
    assert len({row["id"] for row in found}) == 5
    assert found[3]["principalId"] == harness.staff[0].id


async def test_assignment_of_a_deleted_group_lingers_while_the_group_is_gone() -> None:
    harness = Harness()
    harness.company.delete_group("entra", "Board")
    async with harness.client() as client:
        found = await rows(client, f"/servicePrincipals/{harness.app.id}/appRoleAssignedTo")
        assert harness.board.id in [row["principalId"] for row in found]
        assert code(await client.get(f"/groups/{harness.board.id}")) == (404, "Request_ResourceNotFound")
        assert code(await client.get(f"/groups/{harness.board.id}/members")) == (404, "Request_ResourceNotFound")


async def test_assignments_can_be_filtered_by_name_only_and_then_lose_their_next_link() -> None:
    harness = Harness()
    where = f"/servicePrincipals/{harness.app.id}/appRoleAssignedTo"
    async with harness.client() as client:
        named = await client.get(where, params={"$filter": "principalDisplayName eq 'Board'"})
        cut = await client.get(where, params={"$filter": "startswith(principalDisplayName, 'S')", "$top": "1"})
        refused = await client.get(where, params={"$filter": "principalType eq 'Group'"})
    assert [row["principalId"] for row in named.json()["value"]] == [harness.board.id]
    assert len(cut.json()["value"]) == 1
    assert "@odata.nextLink" not in cut.json()
    assert code(refused) == (400, "Request_BadRequest")


async def test_members_are_direct_and_of_mixed_types() -> None:
    harness = Harness()
    async with harness.client() as client:
        found = await rows(client, harness.members_path(f"?$select={SELECT}"))
    kinds = [str(row["@odata.type"]).removeprefix("#microsoft.graph.") for row in found]
    assert sorted(kinds) == ["device", "group", "user", "user", "user"]
    assert kinds[-1] == "user"
    people = [row for row in found if row["@odata.type"] == "#microsoft.graph.user"]
    assert [row["id"] for row in people] == [person.id for person in harness.staff]
    assert people[0]["userPrincipalName"] == harness.staff[0].email
    assert set(people[0]) == {"@odata.type", *SELECT.split(",")}
    assert set(found[kinds.index("group")]) == {"@odata.type", "id", "displayName", "mail"}


async def test_members_do_not_show_their_state_unless_it_is_selected() -> None:
    harness = Harness()
    async with harness.client() as client:
        person = (await rows(client, harness.members_path()))[-1]
    assert "displayName" in person
    assert not {"accountEnabled", "userType"} & set(person)


async def test_transitive_members_hold_each_once_through_circles() -> None:
    harness = Harness()
    async with harness.client() as client:
        found = await rows(client, f"/groups/{harness.sales.id}/transitiveMembers?$top=2")
    ids = [row["id"] for row in found]
    assert len(ids) == len(set(ids)) == 7
    assert {harness.nested.id, harness.inner.id, harness.sales.id, harness.staff[0].id} <= set(ids)


@pytest.mark.parametrize(("path", "count"), [("members", 3), ("transitiveMembers", 4)])
@pytest.mark.parametrize("cast", ["microsoft.graph.user", "graph.user"])
async def test_cast_to_users_is_an_advanced_query_on_every_page(path: str, count: int, cast: str) -> None:
    harness = Harness()
    where = f"/groups/{harness.sales.id}/{path}/{cast}?$top=2&$count=true"
    eventual = {"ConsistencyLevel": "eventual"}
    async with harness.client() as client:
        first = await client.get(where, headers=eventual)
        people = await rows(client, where, eventual)
        bare = await client.get(first.json()["@odata.nextLink"])
        uncounted = await client.get(where.removesuffix("&$count=true"), headers=eventual)
    assert first.json()["@odata.count"] == count
    assert {row["@odata.type"] for row in people} == {"#microsoft.graph.user"}
    assert len(people) == count
    assert code(bare) == code(uncounted) == (400, "Request_UnsupportedQuery")


async def test_next_link_is_opaque_absolute_and_keeps_the_query() -> None:
    harness = Harness(people=5)
    async with harness.client() as client:
        link = (await client.get(harness.members_path("?$select=id,mail&$top=2"))).json()["@odata.nextLink"]
    parts = urlsplit(link)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"http://127.0.0.1:8080/v1.0{harness.members_path()}"
    assert "$skiptoken=" in link
    assert parse_qs(parts.query)["$select"] == ["id,mail"]


@pytest.mark.parametrize(("top", "size"), [("", 3), ("?$top=2", 2), ("?$top=999", 4)])
async def test_page_size_is_as_asked_up_to_the_largest(top: str, size: int) -> None:
    harness = Harness(people=5, switches=EntraOptions(page_size=3, largest_page=4, units=None))
    async with harness.client() as client:
        assert len((await client.get(harness.members_path(top))).json()["value"]) == size


@pytest.mark.parametrize("query", ["$top=0", "$top=x", "$skiptoken=x", "$skiptoken=WzFd", "$select=id,nothing"])
async def test_queries_that_can_not_be_are_refused(query: str) -> None:
    harness = Harness()
    async with harness.client() as client:
        assert code(await client.get(harness.members_path(f"?{query}"))) == (400, "Request_BadRequest")


@pytest.mark.parametrize("who", [0, 1])
async def test_next_page_begins_after_the_last_row_when_a_person_left(who: int) -> None:
    harness = Harness(people=5)
    async with harness.client() as client:
        first = (await client.get(harness.members_path("?$top=4"))).json()
        harness.company.quit(harness.staff[who], "Sales")
        second = (await client.get(first["@odata.nextLink"])).json()
    assert [row["id"] for row in second["value"]] == [person.id for person in harness.staff[2:]]


@pytest.mark.parametrize(("status", "enabled"), [("enabled", True), ("disabled", False), ("unknown", None)])
async def test_user_shows_the_state_when_it_is_selected(status: str, enabled: bool | None) -> None:
    harness = Harness()
    harness.staff[0].status = status
    async with harness.client() as client:
        user = (await client.get(f"/users/{harness.staff[0].id}?$select=id,accountEnabled")).json()
        assert code(await client.get("/users/none")) == (404, "Request_ResourceNotFound")
    assert user["accountEnabled"] is enabled
    assert set(user) == {"@odata.context", "id", "accountEnabled"}


async def test_guest_has_an_external_login_and_a_room_no_mail() -> None:
    harness = Harness()
    guest, room, married = harness.staff
    guest.email, guest.guest = "a.b@contoso.com", True
    room.mail, room.given, room.family, room.custom_display_name = None, "", "", "Room"
    harness.company.marry(married, "Holm")
    async with harness.client() as client:
        select = f"{SELECT},otherMails,externalUserState,givenName,surname"
        shown = {row["id"]: row for row in await rows(client, harness.members_path(f"?$select={select}"))}
    assert shown[guest.id]["userPrincipalName"] == "a.b_contoso.com#EXT#@acme.onmicrosoft.com"
    assert (shown[guest.id]["userType"], shown[guest.id]["otherMails"]) == ("Guest", ["a.b@contoso.com"])
    assert (shown[room.id]["mail"], shown[room.id]["surname"], shown[room.id]["proxyAddresses"]) == (None, None, [])
    assert shown[married.id]["proxyAddresses"] == [
        "SMTP:ann2.holm@acme.com",
        "smtp:ann2.ek@acme.com",
        "SIP:ann2.holm@acme.com",
    ]


async def test_deleted_person_is_among_the_deleted_and_nowhere_else() -> None:
    harness = Harness()
    person = harness.staff[0]
    harness.company.delete(person)
    async with harness.client() as client:
        deleted = (await client.get(f"/directory/deletedItems/{person.id}")).json()
        listed = await rows(client, "/directory/deletedItems/microsoft.graph.user?$select=id,deletedDateTime&$top=999")
        assert code(await client.get(f"/users/{person.id}")) == (404, "Request_ResourceNotFound")
        assert person.id not in [row["id"] for row in await rows(client, harness.members_path())]
        assert code(await client.get("/directory/deletedItems/none")) == (404, "Request_ResourceNotFound")
    assert deleted["deletedDateTime"].endswith("Z")
    assert [row["id"] for row in listed] == [person.id]


async def test_unknown_paths_are_refused() -> None:
    async with Harness().client() as client:
        assert code(await client.get("/me")) == (400, "Request_BadRequest")


async def test_fifty_pages_of_a_large_group_take_seconds_not_minutes() -> None:
    harness = Harness(people=0)
    for number in range(20_000):
        person = harness.company.hire("entra", f"P{number}", "X", email=f"p{number}@acme.com")
        harness.sales.people.append(person.id)
    async with harness.client() as client:
        start = time.process_time()
        found = await rows(client, harness.members_path(f"?$select={SELECT}&$top=999"))
        spent = time.process_time() - start
    assert len(found) == 20_002
    assert spent < 3.0
