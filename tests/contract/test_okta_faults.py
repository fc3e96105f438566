"""Every cell of docs/faults-okta.md: temporary faults end in a whole read, all others in an error with a remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agent.errors import ExitCode
from connectors.base import CredentialsRefused, IncompleteRead, PermissionMissing, ReadError, Snapshot, Source, Status
from connectors.http import RequestLimits
from tests.contract.okta_org import (
    APP,
    ORG,
    SALES,
    SOURCE,
    STAFF,
    Fault,
    Org,
    body,
    broken_off,
    company,
    cut_off,
    error,
    unreachable,
    user,
)

THE_APP = f"/api/v1/apps/{APP}"
PEOPLE, GROUPS, MEMBERS = f"{THE_APP}/users", f"{THE_APP}/groups", f"/api/v1/groups/{SALES}/users"
PASSING = [408, 425, 429, 502, 503, 504, 520, 522, 524, 530]
WHAT_STAYS = 99
"""More often than any retry."""

FAULTS_DOCUMENT = Path(__file__).parents[2] / "docs" / "faults-okta.md"


async def whole() -> Snapshot:
    return await company().connector().read(SOURCE)


async def failure(org: Org, sent: str = "00token") -> ReadError:
    with pytest.raises(ReadError) as raised:
        await org.connector(api_token=sent).read(SOURCE)
    assert raised.value.hint
    assert sent not in raised.value.message + raised.value.hint
    return raised.value


def html(status: int) -> Fault:
    return body("<html><script>x()</script><h1>Bad gateway</h1></html>", status, {"content-type": "text/html"})


# What heals.


@pytest.mark.parametrize("status", PASSING)
@pytest.mark.parametrize("path", [THE_APP, PEOPLE, GROUPS, MEMBERS])
async def test_passing_fault_is_retried(path: str, status: int) -> None:
    org = company()
    org.at[path] = [html(status), html(status)]
    assert await org.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize("fault", [broken_off, unreachable, cut_off])
async def test_lost_connection_is_retried(fault: Fault) -> None:
    org = company()
    org.at[PEOPLE] = [fault]
    assert await org.connector().read(SOURCE) == await whole()


async def test_refusal_for_too_many_requests_waits_for_the_reset_by_oktas_clock() -> None:
    org = company()
    org.at[PEOPLE] = [lambda _: httpx.Response(429, headers=org.limits(100, 0, 40))]
    assert await org.connector().read(SOURCE) == await whole()
    assert sum(org.time.naps) == pytest.approx(41, abs=0.1)


@pytest.mark.parametrize("others", [(20, 0, 20), (100, 60, 5)], ids=["the same", "others"])
async def test_limit_headers_that_stand_twice_are_read_by_the_later_reset(others: tuple[int, int, int]) -> None:
    org = company()
    org.at[PEOPLE] = [lambda _: httpx.Response(429, headers=twice(org, (20, 0, 20), others))]
    assert await org.connector().read(SOURCE) == await whole()
    assert sum(org.time.naps) == pytest.approx(21, abs=0.1)


def twice(org: Org, *limits: tuple[int, int, int]) -> list[tuple[str, str]]:
    return [pair for each in limits for pair in org.limits(*each).items()]


async def test_refusals_that_name_a_reset_are_bounded_by_the_time_and_not_by_their_number() -> None:
    org = company()
    org.at[PEOPLE] = [lambda _: httpx.Response(429, headers=org.limits(100, 0, 20))] * 8
    assert await org.connector().read(SOURCE) == await whole()
    org.at[PEOPLE] = [lambda _: httpx.Response(429, headers=org.limits(100, 0, 20))] * WHAT_STAYS
    with pytest.raises(IncompleteRead, match="answered 429"):
        await org.connector(RequestLimits(max_wait_seconds=60)).read(SOURCE)


async def test_refusal_without_oktas_headers_is_bounded_by_retry_after() -> None:
    org = company()
    org.at[MEMBERS] = [lambda _: httpx.Response(429, headers={"retry-after": "5"})] * 8
    assert await org.connector().read(SOURCE) == await whole()


async def test_refusal_for_concurrency_waits_longer_each_time_and_for_no_reset() -> None:
    org = company()
    org.at[PEOPLE] = [lambda _: httpx.Response(429, headers=org.limits(0, 0, 3000))] * 3
    assert await org.connector().read(SOURCE) == await whole()
    assert len(org.time.naps) == 3
    assert sum(org.time.naps) < 10


async def test_nearly_used_limit_is_waited_for_ahead() -> None:
    org = company()
    org.at[PEOPLE] = [lambda request: with_headers(org.answer(request), org.limits(100, 50, 30))]
    assert await org.connector().read(SOURCE) == await whole()
    assert org.time.naps == [pytest.approx(31, abs=0.1)]


def with_headers(answer: httpx.Response, headers: dict[str, str]) -> httpx.Response:
    answer.headers.update(headers)
    return answer


async def test_server_error_on_a_first_page_is_asked_again_for_shorter_pages() -> None:
    org = company()
    org.at[PEOPLE] = [error(500, "E0000009"), error(500, "E0000009")]
    assert await org.connector().read(SOURCE) == await whole()
    assert [request.url.params["limit"] for request in org.requests_to(PEOPLE)][:4] == ["500", "250", "125", "125"]
    assert org.time.naps == [1, 2]


async def test_server_error_on_a_later_page_is_retried_twice() -> None:
    org = company()
    org.at[PEOPLE] = [org.answer, error(500), error(500)]
    assert await org.connector().read(SOURCE) == await whole()


async def test_refused_token_is_tried_once_more() -> None:
    org = company()
    org.nth[3] = error(401, "E0000011")
    assert await org.connector().read(SOURCE) == await whole()


async def test_expired_cursor_starts_that_list_again_once() -> None:
    org = company()
    org.at[PEOPLE] = [org.answer, error(400, "E0000029", "Invalid paging request.")]
    assert await org.connector().read(SOURCE) == await whole()
    assert len(org.requests_to(PEOPLE)) == 4
    assert len(org.requests_to(GROUPS)) == 1


async def test_empty_page_with_a_next_link_is_not_the_end() -> None:
    org = company()
    onwards = f'<{ORG}{PEOPLE}?expand=user&limit=500&after=0>; rel="next"'
    org.at[PEOPLE] = [lambda _: httpx.Response(200, json=[], headers={"link": onwards})]
    assert await org.connector().read(SOURCE) == await whole()


async def test_next_link_in_one_header_with_self_is_followed() -> None:
    org = company()
    links = f'<{ORG}{PEOPLE}?limit=500>; rel="self", <{ORG}{PEOPLE}?expand=user&limit=500&after=2>; rel="next"'
    first = [row | {"_embedded": {"user": org.users[key]}} for key, row in list(org.scopes.items())[:2]]
    org.at[PEOPLE] = [lambda _: httpx.Response(200, json=first, headers={"link": links})]
    assert await org.connector().read(SOURCE) == await whole()


async def test_person_shown_on_two_pages_is_one_person() -> None:
    org = company()
    org.members[SALES].append("00uana")
    assert await org.connector().read(SOURCE) == await whole()


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "00uodd", "scope": "USER", "_embedded": {"user": None}},
        {"id": "00uodd", "scope": "USER"},
        {"id": "00uodd", "scope": "USER", "_embedded": {"user": {"status": None, "profile": None}}},
        {"id": "00uodd", "scope": "USER", "_embedded": {"user": user("odd", "FROZEN")}},
        {"id": "00uodd", "scope": "USER", "_embedded": {"user": user("odd", 7)}},
    ],
)
async def test_odd_person_among_good_ones_is_unknown(odd: dict[str, object]) -> None:
    org = company()
    org.page = 9
    good = [row | {"_embedded": {"user": org.users[key]}} for key, row in org.scopes.items()]
    org.at[PEOPLE] = [lambda _: httpx.Response(200, json=[*good, odd])]
    snapshot = await org.connector().read(SOURCE)
    assert [each.status for each in snapshot.people if each.id == "00uodd"] == [Status.UNKNOWN]
    assert [each for each in snapshot.people if each.id != "00uodd"] == list((await whole()).people)


@pytest.mark.parametrize("path", [PEOPLE, MEMBERS])
@pytest.mark.parametrize("row", [None, 7, "row", [], {}, {"id": None}, {"id": ""}, {"id": 7}])
async def test_row_without_an_id_among_good_ones_is_counted_as_unidentified(path: str, row: object) -> None:
    org = company()
    org.page = 9
    rows = httpx.Response(200, json=org.rows(path)).json()
    org.at[path] = [lambda _: httpx.Response(200, json=[*rows, row])]
    snapshot = await org.connector().read(SOURCE)
    assert snapshot.unidentified == ("",)
    assert [note.code for note in snapshot.notes] == ["unidentified-row"]
    assert snapshot.people == (await whole()).people


# Faults that stay: incomplete (exit 6).


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", [THE_APP, PEOPLE, GROUPS, MEMBERS])
async def test_fault_that_stays_ends_the_read(path: str, status: int) -> None:
    org = company()
    org.at[path] = [html(status)] * WHAT_STAYS
    ended = await failure(org)
    assert isinstance(ended, IncompleteRead)
    assert f"answered {status}" in ended.message
    assert "<" not in ended.message
    assert "x()" not in ended.message


@pytest.mark.parametrize(
    ("fault", "why"), [(broken_off, "broke off"), (cut_off, "broke off"), (unreachable, "can't be reached")]
)
async def test_connection_that_stays_lost_ends_the_read(fault: Fault, why: str) -> None:
    org = company()
    org.at[MEMBERS] = [fault] * WHAT_STAYS
    assert why in (await failure(org)).message


async def test_list_cut_off_midway_ends_the_read() -> None:
    org = company()
    org.at[PEOPLE] = [org.answer, *[broken_off] * WHAT_STAYS]
    assert isinstance(await failure(org), IncompleteRead)


@pytest.mark.parametrize(
    ("path", "what", "remedy"),
    [
        (THE_APP, f"application {APP}", "`app` of the source"),
        (PEOPLE, f"people of application {APP}", "`app` of the source"),
        (GROUPS, f"groups of application {APP}", "`app` of the source"),
        (MEMBERS, r"members of group Sales \(00g1sales\)", "unassign it"),
    ],
)
async def test_what_is_not_found_is_an_error_and_not_empty(path: str, what: str, remedy: str) -> None:
    org = company()
    org.at[path] = [error(404, summary="Not found: Resource not found")]
    ended = await failure(org)
    assert isinstance(ended, IncompleteRead)
    assert re.search(f'answered 404 for .*{what}: "Not found', ended.message)
    assert remedy in ended.hint


@pytest.mark.parametrize("status", [403, 404])
async def test_group_without_a_name_that_cannot_be_read_is_an_error(status: int) -> None:
    org = company()
    org.at[GROUPS] = [lambda _: httpx.Response(200, json=[{"id": STAFF, "profile": {}}])]
    org.at[f"/api/v1/groups/{STAFF}"] = [error(status)]
    assert f"answered {status} for group {STAFF}" in (await failure(org)).message


@pytest.mark.parametrize("status", ["INACTIVE", "DELETED", None])
async def test_application_that_is_not_active_is_an_error(status: str | None) -> None:
    org = company()
    org.app["status"] = status
    ended = await failure(org)
    assert f"Pigment ({APP})" in ended.message
    assert str(status) in ended.message
    assert "Activate" in ended.hint


async def test_configured_group_that_the_application_does_not_have_is_an_error() -> None:
    org = company()
    with pytest.raises(IncompleteRead, match=r"no group 'sales'; its groups are: Sales, Staff") as raised:
        await org.connector().read(replace(SOURCE, groups=("sales",)))
    assert "Assign that group" in raised.value.hint


async def test_configured_group_that_two_groups_are_named_is_an_error() -> None:
    org = company()
    org.names[STAFF] = "Sales"
    with pytest.raises(IncompleteRead, match=f"2 groups .* named 'Sales': {SALES}, {STAFF}") as raised:
        await org.connector().read(replace(SOURCE, groups=("Sales",)))
    assert "id" in raised.value.hint


@pytest.mark.parametrize(
    "content",
    [b"", b"[{", b'{"id": "00uana"}', b"null", b"7", html(200)(httpx.Request("GET", ORG)).content, b"[" * 100_000],
)
@pytest.mark.parametrize("path", [PEOPLE, GROUPS, MEMBERS])
async def test_page_that_is_not_a_list_is_an_error(path: str, content: bytes) -> None:
    org = company()
    org.at[path] = [body(content)]
    assert isinstance(await failure(org), IncompleteRead)


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"<html>"])
async def test_application_that_is_not_an_object_is_an_error(content: bytes) -> None:
    org = company()
    org.at[THE_APP] = [body(content)]
    assert isinstance(await failure(org), IncompleteRead)


@pytest.mark.parametrize("after", ["2", None])
async def test_cursor_that_comes_again_is_an_error(after: str | None) -> None:
    org = company()
    start = f"{ORG}{PEOPLE}?expand=user&limit=500"
    onwards = f"{start}&after={after}" if after else start
    again = body(b"[]", headers={"link": f'<{onwards}>; rel="next"'})
    org.at[PEOPLE] = [again] * WHAT_STAYS
    assert "the list would never end" in (await failure(org)).message
    assert len(org.requests_to(PEOPLE)) == (2 if after else 1)


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example.com", "http://acme.okta.com", "https://acme.okta.com:8443", "https://u:p@acme.okta.com"],
)
async def test_next_link_to_another_origin_is_refused_and_never_asked(elsewhere: str) -> None:
    org = company()
    org.at[PEOPLE] = [body(b"[]", headers={"link": f'<{elsewhere}{PEOPLE}?after=2>; rel="next"'})]
    assert "another server" in (await failure(org)).message
    assert {(request.url.scheme, request.url.host, request.url.port) for request in org.requests} == {
        ("https", "acme.okta.com", None)
    }


async def test_redirect_to_another_origin_is_refused_and_never_asked() -> None:
    org = company()
    org.at[PEOPLE] = [body(b"", 302, {"location": "https://evil.example.com/"})]
    assert "answered 302" in (await failure(org)).message
    assert {request.url.host for request in org.requests} == {"acme.okta.com"}


async def test_answer_over_the_size_bound_is_an_error() -> None:
    org = company()
    org.at[PEOPLE] = [body(b"[" + b" " * 5000 + b"]")]
    with pytest.raises(IncompleteRead, match="more than 4,000 bytes"):
        await org.connector(RequestLimits(max_bytes=4000)).read(SOURCE)


async def test_list_over_the_page_bound_is_an_error() -> None:
    org = Org(page=1)
    for name in ("ana", "eva", "ivo", "udo"):
        org.hire(name, SALES)
    with pytest.raises(IncompleteRead, match="goes on after 3 pages"):
        await org.connector(RequestLimits(max_pages=3)).read(SOURCE)


async def test_cursor_that_expires_twice_ends_the_read() -> None:
    org = company()
    expired = error(400, "E0000029", "Invalid paging request.")
    org.at[PEOPLE] = [org.answer, expired, org.answer, expired]
    ended = await failure(org)
    assert "Invalid paging request" in ended.message
    assert len(org.requests_to(PEOPLE)) == 4


@pytest.mark.parametrize("path", [THE_APP, PEOPLE, GROUPS, MEMBERS])
async def test_any_other_refusal_ends_the_read(path: str) -> None:
    org = company()
    org.at[path] = [error(400, "E0000031", "Invalid search criteria")]
    ended = await failure(org)
    assert isinstance(ended, IncompleteRead)
    assert "Invalid search criteria" in ended.message


@pytest.mark.parametrize("path", [PEOPLE, MEMBERS])
@pytest.mark.parametrize("missing", ["id", "status", "login", "everything"])
async def test_field_that_is_null_in_all_rows_is_a_missing_permission(path: str, missing: str) -> None:
    org = company()
    rows = httpx.Response(200, json=org.rows(path)).json()
    for row in rows:
        seen = row["_embedded"]["user"] if path == PEOPLE else row
        if missing == "everything":
            row.pop("_embedded", None)
            row["profile"] = row["status"] = None
        elif missing == "login":
            seen["profile"]["login"] = None
        else:
            row[missing] = seen[missing] = None
    org.at[path] = [lambda _: httpx.Response(200, json=rows)]
    ended = await failure(org)
    assert isinstance(ended, IncompleteRead)
    assert "none of them shows" in ended.message
    assert "okta.users.read" in ended.hint


@pytest.mark.parametrize("row", [{"id": None}, {}, None])
async def test_group_without_an_id_is_an_error(row: object) -> None:
    org = company()
    org.at[GROUPS] = [lambda _: httpx.Response(200, json=[org.group(SALES), row])]
    assert "without its id" in (await failure(org)).message


async def test_reset_too_far_away_is_an_error_and_not_a_wait() -> None:
    org = company()
    org.at[PEOPLE] = [lambda request: with_headers(org.answer(request), org.limits(100, 0, 86_400))]
    ended = await failure(org)
    assert "rate_limit_share" in ended.hint
    assert sum(org.time.naps) < 60


async def test_group_of_one_odd_person_does_not_end_the_read() -> None:
    org = company()
    org.at[MEMBERS] = [lambda _: httpx.Response(200, json=[user("odd", status=None)])]
    snapshot = await org.connector().read(SOURCE)
    assert [each.status for each in snapshot.people if each.id == "00uodd"] == [Status.UNKNOWN]


LONG_APP, LONG_GROUP = "0oa1b2c3d4E5f6G7h8i9", "00g1b2c3d4E5f6G7h8i9"
LONG_NAME = "pigment-planning-latin-america-and-the-caribbean"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (f"/api/v1/apps/{LONG_APP}", f"application {LONG_APP}"),
        (f"/api/v1/apps/{LONG_APP}/users", f"the people of application {LONG_APP}"),
        (f"/api/v1/apps/{LONG_APP}/groups", f"the groups of application {LONG_APP}"),
        (f"/api/v1/groups/{LONG_GROUP}/users", f"the members of group {LONG_NAME} ({LONG_GROUP})"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 404, 503])
async def test_message_names_what_was_asked_for_the_request_and_its_id(path: str, what: str, status: int) -> None:
    org = Org(names={LONG_GROUP: LONG_NAME}, members={LONG_GROUP: []})
    answers = {
        f"/api/v1/apps/{LONG_APP}": org.app | {"id": LONG_APP},
        f"/api/v1/apps/{LONG_APP}/users": [],
        f"/api/v1/apps/{LONG_APP}/groups": [org.group(LONG_GROUP)],
        f"/api/v1/groups/{LONG_GROUP}/users": [],
    }

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == path:
            return httpx.Response(status, headers={"x-okta-request-id": "aYx0123456789abcdef0123456789abcdef"})
        return httpx.Response(200, json=answers[request.url.path])

    with pytest.raises(ReadError) as raised:
        await org.connector(transport=answer).read(Source("okta-main", LONG_APP))
    trace = f"[GET {path}, request id aYx0123456789abcdef0123456789abcdef]"
    assert raised.value.message == f"Okta (okta-main) answered {status} for {what} {trace}."


async def test_message_names_the_page_of_a_list() -> None:
    org = company()
    org.at[PEOPLE] = [org.answer, *[error(503)] * WHAT_STAYS]
    assert f"answered 503 for page 2 of the people of application {APP}: " in (await failure(org)).message


async def test_error_is_quoted_with_its_causes_and_code() -> None:
    org = company()
    refused = {
        "errorCode": "E0000001",
        "errorSummary": "Api validation failed: limit",
        "errorCauses": [{"errorSummary": "limit: must be a number from 1 to 200."}],
    }
    org.at[PEOPLE] = [lambda _: httpx.Response(400, json=refused)]
    shown = ': "Api validation failed: limit (limit: must be a number from 1 to 200.)" (E0000001) ['
    assert shown in (await failure(org)).message


# Faults that stay: credentials (exit 6).


async def test_token_that_stays_refused_is_a_matter_of_credentials() -> None:
    org = company()
    ended = await failure(org, "00wrong-and-secret")
    assert isinstance(ended, CredentialsRefused)
    assert ended.code == "credentials"
    assert "answered 401" in ended.message
    assert len(org.requests) == 2


@pytest.mark.parametrize("path", [THE_APP, PEOPLE, GROUPS, MEMBERS])
async def test_missing_permission_is_a_matter_of_credentials(path: str) -> None:
    org = company()
    org.at[path] = [error(403, "E0000006", "You do not have permission to perform the requested action")]
    ended = await failure(org)
    assert isinstance(ended, PermissionMissing)
    assert ended.code == "permission-missing"
    assert "You do not have permission" in ended.message
    assert "scope okta." in ended.hint


async def test_lookup_never_makes_an_answer_up() -> None:
    for fault in (html(404), error(404, "E0000008"), error(403, "E0000006"), html(200), error(500)):
        org = company()
        org.at["/api/v1/users/00uana"] = [fault] * WHAT_STAYS
        with pytest.raises(ReadError):
            await org.connector().lookup("00uana", SOURCE)


# Everything at once.

EVERY_FAULT: tuple[Fault, ...] = (
    *(error(status) for status in (400, 401, 403, 404, 410, 429, 500, 503)),
    html(200),
    broken_off,
    cut_off,
    body(b"[]", headers={"link": '<https://evil.example.com/>; rel="next"'}),
    body(b"[null]"),
)


@pytest.mark.parametrize("fault", EVERY_FAULT)
@pytest.mark.parametrize("stays", [False, True])
async def test_fault_at_any_one_request_never_gives_a_shorter_snapshot(fault: Fault, stays: bool) -> None:
    expected = await whole()
    count = company()
    await count.connector().read(SOURCE)
    for number in range(1, len(count.requests) + 1):
        org = company()
        org.nth = dict.fromkeys(range(number, WHAT_STAYS if stays else number + 1), fault)
        try:
            snapshot = await org.connector().read(SOURCE)
        except ReadError:
            continue
        assert snapshot == expected or "" in snapshot.unidentified


# The document.


def test_document_names_a_test_for_every_cell_and_every_test_has_its_cell() -> None:
    lines = [line for line in FAULTS_DOCUMENT.read_text(encoding="utf-8").splitlines() if "`test_" in line]
    named = {name for line in lines for name in re.findall(r"`(test_\w+)`", line)}
    tests = {name for name in globals() if name.startswith("test_") and "document" not in name}
    parts = ("okta_token", "okta_dpop", "okta_reading", "lookups")
    modules = [FAULTS_DOCUMENT.parents[1] / f"tests/contract/test_{part}.py" for part in parts]
    elsewhere = {name for file in modules for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))}
    assert tests <= named <= tests | elsewhere
    codes = {int(code) for line in lines for code in re.findall(r"\| (\d) \|", line)}
    assert codes == {ExitCode.DONE, ExitCode.HELD, ExitCode.INCOMPLETE, ExitCode.CONFIG}
