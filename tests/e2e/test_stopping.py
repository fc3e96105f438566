"""The agent stops at once if asked while it only reads. For a stop while it writes, see `test_kill.py`."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select

from agent.store.tables import pauses
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import LONGEST_SECONDS, Agent, AgentProcess
from tests.e2e.daemon_process import configured, serving
from tests.waiting import wait_until

LATAM = "pigment-latam"
# Longer than any test here waits: a process that ends did not wait for the answer.
SLOW = {"name": "slow", "do": "slow", "system": "okta", "method": "GET", "seconds": 2 * LONGEST_SECONDS}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=11, size=30, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture
def agent(sandbox: Sandbox, tmp_path: Path) -> Agent:
    return Agent(sandbox.write_config(tmp_path, f"sqlite:///{tmp_path}/state.db"))


def has_listed_again(sandbox: Sandbox) -> Callable[[], bool]:
    """Return a check that the workspace was listed once more, while Okta has not answered yet."""
    before = sandbox.workspace(LATAM).write_log.request_counts["GET"]
    return lambda: sandbox.workspace(LATAM).write_log.request_counts["GET"] > before


def ended(process: AgentProcess, number: int) -> tuple[int, str]:
    process.send_signal(number)
    _, err = process.communicate(timeout=LONGEST_SECONDS)
    return process.wait(), err.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_sync_that_reads_is_broken_off_and_its_run_closed(number: int, sandbox: Sandbox, agent: Agent) -> None:
    sandbox.faults.put(parse_rules({"faults": [SLOW]}))
    is_asked = has_listed_again(sandbox)
    process = agent.start("sync", "-w", LATAM)
    wait_until(is_asked, "another listing of the workspace")
    code, err = ended(process, number)
    sandbox.faults.clear()

    assert code == 1
    assert err.splitlines()[-1] == "pigment-sync: stopped."
    (run,) = json.loads(agent.run("history", "--format", "json").out)
    assert (run["status"], run["error"]) == ("interrupted", "The run was stopped.")
    assert sandbox.workspace(LATAM).write_log.writes == []
    # The lease is free at once.
    assert agent.run("sync", "-w", LATAM).code == 0


def test_plan_is_broken_off(sandbox: Sandbox, agent: Agent) -> None:
    sandbox.faults.put(parse_rules({"faults": [SLOW]}))
    is_asked = has_listed_again(sandbox)
    process = agent.start("plan", "-w", LATAM)
    wait_until(is_asked, "another listing of the workspace")
    code, err = ended(process, signal.SIGINT)

    assert (code, err.splitlines()[-1]) == (1, "pigment-sync: stopped.")


def test_undo_that_has_put_nothing_back_leaves_no_pause(sandbox: Sandbox, agent: Agent, tmp_path: Path) -> None:
    assert agent.run("sync", "-w", LATAM).code == 0
    (run,) = json.loads(agent.run("history", "--format", "json").out)
    digest = re.findall(r"--approve (sha256:\w+)", agent.run("undo", run["id"]).err)[0]
    written = len(sandbox.workspace(LATAM).write_log.writes)
    sandbox.faults.put(parse_rules({"faults": [SLOW | {"system": "pigment"}]}))
    engine = create_engine(f"sqlite:///{tmp_path}/state.db")

    def is_paused() -> bool:
        with engine.connect() as connection:
            return connection.execute(select(pauses)).first() is not None

    process = agent.start("undo", run["id"], "--approve", digest, "--reason", "why")
    wait_until(is_paused, "the pause of the undo")
    code, _ = ended(process, signal.SIGTERM)
    sandbox.faults.clear()

    assert code == 1
    assert len(sandbox.workspace(LATAM).write_log.writes) == written
    assert not is_paused()
    engine.dispose()


def test_daemon_does_not_wait_for_what_it_reads(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, {"every": "1h"})
    sandbox.faults.put(parse_rules({"faults": [SLOW]}))
    is_asked = has_listed_again(sandbox)
    with serving(agent) as daemon:
        wait_until(is_asked, "another listing of the workspace")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.until("daemon.stopped")["was_gentle"]
        assert daemon.process.wait(LONGEST_SECONDS) == 0
    runs = json.loads(agent.run("history", "--format", "json").out)
    assert {run["status"] for run in runs} == {"interrupted"}
    assert sandbox.workspace(LATAM).write_log.writes == []
