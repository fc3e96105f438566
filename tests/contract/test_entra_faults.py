"""Every cell of docs/faults-entra.md: temporary faults end in a whole read, all others in an error with a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agent.errors import ExitCode
from connectors.base import CredentialsRefused, IncompleteRead, PermissionMissing, ReadError, Snapshot, Source, Status
from connectors.http import RequestLimits
from tests.contract.entra_tenant import (
    APP,
    ASSIGNED,
    GRAPH,
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
from tests.contract.okta_org import Fault, Row, body, broken_off, cut_off, unreachable

EVERYWHERE = [THE_APP, ASSIGNED, MEMBERS, PERSON]
LISTS = [ASSIGNED, MEMBERS]
PASSING = [408, 425, 429, 502, 503, 504, 520, 522, 524, 530]
WHAT_STAYS = 99
"""More often than any retry."""

FAULTS_DOCUMENT = Path(__file__).parents[2] / "docs" / "faults-entra.md"


@pytest.fixture(autouse=True)
def _signing_in() -> Iterator[None]:
    with sign_in():
        yield


async def whole() -> Snapshot:
    return await company().connector().read(SOURCE)


async def failure(tenant: Tenant) -> ReadError:
    with pytest.raises(ReadError) as raised:
        await tenant.connector().read(SOURCE)
    assert raised.value.hint
    assert "token-" not in raised.value.message + raised.value.hint
    return raised.value


def html(status: int) -> Fault:
    return body("<html><script>x()</script><h1>Bad gateway</h1></html>", status, {"content-type": "text/html"})


# What heals.


@pytest.mark.parametrize("status", PASSING)
@pytest.mark.parametrize("path", EVERYWHERE)
async def test_passing_fault_is_retried(path: str, status: int) -> None:
    tenant = company()
    tenant.at[path] = [html(status), html(status)]
    assert await tenant.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize("fault", [broken_off, unreachable, cut_off])
async def test_lost_connection_is_retried(fault: Fault) -> None:
    tenant = company()
    tenant.at[MEMBERS] = [fault]
    assert await tenant.connector().read(SOURCE) == await whole()


async def test_refusal_for_too_many_requests_waits_for_retry_after() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [lambda _: httpx.Response(429, headers={"retry-after": "40"})]
    assert await tenant.connector().read(SOURCE) == await whole()
    assert 40 <= sum(tenant.time.naps) < 42


async def test_refusals_that_name_a_time_are_bounded_by_the_time_and_not_by_their_number() -> None:
    tenant = company()
    busy = throttled_until(tenant, tenant.time.now + 25)
    tenant.at[MEMBERS] = [busy] * WHAT_STAYS
    assert await tenant.connector().read(SOURCE) == await whole()
    assert 25 <= tenant.time.now - 1000 < 40


async def test_refusals_that_name_a_time_end_at_the_longest_wait() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [throttled_until(tenant, float("inf"))] * WHAT_STAYS
    with pytest.raises(IncompleteRead, match="answered 429"):
        await tenant.connector(RequestLimits(max_wait_seconds=60)).read(SOURCE)
    assert 50 < tenant.time.now - 1000 < 63
    assert len(tenant.requests_to(MEMBERS)) < 20


def throttled_until(tenant: Tenant, end: float) -> Fault:
    """Answer 429 with `Retry-After: 1` for as long as the throttling lasts."""
    refused = httpx.Response(429, headers={"retry-after": "1"})
    return lambda request: refused if tenant.time.now < end else tenant.answer(request)


async def test_refused_request_holds_back_every_request_to_graph() -> None:
    tenant = company()
    tenant.at[PERSON] = [lambda _: httpx.Response(429, headers={"retry-after": "40"})]
    connector = tenant.connector(RequestLimits(max_wait_seconds=10))
    with pytest.raises(IncompleteRead, match="answered 429"):
        await connector.lookup("u-udo", SOURCE)
    with pytest.raises(IncompleteRead, match="rate limit for another 40 seconds"):
        await connector.lookup("u-ana", SOURCE)
    assert len(tenant.requests) == 1
    tenant.time.now += 35
    assert (await connector.lookup("u-ana", SOURCE)).status is Status.ACTIVE
    assert tenant.time.naps == [5]


async def test_server_error_is_retried_twice() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [tenant.answer, error(500), error(500)]
    assert await tenant.connector().read(SOURCE) == await whole()


async def test_refused_token_is_tried_once_more() -> None:
    tenant = company()
    tenant.nth[3] = error(401)
    assert await tenant.connector().read(SOURCE) == await whole()
    tokens = [request.headers["authorization"] for request in tenant.requests]
    assert tokens[2] == "Bearer token-1"
    assert tokens[3] == "Bearer token-2"


EXPIRED = error(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")


@pytest.mark.parametrize(
    "expired", [EXPIRED, error(400, "Directory_ResyncRequired"), error(410, "resyncRequired"), html(410)]
)
@pytest.mark.parametrize("path", LISTS)
async def test_expired_page_starts_that_list_again(path: str, expired: Fault) -> None:
    tenant = company()
    tenant.at[path] = [tenant.answer, expired]
    assert await tenant.connector().read(SOURCE) == await whole()
    undisturbed = company()
    await undisturbed.connector().read(SOURCE)
    for other in {ASSIGNED, MEMBERS} - {path}:
        assert len(tenant.requests_to(other)) == len(undisturbed.requests_to(other))


async def test_page_that_expires_several_times_is_borne_as_often_as_graph_has_been_seen_to_do_it() -> None:
    tenant = company()
    tenant.at[ASSIGNED] = [tenant.answer, EXPIRED] * 3
    assert await tenant.connector().read(SOURCE) == await whole()


async def test_empty_page_with_a_next_link_is_not_the_end() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [page([], f"{GRAPH}{MEMBERS}?$top=999&$skiptoken=0")]
    assert await tenant.connector().read(SOURCE) == await whole()


async def test_person_shown_on_two_pages_is_one_person() -> None:
    tenant = company()
    tenant.members[SALES].append("u-ana")
    assert await tenant.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize(
    "odd",
    [
        user("odd", accountEnabled=None),
        user("odd", accountEnabled="true"),
        {"@odata.type": "#microsoft.graph.user", "id": "u-odd"},
        {"@odata.type": "#microsoft.graph.user", "id": "u-odd", "userPrincipalName": None, "accountEnabled": None},
        user("odd") | {"@odata.type": None},
        {"id": "u-odd"},
    ],
)
async def test_odd_person_among_good_ones_is_unknown(odd: Row) -> None:
    tenant = company()
    tenant.at[MEMBERS] = [page([*tenant.inside(SALES), odd])]
    snapshot = await tenant.connector().read(SOURCE)
    assert [each.status for each in snapshot.people if each.id == "u-odd"] == [Status.UNKNOWN]
    assert [each for each in snapshot.people if each.id != "u-odd"] == list((await whole()).people)


async def test_group_of_one_odd_person_does_not_end_the_read() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [page([user("odd", accountEnabled=None)])]
    snapshot = await tenant.connector().read(SOURCE)
    assert [each.status for each in snapshot.people if each.id == "u-odd"] == [Status.UNKNOWN]


AGENT = "#microsoft.graph.agentUser"


@pytest.mark.parametrize(
    "odd",
    [
        user("odd") | {"@odata.type": AGENT},
        user("odd", mail=None) | {"@odata.type": AGENT},
        user("odd", userPrincipalName=None) | {"@odata.type": AGENT},
        user("odd", userType="Guest") | {"@odata.type": "#microsoft.graph.kindOfTomorrow"},
    ],
)
async def test_row_of_an_unknown_kind_that_shows_a_login_is_a_person_of_unknown_status(odd: Row) -> None:
    tenant = company()
    tenant.at[MEMBERS] = [page([*tenant.inside(SALES), odd])]
    snapshot = await tenant.connector().read(SOURCE)
    assert [each.status for each in snapshot.people if each.id == "u-odd"] == [Status.UNKNOWN]
    assert [each for each in snapshot.people if each.id != "u-odd"] == list((await whole()).people)
    (note,) = [note for note in snapshot.notes if note.code == "unknown-kind"]
    assert odd["@odata.type"].rpartition(".")[2] in note.reason
    assert "group Sales" in note.reason


async def test_row_of_an_unknown_kind_without_a_login_is_a_note() -> None:
    tenant = company()
    thing = {"@odata.type": "#microsoft.graph.thing", "id": "t-1", "displayName": "Thing", "accountEnabled": True}
    tenant.at[MEMBERS] = [page([*tenant.inside(SALES), thing])]
    snapshot = await tenant.connector().read(SOURCE)
    assert snapshot.people == (await whole()).people
    assert [note.reason[:22] for note in snapshot.notes if note.code == "unknown-kind"] == ["Thing, in group Sales,"]


@pytest.mark.parametrize("kind", ["device", "servicePrincipal", "orgContact", "group"])
async def test_known_kind_that_is_not_a_person_is_left_out(kind: str) -> None:
    tenant = company()
    thing = {"@odata.type": f"#microsoft.graph.{kind}", "id": "t-1", "displayName": "Thing", "mail": "x@example.com"}
    tenant.at[MEMBERS] = [page([*tenant.inside(SALES), thing])]
    snapshot = await tenant.connector().read(SOURCE)
    assert snapshot.people == (await whole()).people
    assert "unknown-kind" not in {note.code for note in snapshot.notes}


async def test_individual_of_an_unknown_kind_is_unknown() -> None:
    tenant = company()
    tenant.at[PERSON] = [lambda _: httpx.Response(200, json=user("udo") | {"@odata.type": AGENT})] * 2
    connector = tenant.connector()
    snapshot = await connector.read(SOURCE)
    assert [each.status for each in snapshot.people if each.id == "u-udo"] == [Status.UNKNOWN]
    assert "unknown-kind" in {note.code for note in snapshot.notes}
    assert (await connector.lookup("u-udo", SOURCE)).status is Status.UNKNOWN


async def test_individual_shown_as_nulls_is_unknown() -> None:
    tenant = company()
    tenant.at[PERSON] = [lambda _: httpx.Response(200, json={"id": "u-udo", "accountEnabled": None})]
    snapshot = await tenant.connector().read(SOURCE)
    assert [(each.status, each.individual) for each in snapshot.people if each.id == "u-udo"] == [
        (Status.UNKNOWN, True)
    ]


@pytest.mark.parametrize("row", [None, 7, "row", [], {}, user("x", id=None), user("x", id=""), user("x", id=7)])
async def test_row_without_an_id_among_good_ones_is_counted_as_unidentified(row: object) -> None:
    tenant = company()
    tenant.at[MEMBERS] = [page([*tenant.inside(SALES), row])]
    snapshot = await tenant.connector().read(SOURCE)
    assert snapshot.unidentified == (("x@example.com",) if isinstance(row, dict) and row else ("",))
    assert snapshot.notes[-1].code == "unidentified-row"
    assert snapshot.people == (await whole()).people


async def test_individual_unknown_to_entra_is_not_a_person() -> None:
    tenant = company()
    tenant.at[PERSON] = [error(404)]
    snapshot = await tenant.connector().read(SOURCE)
    assert ids(snapshot.people) == ["u-ana", "u-eva", "u-ivo"]
    assert "assignment-left-over" in [note.code for note in snapshot.notes]


# Faults that stay: incomplete (exit 6).


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", EVERYWHERE)
async def test_fault_that_stays_ends_the_read(path: str, status: int) -> None:
    tenant = company()
    tenant.at[path] = [html(status)] * WHAT_STAYS
    ended = await failure(tenant)
    assert isinstance(ended, IncompleteRead)
    assert f"answered {status}" in ended.message
    assert "<" not in ended.message
    assert "x()" not in ended.message


@pytest.mark.parametrize(
    ("fault", "why"), [(broken_off, "broke off"), (cut_off, "broke off"), (unreachable, "can't be reached")]
)
async def test_connection_that_stays_lost_ends_the_read(fault: Fault, why: str) -> None:
    tenant = company()
    tenant.at[MEMBERS] = [fault] * WHAT_STAYS
    assert why in (await failure(tenant)).message


async def test_list_cut_off_midway_ends_the_read() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [tenant.answer, *[broken_off] * WHAT_STAYS]
    assert isinstance(await failure(tenant), IncompleteRead)


@pytest.mark.parametrize(
    ("path", "what", "remedy"),
    [
        (THE_APP, f"application {APP}", "object id of the enterprise application"),
        (ASSIGNED, f"users and groups of application {APP}", "object id of the enterprise application"),
        (MEMBERS, r"members of group Sales \(g-sales\)", "remove it from the enterprise application"),
    ],
)
async def test_what_is_not_found_is_an_error_and_not_empty(path: str, what: str, remedy: str) -> None:
    tenant = company()
    tenant.at[path] = [error(404, message="Resource does not exist")]
    ended = await failure(tenant)
    assert isinstance(ended, IncompleteRead)
    assert re.search(f'answered 404 for .*{what}: "Resource does not exist"', ended.message)
    assert remedy in ended.hint


@pytest.mark.parametrize("fault", [html(404), error(404, "Gone")])
async def test_individual_not_found_by_anybody_but_graph_is_an_error(fault: Fault) -> None:
    tenant = company()
    tenant.at[PERSON] = [fault]
    assert "answered 404 for person u-udo" in (await failure(tenant)).message


async def test_application_that_is_disabled_is_an_error() -> None:
    tenant = company()
    tenant.app["accountEnabled"] = False
    ended = await failure(tenant)
    assert f"Pigment ({APP}) in Entra is disabled" in ended.message
    assert "Enable" in ended.hint


async def test_configured_group_that_the_application_does_not_have_is_an_error() -> None:
    tenant = company()
    with pytest.raises(IncompleteRead, match=r"no group 'sales'; its groups are: Sales, Staff") as raised:
        await tenant.connector().read(replace(SOURCE, groups=("sales",)))
    assert "Assign that group" in raised.value.hint


async def test_configured_group_that_two_groups_are_named_is_an_error() -> None:
    tenant = company()
    tenant.assigned[1]["principalDisplayName"] = "Sales"
    with pytest.raises(IncompleteRead, match=f"2 groups .* named 'Sales': {SALES}, {STAFF}") as raised:
        await tenant.connector().read(replace(SOURCE, groups=("Sales",)))
    assert "object id" in raised.value.hint


@pytest.mark.parametrize(
    "row",
    [
        None,
        {},
        {"principalId": None, "principalType": "Group"},
        {"principalId": "g-1", "principalType": None},
        {"principalId": 7, "principalType": "User"},
    ],
)
async def test_assignment_without_a_principal_is_an_error(row: object) -> None:
    tenant = company()
    tenant.at[ASSIGNED] = [page([*tenant.assigned, row])]
    assert "without its principal" in (await failure(tenant)).message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"value": [{',
        b"[]",
        b'{"value": {}}',
        b'{"value": null}',
        b"7",
        b"<html>",
        b'{"value": ' + b"[" * 100_000,
        b'{"error": {"code": "x"}}',
    ],
)
@pytest.mark.parametrize("path", LISTS)
async def test_page_that_is_not_a_list_is_an_error(path: str, content: bytes) -> None:
    tenant = company()
    tenant.at[path] = [body(content)]
    assert isinstance(await failure(tenant), IncompleteRead)


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"<html>", b"{}", b'{"id": null}', b'{"id": "somebody-else"}'])
@pytest.mark.parametrize("path", [THE_APP, PERSON])
async def test_application_or_person_that_is_not_an_object_is_an_error(path: str, content: bytes) -> None:
    tenant = company()
    tenant.at[path] = [body(content)]
    assert isinstance(await failure(tenant), IncompleteRead)


@pytest.mark.parametrize("token", ["2", None])
async def test_page_that_comes_again_is_an_error(token: str | None) -> None:
    tenant = company()
    start = f"{GRAPH}{ASSIGNED}?$top=999"
    tenant.at[ASSIGNED] = [page([], f"{start}&$skiptoken={token}" if token else start)] * WHAT_STAYS
    assert "the list would never end" in (await failure(tenant)).message
    assert len(tenant.requests_to(ASSIGNED)) == (2 if token else 1)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example.com",
        "http://graph.microsoft.com",
        "https://graph.microsoft.com:8443",
        "https://graph.microsoft.com.example.com",
        "https://u:p@graph.microsoft.com",
    ],
)
@pytest.mark.parametrize("path", LISTS)
async def test_next_link_to_another_origin_is_refused_and_never_asked(path: str, elsewhere: str) -> None:
    tenant = company()
    tenant.at[path] = [page([], f"{elsewhere}{path}?$skiptoken=2")]
    assert "another server" in (await failure(tenant)).message
    assert {(request.url.scheme, request.url.host, request.url.port) for request in tenant.requests} == {
        ("https", "graph.microsoft.com", None)
    }


@pytest.mark.parametrize("link", [7, "", [], {}, True])
async def test_next_link_that_is_no_link_is_an_error(link: object) -> None:
    tenant = company()
    tenant.at[MEMBERS] = [page([user("ana")], link)]
    assert "that is not a link" in (await failure(tenant)).message


async def test_redirect_to_another_origin_is_refused_and_never_asked() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [body(b"", 302, {"location": "https://evil.example.com/"})]
    assert "answered 302" in (await failure(tenant)).message
    assert {request.url.host for request in tenant.requests} == {"graph.microsoft.com"}


async def test_answer_over_the_size_bound_is_an_error() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [body(b'{"value": [' + b" " * 5000 + b"]}")]
    with pytest.raises(IncompleteRead, match="more than 4,000 bytes"):
        await tenant.connector(RequestLimits(max_bytes=4000)).read(SOURCE)


async def test_page_that_expires_again_and_again_ends_the_read() -> None:
    tenant = company()
    tenant.at[ASSIGNED] = [tenant.answer, EXPIRED] * 9
    ended = await failure(tenant)
    assert "page 2 of the users and groups of application" in ended.message
    assert "Directory_ExpiredPageToken" in ended.message
    assert len(tenant.requests_to(ASSIGNED)) == 8


async def test_first_page_that_has_expired_ends_the_read() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [EXPIRED]
    assert isinstance(await failure(tenant), IncompleteRead)


async def test_list_over_the_page_bound_is_an_error() -> None:
    tenant = Tenant(page=1)
    for name in ("ana", "eva", "ivo", "udo"):
        tenant.hire(name, SALES)
    with pytest.raises(IncompleteRead, match="goes on after 3 pages"):
        await tenant.connector(RequestLimits(max_pages=3)).read(SOURCE)


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_any_other_refusal_ends_the_read(path: str) -> None:
    tenant = company()
    tenant.at[path] = [error(400, "Request_UnsupportedQuery", "Unsupported query.")]
    ended = await failure(tenant)
    assert isinstance(ended, IncompleteRead)
    assert "Unsupported query." in ended.message


@pytest.mark.parametrize("missing", ["id", "userPrincipalName", "accountEnabled", "@odata.type", "everything"])
async def test_field_that_is_null_in_all_rows_is_a_missing_permission(missing: str) -> None:
    tenant = company()
    rows = [dict(row) for row in tenant.inside(SALES)[:2]]
    for row in rows:
        for name in row.keys() - {"@odata.type", "id"} if missing == "everything" else {missing}:
            row[name] = None
    tenant.at[MEMBERS] = [page(rows[:1], f"{GRAPH}{MEMBERS}?$skiptoken=1"), page(rows[1:])]
    ended = await failure(tenant)
    assert isinstance(ended, IncompleteRead)
    assert "members of group Sales (2 rows), and none of them shows" in ended.message
    assert "User.Read.All" in ended.hint


LONG_APP, LONG_GROUP, LONG_PERSON = (f"{digit * 8}-2222-3333-4444-555555555555" for digit in "123")
LONG_NAME = "pigment-planning-latin-america-and-the-caribbean"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (f"/servicePrincipals/{LONG_APP}", f"application {LONG_APP}"),
        (f"/servicePrincipals/{LONG_APP}/appRoleAssignedTo", f"the users and groups of application {LONG_APP}"),
        (f"/groups/{LONG_GROUP}/members", f"the members of group {LONG_NAME} ({LONG_GROUP})"),
        (f"/users/{LONG_PERSON}", f"person {LONG_PERSON}"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 404, 503])
async def test_message_names_what_was_asked_for_the_request_and_its_id(path: str, what: str, status: int) -> None:
    tenant = Tenant(names={}, members={})
    tenant.assign(LONG_GROUP, "Group", LONG_NAME)
    tenant.assign(LONG_PERSON, "User", "Udo")
    answers = {
        f"/v1.0/servicePrincipals/{LONG_APP}": tenant.app | {"id": LONG_APP},
        f"/v1.0/servicePrincipals/{LONG_APP}/appRoleAssignedTo": {"value": tenant.assigned},
        f"/v1.0/groups/{LONG_GROUP}/members": {"value": [user("ana")]},
        f"/v1.0/users/{LONG_PERSON}": user("udo", id=LONG_PERSON),
    }

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == f"/v1.0{path}":
            return httpx.Response(status, headers={"request-id": "99999999-2222-3333-4444-555555555555"})
        return httpx.Response(200, json=answers[request.url.path])

    with pytest.raises(ReadError) as raised:
        await tenant.connector(transport=answer).read(Source("entra-eu", LONG_APP))
    trace = f"[GET /v1.0{path}, request id 99999999-2222-3333-4444-555555555555]"
    assert raised.value.message == f"Entra (entra-eu) answered {status} for {what} {trace}."


async def test_message_names_the_page_of_a_list() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [tenant.answer, *[error(503)] * WHAT_STAYS]
    assert "answered 503 for page 2 of the members of group Sales (g-sales): " in (await failure(tenant)).message


# Faults that stay: credentials (exit 6).


async def test_token_that_stays_refused_is_a_matter_of_credentials() -> None:
    tenant = company()
    tenant.is_token = lambda _: False
    ended = await failure(tenant)
    assert isinstance(ended, CredentialsRefused)
    assert ended.code == "credentials"
    assert "answered 401" in ended.message
    assert len(tenant.requests) == 2


@pytest.mark.parametrize(
    ("path", "permission"),
    [
        (THE_APP, "Application.Read.All"),
        (ASSIGNED, "Application.Read.All"),
        (MEMBERS, "GroupMember.Read.All"),
        (PERSON, "User.Read.All"),
    ],
)
async def test_missing_permission_is_a_matter_of_credentials(path: str, permission: str) -> None:
    tenant = company()
    tenant.at[path] = [error(403, message="Insufficient privileges to complete the operation.")]
    ended = await failure(tenant)
    assert isinstance(ended, PermissionMissing)
    assert ended.code == "permission-missing"
    assert "Insufficient privileges" in ended.message
    assert permission in ended.hint


@pytest.mark.parametrize("path", ["/v1.0/users/u-old", "/v1.0/directory/deletedItems/u-old"])
@pytest.mark.parametrize("fault", [html(404), error(404, "Gone"), error(403), html(200), error(500), error(400)])
async def test_lookup_never_makes_an_answer_up(path: str, fault: Fault) -> None:
    tenant = company()
    tenant.at[path] = [fault] * WHAT_STAYS
    with pytest.raises(ReadError):
        await tenant.connector().lookup("u-old", SOURCE)


@pytest.mark.parametrize("fault", [error(403), error(400), html(200), html(500)])
async def test_ignored_individual_who_can_not_be_read_ends_nothing(fault: Fault) -> None:
    ignoring = replace(SOURCE, ignores_individuals=True)
    whole = await company().connector().read(ignoring)
    tenant = company()
    tenant.at[PERSON] = [fault] * WHAT_STAYS
    snapshot = await tenant.connector().read(ignoring)
    (udo,) = (person for person in snapshot.people if person.id == "u-udo")
    assert (udo.status, udo.email, udo.display_name) == (Status.UNKNOWN, None, "Udo")
    assert [each for each in snapshot.people if each.id != "u-udo"] == [
        each for each in whole.people if each.id != "u-udo"
    ]
    (note,) = (note for note in snapshot.notes if note.code == "assignment-not-read")
    assert "Udo is assigned individually, and could not be looked up" in note.reason


async def test_unreadable_ignored_individuals_are_an_error_where_no_group_has_people() -> None:
    tenant = company()
    tenant.members = {SALES: [], STAFF: []}
    for name in ("eva", "udo"):
        tenant.at[f"/v1.0/users/u-{name}"] = [error(403)]
    with pytest.raises(ReadError, match="answered 403"):
        await tenant.connector().read(replace(SOURCE, ignores_individuals=True))


# Everything at once.

EVERY_FAULT: tuple[Fault, ...] = (
    *(error(status) for status in (400, 401, 403, 404, 410, 429, 500, 503)),
    html(200),
    broken_off,
    cut_off,
    page([], "https://evil.example.com/"),
    page([None]),
)


@pytest.mark.parametrize("fault", EVERY_FAULT)
@pytest.mark.parametrize("stays", [False, True])
async def test_fault_at_any_one_request_never_gives_a_shorter_snapshot(fault: Fault, stays: bool) -> None:
    expected = await whole()
    count = company()
    await count.connector().read(SOURCE)
    for number in range(1, len(count.requests) + 1):
        tenant = company()
        tenant.nth = dict.fromkeys(range(number, WHAT_STAYS if stays else number + 1), fault)
        try:
            snapshot = await tenant.connector().read(SOURCE)
        except ReadError:
            continue
        # A "not found" for the one person who is asked for alone is an answer.
        removed = {each.id for each in expected.people} - {each.id for each in snapshot.people}
        assert snapshot == expected or "" in snapshot.unidentified or removed == {"u-udo"}


# The document.


def test_document_names_a_test_for_every_cell_and_every_test_has_its_cell() -> None:
    lines = [line for line in FAULTS_DOCUMENT.read_text(encoding="utf-8").splitlines() if "`test_" in line]
    named = {name for line in lines for name in re.findall(r"`(test_\w+)`", line)}
    tests = {name for name in globals() if name.startswith("test_") and "document" not in name}
    parts = ("entra_token", "entra_token_servers", "entra_reading", "entra_hidden", "lookups")
    modules = [FAULTS_DOCUMENT.parents[1] / f"tests/contract/test_{part}.py" for part in parts]
    elsewhere = {name for file in modules for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))}
    assert tests <= named <= tests | elsewhere
    codes = {int(code) for line in lines for code in re.findall(r"\| (\d) \|", line)}
    assert codes == {ExitCode.DONE, ExitCode.HELD, ExitCode.INCOMPLETE, ExitCode.CONFIG}
