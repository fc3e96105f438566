"""What `check` finds in an Okta org."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from connectors.base import CheckName, Finding, Source
from tests.contract.check_lines import levels, message, problems
from tests.contract.okta_org import APP, SALES, SOURCE, STAFF, Fault, Org, company, error, unreachable


async def found(org: Org, *sources: Source) -> list[Finding]:
    return await org.connector().check(sources)


async def test_check_of_a_healthy_org_shows_the_evidence_of_each_permission() -> None:
    org = company()
    org.page = 500
    findings = await found(org, SOURCE)
    assert [(finding.name.value, finding.message) for finding in findings] == [
        ("clock-skew", "this machine's clock and the server's differ by 0 s"),
        ("credentials", "Okta reachable, credentials accepted."),
        ("granted-scopes", "an API token has the rights of the administrator who made it: Okta does not show them"),
        ("suspended-person", "person 00uivo, who is SUSPENDED, can be read by id"),
        ("application", "Pigment is active"),
        ("assigned-people", "assigned to Pigment: 4 people"),
        ("groups", "Pigment has the groups that count: Sales, Staff"),
        ("group-members", "group Sales: 2 people"),
        ("group-members", "group Staff: 3 people"),
        ("next-link", "the next page is at acme.okta.com, as configured"),
        ("page-size", "each list fits in one page, so it is not shown that a page holds the 200 rows asked for"),
        ("one-person", "person 00uana can be read by id: ACTIVE"),
        ("groups-of-person", "the groups of person 00uana can be read: 2"),
    ]
    assert problems(findings) == []
    assert {finding.subject for finding in findings} == {"connector okta-main", f"connector okta-main, app {APP}"}
    assert {finding.source for finding in findings} == {None, SOURCE}


async def test_check_reads_the_first_page_of_each_list_alone() -> None:
    org = company()
    await found(org, SOURCE)
    assert [request.url.params["limit"] for request in org.requests_to(f"/api/v1/groups/{SALES}/users")] == ["200"]
    assert [request.url.params["limit"] for request in org.requests_to(f"/api/v1/apps/{APP}/users")] == ["500", "1"]
    assert not any("after" in request.url.params for request in org.requests if "/users" in request.url.path)


async def test_check_counts_only_what_the_first_page_shows() -> None:
    findings = await found(company(), SOURCE)
    assert "group Staff: at least 2 people" in [finding.message for finding in findings]
    assert message(findings, CheckName.PAGE_SIZE) == (
        "a page holds 2 rows where 200 are asked for; reads go on with what comes"
    )


async def test_check_without_sources_tries_the_credentials() -> None:
    org = company()
    assert set(levels(await found(org)).values()) == {"ok"}
    assert [request.url.path for request in org.requests] == ["/api/v1/apps"]


async def test_check_takes_a_role_that_may_not_list_applications_for_known() -> None:
    org = company()
    org.at["/api/v1/apps"] = [error(403, "E0000006")]
    assert problems(await found(org, SOURCE)) == []


@pytest.mark.parametrize(("fault", "why"), [(unreachable, "can't be reached"), (error(401, "E0000011"), "401")])
async def test_check_of_an_org_out_of_reach_finds_that_alone(fault: Fault, why: str) -> None:
    org = company()
    org.nth = dict.fromkeys(range(1, 99), fault)
    clock, finding = await found(org, SOURCE, replace(SOURCE, app="0oaother"))
    assert (clock.name, clock.level) == (CheckName.CLOCK_SKEW, "ok")
    assert (finding.level, finding.subject, finding.name) == ("error", "connector okta-main", "credentials")
    assert why in finding.message
    assert finding.remedy


@pytest.mark.parametrize(("ahead", "level", "words"), [(59, "ok", "differ by"), (90, "warning", "90 s behind")])
async def test_check_compares_the_clocks(ahead: int, level: str, words: str) -> None:
    org = company()
    org.clock_ahead = ahead
    clock, *_ = await found(org)
    assert (clock.level, words in clock.message) == (level, True)


async def test_check_of_a_signing_app_finds_a_clock_that_is_minutes_wrong() -> None:
    org = company()
    org.clock_ahead = -400
    connector = org.connector(client_id="0oaclient", private_key="unused", api_token=None)
    clock, *_ = await connector.check([])
    assert (clock.level, clock.name) == ("error", CheckName.CLOCK_SKEW)
    assert "399 s ahead of the server's: what it signs is refused" in clock.message


async def test_check_looks_once_at_a_group_that_is_named_twice() -> None:
    org = company()
    findings = await found(org, replace(SOURCE, groups=("Sales", SALES)))
    assert message(findings, CheckName.GROUPS).endswith(": Sales")
    assert len(org.requests_to(f"/api/v1/groups/{SALES}/users")) == 1


@pytest.mark.parametrize(
    ("path", "status", "name"),
    [
        (f"/api/v1/apps/{APP}", 404, CheckName.APPLICATION),
        (f"/api/v1/apps/{APP}/users", 403, CheckName.ASSIGNED_PEOPLE),
        (f"/api/v1/apps/{APP}/groups", 403, CheckName.APPLICATION),
        (f"/api/v1/groups/{STAFF}/users", 404, CheckName.GROUP_MEMBERS),
    ],
)
async def test_check_finds_what_may_not_be_read_and_goes_on_to_the_next_source(
    path: str, status: int, name: CheckName
) -> None:
    org = company()
    org.at[path] = [error(status)]
    other = replace(SOURCE, groups=("Sales", "Staff"))
    (broken,) = problems(await found(org, SOURCE, other))
    assert (broken.level, broken.name, broken.source) == ("error", name, SOURCE)
    assert f"answered {status}" in broken.message
    assert broken.remedy


async def test_check_goes_on_with_the_other_checks_of_a_source() -> None:
    org = company()
    org.at[f"/api/v1/groups/{STAFF}/users"] = [error(403)]
    findings = await found(org, SOURCE)
    assert "group Sales: 2 people" in [finding.message for finding in findings]
    assert levels(findings)[CheckName.ONE_PERSON] == "ok"


async def test_check_finds_a_group_that_the_application_does_not_have() -> None:
    (finding,) = problems(await found(company(), replace(SOURCE, groups=("Nobody",))))
    assert (finding.level, finding.name) == ("error", CheckName.GROUPS)
    assert "Nobody" in finding.message


@pytest.mark.parametrize("path", [f"/api/v1/apps/{APP}/users", f"/api/v1/groups/{SALES}/users"])
async def test_check_finds_a_missing_permission_that_shows_as_nulls(path: str) -> None:
    org = company()
    org.at[path] = [lambda _: httpx.Response(200, json=[{"id": "00uana", "status": None, "profile": {}}])]
    (finding,) = problems(await found(org, SOURCE))
    assert finding.level == "error"
    assert "okta.users.read" in finding.remedy


async def test_check_warns_that_no_suspended_person_can_be_read() -> None:
    refused, lost = company(), company()
    refused.at["/api/v1/users"] = [error(403)]
    lost.at["/api/v1/users/00uivo"] = [error(404)]
    for org, words in ((refused, "answered 403"), (lost, "does not exist when read by id")):
        (finding,) = problems(await found(org, SOURCE))
        assert (finding.level, finding.name) == ("warning", CheckName.SUSPENDED_PERSON)
        assert words in finding.message
        assert "reasons of leavers" in finding.remedy


async def test_check_says_that_no_suspended_person_was_found() -> None:
    org = company()
    org.users["00uivo"]["status"] = "ACTIVE"
    findings = await found(org, SOURCE)
    assert "no suspended or deactivated person" in message(findings, CheckName.SUSPENDED_PERSON)
    assert problems(findings) == []


async def test_check_finds_a_next_page_at_another_address() -> None:
    org = company()
    elsewhere = {"link": '<https://acme-admin.okta.com/api/v1/apps/x/users?after=1>; rel="next"'}
    rows = [{"id": "00uana", "status": "ACTIVE", "_embedded": {"user": org.users["00uana"]}}]
    answer: Fault = lambda _: httpx.Response(200, json=rows, headers=elsewhere)  # noqa: E731  (as others here)
    org.at[f"/api/v1/apps/{APP}/users"] = [answer, answer]
    (finding,) = problems(await found(org, SOURCE))
    assert (finding.level, finding.name) == ("error", CheckName.NEXT_LINK)
    assert "https://acme-admin.okta.com, and the configuration has https://acme.okta.com" in finding.message
    assert "`org_url`" in finding.remedy


async def test_check_warns_of_an_application_without_groups_or_people() -> None:
    without_groups, without_people = Org(names={}, members={}), Org()
    without_groups.hire("ana", scope="USER")
    for org, words in ((without_groups, "no groups"), (without_people, "no assigned people")):
        (finding,) = problems(await found(org, SOURCE))
        assert finding.level == "warning"
        assert words in finding.message
        assert finding.remedy
