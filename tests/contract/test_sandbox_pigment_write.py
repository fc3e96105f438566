"""The pretend Pigment changes its members as the real one is known to."""

from __future__ import annotations

import pytest

from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.token import DomainRestriction
from tests.contract.pretend_pigment import TEMPLATE, a_client, a_space, path, replace


async def test_pigment_creates_a_member_and_stores_only_what_is_mapped() -> None:
    space = a_space()
    async with a_client(space) as client:
        answer = await client.post("/Users", json=TEMPLATE)
        row = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == row["meta"]["location"]
        assert row["id"] != "ana@acme.com"
        assert row["active"] is True
        assert "externalId" not in row
        assert row["name"] == {"formatted": "Ana Lima"}
        inactive = await client.post("/Users", json={"USERNAME": "b@acme.com", "DisplayName": "B", "active": "False"})
    assert inactive.json()["active"] is False
    assert [write.applied for write in space.write_log.writes] == [True, True]
    assert space.write_log.writes[0].body == TEMPLATE
    assert space.write_log.writes[0].scim_id == row["id"]


async def test_pigment_may_keep_the_parts_of_a_name() -> None:
    async with a_client(a_space(WorkspaceOptions(keeps_name_parts=True, shows_formatted=False))) as client:
        row = (await client.post("/Users", json=TEMPLATE)).json()
    assert row["name"] == {"givenName": "Ana", "familyName": "Lima"}


async def test_pigment_refuses_a_second_member_with_the_same_email_active_or_not() -> None:
    space = a_space()
    space.admin_create("ANA@acme.com", "Someone", active=False)
    async with a_client(space) as client:
        answer = await client.post("/Users", json=TEMPLATE)
    assert (answer.status_code, answer.json()["scimType"], answer.json()["status"]) == (409, "uniqueness", "409")
    assert not space.write_log.applied_writes()


@pytest.mark.parametrize("missing", ["userName", "displayName"])
async def test_pigment_requires_user_name_and_display_name(missing: str) -> None:
    async with a_client(a_space()) as client:
        body = {name: value for name, value in TEMPLATE.items() if name != missing}
        answer = await client.post("/Users", json=body)
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    assert missing in answer.json()["detail"]


async def test_pigment_refuses_a_body_that_is_not_json() -> None:
    space = a_space()
    async with a_client(space) as client:
        answer = await client.post("/Users", content=b"{")
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidSyntax")
    assert space.write_log.writes[0].body is None


ACME_ONLY = DomainRestriction(on=True, domains=("acme.com",))


async def test_pigment_domain_restriction_holds_for_invitations_and_email_changes_only() -> None:
    space = a_space(restriction=ACME_ONLY)
    other = space.admin_create("x@other.com", "X")
    async with a_client(space) as client:
        refused = await client.post("/Users", json=TEMPLATE | {"userName": "ana@eu.acme.com"})
        assert (refused.status_code, refused.json()["scimType"]) == (400, "invalidValue")
        assert "eu.acme.com" in refused.json()["detail"]
        assert (await client.post("/Users", json=TEMPLATE | {"userName": "ana@ACME.com"})).status_code == 201
        renamed = await client.put(path(other.id), json={"userName": "x@other.com", "displayName": "Y"})
        moved = await client.put(path(other.id), json={"userName": "y@other.com", "displayName": "Y"})
        assert (await client.patch(path(other.id), json=replace(active=False))).status_code == 200
        support = await client.post("/Users", json={"userName": "Support@gopigment.com", "displayName": "Support"})
    assert (renamed.status_code, moved.status_code, support.status_code) == (200, 400, 201)
    assert (other.user_name, other.display_name, other.active) == ("x@other.com", "Y", False)


async def test_pigment_checks_the_work_email_of_a_put_too() -> None:
    space = a_space(restriction=ACME_ONLY)
    ana = space.admin_create("ana@acme.com", "Ana")
    body = {"userName": "a@acme.com", "displayName": "Ana", "emails": [{"type": "work", "value": "a@other.com"}]}
    async with a_client(space) as client:
        assert (await client.put(path(ana.id), json=body)).status_code == 400
    assert ana.user_name == "ana@acme.com"


