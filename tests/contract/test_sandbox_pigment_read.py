"""The pretend Pigment lists and finds its members as the real one is known to."""

from __future__ import annotations

import pytest

from sandbox.pigment.options import WorkspaceOptions
from tests.contract.pretend_pigment import a_client, a_space, path


async def test_pigment_lists_all_members_active_or_not_page_by_page() -> None:
    space = a_space(members=250)
    seen: list[str] = []
    async with a_client(space) as client:
        while True:
            page = (await client.get("/Users", params={"startIndex": len(seen) + 1, "count": 1000})).json()
            assert page["totalResults"] == 250
            assert page["startIndex"] == len(seen) + 1
            assert page["itemsPerPage"] == len(page["Resources"]) <= 100
            seen += [row["userName"] for row in page["Resources"]]
            if len(seen) >= 250:
                break
    assert seen == [f"p{number}@acme.com" for number in range(250)]


async def test_pigment_shows_a_member_with_its_email_and_location() -> None:
    space = a_space(members=1)
    async with a_client(space) as client:
        row = (await client.get("/Users")).json()["Resources"][0]
        assert row["emails"] == [{"value": "p0@acme.com", "type": "work", "primary": True}]
        assert row["name"] == {"formatted": "Person 0"}
        assert row["active"] is True
        again = await client.get(row["meta"]["location"])
    assert again.json() == row
    assert again.headers["content-type"] == "application/scim+json"


@pytest.mark.parametrize(
    ("params", "rows"),
    [
        ({"count": "0"}, 0),
        ({"count": "-5"}, 0),
        ({"count": "3"}, 3),
        ({"startIndex": "0"}, 10),
        ({"startIndex": "9"}, 2),
        ({"startIndex": "11"}, 0),
        ({}, 10),
    ],
)
async def test_pigment_keeps_page_bounds(params: dict[str, str], rows: int) -> None:
    async with a_client(a_space(members=10)) as client:
        page = (await client.get("/Users", params=params)).json()
    assert len(page["Resources"]) == rows
    assert page["totalResults"] == 10


async def test_pigment_refuses_a_count_that_is_not_a_number() -> None:
    async with a_client(a_space(members=1)) as client:
        answer = await client.get("/Users", params={"count": "many"})
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")


async def test_pigment_short_pages_still_hold_everyone_once() -> None:
    space = a_space(WorkspaceOptions(short_pages=True), members=450)
    seen: list[str] = []
    sizes: set[int] = set()
    async with a_client(space) as client:
        while len(seen) < 450:
            rows = (await client.get("/Users", params={"startIndex": len(seen) + 1, "count": 100})).json()["Resources"]
            assert rows
            sizes.add(len(rows))
            seen += [row["id"] for row in rows]
    assert len(set(seen)) == 450
    assert len(sizes) > 1


async def test_pigment_next_cursor_leads_to_everyone() -> None:
    space = a_space(WorkspaceOptions(next_cursor=True), members=250)
    seen: list[str] = []
    params: dict[str, str] = {"startIndex": "1", "count": "100"}
    async with a_client(space) as client:
        while True:
            page = (await client.get("/Users", params=params)).json()
            seen += [row["userName"] for row in page["Resources"]]
            if "nextCursor" not in page:
                break
            params = {"cursor": page["nextCursor"], "count": "100"}
        wrong = await client.get("/Users", params={"cursor": "nonsense"})
    assert seen == [f"p{number}@acme.com" for number in range(250)]
    assert (wrong.status_code, wrong.json()["scimType"]) == (400, "invalidCursor")


async def test_pigment_may_list_in_another_order_each_time() -> None:
    space = a_space(WorkspaceOptions(order_stable=False), members=50)
    async with a_client(space) as client:
        lists = [[row["id"] for row in (await client.get("/Users")).json()["Resources"]] for _ in range(2)]
    assert lists[0] != lists[1]
    assert set(lists[0]) == set(lists[1])


