"""Two real processes want one workspace: one has it, the other reports the holder or waits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Agent, AgentProcess

LATAM = ("-w", "pigment-latam")
SLOW = {"name": "slow", "do": "slow", "system": "pigment", "method": "POST", "seconds": 3}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=31, size=30, limit=RateLimit(None)) as served:
        for number in range(25):
            served.company.hire("okta", f"Late{number}", "Comer", ["Pigment LatAm"])
        yield served


@contextmanager
def at_work(agent: Agent, sandbox: Sandbox) -> Iterator[AgentProcess]:
    """A sync that has begun to write and has seconds of work before it."""
    sandbox.faults.put(parse_rules({"faults": [SLOW]}))
    process = agent.start("sync", *LATAM)
    try:
        for _ in range(6_000):
            if sandbox.requests("pigment", "POST") or process.poll() is not None:
                break
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        assert process.poll() is None, "it ended before it wrote"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_second_run_reports_who_holds_the_workspace_and_since_when(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = Agent(sandbox.write_config(tmp_path))
    with at_work(agent, sandbox) as first:
        busy = agent.run("sync", *LATAM)
        others = agent.run("sync", "-w", "pigment-eu")
        planned = agent.run("plan", *LATAM)

        assert busy.code == 7
        output = " ".join((busy.out + busy.err).split())
        assert f"process {first.pid}" in output
        assert "since" in output
        assert others.code == 0, "another workspace is nobody's business"
        assert planned.code == 0, "a plan takes no lease"


def test_run_with_another_key_for_the_same_scim_url_reports_who_holds_it(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = Agent(sandbox.write_config(tmp_path))
    other = tmp_path / "other.yaml"
    other.write_text(agent.config.read_text("utf-8").replace("  pigment-latam:", "  brazil:"), "utf-8")
    with at_work(agent, sandbox) as first:
        busy = Agent(other).run("sync", "-w", "brazil")
        settling = Agent(other).run("workspaces", "rename", "pigment-latam", "brazil")

        assert (busy.code, settling.code) == (7, 7), busy.err + settling.err
        assert f"process {first.pid}" in " ".join((busy.out + busy.err).split())
        assert f"process {first.pid}" in " ".join(settling.err.split())
    members = [member.user_name.lower() for member in sandbox.workspace("pigment-latam").members]
    assert len(members) == len(set(members))


def test_second_run_waits_for_the_first_when_asked_to(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = Agent(sandbox.write_config(tmp_path))
    with at_work(agent, sandbox) as first:
        waited = agent.run("sync", *LATAM, "--wait", "300", "--format", "json")

        assert waited.code == 0, waited.err
        assert first.wait(300) == 0
    (workspace,) = json.loads(waited.out)["workspaces"]
    assert workspace["counts"]["create"] == 0, "the first had made them all"
    members = [member.user_name.lower() for member in sandbox.workspace("pigment-latam").members]
    assert len(members) == len(set(members))


def test_run_that_waits_in_vain_reports_it(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = Agent(sandbox.write_config(tmp_path))
    with at_work(agent, sandbox):
        assert agent.run("sync", *LATAM, "--wait", "0.5").code == 7
