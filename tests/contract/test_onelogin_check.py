"""What `check` finds in a OneLogin account."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from connectors.base import CheckName, Finding, Source
from connectors.onelogin.connector import NO_SCOPE_MESSAGE
from tests.contract.check_lines import message, problems
from tests.contract.okta_org import Fault, body, unreachable
from tests.contract.onelogin_account import (
    APP,
    MEMBERS,
    PEOPLE,
    ROLES,
    SALES,
    SOURCE,
    STAFF,
    THE_APP,
    USERS,
    Account,
    company,
    error,
    not_found,
)


async def found(account: Account, *sources: Source) -> list[Finding]:
    return await account.connector().check(sources)


async def test_check_of_a_healthy_account_shows_the_evidence_of_each_permission() -> None:
    account = company()
    account.page = 100
    findings = await found(account, SOURCE)
    assert [(finding.name.value, finding.message) for finding in findings] == [
        ("clock-skew", "this machine's clock and the server's differ by 0 s"),
        ("credentials", "OneLogin reachable, credentials accepted, users readable."),
        ("granted-scopes", NO_SCOPE_MESSAGE),
        ("suspended-person", "person 103, who is status 2, state 1, can be read by id"),
        ("application", "Pigment can be read"),
        ("assigned-people", "assigned to Pigment: 4 people"),
        ("groups", "Pigment has the roles that count: Sales, Staff"),
        ("group-members", "role Sales: 2 people"),
        ("group-members", "role Staff: 2 people"),
        ("page-size", "each list fits in one page, so it is not shown that a page holds the 1,000 rows asked for"),
        ("one-person", "person 101 can be read by id: status 1, state 1"),
        ("groups-of-person", "the groups of person 101 can be read: 2"),
    ]
    assert problems(findings) == []
    assert {finding.subject for finding in findings} == {
        "connector onelogin-apac",
        f"connector onelogin-apac, app {APP}",
    }


async def test_check_reads_the_first_page_of_each_list_alone() -> None:
    account = company()
    findings = await found(account, SOURCE)
    for path in (PEOPLE, MEMBERS, f"{ROLES}/{STAFF}/users"):
        assert [dict(request.url.params) for request in account.requests_to(path)] == [{"limit": "1000"}]
    assert "role Sales: 2 people" in [finding.message for finding in findings]
    assert message(findings, CheckName.ASSIGNED_PEOPLE) == "assigned to Pigment: at least 2 people"
    assert message(findings, CheckName.PAGE_SIZE).startswith("a page holds 2 rows where 1,000 are asked for")


async def test_check_without_sources_tries_the_credentials() -> None:
    account = company()
    assert problems(await found(account)) == []
    assert [request.url.path for request in account.requests] == [USERS]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (unreachable, "can't be reached"),
        (error(401), "answered 401"),
        (error(403), "answered 403"),
        (body(b'[{"id": 1, "status": null, "email": "a@example.com"}]'), "none of them shows: status, state"),
    ],
)
async def test_check_of_an_account_out_of_reach_finds_that_alone(fault: Fault, why: str) -> None:
    account = company()
    account.nth = dict.fromkeys(range(1, 99), fault)
    (finding,) = problems(await found(account, SOURCE, replace(SOURCE, app="2000009")))
    assert (finding.level, finding.subject, finding.name) == ("error", "connector onelogin-apac", "credentials")
    assert why in finding.message
    assert finding.remedy


async def test_check_finds_credentials_that_get_no_token() -> None:
    (finding,) = problems(await company().connector(client_secret="wrong").check([SOURCE]))
    assert finding.level == "error"
    assert "Unauthorized Error" in finding.message
    assert "client_secret" in finding.remedy


@pytest.mark.parametrize("path", [THE_APP, PEOPLE, ROLES, MEMBERS, f"{ROLES}/{STAFF}/users"])
@pytest.mark.parametrize(("fault", "status"), [(error(403), 403), (not_found(), 404)])
async def test_check_finds_what_may_not_be_read_and_goes_on_to_the_next_source(
    path: str, fault: Fault, status: int
) -> None:
    account = company()
    account.at[path] = [fault]
    # A role that this source does not count is read too: without it no individual assignment is certain.
    only_sales = replace(SOURCE, groups=("Sales",))
    (broken,) = problems(await found(account, only_sales, SOURCE))
    assert (broken.level, broken.source) == ("error", only_sales)
    assert f"answered {status}" in broken.message
    assert "Read All" in broken.remedy


async def test_check_finds_a_role_that_the_application_does_not_have() -> None:
    (finding,) = problems(await found(company(), replace(SOURCE, groups=("Nobody",))))
    assert (finding.level, finding.name) == ("error", CheckName.GROUPS)
    assert "Nobody" in finding.message


@pytest.mark.parametrize("path", [PEOPLE, MEMBERS])
async def test_check_finds_a_missing_permission_that_shows_as_nulls(path: str) -> None:
    account = company()
    account.at[path] = [lambda _: httpx.Response(200, json=[{"id": None}])]
    (finding,) = problems(await found(account, SOURCE))
    assert finding.level == "error"
    assert "Read All" in finding.remedy


async def test_check_warns_of_an_application_without_roles_or_people() -> None:
    without_roles, without_people = company(), company()
    without_roles.app["role_ids"] = []
    without_people.roles[SALES], without_people.roles[STAFF] = [], []
    for account, words in ((without_roles, "no roles"), (without_people, "roles that have no users")):
        (finding,) = problems(await found(account, SOURCE))
        assert finding.level == "warning"
        assert words in finding.message
        assert finding.remedy


async def test_check_warns_of_counted_roles_without_people() -> None:
    account = company()
    account.roles[SALES] = []
    only_sales = replace(SOURCE, groups=("Sales",))
    (finding,) = problems(await found(account, only_sales, SOURCE))
    assert (finding.level, finding.source) == ("warning", only_sales)
    assert "Sales" in finding.message
    assert "Staff" not in finding.message
