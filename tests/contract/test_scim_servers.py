"""What the SCIM client promises, kept with servers of three makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from agent.errors import TokensRefused, WriteRefused
from agent.model import Fields, Member
from agent.ports.workspace import WorkspaceWriter
from connectors.base import CheckName, CredentialsRefused
from tests.contract.scim_faults import OpenClient
from tests.contract.scim_servers import SERVERS, TOKEN, Server


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    running = SERVERS[request.param]()
    yield running
    await running.transport.aclose()


@pytest.fixture
async def workspace(server: Server) -> AsyncIterator[OpenClient]:
    async with server.client() as client:
        yield client


async def hired(workspace: WorkspaceWriter, name: str) -> Member:
    return await workspace.create(f"{name}@acme.com", f"{name.title()} Lima", name.title(), "Lima")


async def test_client_is_a_workspace(workspace: OpenClient) -> None:
    taken_as: WorkspaceWriter = workspace

    assert taken_as.requests == 0


async def test_empty_workspace_is_one_page_without_members(workspace: WorkspaceWriter) -> None:
    listing = await workspace.list_members()

    assert (listing.members, listing.page_count, workspace.requests) == ((), 1, 1)


async def test_listing_holds_every_member_inactive_ones_too(server: Server, workspace: WorkspaceWriter) -> None:
    made = {(await hired(workspace, f"p{number}")).scim_id for number in range(25)}
    leaver = (await workspace.find("p7@acme.com"))[0]
    await workspace.patch(leaver, Fields(active=False))

    async with server.client(page_size=10) as small_pages:
        listing = await small_pages.list_members()

        assert {member.scim_id for member in listing.members} == made
        assert {member.email for member in listing.members if member.active is False} == {"p7@acme.com"}
        assert listing.page_count == small_pages.requests


async def test_created_member_shows_what_was_sent(workspace: WorkspaceWriter) -> None:
    member = await workspace.create("Ana.Souza@acme.com", "Ana Souza", "Ana", "Souza")

    assert (member.email, member.display_name, member.active) == ("Ana.Souza@acme.com", "Ana Souza", True)
    assert (await workspace.list_members()).members == (member,)


@pytest.mark.parametrize("email", ["ana+test@acme.com", "o'brien@acme.com", "josé@acme.com", "a&b=c%20#d@acme.com"])
async def test_member_is_found_by_any_email(workspace: WorkspaceWriter, email: str) -> None:
    member = await workspace.create(email, "Ana", "Ana", "")
    await hired(workspace, "bea")

    assert await workspace.find(email) == (member,)
    assert await workspace.find(email.upper().replace("É", "é")) == (member,)


async def test_lookup_of_an_unknown_name_returns_no_member(workspace: WorkspaceWriter) -> None:
    await hired(workspace, "ana")

    assert await workspace.find('ana" or userName pr or userName eq "') == ()


async def test_second_member_with_an_email_is_refused_as_taken(workspace: WorkspaceWriter) -> None:
    await hired(workspace, "ana")

    with pytest.raises(WriteRefused) as refused:
        await hired(workspace, "ana")

    assert refused.value.status == 409
    assert len((await workspace.list_members()).members) == 1


async def test_leaver_is_deactivated_and_comes_back(workspace: WorkspaceWriter) -> None:
    ana = await hired(workspace, "ana")

    deactivated = await workspace.patch(ana, Fields(active=False))
    back = await workspace.patch(deactivated, Fields(active=True))

    assert (deactivated.scim_id, deactivated.active, back.scim_id, back.active) == (
        ana.scim_id,
        False,
        ana.scim_id,
        True,
    )
    assert (await workspace.find(ana.email))[0].active is True


async def test_new_name_is_shown(workspace: WorkspaceWriter) -> None:
    ana = await hired(workspace, "ana")

    renamed = await workspace.patch(ana, Fields(display_name="Ana de Souza"))

    assert renamed.display_name == "Ana de Souza"
    assert (await workspace.list_members()).members == (renamed,)


async def test_new_email_is_put_on_the_same_member(workspace: WorkspaceWriter) -> None:
    ana = await hired(workspace, "ana")

    moved = await workspace.replace(ana, Fields(email="Ana.Souza@acme.com", display_name="Ana Souza"))

    assert (moved.scim_id, moved.email, moved.display_name, moved.active) == (
        ana.scim_id, "Ana.Souza@acme.com", "Ana Souza", True,
    )  # fmt: skip
    assert await workspace.find("ana@acme.com") == ()
    assert (await workspace.list_members()).members == (moved,)


async def test_new_email_leaves_an_inactive_member_inactive(workspace: WorkspaceWriter) -> None:
    ana = await workspace.patch(await hired(workspace, "ana"), Fields(active=False))

    moved = await workspace.replace(ana, Fields(email="souza@acme.com"))

    assert (moved.email, moved.active) == ("souza@acme.com", False)


async def test_inactive_member_comes_back_with_a_new_email_in_one_put(workspace: WorkspaceWriter) -> None:
    ana = await workspace.patch(await hired(workspace, "ana"), Fields(active=False))
    before = workspace.requests

    moved = await workspace.replace(ana, Fields(email="souza@acme.com", active=True))

    assert (moved.email, moved.active, workspace.requests - before) == ("souza@acme.com", True, 1)


async def test_each_change_costs_one_request_where_its_answer_is_the_proof(
    server: Server, workspace: WorkspaceWriter
) -> None:
    ana = await hired(workspace, "ana")
    ana = await workspace.patch(ana, Fields(active=False))
    ana = await workspace.patch(ana, Fields(active=True))
    ana = await workspace.patch(ana, Fields(display_name="Ana Souza"))
    await workspace.replace(ana, Fields(email="souza@acme.com"))

    looks = 3 if server.patches_silently else 0
    assert workspace.requests == 5 + looks


async def test_email_of_another_member_is_refused(workspace: WorkspaceWriter) -> None:
    ana, bea = await hired(workspace, "ana"), await hired(workspace, "bea")

    with pytest.raises(WriteRefused) as refused:
        await workspace.replace(ana, Fields(email=bea.email))

    assert refused.value.status == 409
    assert {member.email for member in (await workspace.list_members()).members} == {ana.email, bea.email}


async def test_change_of_a_member_that_is_gone_is_refused(workspace: WorkspaceWriter) -> None:
    unknown = Member(str(uuid4()), "ana@acme.com", "Ana", True, resource=b'{"displayName": "Ana"}')

    with pytest.raises(WriteRefused) as refused:
        await workspace.patch(unknown, Fields(active=False))

    assert refused.value.status == 404


async def test_wrong_token_ends_a_read_and_a_write(server: Server) -> None:
    async with server.client("wrong") as workspace:
        with pytest.raises(CredentialsRefused):
            await workspace.list_members()
        with pytest.raises(TokensRefused) as raised:
            await hired(workspace, "ana")

    assert raised.value.code == "credentials"


async def test_second_token_takes_over_with_a_warning(server: Server) -> None:
    warnings: list[tuple[str, dict[str, object]]] = []

    async with server.client(
        "wrong", "second-token", warn=lambda event, **fields: warnings.append((event, fields))
    ) as workspace:
        await workspace.list_members()
        ana = await hired(workspace, "ana")
        await workspace.patch(ana, Fields(active=False))

    assert warnings == [("token.refused", {"workspace": "latam", "token": 1, "of": 2, "why": 401})]


async def test_check_reports_each_token_and_the_lookup(server: Server) -> None:
    async with server.client(TOKEN, "wrong") as workspace:
        findings = await workspace.check()

    tokens = [finding.level for finding in findings if finding.name is CheckName.TOKEN]
    assert tokens == ["ok", "warning"]
    assert [finding.level for finding in findings if finding.name is CheckName.UNKNOWN_NAME] == ["ok"]
    assert "error" not in {finding.level for finding in findings}


async def test_name_of_a_member_is_shown_even_by_a_server_without_display_names(
    server: Server, workspace: WorkspaceWriter
) -> None:
    await hired(workspace, "ana")

    shown = (await workspace.list_members()).members[0]

    assert (b'"displayName"' in shown.resource) is server.knows_display_name
    assert shown.display_name == "Ana Lima"
