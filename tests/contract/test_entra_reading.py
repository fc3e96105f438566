"""What the Entra connector reads from a tenant without faults, and the unusual rows that it accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from connectors.base import Group, IncompleteRead, Person, ReadNote, Source, Status
from connectors.http import RequestLimits
from tests.contract.entra_tenant import (
    APP,
    ASSIGNED,
    INNER,
    MEMBERS,
    PERSON,
    SALES,
    SOURCE,
    STAFF,
    THE_APP,
    Tenant,
    company,
    error,
    ids,
    page,
    sign_in,
    user,
)

FIELDS = "id,userPrincipalName,mail,displayName,givenName,surname,accountEnabled,userType,otherMails,proxyAddresses"


@pytest.fixture(autouse=True)
def _signing_in() -> Iterator[None]:
    with sign_in():
        yield


def by_id(people: tuple[Person, ...]) -> dict[str, Person]:
    return {person.id: person for person in people}


async def test_snapshot_has_each_person_with_their_groups_and_status() -> None:
    snapshot = await company().connector().read(SOURCE)
    assert snapshot.source == SOURCE
    assert snapshot.app_name == "Pigment"
    assert snapshot.groups == (Group(SALES, "Sales", 2), Group(STAFF, "Staff", 3))
    assert [(each.id, each.groups, each.individual, each.pending, each.status) for each in snapshot.people] == [
        ("u-ana", (SALES, STAFF), False, False, Status.ACTIVE),
        ("u-eva", (SALES,), True, False, Status.ACTIVE),
        ("u-ivo", (STAFF,), False, False, Status.SUSPENDED),
        ("u-udo", (), True, False, Status.ACTIVE),
    ]
    assert [each.source_status for each in snapshot.people][1:3] == ["accountEnabled=true", "accountEnabled=false"]
    assert [note.code for note in snapshot.notes] == ["guest", "nested-group", "not-a-person"]
    assert snapshot.unidentified == ()


async def test_read_asks_in_the_longest_pages_for_the_fields_it_needs_and_writes_nothing() -> None:
    tenant = company()
    await tenant.connector().read(SOURCE)
    assert {request.method for request in tenant.requests} == {"GET"}
    assert dict(tenant.requests_to(THE_APP)[0].url.params) == {
        "$select": "id,displayName,accountEnabled,appRoleAssignmentRequired"
    }
    assert dict(tenant.requests_to(ASSIGNED)[0].url.params) == {"$top": "999"}
    assert dict(tenant.requests_to(MEMBERS)[0].url.params) == {"$select": FIELDS, "$top": "999"}
    assert dict(tenant.requests_to(PERSON)[0].url.params) == {"$select": FIELDS}


async def test_every_page_of_every_list_is_read() -> None:
    tenant = Tenant(page=1)
    for name in ("ana", "eva", "ivo", "udo", "zoe"):
        tenant.hire(name, SALES, individual=True)
    snapshot = await tenant.connector().read(SOURCE)
    assert ids(snapshot.people) == ["u-ana", "u-eva", "u-ivo", "u-udo", "u-zoe"]
    assert snapshot.groups[0].people == 5
    assert (len(tenant.requests_to(ASSIGNED)), len(tenant.requests_to(MEMBERS))) == (7, 5)


async def test_individuals_in_a_group_are_not_requested_again() -> None:
    tenant = company()
    await tenant.connector().read(SOURCE)
    assert [request.url.path for request in tenant.requests if "/users/" in request.url.path] == [PERSON]


async def test_individual_shown_as_nulls_in_a_group_is_requested() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [page([user("ana"), user("eva", userPrincipalName=None, accountEnabled=None)])]
    eva = by_id((await tenant.connector().read(SOURCE)).people)["u-eva"]
    assert (eva.status, eva.email, eva.groups) == (Status.ACTIVE, "eva@example.com", (SALES,))


async def test_individual_deleted_in_entra_is_noted_and_not_a_person() -> None:
    tenant = company()
    tenant.assign("u-gone", "User", "Gone Person")
    snapshot = await tenant.connector().read(SOURCE)
    assert ids(snapshot.people) == ["u-ana", "u-eva", "u-ivo", "u-udo"]
    (note,) = (note for note in snapshot.notes if note.code == "assignment-left-over")
    assert "Gone Person" in note.reason


async def test_only_direct_members_count_and_a_nested_group_is_noted() -> None:
    tenant = company()
    snapshot = await tenant.connector().read(SOURCE)
    assert "u-zoe" not in ids(snapshot.people)
    assert tenant.requests_to(f"/v1.0/groups/{INNER}/members") == []
    (note,) = (note for note in snapshot.notes if note.code == "nested-group")
    assert note.reason == "Inner is a group in Staff: Entra gives no access to those who are in Inner alone."


async def test_source_can_count_nested_members_and_then_has_no_note() -> None:
    tenant = company()
    snapshot = await tenant.connector().read(replace(SOURCE, nested=True))
    assert by_id(snapshot.people)["u-zoe"].groups == (STAFF,)
    assert snapshot.groups[1] == Group(STAFF, "Staff", 4)
    assert "nested-group" not in [note.code for note in snapshot.notes]
    assert tenant.requests_to(MEMBERS) == []


async def test_direct_and_nested_members_of_one_group_are_two_reads() -> None:
    connector = company().connector()
    direct, nested = await connector.read(SOURCE), await connector.read(replace(SOURCE, nested=True))
    assert len(nested.people) == len(direct.people) + 1


async def test_guests_are_left_out_with_a_note_unless_the_source_counts_them() -> None:
    connector = company().connector()
    without = await connector.read(SOURCE)
    assert without.notes[0] == ReadNote(
        "guest",
        "gus@mail.example.com",
        "gus@mail.example.com is a guest, and this source does not count guests (`guests`).",
    )
    with_guests = await connector.read(replace(SOURCE, guests=True))
    gus = by_id(with_guests.people)["u-gus"]
    assert (gus.email, gus.groups, gus.status) == ("gus@mail.example.com", (STAFF,), Status.ACTIVE)
    assert "guest" not in [note.code for note in with_guests.notes]


async def test_email_is_the_login_or_the_mail_by_the_source() -> None:
    connector = company().connector()
    assert (await connector.read(SOURCE)).people[0].email == "ana@example.com"
    assert (await connector.read(replace(SOURCE, email="mail"))).people[0].email == "ana@mail.example.com"


async def test_aliases_are_the_other_smtp_addresses_of_the_mailbox() -> None:
    tenant = company()
    tenant.users["u-ana"]["proxyAddresses"] = [
        "SMTP:ana@example.com",
        "smtp:ana.lima@example.com",
        "Smtp:ANA.LIMA@example.com",
        "sip:ana@voice.example.com",
        "x500:/o=Acme/cn=ana",
        "smtp:",
        None,
    ]
    ana = (await tenant.connector().read(SOURCE)).people[0]
    assert ana.aliases == ("ana.lima@example.com",)


@pytest.mark.parametrize("wanted", ["Sales", SALES, SALES.upper()])
async def test_only_the_groups_of_the_source_count(wanted: str) -> None:
    tenant = company()
    snapshot = await tenant.connector().read(replace(SOURCE, groups=(wanted,)))
    assert ids(snapshot.groups) == [SALES]
    assert [(each.id, each.groups, each.individual) for each in snapshot.people] == [
        ("u-ana", (SALES,), False),
        ("u-eva", (SALES,), True),
        ("u-udo", (), True),
    ]
    assert tenant.requests_to(f"/v1.0/groups/{STAFF}/members") == []


async def test_group_named_twice_or_assigned_in_two_roles_counts_once() -> None:
    tenant = company()
    snapshot = await tenant.connector().read(replace(SOURCE, groups=("Sales", SALES)))
    assert snapshot.groups == (Group(SALES, "Sales", 2),)
    assert len(tenant.requests_to(MEMBERS)) == 2


async def test_empty_application_is_a_complete_and_empty_snapshot() -> None:
    snapshot = await Tenant(names={}, members={}).connector().read(SOURCE)
    assert (snapshot.groups, snapshot.people, snapshot.notes) == ((), (), ())


async def test_group_without_members_is_complete_and_empty() -> None:
    snapshot = await Tenant().connector().read(SOURCE)
    assert [group.people for group in snapshot.groups] == [0, 0]


async def test_application_and_group_without_a_name_are_shown_by_their_ids() -> None:
    tenant = company()
    tenant.app["displayName"] = tenant.assigned[0]["principalDisplayName"] = None
    tenant.assigned = tenant.assigned[:1]
    snapshot = await tenant.connector().read(SOURCE)
    assert (snapshot.app_name, snapshot.groups[0].name) == (APP, SALES)


async def test_two_sources_share_one_read_of_a_group_and_of_a_person() -> None:
    tenant = company()
    connector = tenant.connector()
    first, second = await asyncio.gather(connector.read(SOURCE), connector.read(replace(SOURCE, groups=("Sales",))))
    assert first.groups[0] == second.groups[0]
    await connector.read(SOURCE)
    assert len(tenant.requests_to(MEMBERS)) == 2
    assert len(tenant.requests_to(PERSON)) == 1


async def test_group_that_failed_is_read_again_for_the_next_source() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [error(404)]
    connector = tenant.connector()
    with pytest.raises(IncompleteRead):
        await connector.read(SOURCE)
    assert len((await connector.read(SOURCE)).people) == 4


async def test_at_most_eight_requests_are_in_flight() -> None:
    tenant = Tenant(page=99, names={}, members={})
    for number in range(30):
        tenant.members[f"g-{number}"] = []
        tenant.assign(f"g-{number}", "Group", f"Group {number}")
    in_flight, most = 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        for _ in range(3):
            await asyncio.sleep(0)
        in_flight -= 1
        return tenant(request)

    connector = tenant.connector(transport=answer)
    assert len((await connector.read(SOURCE)).groups) == 30
    assert most == 8


@pytest.mark.parametrize(
    ("person", "status"),
    [
        ("u-ana", Status.ACTIVE),
        ("u-ivo", Status.SUSPENDED),
        ("u-blank", Status.UNKNOWN),
        ("u-old", Status.DELETED),
        ("u-never", Status.DELETED),
    ],
)
async def test_lookup_returns_the_status_of_one_person(person: str, status: Status) -> None:
    tenant = company()
    tenant.users["u-blank"] = {"id": "u-blank", "accountEnabled": None}
    assert (await tenant.connector().lookup(person, SOURCE)).status is status
    in_bin = tenant.requests_to(f"/v1.0/directory/deletedItems/{person}")
    assert len(in_bin) == (1 if status is Status.DELETED else 0)


@pytest.mark.parametrize("person", ["u/../../groups", "..", "", "u?x=1", "0" * 101, "ana#EXT#@example.com"])
async def test_id_that_would_lead_elsewhere_is_never_asked_for(person: str) -> None:
    tenant = company()
    with pytest.raises(IncompleteRead, match="can't be an id"):
        await tenant.connector().lookup(person, SOURCE)
    with pytest.raises(IncompleteRead, match="can't be an id"):
        await tenant.connector().read(Source("entra-eu", person))
    tenant.assign("../x", "Group", "Odd")
    with pytest.raises(IncompleteRead, match="can't be an id"):
        await tenant.connector().read(SOURCE)
    assert {request.url.path for request in tenant.requests} <= {
        THE_APP,
        ASSIGNED,
        MEMBERS,
        MEMBERS.replace("sales", "staff"),
    }


async def test_progress_counts_the_rows_of_each_list() -> None:
    tenant = company()
    reports: list[tuple[str, int, int | None]] = []
    connector = tenant.connector(progress=lambda *report: reports.append(report))
    await connector.read(SOURCE)
    assert (f"Entra (entra-eu): the users and groups of application {APP}", 2, None) in reports
    assert (f"Entra (entra-eu): the users and groups of application {APP}", 6, 6) in reports
    assert connector.request_count == len(tenant.requests)
    assert connector.name == "entra-eu"


async def test_next_link_is_followed_as_it_is_written() -> None:
    tenant = company()
    onwards = f"https://graph.microsoft.com{MEMBERS}?$select=id, mail&$top=999&$skiptoken=2%2B/"
    tenant.at[MEMBERS] = [page([user("ana")], onwards), page([user("eva")])]
    snapshot = await tenant.connector().read(replace(SOURCE, groups=("Sales",)))
    assert snapshot.groups[0].people == 2
    assert tenant.requests_to(MEMBERS)[1].url.params["$skiptoken"] == "2+/"
    assert tenant.requests_to(MEMBERS)[1].url.params["$select"] == "id, mail"


async def test_other_cloud_is_asked_on_its_own_hosts() -> None:
    tenant = company()
    tenant.at[THE_APP] = [error(404)]
    with pytest.raises(IncompleteRead):
        await tenant.connector(RequestLimits(), graph_url="https://graph.microsoft.us").read(SOURCE)
    assert {request.url.host for request in tenant.requests} == {"graph.microsoft.us"}


async def test_lookup_shows_the_groups_that_hold_a_person_directly() -> None:
    tenant = company()
    found = await tenant.connector().lookup("u-ana", SOURCE)
    assert (found.source_status, found.groups) == ("accountEnabled=true", frozenset({SALES, STAFF}))
    assert found.is_assigned
    assert len(tenant.requests) == 2


async def test_lookup_shows_nested_groups_only_where_the_source_counts_them() -> None:
    tenant = company()
    direct = await tenant.connector().lookup("u-zoe", SOURCE)
    nested = await tenant.connector().lookup("u-zoe", replace(SOURCE, nested=True))
    assert (direct.groups, nested.groups) == (frozenset({INNER}), frozenset({INNER, STAFF}))


async def test_lookup_of_a_guest_shows_groups_only_where_guests_count() -> None:
    tenant = company()
    alone = await tenant.connector().lookup("u-gus", SOURCE)
    counted = await tenant.connector().lookup("u-gus", replace(SOURCE, guests=True))
    assert (alone.groups, counted.groups) == (frozenset(), frozenset({STAFF}))


async def test_lookup_keeps_the_status_when_the_groups_can_not_be_read() -> None:
    tenant = company()
    tenant.at["/v1.0/users/u-ana/memberOf"] = [error(403)]
    found = await tenant.connector().lookup("u-ana", SOURCE)
    assert (found.status, found.groups, found.is_assigned) == (Status.ACTIVE, None, False)


async def test_fresh_read_asks_again_and_shares_with_other_fresh_reads() -> None:
    tenant = company()
    connector = tenant.connector()
    await connector.read(SOURCE)
    count_before = len(tenant.requests_to(MEMBERS))
    tenant.members[SALES] = []
    snapshot = await connector.read(SOURCE, fresh=True)
    assert {group.name: group.people for group in snapshot.groups}["Sales"] == 0
    await connector.read(SOURCE, fresh=True)
    assert len(tenant.requests_to(MEMBERS)) == count_before + 1