@pytest.mark.parametrize(("checked", "status"), [(False, 200), (True, 400)])
async def test_pigment_may_check_email_changes_without_the_restriction(checked: bool, status: int) -> None:
    space = a_space(WorkspaceOptions(email_checked=checked), DomainRestriction(on=False, domains=("acme.com",)))
    ana = space.admin_create("ana@acme.com", "Ana")
    async with a_client(space) as client:
        answer = await client.put(path(ana.id), json={"userName": "ana@other.com", "displayName": "Ana"})
    assert answer.status_code == status


async def test_pigment_put_changes_the_email_in_place() -> None:
    space = a_space(members=2)
    first = space.members[0]
    async with a_client(space) as client:
        answer = await client.put(path(first.id), json={"userName": "New@acme.com", "displayName": "N", "id": "other"})
        assert answer.json()["id"] == first.id
        assert answer.json()["emails"][0]["value"] == "New@acme.com"
        taken = await client.put(path(first.id), json={"userName": "P1@acme.com", "displayName": "N"})
        old = await client.get("/Users", params={"filter": 'userName eq "p0@acme.com"'})
    assert (taken.status_code, taken.json()["scimType"]) == (409, "uniqueness")
    assert old.json()["totalResults"] == 0
    assert space.find_member("new@acme.com") is first


@pytest.mark.parametrize(("switch", "active"), [("keeps", False), ("activates", True)])
async def test_pigment_put_without_active(switch: str, active: bool) -> None:
    space = a_space(WorkspaceOptions(put_without_active=switch))  # type: ignore[arg-type]  # parametrize knows no literals
    ana = space.admin_create("ana@acme.com", "Ana", active=False)
    async with a_client(space) as client:
        answer = await client.put(path(ana.id), json={"userName": "ana@acme.com", "displayName": "Ana"})
    assert answer.json()["active"] is active


@pytest.mark.parametrize(
    "body",
    [
        replace(active=False),
        {"operations": [{"OP": "Replace", "Path": "Active", "Value": "False"}]},
        {"Operations": [{"op": "Add", "path": "active", "value": "false"}]},
        {"Operations": [{"op": "replace", "value": {"active": False}}]},
        {"Operations": [{"op": "replace", "path": f"{TEMPLATE['schemas'][0]}:active", "value": False}]},  # type: ignore[index]  # the template's first schema
    ],
)
async def test_pigment_patch_deactivates_in_every_dialect(body: object) -> None:
    space = a_space(members=1)
    async with a_client(space) as client:
        answer = await client.patch(path(space.members[0].id), json=body)
        listed = (await client.get("/Users")).json()["Resources"][0]
    assert (answer.status_code, answer.json()["active"], listed["active"]) == (200, False, False)


@pytest.mark.parametrize(
    "body",
    [
        replace(displayName="New"),
        replace(**{"name.formatted": "New"}),
        {"Operations": [{"op": "replace", "value": {"name": {"formatted": "New"}}}]},
        {"Operations": [{"op": "replace", "value": {"name.formatted": "New"}}]},
    ],
)
async def test_pigment_patch_of_either_name_sets_both(body: object) -> None:
    space = a_space(members=1)
    async with a_client(space) as client:
        row = (await client.patch(path(space.members[0].id), json=body)).json()
    assert (row["displayName"], row["name"]["formatted"]) == ("New", "New")


DROPPED = ['emails[type eq "work"].value', "userName", "name.givenName", "title", "name"]


@pytest.mark.parametrize("dropped", DROPPED)
async def test_pigment_patch_silently_drops_what_it_does_not_support(dropped: str) -> None:
    space = a_space(members=1)
    async with a_client(space) as client:
        before = (await client.get("/Users")).json()["Resources"][0]
        answer = await client.patch(path(space.members[0].id), json=replace(**{dropped: "x@acme.com"}))
    assert (answer.status_code, answer.json()) == (200, before)
    assert [write.applied for write in space.write_log.writes] == [False]
    assert space.write_log.patched_paths() == {dropped.casefold()}


