"""After a kill at any write of a sync and a second run, nothing is lost, duplicated or unrecorded.

`PIGMENT_SYNC_KILL=all` kills it at each of the 40 writes, and takes some minutes.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.pigment.write_log import WriteLog
from sandbox.server import Sandbox, run_sandbox
from tests import postgres
from tests.e2e.agent_process import Agent
from tests.e2e.ended_process import WORKSPACE, Ended, State, Unheard, Workforce, environment_points, unlimited

CHANGES = 40
POINTS = environment_points("PIGMENT_SYNC_KILL", [1, 6, 11, 16, 23, 28, 35, 40], CHANGES)
FEWER = environment_points("PIGMENT_SYNC_KILL", [2, 13, 24, 39], CHANGES)
CHANGING = ("PATCH", "PUT", "POST")
AT_ONCE = 8
AT_ONCE_POINTS = {"deactivations": 5, "reactivations": 18, "creates": 30}
"""Writes that others are sent with: of 10 deactivations, after 5 email changes 5 reactivations, and 15 creates."""
SYNC = ("sync", "-w", WORKSPACE)


@dataclass
class Harness:
    """A sandbox, the agent with its state, and the people; some of them change before each kill."""

    sandbox: Sandbox
    agent: Agent
    state: State
    workforce: Workforce
    here: list[str] = field(default_factory=list)

    def change(self) -> int:
        """Make 40 changes, and clear the workspace's log of earlier requests."""
        self.state.let_an_hour_pass()
        count, self.here = self.workforce.change(self.here)
        self.journal.writes = []
        self.journal.request_counts = Counter()
        return count

    @property
    def journal(self) -> WriteLog:
        return self.sandbox.workspace(WORKSPACE).write_log


def _place(sandbox: Sandbox, folder: Path, url: str, in_flight: int = 1) -> Iterator[Harness]:
    agent = unlimited(sandbox.write_config(folder, url), apply={"in_flight": in_flight})
    with State.at(url) as state:
        harness = Harness(sandbox, agent, state, Workforce(sandbox))
        harness.here = harness.workforce.hire(20)
        harness.workforce.waiting = []
        assert agent.run(*SYNC).code == 0
        # The first round has no person to bring back, so it is not one that is killed.
        harness.change()
        assert agent.run(*SYNC).code == 0
        yield harness


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    folder = tmp_path_factory.mktemp("sqlite")
    with run_sandbox(seed=5, size=30, limit=RateLimit(None)) as sandbox:
        yield from _place(sandbox, folder, f"sqlite:///{folder}/state.db")


