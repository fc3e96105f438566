"""Faults of lists change each system's pages as described, and nothing else."""

from __future__ import annotations

from urllib.parse import unquote

import httpx
import pytest

from sandbox.faults.action import System
from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.workspace import PigmentWorkspace
from tests.contract.pretend_lists import PATH, PEOPLE, a_client, an_app, listed, names, next_url, pages, total

LINKED = [System.OKTA, System.ENTRA, System.ONELOGIN]
COUNTED = [System.ENTRA, System.ONELOGIN, System.PIGMENT]


def page_two(system: System, word: str, **options: object) -> dict[str, object]:
    return {"do": word, "system": system, "at": 2, **options}


@pytest.mark.parametrize("system", System)
async def test_a_list_without_faults_is_whole(system: System) -> None:
    async with a_client(system) as client:
        assert await listed(system, client) == PEOPLE


@pytest.mark.parametrize("system", System)
async def test_empty_page_comes_before_the_page_that_was_asked_for(system: System) -> None:
    async with a_client(system, page_two(system, "empty-page")) as client:
        found = [names(system, page) for page in await pages(system, client)]
    assert found == [["p0", "p1"], [], ["p2", "p3"], ["p4"]]


@pytest.mark.parametrize("system", System)
async def test_empty_page_may_come_first(system: System) -> None:
    async with a_client(system, {"do": "empty-page", "at": 1}) as client:
        found = [names(system, page) for page in await pages(system, client)]
    assert found == [[], ["p0", "p1"], ["p2", "p3"], ["p4"]]


@pytest.mark.parametrize("system", LINKED)
async def test_repeated_cursor_leads_to_the_same_page_for_ever(system: System) -> None:
    async with a_client(system, {"do": "repeated-cursor", "start": 2}) as client:
        found = await pages(system, client, most=5)
        links = [next_url(system, page, 0) for page in found]
    assert [names(system, page) for page in found] == [["p0", "p1"], *[["p2", "p3"]] * 4]
    assert len({str(httpx.URL(link or "").params) for link in links}) == 1


@pytest.mark.parametrize("system", System)
async def test_repeated_cursor_on_the_first_page_repeats_itself(system: System) -> None:
    async with a_client(system, {"do": "repeated-cursor"}) as client:
        found = await pages(system, client, most=4)
    assert [names(system, page) for page in found] == [["p0", "p1"]] * 4
    assert len({next_url(system, page, 0) for page in found[1:]}) == 1


@pytest.mark.parametrize("system", LINKED)
@pytest.mark.parametrize("at", [1, 3])
async def test_foreign_link_leads_to_another_origin(system: System, at: int) -> None:
    rule = {"do": "foreign-link", "path": "*", "at": at, "origin": "https://evil.example.com"}
    async with a_client(system, rule) as client:
        url = PATH[system]
        for _ in range(at):
            answer = await client.get(url)
            url = next_url(system, answer, 0) or ""
    link = answer.json()["@odata.nextLink"] if system is System.ENTRA else answer.links["next"]["url"]
    assert str(link).startswith("https://evil.example.com/")
    assert len(answer.headers.get_list("link")) == (2 if system is System.OKTA else 0 if system is System.ENTRA else 1)


@pytest.mark.parametrize("system", System)
async def test_endless_pages_have_always_a_next_one_that_was_not_seen_before(system: System) -> None:
    async with a_client(system, {"do": "endless-pages"}) as client:
        found = await pages(system, client, most=30)
    links = [next_url(system, page, 2 * number) for number, page in enumerate(found, 1)]
    assert len(found) == 30
    assert None not in links
    assert len(set(links)) == 30
    assert all(names(system, page) for page in found)


async def test_endless_pages_of_pigment_show_ever_new_members_at_the_index_asked_for() -> None:
    async with a_client(System.PIGMENT, {"do": "endless-pages"}) as client:
        found = [page.json() for page in await pages(System.PIGMENT, client, most=4)]
    assert [page["startIndex"] for page in found] == [1, 3, 5, 7]
    assert {page["totalResults"] for page in found} == {1_000_000_000}
    assert len({row["id"] for page in found for row in page["Resources"]}) == 8
    assert len({row["userName"] for page in found for row in page["Resources"]}) == 8


@pytest.mark.parametrize("system", System)
async def test_first_page_again_ignores_where_the_request_wants_to_be(system: System) -> None:
    async with a_client(system, {"do": "first-page-again"}) as client:
        found = await pages(system, client, most=4)
    assert {tuple(names(system, page)) for page in found} == {("p0", "p1")}
    assert len(found) == (3 if system is System.PIGMENT else 4)


@pytest.mark.parametrize("system", COUNTED)
@pytest.mark.parametrize("by", [1, -2])
async def test_wrong_total_is_off_by_the_requested_number(system: System, by: int) -> None:
    async with a_client(system, page_two(system, "wrong-total", by=by)) as client:
        totals = [total(system, page) for page in await pages(system, client)]
    assert totals[:3] == [5, 5 + by, 5][: len(totals)]


