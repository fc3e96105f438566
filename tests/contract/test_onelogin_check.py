"""What `check` finds in a OneLogin account."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from connectors.base import Finding, Source
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


async def test_check_of_a_healthy_account_finds_nothing_to_fix() -> None:
    findings = await found(company(), SOURCE)
    assert [finding.level for finding in findings] == ["ok", "ok"]
    assert findings[0].subject == "connector onelogin-apac"
    assert findings[1].subject == f"connector onelogin-apac, app {APP}"
    assert findings[1].message == "Pigment and its people and roles can be read: Sales, Staff."


async def test_check_reads_one_short_page_of_people_and_roles() -> None:
    account = company()
    await found(account, SOURCE)
    for path in (USERS, PEOPLE, MEMBERS, f"{ROLES}/{STAFF}/users"):
        assert [dict(request.url.params) for request in account.requests_to(path)] == [{"limit": "50"}]


async def test_check_without_sources_tries_the_credentials() -> None:
    account = company()
    assert [finding.level for finding in await found(account)] == ["ok"]
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
    (finding,) = await found(account, SOURCE, replace(SOURCE, app="2000009"))
    assert (finding.level, finding.subject) == ("error", "connector onelogin-apac")
    assert why in finding.message
    assert finding.remedy


async def test_check_finds_credentials_that_get_no_token() -> None:
    (finding,) = await company().connector(client_secret="wrong").check([SOURCE])
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
    _, broken, well = await found(account, replace(SOURCE, groups=("Sales",)), SOURCE)
    assert (broken.level, well.level) == ("error", "ok")
    assert f"answered {status}" in broken.message
    assert "Read All" in broken.remedy


async def test_check_finds_a_role_that_the_application_does_not_have() -> None:
    _, finding = await found(company(), replace(SOURCE, groups=("Nobody",)))
    assert finding.level == "error"
    assert "Nobody" in finding.message


@pytest.mark.parametrize("path", [PEOPLE, MEMBERS])
async def test_check_finds_a_missing_permission_that_shows_as_nulls(path: str) -> None:
    account = company()
    account.at[path] = [lambda _: httpx.Response(200, json=[{"id": None}])]
    _, finding = await found(account, SOURCE)
    assert finding.level == "error"
    assert "Read All" in finding.remedy


async def test_check_warns_of_an_application_without_roles_or_people() -> None:
    without_roles, without_people = company(), company()
    without_roles.app["role_ids"] = []
    without_people.roles[SALES], without_people.roles[STAFF] = [], []
    for account, words in ((without_roles, "no roles"), (without_people, "roles that have no users")):
        _, finding = await found(account, SOURCE)
        assert finding.level == "warning"
        assert words in finding.message
        assert finding.remedy


async def test_check_warns_of_counted_roles_without_people() -> None:
    account = company()
    account.roles[SALES] = []
    _, finding, other = await found(account, replace(SOURCE, groups=("Sales",)), SOURCE)
    assert (finding.level, other.level) == ("warning", "ok")
    assert "Sales" in finding.message
    assert "Staff" not in finding.message
