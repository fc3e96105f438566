"""What `check` finds in an Entra tenant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from connectors.base import Finding, Source
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
    page,
    sign_in,
    user,
)
from tests.contract.okta_org import Fault, unreachable

OURSELVES = f"/v1.0/servicePrincipals(appId='{CLIENT_ID}')"


@pytest.fixture(autouse=True)
def _signing_in() -> Iterator[None]:
    with sign_in():
        yield


async def found(tenant: Tenant, *sources: Source) -> list[Finding]:
    return await tenant.connector().check(sources)


async def test_check_of_a_healthy_tenant_finds_nothing_to_fix() -> None:
    findings = await found(company(), SOURCE)
    assert [finding.level for finding in findings] == ["ok", "ok"]
    assert findings[0].subject == "connector entra-eu"
    assert findings[1].subject == f"connector entra-eu, app {APP}"
    assert "Sales, Staff" in findings[1].message


async def test_check_reads_one_short_page_of_members_and_one_individual() -> None:
    tenant = company()
    await found(tenant, SOURCE)
    assert [request.url.params["$top"] for request in tenant.requests_to(MEMBERS)] == ["50"]
    assert [request.url.path for request in tenant.requests if "/users/" in request.url.path] == ["/v1.0/users/u-eva"]


async def test_check_looks_at_nested_members_where_the_source_counts_them() -> None:
    tenant = company()
    await found(tenant, replace(SOURCE, nested=True))
    assert tenant.requests_to(MEMBERS) == []
    assert len(tenant.requests_to(f"/v1.0/groups/{SALES}/transitiveMembers")) == 1


@pytest.mark.parametrize("fault", [error(404), error(403), error(400), lambda _: httpx.Response(200, json={})])
async def test_check_without_sources_tries_the_credentials(fault: Fault) -> None:
    tenant = company()
    tenant.at[OURSELVES] = [fault]
    assert [finding.level for finding in await found(tenant)] == ["ok"]
    assert [request.url.path for request in tenant.requests] == [OURSELVES]


@pytest.mark.parametrize(("fault", "why"), [(unreachable, "can't be reached"), (error(401), "401")])
async def test_check_of_a_tenant_out_of_reach_finds_that_alone(fault: Fault, why: str) -> None:
    tenant = company()
    tenant.nth = dict.fromkeys(range(1, 99), fault)
    (finding,) = await found(tenant, SOURCE, replace(SOURCE, app="sp-other"))
    assert (finding.level, finding.subject) == ("error", "connector entra-eu")
    assert why in finding.message
    assert finding.remedy


async def test_check_looks_once_at_a_group_that_is_named_twice() -> None:
    tenant = company()
    _, finding = await found(tenant, replace(SOURCE, groups=("Sales", SALES)))
    assert finding.message.endswith(": Sales.")
    assert len(tenant.requests_to(MEMBERS)) == 1


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
    _, broken, well = await found(tenant, SOURCE, SOURCE)
    assert (broken.level, well.level) == ("error", "ok")
    assert f"answered {status}" in broken.message
    assert remedy in broken.remedy


async def test_check_finds_a_group_that_the_application_does_not_have() -> None:
    _, finding = await found(company(), replace(SOURCE, groups=("Nobody",)))
    assert finding.level == "error"
    assert "Nobody" in finding.message


async def test_check_finds_a_disabled_application() -> None:
    tenant = company()
    tenant.app["accountEnabled"] = False
    _, finding = await found(tenant, SOURCE)
    assert (finding.level, "disabled" in finding.message) == ("error", True)


async def test_check_finds_a_missing_permission_that_shows_as_nulls() -> None:
    tenant = company()
    tenant.at[MEMBERS] = [page([user("ana", userPrincipalName=None, accountEnabled=None)])]
    _, finding = await found(tenant, SOURCE)
    assert finding.level == "error"
    assert "User.Read.All" in finding.remedy


async def test_check_warns_of_an_application_without_groups() -> None:
    tenant = Tenant(names={}, members={})
    tenant.hire("udo", individual=True)
    _, finding = await found(tenant, SOURCE)
    assert finding.level == "warning"
    assert "no groups" in finding.message
    assert finding.remedy
    assert len(tenant.requests_to(PERSON)) == 1


async def test_check_warns_of_an_application_that_anybody_may_sign_in_to() -> None:
    tenant = company()
    tenant.app["appRoleAssignmentRequired"] = False
    _, well, warning = await found(tenant, SOURCE)
    assert (well.level, warning.level) == ("ok", "warning")
    assert "without being assigned" in warning.message
    assert "Assignment required" in warning.remedy


async def test_check_of_a_machines_own_identity_tries_the_credentials_too() -> None:
    tenant = company()
    connector = tenant.connector(client_id=None, client_secret=None, managed_identity=True)
    with sign_in() as router:
        router.get("http://169.254.169.254/metadata/identity/oauth2/token").respond(
            json={"access_token": "token-1", "expires_in": "3599", "resource": "r", "token_type": "Bearer"}
        )
        (finding,) = await connector.check([])
    assert finding.level == "ok"
    assert tenant.requests[0].url.path.startswith("/v1.0/servicePrincipals(appId='00000000-")
