"""Microsoft's own SDK reads the pretend Graph, and shows the people that our connector shows.

`scripts/second-readers` runs this: the SDK is too large for each run of the tests. The SDK is in a process and in an
environment of its own, and reads the sandbox over real sockets, as our connector does.

What the SDK (msgraph-sdk 1.65) can't do, and why the agent reads without it:

- Its page iterator stops at a page without rows, though Graph may send one with a next link: people are missing,
  without an error (`check_sdk_stops_at_an_empty_page_where_our_connector_reads_on`).
- The iterator sends no header of the first request with the next pages; `ConsistencyLevel` has to be set on it again.
- It has no argument for another root than Microsoft's clouds.
- It takes 226 MB (473 MB once compiled), and half a minute to import for the first time.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.base import Snapshot, Source
from connectors.entra import EntraSettings
from connectors.entra.connector import EntraConnector
from sandbox.company import Company, generate_company
from sandbox.entra import Client, EntraOptions, EntraTenant, entra_app
from sandbox.faults.action import System
from sandbox.faults.middleware import FaultMiddleware
from sandbox.faults.parse import parse_rules
from sandbox.faults.registry import FaultRegistry
from sandbox.host import host_apps
from tests.contract.odd_people import Reading, as_read, hire_odd_people, readings
from tests.contract.pretend_entra import CLIENT, SECRET, TENANT

PYTHON = os.environ["SECOND_READERS_PYTHON"]
READER = Path(__file__).with_name("read_graph.py")
READER_SECONDS = 600
TOP = 40
SIZE = 260
"""More people in each group than a page shows."""


@dataclass
class Tenant:
    """A company with odd people in a pretend tenant, behind *faults*."""

    company: Company = field(default_factory=lambda: generate_company(size=SIZE))
    faults: FaultRegistry = field(default_factory=FaultRegistry)

    def __post_init__(self) -> None:
        self.odd = hire_odd_people(self.company, "entra")
        self.leaver = self.company.delete(self.odd.pop("status enabled"))
        self.entra = EntraTenant(
            self.company.entra, TENANT, [Client(CLIENT, SECRET)], EntraOptions(units=None, largest_page=TOP)
        )

    @contextmanager
    def served(self) -> Iterator[str]:
        with host_apps({"entra": FaultMiddleware(entra_app(self.entra), self.faults, System.ENTRA)}, 0) as urls:
            yield urls["entra"]

    def read_by_sdk(self, url: str) -> dict[str, Any]:
        token = self.entra.token_issuer.token_response(CLIENT, "https://graph.microsoft.com")["access_token"]
        request = {"url": url, "token": token, "client_id": self.company.entra.pigment.client_id, "top": TOP}
        done = subprocess.run(
            [PYTHON, str(READER)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=READER_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    async def read_by_us(self, url: str, *, nested: bool = False) -> Snapshot:
        settings = {"type": "entra", "tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET}
        roots = {"graph_url": url, "authority_url": url}
        async with httpx.AsyncClient(trust_env=False) as client:
            connector = EntraConnector("entra-eu", EntraSettings.model_validate(settings | roots), client)
            return await connector.read(Source("entra-eu", self.company.entra.pigment.id, guests=True, nested=nested))


def people_by_sdk(found: dict[str, Any]) -> dict[str, Reading]:
    """Return the people of the groups and those assigned directly, by id."""
    users = {
        row["id"]: row
        for group in found["groups"].values()
        for row in group["members"]
        if row["type"] == "#microsoft.graph.user"
    } | found["individuals"]
    return {
        key: Reading(
            address(row),
            f"accountEnabled={json.dumps(row['accountEnabled'])}",
            as_read(row["givenName"]),
            as_read(row["surname"]),
            frozenset(
                group for group, each in found["groups"].items() if key in {row["id"] for row in each["members"]}
            ),
            key in found["individuals"],
        )
        for key, row in users.items()
    }


def address(row: dict[str, Any]) -> str:
    """Return the login; that of a guest is no address, so their mail."""
    if "#EXT#" not in row["userPrincipalName"]:
        return str(row["userPrincipalName"])
    return str(row["mail"] or row["otherMails"][0])


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    return Tenant()


@pytest.fixture(scope="module")
def url(tenant: Tenant) -> Iterator[str]:
    with tenant.served() as url:
        yield url


@pytest.fixture(scope="module")
def found(tenant: Tenant, url: str) -> dict[str, Any]:
    """What the SDK read; one reading serves all checks, since the SDK needs long to start."""
    return tenant.read_by_sdk(url)


async def check_sdk_and_our_connector_read_the_same_people(tenant: Tenant, url: str, found: dict[str, Any]) -> None:
    theirs, ours = people_by_sdk(found), readings(await tenant.read_by_us(url))

    assert theirs == ours
    assert {about for about, key in tenant.odd.items() if key not in theirs} == set()
    assert all(len(group["members"]) > TOP for group in found["groups"].values())


async def check_sdk_and_our_connector_see_the_same_application(tenant: Tenant, url: str, found: dict[str, Any]) -> None:
    snapshot = await tenant.read_by_us(url)

    app = tenant.company.entra.pigment
    assert found["app"] == {"id": app.id, "name": snapshot.app_name, "enabled": True}
    assert {key: group["name"] for key, group in found["groups"].items()} == {
        group.id: group.name for group in snapshot.groups
    }
    assert {key: group["count"] for key, group in found["groups"].items()} == {
        group.id: group.people for group in snapshot.groups
    }


def check_users_alone_are_the_members_that_are_users(found: dict[str, Any]) -> None:
    for group in found["groups"].values():
        users = [row["id"] for row in group["members"] if row["type"] == "#microsoft.graph.user"]
        assert sorted(group["users"]) == sorted(users)


async def check_nested_people_are_the_same(tenant: Tenant, url: str, found: dict[str, Any]) -> None:
    ours = readings(await tenant.read_by_us(url, nested=True))

    directory = tenant.company.entra
    for key, group in found["groups"].items():
        assert {each for each in group["transitive"] if each in directory.people} == {
            each for each, reading in ours.items() if key in reading.groups
        }


def check_sdk_shows_the_groups_of_each_person(tenant: Tenant, found: dict[str, Any]) -> None:
    for key, row in found["individuals"].items():
        assert set(row["memberOf"]) == {group.id for group in tenant.company.groups_of(key)}


def check_sdk_finds_the_deleted(tenant: Tenant, found: dict[str, Any]) -> None:
    assert found["deleted"] == [tenant.leaver.id]


def check_sdk_reads_our_errors_as_graphs(found: dict[str, Any]) -> None:
    assert found["errors"] == {
        "unknown group": {"status": 404, "code": "Request_ResourceNotFound"},
        "cast without the header": {"status": 400, "code": "Request_UnsupportedQuery"},
        "what is not modelled": {"status": 400, "code": "Request_BadRequest"},
    }


async def check_sdk_stops_at_an_empty_page_where_our_connector_reads_on() -> None:
    tenant = Tenant()
    with tenant.served() as url:
        whole = readings(await tenant.read_by_us(url))
        tenant.faults.put(parse_rules({"faults": [{"do": "empty-page", "path": "/v1.0/groups/*/members", "every": 2}]}))
        theirs, ours = people_by_sdk(tenant.read_by_sdk(url)), readings(await tenant.read_by_us(url))

    assert ours == whole
    assert len(theirs) < len(whole)