@pytest.mark.parametrize("system", System)
async def test_duplicate_rows_repeat_the_first_row_of_the_page(system: System) -> None:
    async with a_client(system, page_two(system, "duplicate-rows")) as client:
        await client.get(PATH[system])
        assert names(system, await client.get(PATH[system])) == ["p0", "p1", "p0"]


@pytest.mark.parametrize("system", System)
async def test_drift_hides_one_row_and_counts_one_less_until_the_list_is_read_again(system: System) -> None:
    async with a_client(system, page_two(system, "drift")) as client:
        found = await pages(system, client)
        again = await pages(system, client)
    seen = [name for page in found for name in names(system, page)]
    assert seen == ["p0", "p1", "p3", "p4"]
    assert [name for page in again for name in names(system, page)] == PEOPLE
    if system in COUNTED:
        assert [total(system, page) for page in found] == [5, *[4] * (len(found) - 1)]
        assert {total(system, page) for page in again} == {5}


@pytest.mark.parametrize("system", System)
async def test_drift_shows_a_row_twice_and_counts_one_more_when_a_person_joined(system: System) -> None:
    async with a_client(system, page_two(system, "drift", kind="added")) as client:
        found = await pages(system, client)
    seen = [name for page in found for name in names(system, page)]
    assert len(seen) == 6
    assert set(seen) == set(PEOPLE)
    if system in COUNTED:
        assert [total(system, page) for page in found][:2] == [5, 6]


async def test_drift_of_pigment_keeps_the_index_that_was_asked_for() -> None:
    async with a_client(System.PIGMENT, {"do": "drift", "at": 2}) as client:
        found = [page.json()["startIndex"] for page in await pages(System.PIGMENT, client)]
    assert found == [1, 3]


@pytest.mark.parametrize("system", System)
async def test_nulls_hide_everything_but_ids_and_types(system: System) -> None:
    async with a_client(system, {"do": "nulls"}) as client:
        answer = await client.get(PATH[system])
    rows = answer.json()
    if isinstance(rows, dict):
        rows = rows["value" if system is System.ENTRA else "Resources"]
    assert len(rows) == 2
    assert all(row["id"] and row["displayName"] is None for row in rows)
    if system is not System.PIGMENT:
        assert [row["@odata.type"] for row in rows] == ["#microsoft.graph.user"] * 2
        assert [row["profile"] for row in rows] == [{"login": None}] * 2


async def test_nulls_may_hide_one_row_with_its_id() -> None:
    async with a_client(System.OKTA, {"do": "nulls", "rows": "first", "ids": True}) as client:
        rows = (await client.get(PATH[System.OKTA])).json()
    assert [row["id"] for row in rows] == [None, "id-p1"]
    assert [row["displayName"] for row in rows] == [None, "p1"]


async def test_cursor_is_percent_encoded() -> None:
    async with a_client(System.ONELOGIN) as client:
        plain = (await client.get(PATH[System.ONELOGIN])).headers["after-cursor"]
    async with a_client(System.ONELOGIN, {"do": "encoded-cursor"}) as client:
        encoded = (await client.get(PATH[System.ONELOGIN])).headers["after-cursor"]
    assert "%" in encoded
    assert unquote(encoded) == plain


PAGED = [
    "empty-page",
    "encoded-cursor",
    "repeated-cursor",
    "endless-pages",
    "wrong-total",
    "duplicate-rows",
    "drift",
    "nulls",
]


@pytest.mark.parametrize("word", PAGED)
async def test_response_that_is_not_a_page_passes_unchanged(word: str) -> None:
    space = PigmentWorkspace("latam", ["good"], WorkspaceOptions())
    member = space.admin_create("a@acme.com", "A")
    app = an_app(System.PIGMENT, space)
    async with a_client(System.PIGMENT, app=app) as client:
        plain = await client.get(f"/latam/scim/v2/Users/{member.id}")
    async with a_client(System.PIGMENT, {"do": word, "system": "pigment"}, app=app) as client:
        assert (await client.get(f"/latam/scim/v2/Users/{member.id}")).json() == plain.json()
        assert (await client.get("/latam/scim/v2/Users/none")).status_code == 404


@pytest.mark.parametrize("cursor", ["sandbox.", "sandbox.%21%21", "sandbox.bnVsbA", "sandbox.WzFd"])
async def test_a_cursor_that_only_looks_like_ours_is_left_alone(cursor: str) -> None:
    async with a_client(System.PIGMENT) as client:
        answer = await client.get(f"/latam/scim/v2/Users?cursor={cursor}&startIndex=3")
    # It came to the workspace, which has no cursors and refuses each.
    assert answer.status_code == 400
    assert "'cursor' is not supported" in answer.text
