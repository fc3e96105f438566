"""The first dry run against a fresh sandbox shows a change of each kind, as `sandbox/initial_members.py` promises."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
import yaml

from agent.diff.plan import compute_plan
from agent.http_client import create_client
from agent.model import Inputs, Kind, Plan, Policy
from agent.scim.client import ScimClient
from connectors.base import Connector, Source
from connectors.okta import OktaSettings
from connectors.okta.connector import OktaConnector
from connectors.onelogin import OneLoginSettings
from connectors.onelogin.connector import OneLoginConnector
from sandbox.server import Sandbox, run_sandbox
from tests.factories import some_limits


async def first_plan(sandbox: Sandbox, workspace: str) -> Plan:
    config = yaml.safe_load(sandbox.config_yaml())
    settings = config["workspaces"][workspace]
    name = settings["sources"][0]["connector"]
    source = Source(name, settings["sources"][0]["app"])
    async with create_client(None, 10) as http:
        connector: Connector
        if name == "okta-main":
            connector = OktaConnector(name, OktaSettings.model_validate(config["connectors"][name]), http)
        else:
            connector = OneLoginConnector(name, OneLoginSettings.model_validate(config["connectors"][name]), http)
        scim = ScimClient(workspace, settings["scim_url"], [lambda: str(settings["tokens"][0])], http)
        snapshot, listing = await asyncio.gather(connector.read(source), scim.list_members())
    return compute_plan(
        Inputs((snapshot,), listing),
        Policy(workspace, (source,), limits=some_limits(), allowed_domains=frozenset(settings["allowed_domains"])),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_first_dry_run_of_latam_shows_something_of_each_kind(seed: int) -> None:
    with run_sandbox(seed) as sandbox:
        plan = await first_plan(sandbox, "pigment-latam")

    kinds = Counter(change.kind for change in plan.changes)
    adopted = kinds.pop(Kind.ADOPT)
    assert adopted > 50
    assert kinds == {Kind.CREATE: 2, Kind.UPDATE_NAME: 1, Kind.REACTIVATE: 1, Kind.DEACTIVATE: 1}
    assert {(hold.code, hold.email) for hold in plan.holds} == {
        ("possible-rename", "iara.campos@acme.com"),
        ("possible-recycled-address", "maite.quispe@acme.com"),
        ("domain-not-allowed", "nelida@example.com"),
    }
    assert {note.code for note in plan.notes} == {"individual-assignment", "protected", "unmanaged"}


async def test_first_dry_run_of_apac_shows_what_drifted() -> None:
    with run_sandbox() as sandbox:
        plan = await first_plan(sandbox, "pigment-apac")

    kinds = Counter(change.kind for change in plan.changes)
    assert kinds.pop(Kind.ADOPT) > 50
    assert kinds == {Kind.CREATE: 2, Kind.UPDATE_NAME: 1, Kind.DEACTIVATE: 2}
    assert plan.holds == ()
