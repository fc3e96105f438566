"""An Okta service app that requires DPoP, with real processes and sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Agent

LATAM = ("-w", "pigment-latam")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=1, size=30) as served:
        served.okta.token_issuer.clients[served.environment.okta_client_id].requires_dpop = True
        served.okta.api_proofs.requires_nonce = True
        yield served


def test_workspace_is_planned_with_proofs_of_possession(sandbox: Sandbox, tmp_path: Path) -> None:
    config = sandbox.write_config(tmp_path)
    refused = Agent(config).run("plan", *LATAM)
    document = yaml.safe_load(config.read_text())
    document["connectors"]["okta-main"]["dpop"] = True
    config.write_text(yaml.safe_dump(document))

    planned = Agent(config).run("plan", *LATAM, "--format", "json")

    assert refused.code == 6
    assert "set `connectors.okta-main.dpop: true`" in " ".join(refused.out.split())
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["workspaces"][0]["sources"][0]["people"] > 0
    assert sandbox.okta.api_proofs.accepted > 3
