"""The pretend Graph's delta queries: what changes since a token shows, in the vendor's shapes, with every trap."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from sandbox.company import Person
from sandbox.company.events import Happening
from sandbox.entra import DeltaOptions, EntraOptions
from tests.contract.pretend_entra import Harness, code
from tests.contract.vendor_spec import IS_THERE, complaints

SELECT = "$select=id,accountEnabled,userPrincipalName,displayName"
USERS = f"/users/delta?{SELECT}"
WEEK = 7 * 86_400


def groups_url(harness: Harness) -> str:
    terms = " or ".join(f"id eq '{group.id}'" for group in (harness.sales, harness.board))
    return f"/groups/delta?$select=displayName,members&$filter={terms}"


class Round:
    """The rows of one round to its end, and the link of the next one."""

    def __init__(self, rows: list[dict[str, Any]], link: str, pages: int) -> None:
        self.rows = rows
        self.link = link
        self.pages = pages

    @property
    def members(self) -> list[tuple[str, str]]:
        """Return the members that came or went, each with the word of the mark."""
        entries = [entry for row in self.rows for entry in row.get("members@delta", ())]
        return [(entry["id"], entry.get("@removed", {}).get("reason", "")) for entry in entries]

    @property
    def people(self) -> list[tuple[str, str]]:
        return [(row["id"], row.get("@removed", {}).get("reason", "")) for row in self.rows]


async def walk(client: httpx.AsyncClient, url: str) -> Round:
    rows: list[dict[str, Any]] = []
    pages = 0
    while True:
        answer = await client.get(url)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        rows += document["value"]
        pages += 1
        if "@odata.deltaLink" in document:
            assert "@odata.nextLink" not in document
            return Round(rows, document["@odata.deltaLink"], pages)
        url = document["@odata.nextLink"]


async def test_first_round_shows_everyone_and_the_latest_token_no_one() -> None:
    harness = Harness()
    async with harness.client() as client:
        first, latest = await walk(client, USERS), await walk(client, f"{USERS}&$deltatoken=latest")
        members = await walk(client, groups_url(harness))
    assert {key for key, _ in first.people} == {person.id for person in (*harness.staff, harness.nested)}
    assert latest.rows == []
    assert {key for key, _ in members.members} == {
        *(person.id for person in harness.staff),
        harness.inner.id,
        *harness.sales.devices,
    }


async def test_people_show_as_they_are_now_and_only_what_is_selected_counts() -> None:
    harness = Harness()
    one, other, third = harness.staff
    async with harness.client() as client:
        links = [(await walk(client, f"{url}&$deltatoken=latest")).link for url in (USERS, "/users/delta?$select=mail")]
        harness.company.suspend(one)
        harness.company.delete(other)
        harness.company.purge(harness.company.delete(third))
        every, names = [await walk(client, link) for link in links]
        after = await walk(client, every.link)
    assert sorted(every.people) == sorted([(one.id, ""), (other.id, "changed"), (third.id, "deleted")])
    assert {row["id"]: row.get("accountEnabled") for row in every.rows}[one.id] is False
    assert one.id not in dict(names.people)
    assert after.rows == []


async def test_soft_deletion_is_silent_in_groups_until_the_person_is_gone_for_good() -> None:
    harness = Harness()
    left, deleted, purged = harness.staff
    async with harness.client() as client:
        link = (await walk(client, f"{groups_url(harness)}&$deltatoken=latest")).link
        harness.company.quit(left, "Sales")
        harness.company.delete(deleted)
        harness.company.purge(harness.company.delete(purged))
        found = await walk(client, link)
        harness.tenant.delta_log.options = DeltaOptions(shows_soft_deletion_in_groups=True)
        again = await walk(client, link)
    assert found.members == [(left.id, "deleted"), (purged.id, "deleted")]
    assert (deleted.id, "deleted") in again.members


async def test_restored_person_shows_without_a_mark_and_is_in_their_groups() -> None:
    harness = Harness()
    person = harness.staff[0]
    async with harness.client() as client:
        link = (await walk(client, f"{USERS}&$deltatoken=latest")).link
        harness.company.restore(harness.company.delete(person))
        found = await walk(client, link)
    assert found.people == [(person.id, "")]
    assert person.id in harness.sales.people


async def test_person_who_was_put_back_shows_as_a_member() -> None:
    harness = Harness()
    person = harness.staff[0]
    async with harness.client() as client:
        link = (await walk(client, f"{groups_url(harness)}&$deltatoken=latest")).link
        harness.company.quit(person, "Sales")
        harness.company.join(person, "Sales")
        found = await walk(client, link)
    assert found.members == [(person.id, "")]


async def test_deleted_group_is_a_row_with_a_mark() -> None:
    harness = Harness()
    async with harness.client() as client:
        link = (await walk(client, f"{groups_url(harness)}&$deltatoken=latest")).link
        harness.company.delete_group("entra", harness.board.id)
        found = await walk(client, link)
    assert found.people == [(harness.board.id, "deleted")]


async def test_round_goes_on_over_pages_and_an_empty_one_is_not_the_end() -> None:
    harness = Harness(people=7)
    async with harness.client() as client:
        link = (await walk(client, f"{groups_url(harness)}&$deltatoken=latest")).link
        for person in harness.staff:
            harness.company.quit(person, "Sales")
        harness.tenant.delta_log.options = DeltaOptions(page_size=3, begins_with_empty_page=True)
        found = await walk(client, link)
    assert found.pages == 4
    assert [row["id"] for row in found.rows] == [harness.sales.id] * 3, "the same group on several pages"
    assert len(found.members) == 7


@pytest.mark.parametrize(
    ("options", "rounds"),
    [
        (DeltaOptions(delay_seconds=20), [0, 0, 1, 0]),
        (DeltaOptions(late_share=1, late_seconds=20), [0, 0, 1, 0]),
        (DeltaOptions(replayed_share=1, replay_seconds=20), [1, 0, 1, 0]),
        (DeltaOptions(lost_share=1), [0, 0, 0, 0]),
    ],
)
async def test_changes_come_late_twice_or_never(options: DeltaOptions, rounds: list[int]) -> None:
    harness = Harness()
    harness.tenant.delta_log.options = options
    found = []
    async with harness.client() as client:
        link = (await walk(client, f"{USERS}&$deltatoken=latest")).link
        harness.company.suspend(harness.staff[0])
        for _ in rounds:
            each = await walk(client, link)
            link = each.link
            found.append(len(each.rows))
            harness.clock[0] += 10
    assert found == rounds


@pytest.mark.parametrize("word", ["syncStateNotFound", "resyncRequired"])
async def test_token_expires_after_seven_days(word: str) -> None:
    harness = Harness()
    harness.tenant.delta_log.options = DeltaOptions(expired_code=word)
    async with harness.client() as client:
        link = (await walk(client, f"{USERS}&$deltatoken=latest")).link
        harness.clock[0] += WEEK + 1
        client.headers["Authorization"] = harness.client().headers["Authorization"]
        assert code(await client.get(link)) == (400, word)
        fresh = (await walk(client, f"{USERS}&$deltatoken=latest")).link
        harness.tenant.delta_log.expire_tokens()
        assert code(await client.get(fresh)) == (400, word)


async def test_maintenance_answers_410_with_a_place_to_begin_again() -> None:
    harness = Harness()
    harness.tenant.delta_log.moved_requests = 1
    async with harness.client() as client:
        link = (await walk(client, f"{USERS}&$deltatoken=latest")).link
        answer = await client.get(link)
        assert answer.status_code == 410
        assert answer.headers["location"].endswith("/v1.0/users/delta?$deltatoken=")
        assert (await client.get(link)).status_code == 200


async def test_latest_token_may_be_refused_with_a_filter_alone() -> None:
    harness = Harness()
    harness.tenant.delta_log.options = DeltaOptions(refuses_latest_with_filter=True)
    async with harness.client() as client:
        assert code(await client.get(f"{groups_url(harness)}&$deltatoken=latest")) == (400, "Request_UnsupportedQuery")
        assert (await client.get(f"{USERS}&$deltatoken=latest")).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "?$top=5",
        "?$orderby=displayName",
        "?$expand=manager",
        "?$select=shoeSize",
        "?$filter=displayName eq 'Sales'",
        "?$filter=" + " or ".join(f"id eq '{number}'" for number in range(51)),
        "?$deltatoken=rubbish",
        "?$deltatoken=rubbish&$select=id",
    ],
)
@pytest.mark.parametrize("kind", ["users", "groups"])
async def test_what_is_not_supported_is_refused(kind: str, query: str) -> None:
    async with Harness().client() as client:
        assert (await client.get(f"/{kind}/delta{query}")).status_code == 400


@pytest.mark.parametrize(("kind", "role"), [("users", "User.Read.All"), ("groups", "GroupMember.Read.All")])
async def test_permission_is_needed(kind: str, role: str) -> None:
    harness = Harness()
    harness.tenant.roles = harness.tenant.roles - {role}
    async with harness.client() as client:
        assert code(await client.get(f"/{kind}/delta?$select=id")) == (403, "Authorization_RequestDenied")


@pytest.mark.parametrize("kind", ["users", "groups"] if IS_THERE else [])
async def test_rows_fit_the_document(kind: str) -> None:
    harness = Harness()
    url = USERS if kind == "users" else groups_url(harness)
    async with harness.client() as client:
        link = (await walk(client, url)).link
        harness.company.suspend(harness.staff[0])
        harness.company.quit(harness.staff[0], "Sales")
        harness.company.delete(harness.staff[1])
        for each in (url, link):
            answer = await client.get(each)
            assert answer.json()["value"]
            assert complaints("graph-derived", f"/{kind}/delta", "get", 200, answer.json()) == []


def shown_groups(answer: httpx.Response) -> list[str]:
    return [row["id"] for row in answer.json()["value"]]


async def test_one_of_two_replicas_is_behind() -> None:
    harness = Harness(switches=EntraOptions(units=None, replica_seconds=10))
    moved, disabled = harness.staff[:2]
    harness.clock[0] += 60
    harness.company.move(moved, "Sales", "Board")
    harness.company.suspend(disabled)
    async with harness.client() as client:
        groups = [shown_groups(await client.get(f"/users/{moved.id}/memberOf")) for _ in range(2)]
        state = [await enabled(client, disabled) for _ in range(2)]
        harness.clock[0] += 20
        state += [await enabled(client, disabled) for _ in range(2)]
    assert groups == [[harness.sales.id], [harness.board.id]]
    assert state == [True, False, False, False]


async def test_replica_may_show_the_old_group_no_more_and_the_new_one_not_yet() -> None:
    lacks = frozenset({Happening.JOINED})
    harness = Harness(switches=EntraOptions(units=None, replica_seconds=10, replica_lacks=lacks))
    harness.clock[0] += 60
    harness.company.move(harness.staff[0], "Sales", "Board")
    async with harness.client() as client:
        assert shown_groups(await client.get(f"/users/{harness.staff[0].id}/memberOf")) == []


async def enabled(client: httpx.AsyncClient, person: Person) -> object:
    answer = await client.get(f"/users/{person.id}?$select=id,accountEnabled")
    return answer.json()["accountEnabled"]


async def test_people_are_found_by_an_address() -> None:
    harness = Harness()
    person = harness.staff[0]
    async with harness.client() as client:
        answer = await client.get(f"/users?$filter=userPrincipalName eq '{person.email.upper()}' or mail eq 'o''no'")
    assert [row["id"] for row in answer.json()["value"]] == [person.id]
