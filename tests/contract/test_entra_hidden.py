"""Groups that hide their members from a token without Member.Read.Hidden: never an empty list, never a short one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import respx

from connectors.base import IncompleteRead, PermissionMissing, Snapshot
from tests.contract.entra_tenant import (
    INNER,
    SALES,
    SOURCE,
    STAFF,
    Tenant,
    company,
    error,
    granted,
    ids,
    sign_in,
    token_with,
)

USUAL = ("Application.Read.All", "GroupMember.Read.All", "User.Read.All")


@pytest.fixture(autouse=True)
def router() -> Iterator[respx.MockRouter]:
    with sign_in() as routes:
        yield routes


def signed_in(router: respx.MockRouter, tenant: Tenant, token: str) -> Tenant:
    router["token"].mock(side_effect=lambda _: granted(token=token))
    tenant.is_token = lambda header: header == f"Bearer {token}"
    return tenant


def hiding(group: str, shown: int = 0) -> Tenant:
    """A company where *group* hides its members, so that only *shown* of them are listed."""
    tenant = company()
    tenant.hidden.add(group)
    tenant.members[group] = tenant.members[group][:shown]
    return tenant


def asked_of_groups(tenant: Tenant) -> list[str]:
    return [
        request.url.path
        for request in tenant.requests
        if request.url.path in {f"/v1.0/groups/{SALES}", f"/v1.0/groups/{STAFF}"}
    ]


@pytest.mark.parametrize("shown", [0, 1])
@pytest.mark.parametrize("token", [token_with(*USUAL), token_with(), token_with("Directory.Read.All")])
async def test_hidden_group_without_the_permission_is_an_error_that_names_both(
    router: respx.MockRouter, shown: int, token: str
) -> None:
    tenant = signed_in(router, hiding(SALES, shown), token)
    with pytest.raises(PermissionMissing) as ended:
        await tenant.connector().read(SOURCE)
    assert "Entra (entra-eu) hides the members of group Sales (g-sales)" in ended.value.message
    assert "Member.Read.Hidden" in ended.value.message
    assert "Member.Read.Hidden" in ended.value.hint


async def test_hidden_group_with_the_permission_is_read_as_any_other(router: respx.MockRouter) -> None:
    tenant = signed_in(router, company(), token_with(*USUAL, "Member.Read.Hidden"))
    tenant.hidden.add(SALES)
    assert ids((await tenant.connector().read(SOURCE)).people) == ["u-ana", "u-eva", "u-ivo", "u-udo"]
    assert asked_of_groups(tenant) == []


async def test_groups_that_hide_nothing_are_read_without_the_permission(router: respx.MockRouter) -> None:
    tenant = signed_in(router, company(), token_with(*USUAL))
    connector = tenant.connector()
    first: Snapshot = await connector.read(SOURCE)
    assert ids(first.people) == ["u-ana", "u-eva", "u-ivo", "u-udo"]
    assert await connector.read(SOURCE) == first
    assert sorted(asked_of_groups(tenant)) == [f"/v1.0/groups/{SALES}", f"/v1.0/groups/{STAFF}"]


async def test_only_groups_that_the_source_counts_must_be_shown(router: respx.MockRouter) -> None:
    tenant = signed_in(router, hiding(STAFF), token_with(*USUAL))
    assert ids((await tenant.connector().read(replace(SOURCE, groups=("Sales",)))).groups) == [SALES]


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.bnVsbA.c", "a.W10.c", "a.eyJyb2xlcyI6IDd9.c"])
async def test_empty_hidden_group_is_an_error_where_the_token_shows_no_permissions(
    router: respx.MockRouter, token: str
) -> None:
    tenant = signed_in(router, hiding(SALES), token)
    with pytest.raises(PermissionMissing, match=r"Sales \(g-sales\).*seems not to have.*Member\.Read\.Hidden"):
        await tenant.connector().read(SOURCE)
    assert asked_of_groups(tenant) == [f"/v1.0/groups/{SALES}"]


async def test_empty_group_that_hides_nothing_is_empty(router: respx.MockRouter) -> None:
    tenant = signed_in(router, hiding(SALES), "opaque")
    tenant.hidden.clear()
    assert [group.people for group in (await tenant.connector().read(SOURCE)).groups if group.id == SALES] == [0]


async def test_hidden_group_inside_a_counted_one_is_an_error_where_nested_ones_count(router: respx.MockRouter) -> None:
    tenant = signed_in(router, company(), token_with(*USUAL))
    tenant.others[INNER]["visibility"] = "HiddenMembership"
    assert (await tenant.connector().read(SOURCE)).people
    with pytest.raises(PermissionMissing, match=r"group Inner \(in Staff\)"):
        await tenant.connector().read(replace(SOURCE, nested=True))


@pytest.mark.parametrize("shown", [0, 1])
async def test_group_that_graph_lists_and_does_not_know_is_an_error_where_it_is_empty(
    router: respx.MockRouter, shown: int
) -> None:
    tenant = signed_in(router, hiding(SALES, shown), token_with(*USUAL))
    tenant.at[f"/v1.0/groups/{SALES}"] = [error(404)]
    if shown:
        assert "u-ana" in ids((await tenant.connector().read(SOURCE)).people)
        return
    with pytest.raises(
        IncompleteRead, match=r"lists no members of group Sales \(g-sales\) and does not know the group"
    ):
        await tenant.connector().read(SOURCE)


async def test_check_reports_the_hidden_group(router: respx.MockRouter) -> None:
    tenant = signed_in(router, hiding(SALES), token_with(*USUAL))
    found = await tenant.connector().check([SOURCE])
    (error,) = [finding for finding in found if finding.level == "error"]
    assert "Sales (g-sales)" in error.message
    assert "Member.Read.Hidden" in error.remedy
