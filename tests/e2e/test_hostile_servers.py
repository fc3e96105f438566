"""Hostile servers lead to a clear error, soon and in bounded memory, and nothing is written for them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import LONGEST_SECONDS, REPOSITORY, Agent, Ran
from tests.e2e.ended_process import unlimited
from tests.e2e.hostile_names import raw
from tests.e2e.hostile_server import GIGABYTE, Hostile, hostile

CONNECTORS = {
    "okta": ("okta-main", ("org_url",), "0oa1b2c3d4"),
    "entra": ("entra-eu", ("graph_url", "authority_url"), "66666666-7777-8888-9999-000000000000"),
    "onelogin": ("onelogin-apac", ("api_url",), "123456"),
}
MEAN = ("deep", "drip", "headers", "interim", "circle", "silent", "garbage")
LARGE = ("gigabyte", "bomb")
SYSTEMS = ("pigment", *CONNECTORS)
# As short as possible on a machine with ten times its normal load.
TIMEOUT_SECONDS, MAX_WAIT_SECONDS = 10.0, 20.0
MOST_BYTES = 64 * 2**20
# Linux also counts the memory of the process that starts a command, so a small one does.
PRINT_PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
EXPECTED_MESSAGES = {
    "deep": "not JSON|got no token",
    "drip": f"no complete answer within {MAX_WAIT_SECONDS:g} s",
    "headers": "broke off|too long",
    "interim": f"no complete answer within {MAX_WAIT_SECONDS:g} s",
    "circle": "307",
    "silent": "no answer in time",
    "garbage": "broke off",
}


@dataclass(frozen=True)
class Harness:
    sandbox: Sandbox
    servers: Hostile
    agent: Agent


@dataclass(frozen=True)
class HostileSync:
    """One sync of every workspace on a hostile server, and of one on a good server."""

    ran: Ran
    workspaces: dict[str, dict[str, Any]]
    methods: dict[str, set[str]]


def _configured(sandbox: Sandbox, servers: Hostile, folder: Path) -> Agent:
    """Write a configuration with a workspace for each system and each of its hostile servers; its name has both."""
    bounds = {"timeout_seconds": TIMEOUT_SECONDS, "max_wait_seconds": MAX_WAIT_SECONDS, "retries": 1}
    agent = unlimited(sandbox.write_config(folder), http=bounds, log={"level": "debug", "format": "json"})
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    workspaces = document["workspaces"]
    usual = workspaces["pigment-latam"]
    okta = sandbox.company.okta
    group = okta.groups[okta.pigment.groups[0]]
    for kind in (*MEAN, *LARGE, "milliard"):
        app = okta.add_app(f"Extra {kind}", (group,))
        source = {"connector": "okta-main", "app": app.id}
        workspaces[f"pigment-{kind}"] = {**usual, **_target(servers, kind, f"pigment-{kind}"), "sources": [source]}
    for system, (connector, urls, app_id) in CONNECTORS.items():
        for kind in MEAN:
            name = f"{system}-{kind}"
            mean = dict.fromkeys(urls, servers.urls[kind])
            document["connectors"][name] = {**document["connectors"][connector], **mean}
            source = {"connector": name, "app": app_id}
            workspaces[name] = {**usual, **_target(servers, "empty", name), "sources": [source]}
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    return agent


def _target(servers: Hostile, kind: str, name: str) -> dict[str, object]:
    return {"scim_url": f"{servers.urls[kind]}/{name}/scim/v2", "tokens": [f"token-{name}"]}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with run_sandbox(seed=43, size=12, limit=RateLimit(None)) as sandbox, hostile() as servers:
        yield Harness(sandbox, servers, _configured(sandbox, servers, tmp_path_factory.mktemp("hostile")))


@pytest.fixture(scope="module")
def hostile_sync(harness: Harness) -> HostileSync:
    names = [f"{system}-{kind}" for system in SYSTEMS for kind in MEAN] + ["pigment-milliard", "pigment-eu"]
    harness.servers.methods.clear()
    ran = harness.agent.run("sync", "--format", "json", *(word for name in names for word in ("-w", name)))
    workspaces = {each["name"]: each for each in json.loads(ran.out)["workspaces"]}
    return HostileSync(ran, workspaces, {kind: set(each) for kind, each in harness.servers.methods.items()})


# All in one test: each process of the tests that has a part of them waits for a sync of its own.
def test_enemy_of_a_system_ends_its_read_with_a_clear_error(hostile_sync: HostileSync) -> None:
    for system, kind in product(SYSTEMS, MEAN):
        workspace = hostile_sync.workspaces[f"{system}-{kind}"]
        assert workspace["status"] == "incomplete", (system, kind)
        message = workspace["error"]["message"]
        assert any(words in message for words in EXPECTED_MESSAGES[kind].split("|")), (system, kind, message)
        assert workspace["error"]["remedy"], (system, kind)
        assert len(message) < 500, (system, kind)
        assert workspace["changes"] == [], (system, kind)


def test_hostile_servers_end_soon_and_delay_no_other_workspace(hostile_sync: HostileSync, harness: Harness) -> None:
    assert hostile_sync.ran.code == 6
    assert hostile_sync.workspaces["pigment-eu"]["status"] == "planned"
    assert hostile_sync.workspaces["pigment-eu"]["counts"]["create"]
    writes = harness.sandbox.workspace("pigment-eu").write_log.applied_writes()
    assert "POST" in {write.method for write in writes}, hostile_sync.ran.err


def test_nothing_is_written_and_no_harmful_text_is_printed(hostile_sync: HostileSync) -> None:
    assert hostile_sync.methods["empty"] == {"GET"}
    # A token is asked for with POST; the workspaces are asked at the same addresses.
    assert set().union(*hostile_sync.methods.values()) == {"GET", "POST"}
    assert hostile_sync.methods["milliard"] == {"GET"}
    assert "Traceback" not in hostile_sync.ran.err
    assert raw(hostile_sync.ran.out + hostile_sync.ran.err) == []
    assert all(
        json.loads(line)["level"] != "error" for line in hostile_sync.ran.err.splitlines() if line.startswith("{")
    )


def test_milliard_of_members_is_refused_before_it_is_read(hostile_sync: HostileSync, harness: Harness) -> None:
    assert (
        "lists more than the agent reads: 1,000,000,000"
        in hostile_sync.workspaces["pigment-milliard"]["error"]["message"]
    )
    assert harness.servers.methods["milliard"] == ["GET"]


@pytest.mark.parametrize("kind", LARGE)
def test_gigabyte_is_cut_off_at_the_bound_in_bounded_memory(kind: str, harness: Harness) -> None:
    harness.servers.sent.clear()
    out = harness.agent.config.parent / f"{kind}.json"
    command = harness.agent.command("plan", "-w", f"pigment-{kind}", "--out", str(out))
    ran = subprocess.run(
        [sys.executable, "-c", PRINT_PEAK, *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=harness.agent.environment,
        timeout=LONGEST_SECONDS,
    )
    error = ran.stderr
    (workspace,) = json.loads(out.read_bytes())["workspaces"]

    assert ran.returncode == 6, error
    assert f"more than {MOST_BYTES:,} bytes" in workspace["error"]["message"]
    assert "Traceback" not in error
    # In addition to one copy of the body, any run takes about 110 MiB, and sockets hold some.
    assert int(ran.stdout.splitlines()[-1]) * 1024 < MOST_BYTES + 200 * 2**20 < GIGABYTE
    assert harness.servers.sent[kind] < MOST_BYTES + 32 * 2**20 < GIGABYTE
    assert harness.servers.methods[kind] == ["GET"], "asking again would not help"
