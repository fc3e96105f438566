"""Okta's own client reads the pretend Okta, and lists the people that our connector lists."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.http_client import create_client
from connectors.base import Snapshot, Source
from connectors.okta import OktaSettings
from connectors.okta.connector import OktaConnector
from sandbox.host import host_apps
from sandbox.okta import okta_app
from tests.contract.odd_people import Reading, as_read, hire_odd_people, readings
from tests.contract.pretend_directories import RSA_KEY, PretendOkta, private


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PretendOkta, str]]:
    # The SDK takes http for loopback only with this, and reads okta.yaml in the home and the working folder.
    monkeypatch.setenv("OKTA_TESTING_TESTINGDISABLEHTTPSCHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    okta = PretendOkta()
    # The SDK's assertions and those of our connector are dated by the real clock.
    okta.clock.seconds = time.time()
    with host_apps({"okta": okta_app(okta.org)}, 0) as urls:
        yield okta, urls["okta"]


@pytest.fixture
async def sdk(served: tuple[PretendOkta, str]) -> AsyncIterator[Any]:
    # Fetched here because it takes seconds and 100 MiB, which no other test needs.
    from okta.client import Client

    async with Client(sdk_settings(served[1])) as made:
        yield made


def sdk_settings(url: str) -> dict[str, object]:
    return {
        "orgUrl": url,
        "authorizationMode": "PrivateKey",
        "clientId": "0oaservice",
        "privateKey": private(RSA_KEY),
        "kid": "rsa",
        "scopes": ["okta.apps.read", "okta.groups.read", "okta.users.read"],
        "requestTimeout": 10,
    }


def after(headers: Any) -> str | None:
    """Return the cursor in the next link. The SDK keeps the last Link header alone."""
    found = re.search(r"[?&]after=([^&>]+)[^>]*>; *rel=\"next\"", str(headers.get("Link", "")))
    return found[1] if found else None


async def walked(ask: Any, *arguments: str, **options: Any) -> list[Any]:
    rows, cursor = [], None
    while True:
        data, response, error = await ask(*arguments, **options, after=cursor)
        assert error is None
        rows += data
        cursor = after(response.headers)
        if cursor is None:
            return rows


async def read(okta: PretendOkta, url: str, *, dpop: bool = False) -> Snapshot:
    """Read the application with our connector, over the same sockets."""
    key = {"client_id": "0oaservice", "private_key": private(RSA_KEY), "kid": "rsa", "dpop": dpop}
    settings = OktaSettings.model_validate({"type": "okta", "org_url": url} | key)
    async with create_client(None, 10) as http:
        return await OktaConnector("okta-main", settings, http).read(Source("okta-main", okta.app.id))


async def test_sdk_lists_the_app_users_that_our_connector_lists(served: tuple[PretendOkta, str], sdk: Any) -> None:
    okta, url = served

    listed = await walked(sdk.list_application_users, okta.app.id, limit=25, expand="user")

    snapshot = await read(okta, url)
    ours = {person.id: person for person in snapshot.people if person.individual or not only_in_groups(okta, person.id)}
    assert {row.id for row in listed} == set(ours)
    assert {row.id for row in listed if row.scope == "USER"} == {key for key, each in ours.items() if each.individual}
    assert {row.id: row.embedded["user"]["profile"]["login"] for row in listed} == {
        key: person.email for key, person in ours.items()
    }
    assert {row.id: row.embedded["user"]["status"] for row in listed} == {
        key: person.source_status for key, person in ours.items()
    }


async def test_sdk_and_our_connector_satisfy_the_same_strict_dpop(served: tuple[PretendOkta, str]) -> None:
    from okta.client import Client

    okta, url = served
    okta.org.token_issuer.clients["0oaservice"].requires_dpop = True

    async with Client(sdk_settings(url) | {"dpopEnabled": True}) as sdk:
        listed = await walked(sdk.list_application_users, okta.app.id, limit=25, expand="user")
    by_sdk = okta.org.api_proofs.accepted
    snapshot = await read(okta, url, dpop=True)

    assert by_sdk > 1
    assert okta.org.api_proofs.accepted > by_sdk
    assert {row.id for row in listed} <= {person.id for person in snapshot.people}


async def test_sdk_and_our_connector_read_the_same_odd_people(served: tuple[PretendOkta, str], sdk: Any) -> None:
    okta, url = served
    odd = hire_odd_people(okta.company, "okta")

    listed = await walked(sdk.list_application_users, okta.app.id, limit=25, expand="user")
    granting = await walked(sdk.list_application_group_assignments, okta.app.id, limit=20)
    members = {group.id: await walked(sdk.list_group_users, group.id, limit=40) for group in granting}

    users = {row.id: row.embedded["user"] for row in listed}
    # The application's list leaves out the deactivated, whom their groups still show.
    users |= {row.id: row.to_dict() for rows in members.values() for row in rows}
    by_group = {key: {row.id for row in rows} for key, rows in members.items()}
    direct = {row.id for row in listed if row.scope == "USER"}
    theirs = {
        key: Reading(
            user["profile"]["login"],
            user["status"],
            as_read(user["profile"].get("firstName")),
            as_read(user["profile"].get("lastName")),
            frozenset(group for group, people in by_group.items() if key in people),
            key in direct,
        )
        for key, user in users.items()
    }
    ours = readings(await read(okta, url))
    assert theirs == ours
    assert {about for about, key in odd.items() if key not in ours} == set()


def only_in_groups(okta: PretendOkta, person: str) -> bool:
    """Return whether a person is deactivated: the application's list no longer has them, while their groups do."""
    return okta.company.person(person).status == "DEPROVISIONED"


async def test_sdk_lists_groups_and_their_members(served: tuple[PretendOkta, str], sdk: Any) -> None:
    okta, _ = served

    groups = await walked(sdk.list_application_group_assignments, okta.app.id, limit=20, expand="group")
    members = await walked(sdk.list_group_users, okta.app.groups[0], limit=10)

    assert [row.id for row in sorted(groups, key=lambda row: row.priority)] == okta.app.groups
    assert {row.id for row in members} == set(okta.company.okta.groups[okta.app.groups[0]].people)


async def test_sdk_reads_single_things(served: tuple[PretendOkta, str], sdk: Any) -> None:
    okta, _ = served
    ana = okta.company.person("ana.lima@acme.com")

    app, _, app_error = await sdk.get_application(okta.app.id)
    user, _, user_error = await sdk.get_user(ana.id)

    assert (app_error, user_error) == (None, None)
    assert (app.label, app.status) == ("Pigment LatAm", "ACTIVE")
    assert (user.profile.login, user.profile.first_name) == ("ana.lima@acme.com", "Ana")


async def test_sdk_reads_errors(served: tuple[PretendOkta, str], sdk: Any) -> None:
    _, response, error = await sdk.get_application("0oanothing")

    assert response.status == 404
    assert "E0000007" in str(error)


async def test_served_okta_speaks_of_itself_where_it_is_served(served: tuple[PretendOkta, str]) -> None:
    okta, url = served

    async with httpx.AsyncClient(headers={"Authorization": "SSWS api-token"}) as http:
        answer = await http.get(f"{url}/api/v1/apps/{okta.app.id}/users", params={"limit": "5", "expand": "user"})

    assert answer.links["next"]["url"].startswith(f"{url}/api/v1/apps/")
    assert len(answer.headers.get_list("link")) == 2
    assert "date" in answer.headers
