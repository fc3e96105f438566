"""A pause stops a run that is writing, in another process or in the daemon, and names what it could not stop."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Agent
from tests.e2e.daemon_process import access, configured, serving
from tests.e2e.requested_run import ended, operator_at
from tests.e2e.running_sync import started

pytestmark = pytest.mark.traced

LATAM = "pigment-latam"
SYNC = ("sync", "-w", LATAM)
JOINERS = 25
WHY = "the wrong group"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=31, size=30, limit=RateLimit(None)) as served:
        yield served


def hire(sandbox: Sandbox) -> None:
    """Give the next sync seconds of work: each creation is slow."""
    for number in range(JOINERS):
        sandbox.company.hire("okta", f"Late{number}", "Comer", ["Pigment LatAm"])
    slow = {"name": "slow", "do": "slow", "system": "pigment", "method": "POST", "seconds": 3}
    sandbox.faults.put(parse_rules({"faults": [slow]}))


def created(sandbox: Sandbox) -> int:
    return len(sandbox.requests("pigment", "POST"))


def outcomes(run: dict[str, Any]) -> Counter[str]:
    return Counter(change["outcome"] for change in run["changes"] if change["kind"] == "create")


def test_pause_stops_a_running_sync_before_its_next_change(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = Agent(sandbox.write_config(tmp_path))
    assert agent.run(*SYNC).code in {0, 4}
    before = created(sandbox)
    hire(sandbox)
    with started(agent, tmp_path / "sync", *SYNC) as sync:
        sync.wait_until(lambda: created(sandbox) > before)
        paused = agent.run("pause", LATAM, "--by", "ops", "--reason", WHY)
        in_flight = paused.out.count("Still in flight: create of late")
        code = sync.end()
        made = created(sandbox) - before
        sandbox.faults.put([])
        again = agent.run(*SYNC)
        done_while_paused = created(sandbox) - before - made
        resumed = agent.run("resume", LATAM)
        rest = agent.run(*SYNC)

    assert paused.code == 0, paused.err
    assert in_flight <= 8
    assert ("  To see its outcome: pigment-sync report " in paused.out) is (in_flight >= 1)
    assert code == 5
    assert 0 < made < JOINERS
    assert "paused by ops since" in sync.err
    assert f"{WHY}. Of {JOINERS} changes: {made} made, {JOINERS - made} not sent." in " ".join(sync.err.split())
    assert (again.code, done_while_paused) == (0, 0)
    assert (resumed.code, rest.code in {0, 4}) == (0, True)
    assert created(sandbox) - before == JOINERS


def test_pause_through_the_api_stops_the_run_of_the_daemon(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, None, server=access())
    assert agent.run(*SYNC).code in {0, 4}
    before = created(sandbox)
    hire(sandbox)
    with (
        serving(agent) as daemon,
        operator_at(daemon, f"/workspaces/{LATAM}") as operator,
    ):
        run_id = operator.post("/runs", json={"mode": "sync"}).raise_for_status().json()["id"]
        daemon.until("change.applied", holds=lambda line: line["kind"] == "create")
        shown = operator.post("/pause", json={"reason": WHY}).raise_for_status().json()["pause"]
        run = ended(operator, f"http://127.0.0.1:{daemon.port}/api/v1/runs/{run_id}")

    made = created(sandbox) - before
    assert 0 < made < JOINERS
    assert run["status"] == "failed"
    assert outcomes(run) == {"done": made, "not-tried": JOINERS - made}
    assert all(WHY in change["detail"] for change in run["changes"] if change["outcome"] == "not-tried")
    assert len(shown["in_flight"]) <= 8
    assert all(flight["run"] == run_id and flight["kind"] == "create" for flight in shown["in_flight"])
    assert json.loads(agent.run("history", "--format", "json").out)[0]["trigger"] == "pause"
