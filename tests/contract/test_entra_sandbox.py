"""The Entra connector against the pretend tenant: Graph over ASGI, and all of it with msal over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from connectors.base import CredentialsRefused, IncompleteRead, PermissionMissing, ReadError, Snapshot, Source, Status
from connectors.entra import EntraSettings
from connectors.entra.connector import EntraConnector
from connectors.http import RequestLimits
from sandbox.entra import EntraOptions, entra_app
from sandbox.host import host_apps
from tests.contract.entra_tenant import CLIENT_ID, TENANT_ID, sign_in
from tests.contract.odd_people import Reading, as_read, hire_odd_people, readings
from tests.contract.pretend_entra import SECRET, Harness
from tests.contract.test_entra_token import KEY, certificate, pem

ROOT = "http://127.0.0.1:8080"
USUAL: dict[str, object] = {"type": "entra", "tenant_id": TENANT_ID, "client_id": CLIENT_ID, "client_secret": SECRET}


@contextmanager
def connected(harness: Harness) -> Iterator[EntraConnector]:
    """Give a connector that reads the sandbox without sockets, with tokens of the sandbox."""
    settings = EntraSettings.model_validate(USUAL | {"graph_url": ROOT})
    client = httpx.AsyncClient(transport=httpx.ASGITransport(entra_app(harness.tenant)))
    with sign_in() as router:
        router["token"].mock(
            side_effect=lambda _: httpx.Response(
                200, json=harness.tenant.token_issuer.token_response(CLIENT_ID, "graph")
            )
        )
        yield EntraConnector("entra-eu", settings, client)


def source(harness: Harness) -> Source:
    return Source("entra-eu", harness.app.id)


async def seen(harness: Harness, **changes: object) -> Snapshot:
    with connected(harness) as connector:
        return await connector.read(replace(source(harness), **changes))  # type: ignore[arg-type]


async def test_whole_company_is_read_over_many_small_pages() -> None:
    harness = Harness(people=25, switches=EntraOptions(units=None, largest_page=4))
    snapshot = await seen(harness)
    assert {person.id for person in snapshot.people} == {person.id for person in harness.staff}
    assert {person.email for person in snapshot.people} == {person.email for person in harness.staff}
    assert snapshot.app_name == "Pigment EU"
    assert {group.name: group.people for group in snapshot.groups} == {"Sales": 25, "Board": 0}
    assert {note.code for note in snapshot.notes} == {"nested-group", "not-a-person"}


async def test_odd_people_are_read_as_the_tenant_has_them() -> None:
    """Microsoft's own SDK reads the same people: `scripts/second-readers`."""
    harness = Harness()
    odd = hire_odd_people(harness.company, "entra")

    read = readings(await seen(harness, guests=True))

    words = {"enabled": "true", "disabled": "false", "unknown": "null"}
    for about, key in odd.items():
        person = harness.directory.people[key]
        assert read[key] == Reading(
            person.email,
            f"accountEnabled={words[person.status]}",
            as_read(person.given),
            as_read(person.family),
            frozenset(group for group in harness.app.groups if key in harness.directory.groups[group].people),
            key in harness.app.individuals,
        ), about


async def test_nested_people_are_read_where_the_source_asks_for_them() -> None:
    harness = Harness()
    snapshot = await seen(harness, nested=True)
    assert harness.nested.id in {person.id for person in snapshot.people}


async def test_group_that_hides_its_members_is_an_error_until_the_permission_is_granted() -> None:
    harness = Harness()
    expected = await seen(harness)
    harness.sales.hides_members = True
    with pytest.raises(PermissionMissing, match=r"group Sales \(.*Member\.Read\.Hidden"):
        await seen(harness)
    harness.tenant.roles = harness.tenant.roles | {"Member.Read.Hidden"}
    assert await seen(harness) == expected


async def test_hidden_group_inside_a_counted_one_is_an_error_where_nested_ones_count() -> None:
    harness = Harness()
    harness.inner.hides_members = True
    await seen(harness)
    with pytest.raises(PermissionMissing, match=r"group Inner \(in Sales\)"):
        await seen(harness, nested=True)


@pytest.mark.parametrize("role", ["Application.Read.All", "GroupMember.Read.All", "User.Read.All"])
async def test_missing_permission_ends_the_read_and_is_named(role: str) -> None:
    harness = Harness()
    harness.tenant.roles = harness.tenant.roles - {role}
    with pytest.raises(ReadError) as raised:
        await seen(harness)
    assert role in raised.value.hint


async def test_deleted_group_that_is_still_assigned_ends_the_read() -> None:
    harness = Harness()
    del harness.directory.groups[harness.board.id]
    with pytest.raises(IncompleteRead, match=f"answered 404 for the members of group {harness.board.id}"):
        await seen(harness)


async def test_revoked_token_is_requested_again_between_two_reads() -> None:
    harness = Harness()
    with connected(harness) as connector:
        first = await connector.read(source(harness))
        harness.tenant.token_issuer.revoke_all()
        again = await connector.read(replace(source(harness), nested=True))
        assert set(first.people) < set(again.people)


async def test_leaver_is_looked_up_in_the_deleted_items() -> None:
    harness = Harness()
    ann = harness.staff[0]
    with connected(harness) as connector:
        assert (await connector.lookup(ann.id, source(harness))).status is Status.ACTIVE
        harness.directory.deleted[ann.id] = harness.directory.people.pop(ann.id)
        assert (await connector.lookup(ann.id, source(harness))).status is Status.DELETED


async def test_check_of_the_pretend_tenant_is_well() -> None:
    harness = Harness()
    with connected(harness) as connector:
        assert {finding.level for finding in await connector.check([source(harness)])} == {"ok"}


# Over sockets: msal's own requests, an authority that is http in truth.


async def read_over_sockets(harness: Harness, make_settings: Callable[[str], dict[str, object]]) -> Snapshot:
    with host_apps({"entra": entra_app(harness.tenant)}, 0) as urls:
        roots: dict[str, object] = {"graph_url": urls["entra"], "authority_url": urls["entra"]}
        settings = EntraSettings.model_validate(USUAL | roots | make_settings(urls["entra"]))
        async with httpx.AsyncClient(trust_env=False) as client:
            return await EntraConnector("entra-eu", settings, client, limits=RequestLimits(retries=0)).read(
                source(harness)
            )


async def test_secret_gives_a_token_over_sockets() -> None:
    assert len((await read_over_sockets(Harness(), lambda _: {})).people) == 3


async def test_certificate_gives_a_token_over_sockets() -> None:
    harness = Harness(clock=[0.0], certificate=certificate(KEY))
    changes: dict[str, object] = {"client_secret": None, "certificate": pem(KEY) + certificate(KEY)}
    assert len((await read_over_sockets(harness, lambda _: changes)).people) == 3


async def test_machines_own_identity_gives_a_token_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    def on_azure(url: str) -> dict[str, object]:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", url)
        return {"client_id": None, "client_secret": None, "managed_identity": True}

    assert len((await read_over_sockets(Harness(), on_azure)).people) == 3


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_secret": "wrong-word"}, "AADSTS7000215"),
        ({"client_id": "nobody"}, "AADSTS700016"),
        ({"tenant_id": "other.example.com"}, "AADSTS90002"),
    ],
)
async def test_refusal_over_sockets_names_entras_number(changes: dict[str, object], code: str) -> None:
    with pytest.raises(CredentialsRefused, match=code) as raised:
        await read_over_sockets(Harness(), lambda _: changes)
    assert "wrong-word" not in raised.value.message