@pytest.mark.parametrize(
    "expression",
    [
        'userName eq "Ana@ACME.com"',
        'USERNAME EQ "ana@acme.com"',
        'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ana@acme.com"',
        'emails.value eq "ana@acme.com"',
        'emails[type eq "work"].value eq "ana@acme.com"',
        'Emails[Type Eq "WORK"].Value eq "ana@acme.com"',
        'userName eq "\\u0061na@acme.com"',
    ],
)
async def test_pigment_finds_a_member_by_email_whatever_the_case(expression: str) -> None:
    space = a_space(members=3)
    space.admin_create("ana@acme.com", "Ana", active=False)
    async with a_client(space) as client:
        page = (await client.get("/Users", params={"filter": expression, "startIndex": "1", "count": "100"})).json()
    assert [row["userName"] for row in page["Resources"]] == ["ana@acme.com"]
    assert page["totalResults"] == 1


async def test_pigment_finds_addresses_with_quotes_and_plus_signs() -> None:
    space = a_space()
    space.admin_create('o"neil\\x+1@acme.com', "O")
    async with a_client(space) as client:
        page = (await client.get("/Users", params={"filter": 'userName eq "o\\"neil\\\\x+1@acme.com"'})).json()
    assert page["totalResults"] == 1


@pytest.mark.parametrize("switches", [WorkspaceOptions(), WorkspaceOptions(empty_resources="absent")])
async def test_pigment_answers_a_filter_without_a_match_with_an_empty_list(switches: WorkspaceOptions) -> None:
    async with a_client(a_space(switches, members=3)) as client:
        answer = await client.get("/Users", params={"filter": 'userName eq "nobody@acme.com"'})
    assert (answer.status_code, answer.json()["totalResults"]) == (200, 0)
    assert ("Resources" in answer.json()) == (switches.empty_resources == "empty")


@pytest.mark.parametrize(
    "expression",
    [
        "userName",
        'userName sw "a"',
        'displayName eq "a"',
        'userName eq "a" and active eq true',
        "",
        'userName eq "\\x"',
    ],
)
async def test_pigment_refuses_other_filters(expression: str) -> None:
    async with a_client(a_space()) as client:
        answer = await client.get("/Users", params={"filter": expression})
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter")


async def test_pigment_may_not_know_the_email_filter() -> None:
    async with a_client(a_space(WorkspaceOptions(filter_emails=False))) as client:
        answer = await client.get("/Users", params={"filter": 'emails.value eq "a@acme.com"'})
    assert answer.status_code == 400


async def test_pigment_may_show_active_as_text_and_have_awkward_ids() -> None:
    space = a_space(WorkspaceOptions(active_as="text", ids="awkward"), members=2)
    member = space.members[1]
    async with a_client(space) as client:
        row = (await client.get(path(member.id))).json()
    assert (row["id"], row["active"]) == (member.id, "True")
    assert "/" in member.id


async def test_pigment_by_hand_changes_are_seen_and_not_journalled() -> None:
    space = a_space()
    space.admin_create("a@acme.com", "A")
    space.admin_rename("A@acme.com", "B")
    space.admin_change_email("a@acme.com", "b@acme.com")
    space.admin_deactivate("b@acme.com")
    async with a_client(space) as client:
        row = (await client.get("/Users")).json()["Resources"][0]
        assert (row["userName"], row["displayName"], row["active"]) == ("b@acme.com", "B", False)
        space.admin_reactivate("b@acme.com")
        assert (await client.get("/Users")).json()["Resources"][0]["active"] is True
        space.admin_remove("b@acme.com")
        assert (await client.get("/Users")).json()["totalResults"] == 0
    assert space.write_log.writes == []
    assert space.write_log.request_counts["GET"] == 3


async def test_pigment_lists_twenty_thousand_members_page_by_page() -> None:
    space = a_space(WorkspaceOptions(page_size=1000), members=20_000)
    async with a_client(space) as client:
        pages = [
            await client.get("/Users", params={"startIndex": 1 + page * 1000, "count": 1000}) for page in range(20)
        ]
    assert sum(page.content.count(b'"userName"') for page in pages) == 20_000
