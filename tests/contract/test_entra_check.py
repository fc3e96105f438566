"""What `check` finds in an Entra tenant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
import respx

from connectors.base import CheckName, Finding, Source
from connectors.entra.connector import NO_ROLES_MESSAGE
from tests.contract.check_lines import message, problems
from tests.contract.entra_tenant import (
    APP,
    ASSIGNED,
    CLIENT_ID,
    MEMBERS,
    PERSON,
    SALES,
    SOURCE,
    STAFF,
    THE_APP,
    Tenant,
    company,
    error,
    granted,
    page,
    sign_in,
    token_with,
    user,
)
from tests.contract.okta_org import Fault, unreachable

OURSELVES = f"/v1.0/servicePrincipals(appId='{CLIENT_ID}')"


@pytest.fixture(name="router", autouse=True)
def _signing_in() -> Iterator[respx.MockRouter]:
    with sign_in() as router:
        yield router


async def found(tenant: Tenant, *sources: Source) -> list[Finding]:
    return await tenant.connector().check(sources)


async def test_check_of_a_healthy_tenant_shows_the_evidence_of_each_permission() -> None:
    tenant = company()
    tenant.page = 999
    findings = await found(tenant, SOURCE)
    assert [(finding.name.value, finding.message) for finding in findings] == [
        ("clock-skew", "this machine's clock and the server's differ by 0 s"),
        ("credentials", "Microsoft Graph reachable, credentials accepted."),
        ("granted-scopes", NO_ROLES_MESSAGE),
        ("suspended-person", "person u-ivo, who is accountEnabled=false, can be read by id"),
        ("application", "Pigment is enabled"),
        ("assigned-people", "assigned to Pigment: 2 groups, and 2 people individually"),
        ("groups", "Pigment has the groups that count: Sales, Staff"),
        ("group-members", "group Sales: 2 people"),
        ("group-members", "group Staff: 3 people"),
        ("hidden-members", "no group that counts hides its members, or the token has Member.Read.Hidden"),
        ("next-link", "the next page is at graph.microsoft.com, as configured"),
        ("page-size", "each list fits in one page, so it is not shown that a page holds the 999 rows asked for"),
        ("one-person", "person u-ana can be read by id: accountEnabled=true"),
        ("groups-of-person", "the groups of person u-ana can be read: 2"),
    ]
    assert problems(findings) == []
    assert {finding.subject for finding in findings} == {"connector entra-eu", f"connector entra-eu, app {APP}"}


async def test_check_reads_the_first_page_of_members_and_one_individual() -> None:
    tenant = company()
    findings = await found(tenant, SOURCE)
    assert [request.url.params["$top"] for request in tenant.requests_to(MEMBERS)] == ["999", "1"]
    assert message(findings, CheckName.PAGE_SIZE).startswith("a page holds 2 rows where 999 are asked for")
    assert "/v1.0/users/u-eva" in [request.url.path for request in tenant.requests]


async def test_check_looks_at_nested_members_where_the_source_counts_them() -> None:
    tenant = company()
    await found(tenant, replace(SOURCE, nested=True))
    assert tenant.requests_to(MEMBERS) == []
    assert len(tenant.requests_to(f"/v1.0/groups/{SALES}/transitiveMembers")) == 2


@pytest.mark.parametrize("fault", [error(404), error(403), error(400), lambda _: httpx.Response(200, json={})])
async def test_check_without_sources_tries_the_credentials(fault: Fault) -> None:
    tenant = company()
    tenant.at[OURSELVES] = [fault]
    assert problems(await found(tenant)) == []
    assert [request.url.path for request in tenant.requests] == [OURSELVES]


@pytest.mark.parametrize(("fault", "why"), [(unreachable, "can't be reached"), (error(401), "401")])
async def test_check_of_a_tenant_out_of_reach_finds_that_alone(fault: Fault, why: str) -> None:
    tenant = company()
    tenant.nth = dict.fromkeys(range(1, 99), fault)
    (finding,) = problems(await found(tenant, SOURCE, replace(SOURCE, app="sp-other")))
    assert (finding.level, finding.subject, finding.name) == ("error", "connector entra-eu", "credentials")
    assert why in finding.message
    assert finding.remedy


@pytest.mark.parametrize(
    ("roles", "missing"),
    [
        (("Application.Read.All", "GroupMember.Read.All", "User.Read.All"), ""),
        (("Directory.Read.All",), ""),
        (("Application.Read.All", "Group.Read.All"), "User.Read.All"),
    ],
)
async def test_check_shows_the_permissions_in_the_token(
    router: respx.MockRouter, roles: tuple[str, ...], missing: str
) -> None:
    tenant = company()
    tenant.is_token = lambda _: True
    router["token"].mock(return_value=granted(token=token_with(*roles)))
    (finding,) = [each for each in await found(tenant) if each.name is CheckName.GRANTED_SCOPES]
    assert all(role in finding.message for role in roles)
    assert (finding.level, f"it lacks {missing}." in finding.message) == (
        "warning" if missing else "ok",
        bool(missing),
    )
    assert not missing or missing in finding.remedy


async def test_check_looks_once_at_a_group_that_is_named_twice() -> None:
    tenant = company()
    tenant.page = 999
    findings = await found(tenant, replace(SOURCE, groups=("Sales", SALES)))
    assert message(findings, CheckName.GROUPS).endswith(": Sales")
    assert [request.url.params["$top"] for request in tenant.requests_to(MEMBERS)] == ["999", "1"]


@pytest.mark.parametrize(
    ("path", "status", "remedy"),
    [
        (THE_APP, 404, "object id of the enterprise application"),
        (ASSIGNED, 403, "Application.Read.All"),
        (f"/v1.0/groups/{STAFF}/members", 404, "remove it from the enterprise application"),
        ("/v1.0/users/u-eva", 403, "User.Read.All"),
    ],
)
async def test_check_finds_what_may_not_be_read_and_goes_on_to_the_next_source(
    path: str, status: int, remedy: str
) -> None:
    tenant = company()
    tenant.at[path] = [error(status)]
    other = replace(SOURCE, groups=("Sales",))
    (broken,) = problems(await found(tenant, SOURCE, other))
    assert (broken.level, broken.source) == ("error", SOURCE)
    assert f"answered {status}" in broken.message
    assert remedy in broken.remedy


async def test_check_finds_a_group_that_the_application_does_not_have() -> None:
    (finding,) = problems(await found(company(), replace(SOURCE, groups=("Nobody",))))
    assert (finding.level, finding.name) == ("error", CheckName.GROUPS)
    assert "Nobody" in finding.message


async def test_check_finds_a_disabled_application() -> None:
    tenant = company()
    tenant.app["accountEnabled"] = False
    (finding,) = problems(await found(tenant, SOURCE))
    assert (finding.level, "disabled" in finding.message) == ("error", True)


async def test_check_finds_a_missing_permission_that_shows_as_nulls() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [page([user("ana", userPrincipalName=None, accountEnabled=None)])]
    (finding,) = problems(await found(tenant, SOURCE))
    assert (finding.level, finding.name) == ("error", CheckName.GROUP_MEMBERS)
    assert "User.Read.All" in finding.remedy


async def test_check_warns_of_an_application_without_groups() -> None:
    tenant = Tenant(names={}, members={})
    tenant.hire("udo", individual=True)
    (finding,) = problems(await found(tenant, SOURCE))
    assert (finding.level, finding.name) == ("warning", CheckName.GROUPS)
    assert "no groups" in finding.message
    assert finding.remedy
    assert len(tenant.requests_to(PERSON)) >= 1


async def test_check_warns_of_an_application_that_anybody_may_sign_in_to() -> None:
    tenant = company()
    tenant.app["appRoleAssignmentRequired"] = False
    (warning,) = problems(await found(tenant, SOURCE))
    assert (warning.level, warning.name) == ("warning", CheckName.OPEN_APPLICATION)
    assert "without being assigned" in warning.message
    assert "Assignment required" in warning.remedy


async def test_check_of_a_machines_own_identity_tries_the_credentials_too() -> None:
    tenant = company()
    connector = tenant.connector(client_id=None, client_secret=None, managed_identity=True)
    with sign_in() as router:
        router.get("http://169.254.169.254/metadata/identity/oauth2/token").respond(
            json={"access_token": "token-1", "expires_in": "3599", "resource": "r", "token_type": "Bearer"}
        )
        findings = await connector.check([])
    assert problems(findings) == []
    assert tenant.requests[0].url.path.startswith("/v1.0/servicePrincipals(appId='00000000-")