async def test_pigment_patch_does_the_supported_half_of_a_mixed_request() -> None:
    space = a_space(members=1)
    async with a_client(space) as client:
        row = (await client.patch(path(space.members[0].id), json=replace(userName="x@acme.com", active=False))).json()
    assert (row["userName"], row["active"]) == ("p0@acme.com", False)


async def test_pigment_may_answer_a_dropped_patch_with_204_or_400() -> None:
    mixed = replace(userName="x@acme.com", active=False)
    silent, strict = (
        a_space(WorkspaceOptions(patch_dropped="204"), members=1),
        a_space(WorkspaceOptions(patch_dropped="400"), members=1),
    )
    async with a_client(silent) as client:
        answer = await client.patch(path(silent.members[0].id), json=mixed)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await client.patch(path(silent.members[0].id), json=replace(active=True))).status_code == 200
    async with a_client(strict) as client:
        assert (await client.patch(path(strict.members[0].id), json=mixed)).status_code == 400
    assert strict.members[0].active


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"Operations": []},
        {"Operations": ["x"]},
        {"Operations": [{"op": "move", "path": "active"}]},
        replace(active="maybe"),
        replace(displayName=""),
        {"Operations": [{"op": "replace", "value": 3}]},
    ],
)
async def test_pigment_refuses_an_invalid_patch(body: object) -> None:
    space = a_space(members=1)
    async with a_client(space) as client:
        answer = await client.patch(path(space.members[0].id), json=body)
    assert answer.status_code == 400
    assert not space.write_log.applied_writes()


async def test_pigment_patch_remove_does_nothing() -> None:
    space = a_space(members=1)
    async with a_client(space) as client:
        answer = await client.patch(
            path(space.members[0].id), json={"Operations": [{"op": "remove", "path": "active"}]}
        )
    assert (answer.status_code, answer.json()["active"]) == (200, True)


async def test_pigment_delete_deactivates_and_keeps_the_member_listed() -> None:
    space = a_space(members=1)
    async with a_client(space) as client:
        answer = await client.delete(path(space.members[0].id))
        page = (await client.get("/Users")).json()
    assert (answer.status_code, answer.content) == (204, b"")
    assert (page["totalResults"], page["Resources"][0]["active"]) == (1, False)
    assert space.write_log.writes[0].applied


async def test_pigment_etags_are_held_to() -> None:
    space = a_space(WorkspaceOptions(etags=True), members=1)
    where = path(space.members[0].id)
    async with a_client(space) as client:
        first = await client.get(where)
        etag = first.headers["etag"]
        assert first.json()["meta"]["version"] == etag
        changed = await client.patch(where, json=replace(active=False), headers={"If-Match": etag})
        stale = await client.patch(where, json=replace(active=True), headers={"If-Match": etag})
        assert (changed.status_code, stale.status_code) == (200, 412)
        assert changed.headers["etag"] != etag
        assert (await client.delete(where, headers={"If-Match": "*"})).status_code == 204


async def test_pigment_journal_names_what_was_patched_in_any_dialect() -> None:
    space = a_space(members=1)
    where = path(space.members[0].id)
    bodies: list[object] = [
        {"operations": [{"OP": "Replace", "Path": "UserName", "Value": "x@acme.com"}]},
        {"Operations": [{"op": "replace", "value": {"active": False, "emails": []}}]},
        {"Operations": ["x"]},
        [],
    ]
    async with a_client(space) as client:
        for body in bodies:
            await client.patch(where, json=body)
        await client.patch(where, content=b"{")
    assert space.write_log.patched_paths() == {"username", "active", "emails"}
    assert [write.status for write in space.write_log.writes] == [200, 200, 400, 400, 400]
    space.write_log.clear()
    assert (space.write_log.writes, space.write_log.request_counts.total()) == ([], 0)
