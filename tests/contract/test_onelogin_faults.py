"""Every cell of docs/faults-onelogin.md: temporary faults end in a whole read, all others in an error with a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from agent.errors import ExitCode
from connectors.base import CredentialsRefused, IncompleteRead, PermissionMissing, Person, ReadError, Snapshot, Status
from connectors.http import RequestLimits
from tests.contract.okta_org import Fault, body, broken_off, cut_off, unreachable
from tests.contract.onelogin_account import (
    ANA,
    APP,
    EVA,
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
    Account,
    company,
    crowd,
    cursor,
    error,
    not_found,
    user,
)

PASSING = [408, 425, 429, 502, 503, 504, 520, 522, 524, 530]
WHAT_STAYS = 99
"""More often than any retry."""

ONE = f"{USERS}/{ANA}"
LISTS = [PEOPLE, ROLES, MEMBERS, USERS]
EVERYWHERE = [THE_APP, *LISTS, ONE]
FAULTS_DOCUMENT = Path(__file__).parents[2] / "docs" / "faults-onelogin.md"


def account_asked_for(path: str) -> Account:
    """Return the account of which a read asks for *path*: a large one for single users."""
    return crowd() if path == ONE else company()


async def whole() -> Snapshot:
    return await company().connector().read(SOURCE)


async def failure(account: Account, secret: str = "secret") -> ReadError:  # noqa: S107  (of the pretend account)
    with pytest.raises(ReadError) as raised:
        await account.connector(client_secret=secret).read(SOURCE)
    assert raised.value.hint
    assert "abcdef" not in raised.value.message
    return raised.value


def html(status: int) -> Fault:
    return body("<html><script>x()</script><h1>Bad gateway</h1></html>", status, {"content-type": "text/html"})


def listed(rows: object, total: object = None) -> Fault:
    return lambda _: httpx.Response(200, json=rows, headers={} if total is None else {"Total-Count": str(total)})


def rows_of(account: Account, path: str) -> list[dict[str, object]]:
    found = account.rows(path, {"app_id": APP})
    assert isinstance(found, list)
    return found


def shown(account: Account, path: str, rows: object, total: object) -> list[Fault | None]:
    """Return the faults that show *rows* as the list at *path*; the count of all users is asked for before them."""
    return [None, listed(rows, total)] if path == USERS else [listed(rows, total)]


# What heals.


@pytest.mark.parametrize("status", PASSING)
@pytest.mark.parametrize("path", EVERYWHERE)
async def test_passing_fault_is_retried(path: str, status: int) -> None:
    account = account_asked_for(path)
    account.at[path] = [html(status), html(status)]
    assert await account.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize("fault", [broken_off, unreachable, cut_off])
@pytest.mark.parametrize("path", EVERYWHERE)
async def test_lost_connection_is_retried(path: str, fault: Fault) -> None:
    account = account_asked_for(path)
    account.at[path] = [fault]
    assert await account.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_server_error_is_retried_twice(path: str) -> None:
    account = account_asked_for(path)
    account.at[path] = [error(500), error(500)]
    assert await account.connector().read(SOURCE) == await whole()


async def test_refusal_for_too_many_requests_waits_for_the_reset() -> None:
    account = company()
    headers = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "40"}
    account.at[PEOPLE] = [lambda _: httpx.Response(429, headers=headers)]
    assert await account.connector().read(SOURCE) == await whole()
    assert account.time.now == pytest.approx(1040)


async def test_refusal_with_an_impossible_reset_waits_for_retry_after() -> None:
    account = company()
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000000", "Retry-After": "20"}
    account.at[PEOPLE] = [lambda _: httpx.Response(429, headers=headers)]
    assert await account.connector().read(SOURCE) == await whole()
    assert sum(account.time.naps) == pytest.approx(20.5, abs=0.5)


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize("named", [{"X-RateLimit-Reset": "20"}, {"Retry-After": "20"}])
async def test_refusals_that_name_a_time_are_bounded_by_the_time_and_not_by_their_number(
    path: str, named: dict[str, str]
) -> None:
    account = account_asked_for(path)
    account.at[path] = [lambda _: httpx.Response(429, headers=named)] * 8
    assert await account.connector().read(SOURCE) == await whole()
    account.at[path] = [lambda _: httpx.Response(429, headers=named)] * WHAT_STAYS
    with pytest.raises(IncompleteRead, match="answered 429"):
        await account.connector(RequestLimits(max_wait_seconds=60)).read(SOURCE)


async def test_limit_headers_that_stand_twice_are_read_by_the_later_reset() -> None:
    account = company()
    numbers = ("5000", "0", "20"), ("100", "60", "5")
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    headers = [pair for each in numbers for pair in zip(names, each, strict=True)]
    account.at[PEOPLE] = [lambda _: httpx.Response(429, headers=headers)]
    assert await account.connector().read(SOURCE) == await whole()
    assert account.time.now == pytest.approx(1020)


@pytest.mark.parametrize("layers", [1, 2])
async def test_cursor_that_is_percent_encoded_is_decoded_first(layers: int) -> None:
    account = company()

    def encoded(request: httpx.Request) -> httpx.Response:
        answer = account.answer(request)
        for _ in range(layers * ("After-Cursor" in answer.headers)):
            answer.headers["After-Cursor"] = quote(answer.headers["After-Cursor"], safe="")
        return answer

    account.at = {path: [encoded] * WHAT_STAYS for path in LISTS}
    assert await account.connector().read(SOURCE) == await whole()


async def test_headers_of_a_list_that_stand_twice_are_one() -> None:
    account = company()

    def doubled(request: httpx.Request) -> httpx.Response:
        answer = account.answer(request)
        return httpx.Response(answer.status_code, content=answer.content, headers=[*answer.headers.multi_items()] * 2)

    account.at = {path: [doubled] * WHAT_STAYS for path in LISTS}
    assert await account.connector().read(SOURCE) == await whole()
    assert len(account.requests) == await requests_of_a_read()


async def requests_of_a_read() -> int:
    account = company()
    await account.connector().read(SOURCE)
    return len(account.requests)


async def test_page_that_names_two_next_ones_is_an_error() -> None:
    account = company()
    account.at[PEOPLE] = [
        lambda _: httpx.Response(200, json=[], headers=[("After-Cursor", "YQ=="), ("After-Cursor", "Yg==")])
    ]
    assert "two different next pages" in (await failure(account)).message


async def test_nearly_used_limit_is_waited_for_ahead() -> None:
    account = company()
    account.at[THE_APP] = [account.with_headers(X_RateLimit_Remaining="7", X_RateLimit_Reset="30")]
    assert await account.connector().read(SOURCE) == await whole()
    assert account.time.naps == [30]


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_refused_token_is_requested_again_once(path: str) -> None:
    account = account_asked_for(path)
    account.at[path] = [error(401)]
    assert await account.connector().read(SOURCE) == await whole()
    assert len(account.token_requests) == 2


@pytest.mark.parametrize("path", LISTS)
async def test_list_shorter_than_its_total_is_walked_again(path: str) -> None:
    account = company()
    account.page = 9
    rows = rows_of(account, path)
    account.at[path] = shown(account, path, rows[1:], len(rows)) + shown(account, "", rows[:-1], len(rows))
    assert await account.connector().read(SOURCE) == await whole()


async def test_person_skipped_by_the_offset_is_found_by_a_second_read() -> None:
    account = Account()
    for name in ("ana", "eva", "ivo", "udo", "zoe"):
        account.hire(name, direct=True)
    # Ana leaves between the first page and the second: Ivo moves up to the first, and is on neither.
    account.at[PEOPLE] = [None, account.meanwhile(lambda: account.direct.pop(0))]
    snapshot = await account.connector().read(SOURCE)
    assert [person.id for person in snapshot.people] == [EVA, "103", UDO, "105"]
    assert len(account.requests_to(PEOPLE)) == 4


async def test_total_that_goes_down_on_the_way_means_another_walk() -> None:
    account = Account(page=1)
    for name in ("ana", "eva", "ivo", "udo"):
        account.hire(name)
    account.direct += [ANA, EVA, "103"]
    # Udo is added, then Ana removed: Ivo is on no page, yet the number of rows equals the first total.
    comes, goes = (lambda: account.direct.append(UDO)), (lambda: account.direct.pop(0))
    account.at[PEOPLE] = [None, account.meanwhile(comes), account.meanwhile(goes)]
    snapshot = await account.connector().read(SOURCE)
    assert [person.id for person in snapshot.people] == [EVA, "103", UDO]
    assert len(account.requests_to(PEOPLE)) == 6


async def test_person_who_comes_during_a_walk_does_not_disturb_it() -> None:
    account = Account(page=1)
    for name in ("ana", "eva", "ivo", "udo"):
        account.hire(name)
    account.direct += [EVA, "103", UDO]
    # Ana is added and all rows move by one: Eva is on two pages, Ana, who was added during the read, on none.
    account.at[PEOPLE] = [None, account.meanwhile(lambda: account.direct.append(ANA))]
    snapshot = await account.connector().read(SOURCE)
    assert [person.id for person in snapshot.people] == [EVA, "103", UDO]
    assert len(account.requests_to(PEOPLE)) == 4


@pytest.mark.parametrize("path", LISTS)
async def test_row_shown_twice_is_one_row(path: str) -> None:
    account = company()
    account.page = 9
    rows = rows_of(account, path)
    account.at[path] = shown(account, path, [*rows, rows[0]], len(rows))
    assert await account.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize("path", LISTS)
async def test_list_that_comes_empty_once_and_without_headers_is_not_empty(path: str) -> None:
    account = company()
    account.at[path] = [None, body(b"[]")] if path == USERS else [body(b"[]")]
    assert await account.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize("path", LISTS)
async def test_empty_page_with_a_cursor_is_not_the_end(path: str) -> None:
    account = company()
    first = body(b"[]", headers={"after-cursor": cursor(account.page, 1)})
    account.at[path] = [None, first] if path == USERS else [first]
    assert await account.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize("text", ["", " "])
async def test_empty_cursor_is_the_end(text: str) -> None:
    account = company()
    account.page = 9
    account.at[PEOPLE] = [account.with_headers(After_Cursor=text)]
    assert await account.connector().read(SOURCE) == await whole()
    assert len(account.requests_to(PEOPLE)) == 1


@pytest.mark.parametrize("path", LISTS)
async def test_lost_cursor_is_noticed_by_the_total(path: str) -> None:
    account = company()
    account.at[path] = [None, account.without("After-Cursor")] if path == USERS else [account.without("After-Cursor")]
    assert await account.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("text", ["many", "-1", "9" * 400])
async def test_total_that_is_not_a_number_counts_as_missing(path: str, text: str) -> None:
    account = company()
    account.at[path] = [account.with_headers(Total_Count=text)] * 2
    assert await account.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize(
    "odd",
    [
        {"status": None, "state": None},
        {"status": None},
        {"state": None},
        {"status": 6},
        {"status": 99},
        {"status": "active"},
        {"status": True},
        {"state": 9},
    ],
)
@pytest.mark.parametrize("made", [company, crowd])
async def test_odd_status_among_good_ones_is_unknown(made: Callable[[], Account], odd: dict[str, object]) -> None:
    account = made()
    account.users[ANA] |= odd
    ana, *others = (await account.connector().read(SOURCE)).people
    assert (ana.id, ana.status, ana.email) == (ANA, Status.UNKNOWN, "ana@example.com")
    assert others == list((await whole()).people[1:])


@pytest.mark.parametrize("row", [None, 7, "row", [], {}, {"id": None}, {"id": ""}, {"id": True}, {"id": "a/b"}])
async def test_user_of_the_application_without_an_id_is_counted_as_unidentified(row: object) -> None:
    account = company()
    account.page = 9
    rows = rows_of(account, PEOPLE)
    named = user("1", "leo") | {"id": None}
    account.at[PEOPLE] = [listed([*rows, row, named], len(rows) + 2)]
    snapshot = await account.connector().read(SOURCE)
    assert snapshot.unidentified == ("", "leo@example.com")
    assert [(note.code, note.email) for note in snapshot.notes] == [
        ("unidentified-row", ""),
        ("unidentified-row", "leo@example.com"),
    ]
    assert snapshot.people == (await whole()).people


@pytest.mark.parametrize("row", [None, 7, {}, {"id": None, "assigned": True}])
async def test_row_of_a_role_without_an_id_makes_individual_assignments_uncertain(row: object) -> None:
    account = company()
    account.page = 9
    rows = rows_of(account, MEMBERS)
    account.at[MEMBERS] = [listed([*rows, row], len(rows) + 1)]
    snapshot = await account.connector().read(replace(SOURCE, groups=("Staff",)))
    assert snapshot.unidentified == ("",)
    (udo,) = (person for person in snapshot.people if person.individual)
    assert (udo.id, udo.status) == (UDO, Status.UNKNOWN)
    assert "without an id" in udo.source_status
    assert all(person.status is not Status.UNKNOWN for person in snapshot.people if person.groups)


@pytest.mark.parametrize("row", [None, {}, {"id": None, "email": "ana@example.com", "status": 2, "state": 1}])
async def test_user_of_the_account_without_an_id_is_asked_for_alone(row: object) -> None:
    account = company()
    account.page = 9
    rows = [each for each in rows_of(account, USERS) if each["id"] != int(ANA)]
    account.at[USERS] = [None, listed([row, *rows], 5)]
    assert await account.connector().read(SOURCE) == await whole()


# Faults that stay: incomplete (exit 6).


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", EVERYWHERE)
async def test_fault_that_stays_ends_the_read(path: str, status: int) -> None:
    account = account_asked_for(path)
    account.at[path] = [html(status)] * WHAT_STAYS
    ended = await failure(account)
    assert isinstance(ended, IncompleteRead)
    assert f"answered {status}" in ended.message
    assert "<" not in ended.message
    assert "x()" not in ended.message


@pytest.mark.parametrize(
    ("fault", "why"), [(broken_off, "broke off"), (cut_off, "broke off"), (unreachable, "can't be reached")]
)
async def test_connection_that_stays_lost_ends_the_read(fault: Fault, why: str) -> None:
    account = company()
    account.at[MEMBERS] = [fault] * WHAT_STAYS
    assert why in (await failure(account)).message


@pytest.mark.parametrize("path", LISTS)
async def test_list_cut_off_midway_ends_the_read(path: str) -> None:
    account = company()
    account.page = 1
    account.at[path] = [None, None, *[broken_off] * WHAT_STAYS] if path == USERS else [None, *[broken_off] * WHAT_STAYS]
    if path in {ROLES, MEMBERS}:
        assert len(rows_of(account, path)) > 1
    assert isinstance(await failure(account), IncompleteRead)


@pytest.mark.parametrize("path", LISTS)
async def test_list_that_stays_shorter_than_its_total_ends_the_read(path: str) -> None:
    account = company()
    account.at[path] = [account.with_headers(Total_Count="7")] * WHAT_STAYS
    ended = await failure(account)
    assert isinstance(ended, IncompleteRead)
    assert re.search("reports 7 .* and listed [245], 3 times", ended.message)
    firsts = [request for request in account.requests_to(path) if request.url.params.get("limit") == "1000"]
    assert len(firsts) == 3


async def test_list_that_loses_a_row_in_each_read_ends_the_read() -> None:
    account = company()
    account.page = 9
    for number in range(20):
        account.hire(f"extra{number}", SALES)
    account.at[MEMBERS] = [None, account.meanwhile(lambda: account.roles[SALES].pop(0)), None] * 9
    ended = await failure(account)
    assert "lost some of the" in ended.message
    assert ", 3 times." in ended.message


async def test_list_without_a_total_that_is_never_the_same_ends_the_read() -> None:
    account = company()
    account.page, account.counts = 9, False
    account.at[MEMBERS] = [listed([account.member(key)]) if key else body(b"[]") for key in (ANA, "", EVA, "", UDO, "")]
    ended = await failure(account)
    assert "different ones each time" in ended.message


async def test_list_that_goes_on_without_saying_so_ends_the_read() -> None:
    account = company()
    account.at[PEOPLE] = [account.without("After-Cursor", "Total-Count")] * WHAT_STAYS
    ended = await failure(account)
    assert isinstance(ended, IncompleteRead)
    assert "no After-Cursor, no Total-Count" in ended.message
    assert "proxy" in ended.hint


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (THE_APP, f"the application {APP}"),
        (PEOPLE, f"the users of application {APP}"),
        (ROLES, f"the roles of application {APP}"),
        (MEMBERS, f"the people of role Sales ({SALES})"),
        (USERS, "the users"),
        (ONE, f"the user {ANA}"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 404, 422, 503])
async def test_message_names_what_was_asked_for_the_request_and_its_id(path: str, what: str, status: int) -> None:
    account = account_asked_for(path)
    account.at[path] = [body("", status, {"x-request-id": "req-0123456789-0123456789-0123456789"})] * WHAT_STAYS
    ended = await failure(account)
    trace = f"[GET {path}, request id req-0123456789-0123456789-0123456789]"
    assert ended.message == f"OneLogin (onelogin-apac) answered {status} for {what} {trace}."


async def test_message_names_the_page_of_a_list() -> None:
    account = company()
    account.at[PEOPLE] = [None, *[error(503)] * WHAT_STAYS]
    assert f"answered 503 for page 2 of the users of application {APP}: " in (await failure(account)).message


async def test_error_is_quoted_with_its_description() -> None:
    account = company()
    refused = {"status": 400, "error": "BadRequestError", "description": "Invalid pagination cursor"}
    account.at[PEOPLE] = [lambda _: httpx.Response(400, json=refused)]
    assert ': "Invalid pagination cursor" (BadRequestError) [' in (await failure(account)).message


@pytest.mark.parametrize(
    ("path", "what", "remedy"),
    [
        (THE_APP, f"application {APP}", "`app` of the source"),
        (PEOPLE, f"users of application {APP}", "`app` of the source"),
        (ROLES, f"roles of application {APP}", "Read All"),
        (MEMBERS, f"people of role Sales ({SALES})", "Take the role off"),
        (USERS, "users", "Read All"),
    ],
)
async def test_what_is_not_found_is_an_error_and_not_empty(path: str, what: str, remedy: str) -> None:
    account = company()
    account.at[path] = [not_found()]
    ended = await failure(account)
    assert isinstance(ended, IncompleteRead)
    assert f'answered 404 for the {what}: "The resource with the given id could not be found"' in ended.message
    assert remedy in ended.hint


async def test_role_that_is_named_and_not_there_is_an_error() -> None:
    account = company()
    account.app["role_ids"].append(999)
    ended = await failure(account)
    assert "answered 404 for the role 999" in ended.message
    assert "Take the role off" in ended.hint


@pytest.mark.parametrize("role_ids", [None, "absent", "501", 501, {}, [None], [501, None], [True], ["5/1"], [1.5]])
async def test_application_that_does_not_show_its_roles_is_an_error(role_ids: object) -> None:
    account = company()
    account.at[THE_APP] = [lambda _: httpx.Response(200, json=account.app | {"role_ids": role_ids})]
    if role_ids == "absent":
        account.at[THE_APP] = [lambda _: httpx.Response(200, json={"id": int(APP), "name": "Pigment"})]
    ended = await failure(account)
    assert isinstance(ended, IncompleteRead)
    assert "which roles grant" in ended.message
    assert "Read All" in ended.hint


async def test_configured_role_that_the_application_does_not_have_is_an_error() -> None:
    account = company()
    with pytest.raises(IncompleteRead, match=r"Pigment in OneLogin has no role 'sales'; its roles are: Sales, Staff"):
        await account.connector().read(replace(SOURCE, groups=("sales",)))


async def test_configured_role_that_two_roles_are_named_is_an_error() -> None:
    account = company()
    account.names[STAFF] = "Sales"
    with pytest.raises(IncompleteRead, match=f"2 roles .* named 'Sales': {SALES}, {STAFF}") as raised:
        await account.connector().read(replace(SOURCE, groups=("Sales",)))
    assert "id" in raised.value.hint


@pytest.mark.parametrize(
    "content",
    [b"", b"[{", b'{"id": 101}', b"null", b"7", html(200)(httpx.Request("GET", "https://x")).content, b"[" * 100_000],
)
@pytest.mark.parametrize("path", LISTS)
async def test_page_that_is_not_a_list_is_an_error(path: str, content: bytes) -> None:
    account = company()
    account.at[path] = [None, body(content)] if path == USERS else [body(content)]
    assert isinstance(await failure(account), IncompleteRead)


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"<html>"])
@pytest.mark.parametrize("path", [THE_APP, ONE])
async def test_response_that_is_not_an_object_is_an_error(path: str, content: bytes) -> None:
    account = account_asked_for(path)
    account.at[path] = [body(content)]
    assert isinstance(await failure(account), IncompleteRead)


@pytest.mark.parametrize("path", LISTS)
async def test_cursor_that_comes_again_is_an_error(path: str) -> None:
    account = company()
    again = account.with_headers(After_Cursor=cursor(2, 1))
    account.at[path] = [again] * WHAT_STAYS
    assert "the list would never end" in (await failure(account)).message
    assert sum("cursor" in request.url.params for request in account.requests_to(path)) == 1


async def test_redirect_to_another_origin_is_refused_and_never_asked() -> None:
    account = company()
    account.at[PEOPLE] = [body(b"", 307, {"location": "https://evil.example.com/"})] * WHAT_STAYS
    assert "answered 307" in (await failure(account)).message
    assert {request.url.host for request in account.requests} == {"acme.onelogin.com"}


async def test_cursor_and_link_that_name_another_origin_lead_nowhere() -> None:
    account = company()
    elsewhere = "https://evil.example.com/api/2/users?page=2"
    account.at[PEOPLE] = [
        account.with_headers(Link=f'<{elsewhere}>; rel="next"', After_Cursor=elsewhere),
        error(400, "invalid cursor"),
    ] * 3
    assert "invalid cursor" in (await failure(account)).message
    assert {request.url.host for request in account.requests} == {"acme.onelogin.com"}


async def test_answer_over_the_size_bound_is_an_error() -> None:
    account = company()
    account.at[PEOPLE] = [body(b"[" + b" " * 5000 + b"]")]
    with pytest.raises(IncompleteRead, match="more than 4,000 bytes"):
        await account.connector(RequestLimits(max_bytes=4000)).read(SOURCE)


@pytest.mark.parametrize("status", [400, 410, 422])
async def test_cursor_that_is_refused_means_another_walk(status: int) -> None:
    account = company()
    account.at[PEOPLE] = [None, error(status, "Invalid pagination cursor")]
    assert await account.connector().read(SOURCE) == await whole()


async def test_cursor_that_is_refused_again_and_again_ends_the_read() -> None:
    account = company()
    account.at[PEOPLE] = [None, error(400, "Invalid pagination cursor")] * 9
    assert "Invalid pagination cursor" in (await failure(account)).message
    assert len(account.requests_to(PEOPLE)) == 6


async def test_list_over_the_page_bound_is_an_error() -> None:
    account = Account(page=1)
    for name in ("ana", "eva", "ivo", "udo"):
        account.hire(name, SALES)
    with pytest.raises(IncompleteRead, match="goes on after 3 pages"):
        await account.connector(RequestLimits(max_pages=3)).read(SOURCE)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("path", EVERYWHERE)
async def test_any_other_refusal_ends_the_read(path: str, status: int) -> None:
    account = account_asked_for(path)
    account.at[path] = [error(status, 'invalid value in "fields"')]
    ended = await failure(account)
    assert isinstance(ended, IncompleteRead)
    assert 'invalid value in "fields"' in ended.message


@pytest.mark.parametrize(
    ("path", "field"), [(PEOPLE, "id"), (MEMBERS, "id"), (USERS, "id"), (USERS, "status"), (USERS, "state")]
)
async def test_field_that_is_null_in_all_rows_is_a_missing_permission(path: str, field: str) -> None:
    account = company()
    account.page = 9
    rows = [row | {field: None} for row in rows_of(account, path)]
    account.at[path] = shown(account, path, rows, len(rows))
    ended = await failure(account)
    assert isinstance(ended, IncompleteRead)
    assert f"none of them shows: {field}" in ended.message
    assert "Read All" in ended.hint


@pytest.mark.parametrize("made", [company, crowd])
@pytest.mark.parametrize("field", ["status", "state", "email"])
async def test_field_that_is_null_for_all_the_assigned_is_a_missing_permission(
    made: Callable[[], Account], field: str
) -> None:
    account = made()
    for row in account.users.values():
        row[field] = None
    assert f"none of them shows: {field}" in (await failure(account)).message


@pytest.mark.parametrize(
    ("field", "shown"), [("email", lambda person: person.email), ("status", lambda person: person.status)]
)
@pytest.mark.parametrize("first", [0, 60])
async def test_field_that_the_assigned_lack_and_others_show_is_no_missing_permission(
    field: str, shown: Callable[[Person], object], first: int
) -> None:
    account = Account()
    for number in range(first):
        account.hire(f"first{number}", OTHER)[field] = None
    for name in ("ana", "eva", "ivo"):
        account.hire(name, SALES)[field] = None
    for number in range(400):
        account.hire(f"extra{number}", OTHER)
    account.page = 100
    snapshot = await account.connector().read(SOURCE)
    assert [shown(person) for person in snapshot.people] == [None if field == "email" else Status.UNKNOWN] * 3
    assert {finding.level for finding in await account.connector().check([SOURCE])} == {"ok"}


async def test_account_that_knows_none_of_the_assigned_is_a_missing_permission() -> None:
    account = crowd()
    account.at = {f"{USERS}/{key}": [not_found()] for key in account.users}
    ended = await failure(account)
    assert "none of the 4 people" in ended.message
    assert "Read All" in ended.hint


async def test_reset_too_far_away_is_an_error_and_not_a_wait() -> None:
    account = company()
    account.at[THE_APP] = [account.with_headers(X_RateLimit_Remaining="0", X_RateLimit_Reset="832")]
    ended = await failure(account)
    assert "another 832 seconds" in ended.message
    assert account.time.naps == []


@pytest.mark.parametrize("fault", [html(404), body(b"{}", 404), body(b"[]", 404), html(200), error(403), error(500)])
async def test_lookup_never_makes_an_answer_up(fault: Fault) -> None:
    account = company()
    account.at[ONE] = [fault] * WHAT_STAYS
    with pytest.raises(ReadError):
        await account.connector().lookup(ANA, SOURCE)


@pytest.mark.parametrize("fault", [html(404), body(b"{}", 404)])
async def test_404_of_a_gateway_for_a_person_is_an_error(fault: Fault) -> None:
    account = crowd()
    account.at[ONE] = [fault]
    assert f"answered 404 for the user {ANA}" in (await failure(account)).message


# Faults that stay: credentials (exit 6).


async def test_token_that_stays_refused_is_a_matter_of_credentials() -> None:
    account = company()
    account.at[THE_APP] = [error(401, "Unauthorized")] * WHAT_STAYS
    ended = await failure(account)
    assert isinstance(ended, CredentialsRefused)
    assert ended.code == "credentials"
    assert "answered 401" in ended.message
    assert len(account.requests) == len(account.token_requests) == 2


@pytest.mark.parametrize("path", [*EVERYWHERE, f"{ROLES}/{STAFF}/users"])
async def test_missing_permission_is_a_matter_of_credentials(path: str) -> None:
    account = account_asked_for(path)
    account.at[path] = [error(403, "Insufficient Permissions")]
    ended = await failure(account)
    assert isinstance(ended, PermissionMissing)
    assert ended.code == "permission-missing"
    assert "answered 403 for the" in ended.message
    assert "Insufficient Permissions" in ended.message
    assert "Read All" in ended.hint


@pytest.mark.parametrize("fault", [error(403), html(404), body("", 500), html(200)])
async def test_ignored_individual_who_can_not_be_read_ends_nothing(fault: Fault) -> None:
    ignoring = replace(SOURCE, ignores_individuals=True)
    account = crowd()
    account.at[f"{USERS}/{UDO}"] = [fault] * WHAT_STAYS
    snapshot = await account.connector().read(ignoring)
    (udo,) = (person for person in snapshot.people if person.id == UDO)
    assert udo.status is Status.UNKNOWN
    assert "could not be looked up: " in udo.source_status
    whole = await crowd().connector().read(ignoring)
    assert [each for each in snapshot.people if each.id != UDO] == [each for each in whole.people if each.id != UDO]


# Everything at once.

EVERY_FAULT: tuple[Fault, ...] = (
    *(error(status) for status in (400, 401, 403, 404, 410, 422, 429, 500, 503)),
    html(200),
    html(404),
    broken_off,
    cut_off,
    body(b"[]", headers={"total-count": "9"}),
    body(b"[]", headers={"after-cursor": cursor(2, 2)}),
    body(b"[null]"),
    body(b"{}"),
)


@pytest.mark.parametrize("fault", EVERY_FAULT)
@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("made", [company, crowd])
async def test_fault_at_any_one_request_never_gives_a_shorter_snapshot(
    made: Callable[[], Account], fault: Fault, stays: bool
) -> None:
    expected = await whole()
    count = made()
    await count.connector().read(SOURCE)
    for number in range(1, len(count.requests) + 1):
        account = made()
        account.nth = dict.fromkeys(range(number, WHAT_STAYS if stays else number + 1), fault)
        try:
            snapshot = await account.connector().read(SOURCE)
        except ReadError:
            continue
        assert snapshot == expected or "" in snapshot.unidentified or is_unjudged(snapshot, expected)


def is_unjudged(snapshot: Snapshot, expected: Snapshot) -> bool:
    """Return whether *snapshot* has each person, with an unknown status where it differs from the truth."""
    pairs = zip(snapshot.people, expected.people, strict=True)
    same = {person.id for person in snapshot.people} == {person.id for person in expected.people}
    return same and all(person == other or person.status is Status.UNKNOWN for person, other in pairs)


# The document.


def test_document_names_a_test_for_every_cell_and_every_test_has_its_cell() -> None:
    lines = [line for line in FAULTS_DOCUMENT.read_text(encoding="utf-8").splitlines() if "`test_" in line]
    named = {name for line in lines for name in re.findall(r"`(test_\w+)`", line)}
    tests = {name for name in globals() if name.startswith("test_") and "document" not in name}
    parts = ("onelogin_token", "onelogin_sandbox", "onelogin_reading", "lookups")
    modules = [FAULTS_DOCUMENT.parents[1] / f"tests/contract/test_{part}.py" for part in parts]
    elsewhere = {name for file in modules for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))}
    assert tests <= named <= tests | elsewhere
    codes = {int(code) for line in lines for code in re.findall(r"\| (\d) \|", line)}
    assert codes == {ExitCode.DONE, ExitCode.HELD, ExitCode.INCOMPLETE}
