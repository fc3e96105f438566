"""What the Okta connector reads from an org without faults, and the unusual rows that it accepts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest

from connectors.base import Group, IncompleteRead, Person, Source, Status
from tests.contract.okta_org import APP, SALES, SOURCE, STAFF, Org, company, error, ids

GROUP_USERS = f"/api/v1/groups/{SALES}/users"


def by_id(people: tuple[Person, ...]) -> dict[str, Person]:
    return {person.id: person for person in people}


async def test_snapshot_has_each_person_with_their_groups_and_status() -> None:
    snapshot = await company().connector().read(SOURCE)
    assert snapshot.source == SOURCE
    assert snapshot.app_name == "Pigment"
    assert snapshot.groups == (Group(SALES, "Sales", 2), Group(STAFF, "Staff", 3))
    assert [(each.id, each.groups, each.individual, each.pending, each.status) for each in snapshot.people] == [
        ("00uana", (SALES, STAFF), False, False, Status.ACTIVE),
        ("00ueva", (SALES,), True, False, Status.ACTIVE),
        ("00uivo", (STAFF,), False, False, Status.SUSPENDED),
        ("00uudo", (), True, False, Status.ACTIVE),
        ("00uzoe", (STAFF,), False, True, Status.ACTIVE),
    ]
    assert snapshot.notes == ()
    assert snapshot.unidentified == ()


async def test_read_asks_in_large_pages_with_the_people_embedded_and_writes_nothing() -> None:
    org = company()
    await org.connector().read(SOURCE)
    assert {request.method for request in org.requests} == {"GET"}
    assert dict(org.requests_to(f"/api/v1/apps/{APP}/users")[0].url.params) == {"expand": "user", "limit": "500"}
    assert dict(org.requests_to(f"/api/v1/apps/{APP}/groups")[0].url.params) == {"expand": "group", "limit": "200"}
    assert dict(org.requests_to(GROUP_USERS)[0].url.params) == {"limit": "200"}


async def test_every_page_of_every_list_is_read() -> None:
    org = Org(page=1)
    for name in ("ana", "eva", "ivo", "udo", "zoe"):
        org.hire(name, SALES)
    snapshot = await org.connector().read(SOURCE)
    assert ids(snapshot.people) == ["00uana", "00ueva", "00uivo", "00uudo", "00uzoe"]
    assert snapshot.groups[0].people == 5
    assert len(org.requests_to(f"/api/v1/apps/{APP}/users")) == len(org.requests_to(GROUP_USERS)) == 5


async def test_email_is_the_login_or_the_mail_by_the_source() -> None:
    connector = company().connector()
    assert (await connector.read(SOURCE)).people[0].email == "ana@example.com"
    assert (await connector.read(replace(SOURCE, email="mail"))).people[0].email == "ana@mail.example.com"


async def test_settings_define_who_may_sign_in_and_which_addresses_are_aliases() -> None:
    org = Org()
    org.hire("ana", SALES, status="STAGED")["profile"]["secondEmail"] = "ana@home.example.com"
    (usual,) = (await org.connector().read(SOURCE)).people
    assert (usual.status, usual.source_status, usual.aliases) == (Status.SUSPENDED, "STAGED", ())
    wide = org.connector(entitled_statuses=["ACTIVE", "STAGED"], aliases=["secondEmail"])
    (person,) = (await wide.read(SOURCE)).people
    assert (person.status, person.aliases) == (Status.ACTIVE, ("ana@home.example.com",))


@pytest.mark.parametrize("wanted", ["Sales", SALES])
async def test_only_the_groups_of_the_source_count(wanted: str) -> None:
    org = company()
    snapshot = await org.connector().read(replace(SOURCE, groups=(wanted,)))
    assert ids(snapshot.groups) == [SALES]
    assert [(each.id, each.groups, each.individual) for each in snapshot.people] == [
        ("00uana", (SALES,), False),
        ("00ueva", (SALES,), True),
        ("00uudo", (), True),
    ]
    assert org.requests_to(f"/api/v1/groups/{STAFF}/users") == []


async def test_group_named_twice_counts_once() -> None:
    snapshot = await company().connector().read(replace(SOURCE, groups=("Sales", SALES)))
    assert snapshot.groups == (Group(SALES, "Sales", 2),)


async def test_person_assigned_through_a_group_that_is_not_among_the_applications_is_pending() -> None:
    org = company()
    org.scopes["00uana"]["_links"]["group"] = {"href": "https://acme.okta.com/api/v1/groups/00g9gone"}
    org.members[SALES].remove("00uana")
    snapshot = await org.connector().read(replace(SOURCE, groups=("Sales",)))
    ana = by_id(snapshot.people)["00uana"]
    assert (ana.pending, ana.groups) == (True, ())


async def test_empty_application_is_a_complete_and_empty_snapshot() -> None:
    org = Org(names={}, members={})
    snapshot = await org.connector().read(SOURCE)
    assert (snapshot.groups, snapshot.people) == ((), ())


async def test_deactivated_person_in_a_group_is_suspended_in_it() -> None:
    org = company()
    org.hire("leo", SALES, status="DEPROVISIONED")
    del org.scopes["00uleo"]
    leo = by_id((await org.connector().read(SOURCE)).people)["00uleo"]
    assert (leo.status, leo.source_status, leo.groups, leo.pending) == (
        Status.SUSPENDED,
        "DEPROVISIONED",
        (SALES,),
        False,
    )


async def test_group_that_the_application_does_not_embed_is_asked_for_its_name() -> None:
    org = company()
    bare = [{"id": SALES, "profile": {}}, {"id": STAFF, "_embedded": {"group": None}}]
    org.at[f"/api/v1/apps/{APP}/groups"] = [lambda _: httpx.Response(200, json=bare)]
    snapshot = await org.connector().read(replace(SOURCE, groups=("Staff",)))
    assert [(group.id, group.name) for group in snapshot.groups] == [(STAFF, "Staff")]


async def test_two_sources_share_one_read_of_a_group() -> None:
    org = company()
    connector = org.connector()
    first, second = await asyncio.gather(connector.read(SOURCE), connector.read(replace(SOURCE, groups=("Sales",))))
    assert first.groups[0] == second.groups[0]
    assert len(org.requests_to(GROUP_USERS)) == 1
    await connector.read(SOURCE)
    assert len(org.requests_to(GROUP_USERS)) == 1


async def test_group_that_failed_is_read_again_for_the_next_source() -> None:
    org = company()
    org.at[GROUP_USERS] = [error(404)]
    connector = org.connector()
    with pytest.raises(IncompleteRead):
        await connector.read(SOURCE)
    assert len((await connector.read(SOURCE)).people) == 5


async def test_at_most_eight_requests_are_in_flight() -> None:
    org = Org(names={}, members={})
    for number in range(30):
        org.names[f"00g{number}"], org.members[f"00g{number}"] = f"Group {number}", []
    in_flight, most = 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        for _ in range(3):
            await asyncio.sleep(0)
        in_flight -= 1
        return org(request)

    org.page = 50
    connector = org.connector(transport=answer)
    assert len((await connector.read(SOURCE)).groups) == 30
    assert most == 8


@pytest.mark.parametrize(
    ("person", "status"),
    [
        ("00uana", Status.ACTIVE),
        ("00uivo", Status.SUSPENDED),
        ("00uold", Status.DELETED),
        ("00ufrozen", Status.UNKNOWN),
        ("00ublank", Status.UNKNOWN),
    ],
)
async def test_lookup_returns_the_status_of_one_person(person: str, status: Status) -> None:
    org = company()
    org.users |= {"00ufrozen": {"id": "00ufrozen", "status": "FROZEN"}, "00ublank": {"id": "00ublank"}}
    assert (await org.connector().lookup(person, SOURCE)).status is status


@pytest.mark.parametrize("person", ["00u1/../../apps", "..", "", "00u?x=1", "0" * 101])
async def test_id_that_would_lead_elsewhere_is_never_asked_for(person: str) -> None:
    org = company()
    with pytest.raises(IncompleteRead, match="can't be an id"):
        await org.connector().lookup(person, SOURCE)
    with pytest.raises(IncompleteRead, match="can't be an id"):
        await org.connector().read(Source("okta-main", person))
    assert org.requests == []


async def test_progress_counts_the_rows_of_each_list() -> None:
    org = company()
    reports: list[tuple[str, int, int | None]] = []
    connector = org.connector(progress=lambda *report: reports.append(report))
    await connector.read(SOURCE)
    assert (f"Okta (okta-main): the people of application {APP}", 2, None) in reports
    assert (f"Okta (okta-main): the people of application {APP}", 4, 4) in reports
    assert connector.request_count == len(org.requests)
    assert connector.name == "okta-main"


async def test_lookup_shows_the_groups_that_hold_a_person() -> None:
    org = company()
    found = await org.connector().lookup("00uana", SOURCE)
    assert (found.source_status, found.groups, found.is_assigned) == ("ACTIVE", frozenset({SALES, STAFF}), True)
    assert [request.url.path for request in org.requests] == ["/api/v1/users/00uana", "/api/v1/users/00uana/groups"]


async def test_lookup_of_someone_suspended_costs_one_request() -> None:
    org = company()
    found = await org.connector().lookup("00uivo", SOURCE)
    assert (found.source_status, found.groups, found.is_assigned) == ("SUSPENDED", None, False)
    assert len(org.requests) == 1


async def test_lookup_keeps_the_status_when_the_groups_can_not_be_read() -> None:
    org = company()
    org.at["/api/v1/users/00uana/groups"] = [error(403, "E0000006")]
    found = await org.connector().lookup("00uana", SOURCE)
    assert (found.status, found.groups, found.is_assigned) == (Status.ACTIVE, None, False)


async def test_lookup_answered_with_someone_else_is_an_error() -> None:
    org = company()
    org.users["00uana"] = org.users["00uivo"]
    with pytest.raises(IncompleteRead, match="another person than 00uana"):
        await org.connector().lookup("00uana", SOURCE)


async def test_fresh_read_asks_again_and_shares_with_other_fresh_reads() -> None:
    org = company()
    connector, members = org.connector(), f"/api/v1/groups/{SALES}/users"
    await connector.read(SOURCE)
    await connector.read(SOURCE)
    assert len(org.requests_to(members)) == 1
    org.members[SALES] = []
    snapshot = await connector.read(SOURCE, fresh=True)
    assert {group.name: group.people for group in snapshot.groups}["Sales"] == 0
    await connector.read(SOURCE, fresh=True)
    assert len(org.requests_to(members)) == 2