@pytest.fixture(scope="module")
def on_postgres(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with run_sandbox(seed=6, size=30, limit=RateLimit(None)) as sandbox:
        yield from _place(sandbox, tmp_path_factory.mktemp("postgres"), postgres.new_database(postgres_server))


@pytest.fixture(scope="module")
def at_once_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    folder = tmp_path_factory.mktemp("at-once-sqlite")
    with run_sandbox(seed=7, size=30, limit=RateLimit(None)) as sandbox:
        yield from _place(sandbox, folder, f"sqlite:///{folder}/state.db", AT_ONCE)


@pytest.fixture(scope="module")
def at_once_on_postgres(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    folder = tmp_path_factory.mktemp("at-once-postgres")
    with run_sandbox(seed=8, size=30, limit=RateLimit(None)) as sandbox:
        yield from _place(sandbox, folder, postgres.new_database(postgres_server), AT_ONCE)


def _check_after(harness: Harness, linked: dict[str, str]) -> None:
    """Nothing is lost, duplicated or unrecorded after a killed run and a complete one."""
    (_, last), (died, status) = harness.state.newest_runs()[:2]
    recorded = harness.state.changes(*(run for run, _ in harness.state.newest_runs()[:2]))
    applied = harness.sandbox.workspace(WORKSPACE).write_log.applied_writes()
    made = Counter(write.scim_id for write in applied)

    assert (last, status) == ("done", "interrupted"), died
    assert harness.workforce.wrong() == []
    # Every write is in the journal, and none was made twice: not even once by each of the two runs.
    assert set(made) <= {each["scim_id"] for each in recorded}
    assert set(made.values()) == {1}
    assert len(applied) == CHANGES
    assert "username" not in harness.journal.patched_paths()
    now = harness.state.links()
    assert linked.items() <= now.items(), "a link was lost"
    assert len(set(now.values())) == len(now)
    names = Counter(member.display_name for member in harness.sandbox.workspace(WORKSPACE).members)
    assert [name for name, count in names.items() if count > 1 and name.startswith("Hire")] == []


def _killed_and_run_again(harness: Harness, at: int, *, before: bool) -> None:
    assert harness.change() == CHANGES
    linked = harness.state.links()
    process = harness.agent.start(*SYNC)
    if before:
        harness.journal.request_counts = Unheard(process, at)
    else:
        harness.journal.writes = Ended(process, at, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(harness.journal.applied_writes()) == at - before
    harness.state.let_lease_go_void()
    ran = harness.agent.run(*SYNC)
    assert ran.code == 0, ran.out + ran.err
    _check_after(harness, linked)


@pytest.mark.parametrize("at", POINTS)
def test_killed_sync_is_taken_up_where_it_ended(at: int, on_sqlite: Harness) -> None:
    """In every second round, the write at which it is killed was made; in the others it was not."""
    _killed_and_run_again(on_sqlite, at, before=at % 2 == 0)


@pytest.mark.parametrize("at", FEWER)
def test_killed_sync_is_taken_up_where_it_ended_on_postgres(at: int, on_postgres: Harness) -> None:
    _killed_and_run_again(on_postgres, at, before=at % 2 == 0)


def _killed_at_once_and_run_again(harness: Harness, at: int) -> None:
    """Kill a sync with several changes in flight, and let the next run settle each of them."""
    assert harness.change() == CHANGES
    linked = harness.state.links()
    # Answers take long enough for all that may be in flight to be sent.
    slow = [
        {"name": method, "do": "slow", "system": "pigment", "method": method, "seconds": 0.5} for method in CHANGING
    ]
    harness.sandbox.faults.put(parse_rules({"faults": slow}))
    process = harness.agent.start(*SYNC)
    harness.journal.writes = Ended(process, at, signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    harness.sandbox.faults.put([])
    (killed, _), *_ = harness.state.newest_runs()
    outcomes = Counter(each["outcome"] for each in harness.state.changes(killed))
    assert 1 < outcomes["unknown"] <= AT_ONCE, outcomes
    assert outcomes["done"] < at
    harness.state.let_lease_go_void()
    ran = harness.agent.run(*SYNC)
    assert ran.code == 0, ran.out + ran.err
    _check_after(harness, linked)


@pytest.mark.parametrize("at", AT_ONCE_POINTS.values(), ids=list(AT_ONCE_POINTS))
def test_each_change_in_flight_of_a_killed_sync_is_settled(at: int, at_once_on_sqlite: Harness) -> None:
    _killed_at_once_and_run_again(at_once_on_sqlite, at)


@pytest.mark.parametrize("at", [AT_ONCE_POINTS["creates"]])
def test_each_change_in_flight_of_a_killed_sync_is_settled_on_postgres(at: int, at_once_on_postgres: Harness) -> None:
    _killed_at_once_and_run_again(at_once_on_postgres, at)


def test_sync_that_is_asked_to_stop_finishes_the_changes_in_flight(at_once_on_sqlite: Harness) -> None:
    harness = at_once_on_sqlite
    harness.change()
    slow = {"name": "slow", "do": "slow", "system": "pigment", "method": "PATCH", "seconds": 0.5}
    harness.sandbox.faults.put(parse_rules({"faults": [slow]}))
    process = harness.agent.start(*SYNC)
    harness.journal.writes = Ended(process, 1, signal.SIGTERM)
    process.communicate(timeout=60)
    harness.sandbox.faults.put([])
    (stopped, status), *_ = harness.state.newest_runs()
    outcomes = Counter(each["outcome"] for each in harness.state.changes(stopped))

    assert (process.returncode, status) == (5, "failed")
    made = len(harness.journal.applied_writes())
    assert outcomes == {"done": made, "not-tried": CHANGES - made}
    assert 1 < made <= 2 * AT_ONCE
    assert harness.agent.run(*SYNC).code == 0
    assert harness.workforce.wrong() == []
    assert len(harness.journal.applied_writes()) == CHANGES


def test_lease_of_a_killed_process_names_it_and_is_void_after_15_seconds(on_sqlite: Harness) -> None:
    harness = on_sqlite
    harness.change()
    linked = harness.state.links()
    process = harness.agent.start(*SYNC)
    harness.journal.writes = Ended(process, 5, signal.SIGKILL)
    process.communicate(timeout=60)
    at_once = harness.agent.run(*SYNC)
    later = harness.agent.run(*SYNC, "--wait", "30")

    assert at_once.code == 7
    assert f"process {process.pid}" in " ".join((at_once.out + at_once.err).split())
    assert later.code == 0, later.err
    _check_after(harness, linked)


@pytest.mark.parametrize("at", [1, 25])
def test_sync_that_is_asked_to_stop_finishes_its_change_and_closes_its_run(at: int, on_sqlite: Harness) -> None:
    harness = on_sqlite
    harness.change()
    process = harness.agent.start(*SYNC)
    harness.journal.writes = Ended(process, at, signal.SIGTERM)
    process.communicate(timeout=60)
    (stopped, status), *_ = harness.state.newest_runs()
    outcomes = Counter(each["outcome"] for each in harness.state.changes(stopped))

    assert process.returncode == 5
    assert status == "failed"
    assert outcomes == {"done": at, "not-tried": CHANGES - at}
    assert len(harness.journal.applied_writes()) == at
    # The lease is free at once, and the next run does the rest.
    assert harness.agent.run(*SYNC).code == 0
    assert harness.workforce.wrong() == []
    assert len(harness.journal.applied_writes()) == CHANGES
