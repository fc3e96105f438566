"""The pretend Pigment behaves as other SCIM servers do, where a switch asks for it."""

from __future__ import annotations

import json

import pytest

from sandbox.pigment.options import OptionError, WorkspaceOptions, with_changes
from tests.contract.pretend_pigment import TEMPLATE, a_client, a_space, path, replace

MOVED = TEMPLATE | {"userName": "new@acme.com"}


async def test_reads_may_show_the_state_of_a_while_ago() -> None:
    space = a_space(WorkspaceOptions(reads_lag=10))
    seconds = [0.0]
    space.elapsed = lambda: seconds[0]
    old = space.admin_create("old@acme.com", "Old")
    async with a_client(space) as client:
        made = (await client.post("/Users", json=TEMPLATE)).json()
        seconds[0] = 5.0
        await client.patch(path(old.id), json=replace(active=False))
        assert [row["active"] for row in (await client.get("/Users")).json()["Resources"]] == [True]
        assert (await client.get("/Users", params={"filter": 'userName eq "ANA@acme.com"'})).json()["totalResults"] == 0
        assert (await client.get(path(made["id"]))).status_code == 404
        seconds[0] = 14.0
        assert [row["active"] for row in (await client.get("/Users")).json()["Resources"]] == [True, True]
        seconds[0] = 16.0
        assert (await client.get(path(old.id))).json()["active"] is False


async def test_writes_may_be_answered_without_the_member() -> None:
    space = a_space(WorkspaceOptions(writes_shown=False), members=1)
    async with a_client(space) as client:
        made = await client.post("/Users", json=TEMPLATE)
        changed = await client.patch(path(space.members[0].id), json=replace(active=False))
    assert [(each.status_code, each.content) for each in (made, changed)] == [(202, b""), (204, b"")]
    assert [write.applied for write in space.write_log.writes] == [True, True]


async def test_id_may_follow_the_email() -> None:
    space = a_space(WorkspaceOptions(ids="email"))
    async with a_client(space) as client:
        assert (await client.post("/Users", json=TEMPLATE)).json()["id"] == "ana@acme.com"
        assert (await client.put(path("ana@acme.com"), json=MOVED)).json()["id"] == "new@acme.com"
        assert (await client.get(path("ana@acme.com"))).status_code == 404
        assert (await client.get(path("new@acme.com"))).status_code == 200


async def test_put_may_leave_the_member_inactive() -> None:
    space = a_space(WorkspaceOptions(put_active="lost"), members=1)
    async with a_client(space) as client:
        answer = await client.put(path(space.members[0].id), json=MOVED | {"active": True})
    assert answer.json()["active"] is False


async def test_every_body_may_begin_with_a_byte_order_mark() -> None:
    async with a_client(a_space(WorkspaceOptions(byte_order_mark=True), members=1)) as client:
        body = (await client.get("/Users")).content
    assert body.startswith(b"\xef\xbb\xbf")
    assert json.loads(body.decode("utf-8-sig"))["totalResults"] == 1


async def test_seats_and_the_last_admin_refuse_single_writes_in_words() -> None:
    space = a_space(WorkspaceOptions(seats=2, last_admin="P0@acme.com"), members=2)
    admin, other = space.members
    async with a_client(space) as client:
        made = await client.post("/Users", json=TEMPLATE)
        responses = [await client.patch(path(each.id), json=replace(active=False)) for each in (admin, other)]
        again = await client.post("/Users", json=TEMPLATE)
        back = await client.patch(path(other.id), json=replace(active=True))
    statuses = [each.status_code for each in (made, *responses, again, back)]
    assert statuses == [403, 403, 200, 201, 403]
    assert "seats" in made.json()["detail"]
    assert "last security admin" in responses[0].json()["detail"]


@pytest.mark.parametrize(
    ("versions", "if_match", "status"),
    [
        ("weak", 'W/"1"', 200),
        ("strict", 'W/"1"', 412),
        ("strict", None, 200),
        ("demanded", None, 428),
        ("demanded", 'W/"1"', 200),
        ("demanded", 'W/"9"', 412),
    ],
)
async def test_versions_may_be_compared_strongly_or_demanded(versions: str, if_match: str | None, status: int) -> None:
    space = a_space(with_changes(WorkspaceOptions(), {"etags": True, "versions": versions}), members=1)
    headers = {"If-Match": if_match} if if_match else {}
    async with a_client(space) as client:
        shown = await client.get(path(space.members[0].id))
        answer = await client.patch(path(space.members[0].id), json=replace(active=False), headers=headers)
    assert (answer.status_code, shown.headers["etag"]) == (status, 'W/"1"')
    assert ("version" in shown.json()["meta"]) is (versions != "demanded")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"seats": -1}, "0 or more"), ({"last_admin": 1}, "takes text"), ({"reads_lag": True}, "whole")],
)
def test_strange_switches_name_what_can_not_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        with_changes(WorkspaceOptions(), changes)
