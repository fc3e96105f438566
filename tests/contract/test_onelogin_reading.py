"""What the OneLogin connector reads from an account without faults, and the unusual rows that it accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from connectors.base import Group, IncompleteRead, Person, Source, Status
from tests.contract.okta_org import ids
from tests.contract.onelogin_account import (
    ANA,
    APP,
    EVA,
    IVO,
    MEMBERS,
    OTHER,
    PEOPLE,
    ROLES,
    SALES,
    SOURCE,
    STAFF,
    THE_APP,
    UDO,
    USERS,
    ZOE,
    Account,
    company,
    crowd,
    error,
    not_found,
)


def by_id(people: tuple[Person, ...]) -> dict[str, Person]:
    return {person.id: person for person in people}


async def test_snapshot_has_each_person_with_their_roles_and_status() -> None:
    snapshot = await company().connector().read(SOURCE)
    assert snapshot.source == SOURCE
    assert snapshot.app_name == "Pigment"
    assert snapshot.groups == (Group(SALES, "Sales", 2), Group(STAFF, "Staff", 2))
    assert [(each.id, each.groups, each.individual, each.status) for each in snapshot.people] == [
        (ANA, (SALES, STAFF), False, Status.ACTIVE),
        (EVA, (SALES,), False, Status.ACTIVE),
        (IVO, (STAFF,), False, Status.SUSPENDED),
        (UDO, (), True, Status.ACTIVE),
    ]
    assert snapshot.people[0] == Person(
        "onelogin-apac",
        ANA,
        "ana@example.com",
        "Ana Lima",
        source_status="status 1, state 1",
        groups=(SALES, STAFF),
        given_name="Ana",
        family_name="Lima",
    )
    assert (snapshot.notes, snapshot.unidentified) == ((), ())


async def test_read_asks_in_large_pages_with_a_cursor_alone_and_writes_nothing() -> None:
    account = company()
    await account.connector().read(SOURCE)
    assert {request.method for request in account.requests} == {"GET"}
    assert [dict(request.url.params) for request in account.requests_to(PEOPLE)] == [
        {"limit": "1000"},
        {"cursor": "bGltaXQ9MiZwYWdlPTI="},
    ]
    assert dict(account.requests_to(ROLES)[0].url.params) == {"app_id": APP, "fields": "id,name", "limit": "1000"}
    assert {request.headers["authorization"] for request in account.requests} == {"bearer abcdef"}


async def test_every_page_of_every_list_is_read() -> None:
    account = Account(page=1)
    for name in ("ana", "eva", "ivo", "udo", "zoe"):
        account.hire(name, SALES, STAFF)
    snapshot = await account.connector().read(SOURCE)
    assert ids(snapshot.people) == [ANA, EVA, IVO, UDO, ZOE]
    assert [group.people for group in snapshot.groups] == [5, 5]
    assert len(account.requests_to(PEOPLE)) == len(account.requests_to(MEMBERS)) == 5
    assert len(account.requests_to(ROLES)) == 2


@pytest.mark.parametrize("page", [1, 2, 1000])
async def test_list_without_a_total_is_walked_until_two_walks_agree(page: int) -> None:
    account = company()
    account.page, account.counts = page, False
    assert await account.connector().read(SOURCE) == await company().connector().read(SOURCE)
    firsts = [request for request in account.requests_to(MEMBERS) if request.url.params.get("limit") == "1000"]
    assert len([request for request in firsts if "page" not in request.url.params]) == 2


async def test_email_is_the_same_for_login_and_mail() -> None:
    connector = company().connector()
    login, mail = await connector.read(SOURCE), await connector.read(replace(SOURCE, email="mail"))
    assert login.people == mail.people


@pytest.mark.parametrize("wanted", ["Sales", SALES])
async def test_only_the_roles_of_the_source_count(wanted: str) -> None:
    account = company()
    account.hire("leo", SALES)
    snapshot = await account.connector().read(replace(SOURCE, groups=(wanted,)))
    assert ids(snapshot.groups) == [SALES]
    # Ivo has the application through another role: he is neither of this source nor assigned individually.
    assert [(each.id, each.groups, each.individual) for each in snapshot.people] == [
        (ANA, (SALES,), False),
        (EVA, (SALES,), False),
        (UDO, (), True),
        ("106", (SALES,), False),
    ]


async def test_role_named_twice_counts_once() -> None:
    snapshot = await company().connector().read(replace(SOURCE, groups=("Sales", SALES)))
    assert snapshot.groups == (Group(SALES, "Sales", 2),)


async def test_roles_are_those_that_the_application_names_whatever_the_list_shows() -> None:
    account = company()
    every = [{"id": int(key), "name": name} for key, name in account.names.items()]
    account.at[ROLES] = [lambda _: httpx.Response(200, json=every, headers={"Total-Count": "3"})]
    assert await account.connector().read(SOURCE) == await company().connector().read(SOURCE)
    assert account.requests_to(f"{ROLES}/{OTHER}/users") == []


@pytest.mark.parametrize("rows", [[], [{"id": int(SALES), "name": None}], [{"id": None, "name": "Sales"}]])
async def test_role_that_the_list_does_not_name_is_asked_for_alone(rows: list[object]) -> None:
    account = company()
    account.at[ROLES] = [lambda _: httpx.Response(200, json=rows, headers={"Total-Count": str(len(rows))})]
    assert await account.connector().read(SOURCE) == await company().connector().read(SOURCE)
    assert len(account.requests_to(f"{ROLES}/{SALES}")) == 1


async def test_role_without_a_name_is_called_by_its_id() -> None:
    account = company()
    account.names[SALES] = ""
    assert (await account.connector().read(SOURCE)).groups[0] == Group(SALES, SALES, 2)


async def test_application_without_a_name_is_called_by_its_id() -> None:
    account = company()
    account.app["name"] = None
    assert (await account.connector().read(SOURCE)).app_name == APP


async def test_row_of_a_role_that_is_not_assigned_is_not_a_person() -> None:
    account = company()
    account.page = 9
    rows = [account.member(ANA), account.member(EVA), account.member(ZOE) | {"assigned": False}]
    account.at[MEMBERS] = [lambda _: httpx.Response(200, json=rows, headers={"Total-Count": "3"})]
    assert await account.connector().read(SOURCE) == await company().connector().read(SOURCE)


async def test_member_of_a_role_missing_from_the_application_is_assigned() -> None:
    account = company()
    rows = [row for row in account.app_users() if row["id"] != int(ANA)]
    account.at[PEOPLE] = [lambda _: httpx.Response(200, json=rows, headers={"Total-Count": "3"})]
    assert await account.connector().read(SOURCE) == await company().connector().read(SOURCE)


async def test_ids_as_text_and_as_numbers_are_one_person() -> None:
    account = company()
    for row in account.users.values():
        row["id"] = str(row["id"])
    account.app["role_ids"] = [STAFF, SALES]
    assert await account.connector().read(SOURCE) == await company().connector().read(SOURCE)


async def test_empty_application_is_a_complete_and_empty_snapshot() -> None:
    account = Account()
    account.app["role_ids"] = []
    snapshot = await account.connector().read(SOURCE)
    assert (snapshot.groups, snapshot.people) == ((), ())
    assert [request.url.path for request in account.requests] == [THE_APP, PEOPLE]


async def test_application_with_empty_roles_has_only_its_individuals() -> None:
    account = Account()
    account.hire("udo", direct=True)
    snapshot = await account.connector().read(SOURCE)
    assert [group.people for group in snapshot.groups] == [0, 0]
    assert [(each.id, each.individual) for each in snapshot.people] == [("101", True)]


async def test_settings_define_which_statuses_may_have_access() -> None:
    account = Account()
    account.hire("ana", SALES, status=7)
    (usual,) = (await account.connector().read(SOURCE)).people
    (strict,) = (await account.connector(entitled_statuses=[1]).read(SOURCE)).people
    assert (usual.status, strict.status) == (Status.ACTIVE, Status.SUSPENDED)
    assert usual.source_status == "status 7, state 1"


# Users, in as few requests as may be.


async def test_few_people_of_a_large_account_are_asked_for_one_by_one() -> None:
    account = crowd()
    assert await account.connector().read(SOURCE) == await company().connector().read(SOURCE)
    assert [dict(request.url.params) for request in account.requests_to(USERS)] == [{"limit": "1"}]
    assert sum(request.url.path.startswith(f"{USERS}/") for request in account.requests) == 4


async def test_large_part_of_an_account_is_read_from_the_list_of_all() -> None:
    account = company()
    await account.connector().read(SOURCE)
    assert not any(request.url.path.startswith(f"{USERS}/") for request in account.requests)


async def test_person_missing_among_all_users_is_asked_for_alone() -> None:
    account = company()
    account.page = 9
    rows = [row for key, row in account.users.items() if key != ANA]
    account.at[USERS] = [None, lambda _: httpx.Response(200, json=rows, headers={"Total-Count": "4"})]
    assert await account.connector().read(SOURCE) == await company().connector().read(SOURCE)
    assert len(account.requests_to(f"{USERS}/{ANA}")) == 1


@pytest.mark.parametrize("made", [company, crowd])
@pytest.mark.parametrize("older", [True, False])
async def test_person_who_vanishes_on_the_way_is_unknown_and_keeps_their_address(
    made: Callable[[], Account], older: bool
) -> None:
    account = made()
    account.at[f"{USERS}/{ANA}"] = [not_found(older)]
    rows = [row for key, row in account.users.items() if key != ANA]
    if made is company:
        account.page = 9
        account.at[USERS] = [None, lambda _: httpx.Response(200, json=rows, headers={"Total-Count": "4"})]
    snapshot = await account.connector().read(SOURCE)
    ana = by_id(snapshot.people)[ANA]
    assert (ana.status, ana.email, ana.groups) == (Status.UNKNOWN, "ana@example.com", (SALES, STAFF))
    assert ana.source_status == "not among the account's users"
    assert snapshot.people[1:] == (await company().connector().read(SOURCE)).people[1:]


async def test_user_with_another_id_proves_nothing_about_the_requested_one() -> None:
    account = crowd()
    account.at[f"{USERS}/{ANA}"] = [lambda _: httpx.Response(200, json=account.users[ZOE])]
    snapshot = await account.connector().read(SOURCE)
    assert by_id(snapshot.people)[ANA].status is Status.UNKNOWN
    assert ZOE not in ids(snapshot.people)


async def test_email_that_the_account_hides_is_taken_from_the_application() -> None:
    account = company()
    shown = account.app_users()
    account.at[PEOPLE] = [lambda _: httpx.Response(200, json=shown, headers={"Total-Count": "4"})]
    account.users[ANA]["email"] = None
    assert by_id((await account.connector().read(SOURCE)).people)[ANA].email == "ana@example.com"


async def test_username_is_never_taken_for_an_email() -> None:
    account = company()
    account.users[ANA] |= {"email": None, "username": "ana@elsewhere.example.com"}
    assert by_id((await account.connector().read(SOURCE)).people)[ANA].email is None


# Sharing, bounds, lookups.


async def test_two_sources_share_one_read_of_a_role_and_of_all_users() -> None:
    account = company()
    connector = account.connector()
    first, second = await asyncio.gather(connector.read(SOURCE), connector.read(replace(SOURCE, groups=("Sales",))))
    assert first.groups[0] == second.groups[0]
    assert len(account.requests_to(MEMBERS)) == 1
    assert len(account.requests_to(USERS)) == 4
    await connector.read(SOURCE)
    assert len(account.requests_to(MEMBERS)) == 1
    assert len(account.token_requests) == 1


async def test_role_that_failed_is_read_again_for_the_next_source() -> None:
    account = company()
    account.at[MEMBERS] = [not_found()]
    connector = account.connector()
    with pytest.raises(IncompleteRead):
        await connector.read(SOURCE)
    assert len((await connector.read(SOURCE)).people) == 4


@pytest.mark.parametrize("made", [company, crowd])
async def test_at_most_eight_requests_are_in_flight(made: Callable[[], Account]) -> None:
    account = made()
    for number in range(600, 630):
        account.app["role_ids"].append(number)
        account.names[str(number)], account.roles[str(number)] = f"Role {number}", [ANA]
    in_flight, most = 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        for _ in range(3):
            await asyncio.sleep(0)
        in_flight -= 1
        return account(request)

    account.page = 50
    assert len((await account.connector(transport=answer).read(SOURCE)).groups) == 32
    assert most == 8


@pytest.mark.parametrize(
    ("person", "status"),
    [
        (ANA, Status.ACTIVE),
        (IVO, Status.SUSPENDED),
        ("999", Status.DELETED),
        ("900", Status.UNKNOWN),
        ("901", Status.UNKNOWN),
    ],
)
async def test_lookup_returns_the_status_of_one_person(person: str, status: Status) -> None:
    account = company()
    account.users |= {"900": {"id": 900, "status": 6, "state": 1}, "901": {"id": 901}}
    assert (await account.connector().lookup(person, SOURCE)).status is status


@pytest.mark.parametrize("person", ["1/../../apps", "..", "", "1?x=1", "0" * 101, "1%2F2"])
async def test_id_that_would_lead_elsewhere_is_never_asked_for(person: str) -> None:
    account = company()
    with pytest.raises(IncompleteRead, match="can't be an id"):
        await account.connector().lookup(person, SOURCE)
    with pytest.raises(IncompleteRead, match="can't be an id"):
        await account.connector().read(Source("onelogin-apac", person))
    assert account.requests == []


async def test_progress_counts_the_rows_of_each_list() -> None:
    account = company()
    reports: list[tuple[str, int, int | None]] = []
    connector = account.connector(progress=lambda *report: reports.append(report))
    await connector.read(SOURCE)
    assert (f"OneLogin (onelogin-apac): users of application {APP}", 2, 4) in reports
    assert (f"OneLogin (onelogin-apac): users of application {APP}", 4, 4) in reports
    assert connector.request_count == len(account.requests)
    assert connector.name == "onelogin-apac"


async def test_unchanged_account_costs_its_pages_and_one_count() -> None:
    account = company()
    account.page = 100
    connector = account.connector()
    await connector.read(SOURCE)
    # The application, its roles, its users, two roles' people, the count of all users, and all users.
    assert connector.request_count == 7


async def test_role_that_is_refused_does_not_become_individual_assignments() -> None:
    account = company()
    account.at[f"{ROLES}/{STAFF}/users"] = [error(403)]
    with pytest.raises(Exception, match="answered 403"):
        await account.connector().read(replace(SOURCE, groups=("Sales",)))


async def test_lookup_shows_the_roles_that_hold_a_person_in_one_request() -> None:
    account = company()
    found = await account.connector().lookup("101", SOURCE)
    assert (found.source_status, found.groups, found.is_assigned) == (
        "status 1, state 1",
        frozenset({SALES, STAFF}),
        True,
    )
    assert len(account.requests) == 1


@pytest.mark.parametrize("shown", [None, "12", [None], ["a b"]])
async def test_lookup_without_readable_roles_knows_no_roles(shown: object) -> None:
    account = company()
    account.at[f"{USERS}/101"] = [lambda _: httpx.Response(200, json=account.users["101"] | {"role_ids": shown})]
    found = await account.connector().lookup("101", SOURCE)
    assert (found.status, found.groups, found.is_assigned) == (Status.ACTIVE, None, False)


async def test_lookup_answered_with_someone_else_is_an_error() -> None:
    account = company()
    account.at[f"{USERS}/101"] = [lambda _: httpx.Response(200, json=account.alone("103"))]
    with pytest.raises(IncompleteRead, match="another user than 101"):
        await account.connector().lookup("101", SOURCE)


async def test_fresh_read_asks_again_and_shares_with_other_fresh_reads() -> None:
    account = company()
    connector, members = account.connector(), f"{ROLES}/{SALES}/users"
    await connector.read(SOURCE)
    count_before = len(account.requests_to(members))
    account.roles[SALES] = []
    snapshot = await connector.read(SOURCE, fresh=True)
    assert {group.name: group.people for group in snapshot.groups}["Sales"] == 0
    await connector.read(SOURCE, fresh=True)
    assert len(account.requests_to(members)) == count_before + 1
