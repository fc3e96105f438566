"""What `check` finds in an Okta org."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from connectors.base import Finding, Source
from tests.contract.okta_org import APP, SALES, SOURCE, STAFF, Fault, Org, company, error, unreachable


async def found(org: Org, *sources: Source) -> list[Finding]:
    return await org.connector().check(sources)


async def test_check_of_a_healthy_org_finds_nothing_to_fix() -> None:
    org = company()
    findings = await found(org, SOURCE)
    assert [finding.level for finding in findings] == ["ok", "ok"]
    assert findings[0].subject == "connector okta-main"
    assert findings[1].subject == f"connector okta-main, app {APP}"
    assert "Sales, Staff" in findings[1].message


async def test_check_reads_one_short_page_of_people_and_members() -> None:
    org = company()
    await found(org, SOURCE)
    for path in (f"/api/v1/apps/{APP}/users", f"/api/v1/groups/{SALES}/users"):
        assert [request.url.params["limit"] for request in org.requests_to(path)] == ["50"]


async def test_check_without_sources_tries_the_credentials() -> None:
    org = company()
    assert [finding.level for finding in await found(org)] == ["ok"]
    assert [request.url.path for request in org.requests] == ["/api/v1/apps"]


async def test_check_takes_a_role_that_may_not_list_applications_for_known() -> None:
    org = company()
    org.at["/api/v1/apps"] = [error(403, "E0000006")]
    assert [finding.level for finding in await found(org, SOURCE)] == ["ok", "ok"]


@pytest.mark.parametrize(("fault", "why"), [(unreachable, "can't be reached"), (error(401, "E0000011"), "401")])
async def test_check_of_an_org_out_of_reach_finds_that_alone(fault: Fault, why: str) -> None:
    org = company()
    org.nth = dict.fromkeys(range(1, 99), fault)
    (finding,) = await found(org, SOURCE, replace(SOURCE, app="0oaother"))
    assert (finding.level, finding.subject) == ("error", "connector okta-main")
    assert why in finding.message
    assert finding.remedy


async def test_check_looks_once_at_a_group_that_is_named_twice() -> None:
    org = company()
    _, finding = await found(org, replace(SOURCE, groups=("Sales", SALES)))
    assert finding.message.endswith(": Sales.")
    assert len(org.requests_to(f"/api/v1/groups/{SALES}/users")) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/api/v1/apps/{APP}", 404),
        (f"/api/v1/apps/{APP}/users", 403),
        (f"/api/v1/apps/{APP}/groups", 403),
        (f"/api/v1/groups/{STAFF}/users", 404),
    ],
)
async def test_check_finds_what_may_not_be_read_and_goes_on_to_the_next_source(path: str, status: int) -> None:
    org = company()
    org.at[path] = [error(status)]
    _, broken, well = await found(org, SOURCE, SOURCE)
    assert (broken.level, well.level) == ("error", "ok")
    assert f"answered {status}" in broken.message
    assert broken.remedy


async def test_check_finds_a_group_that_the_application_does_not_have() -> None:
    _, finding = await found(company(), replace(SOURCE, groups=("Nobody",)))
    assert finding.level == "error"
    assert "Nobody" in finding.message


@pytest.mark.parametrize("path", [f"/api/v1/apps/{APP}/users", f"/api/v1/groups/{SALES}/users"])
async def test_check_finds_a_missing_permission_that_shows_as_nulls(path: str) -> None:
    org = company()
    org.at[path] = [lambda _: httpx.Response(200, json=[{"id": "00uana", "status": None, "profile": {}}])]
    _, finding = await found(org, SOURCE)
    assert finding.level == "error"
    assert "okta.users.read" in finding.remedy


async def test_check_warns_of_an_application_without_groups_or_people() -> None:
    without_groups, without_people = Org(names={}, members={}), Org()
    for org, words in ((without_groups, "no groups"), (without_people, "no assigned people")):
        _, finding = await found(org, SOURCE)
        assert finding.level == "warning"
        assert words in finding.message
        assert finding.remedy
