"""For every fault of a write, the run reports it, the next run corrects it, and no person gets a second member."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.cli.app import run_cli
from sandbox.company import Person
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import REPOSITORY
from tests.e2e.ended_process import GROUP, WORKSPACE, State, Workforce, unlimited
from tests.e2e.write_cells import WRITES, WriteCell

CHANGES = 5


@dataclass
class Harness:
    """One company in sync, the agent's configuration and its state."""

    sandbox: Sandbox
    config: Path
    state: State
    workforce: Workforce
    waiting: list[list[Person]] = field(default_factory=list)

    def sync(self) -> int:
        return run_cli(["--config", str(self.config), "sync", "-w", WORKSPACE])

    def hire_everyone_who_changes(self) -> None:
        """Three people for each cell, in sync before the first."""
        company = self.sandbox.company
        for number in range(len(WRITES)):
            self.waiting.append([company.hire("okta", f"Hire{number}{n}", "Old", [GROUP]) for n in "abc"])
        assert self.sync() == 0

    def change(self) -> None:
        """One person leaves, one marries, one is renamed, and two join."""
        company = self.sandbox.company
        leaver, married, renamed = self.waiting.pop()
        company.leave(leaver)
        company.marry(married, f"Wed{self.workforce.rounds}")
        company.rename(renamed, family="New")
        self.workforce.hire(2)
        self.sandbox.workspace(WORKSPACE).write_log.clear()


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    folder = tmp_path_factory.mktemp("harness")
    url = f"sqlite:///{folder}/state.db"
    with run_sandbox(seed=12, size=12, limit=RateLimit(None)) as sandbox:
        bounds = {"timeout_seconds": 1.5, "max_wait_seconds": 6.0, "retries": 1}
        agent = unlimited(sandbox.write_config(folder, url), http=bounds)
        with State.at(url) as state:
            harness = Harness(sandbox, agent.config, state, Workforce(sandbox))
            harness.hire_everyone_who_changes()
            yield harness


@pytest.mark.parametrize("cell", WRITES, ids=lambda cell: cell.name)
def test_failed_write_is_reported_and_repeated_by_the_next_run(cell: WriteCell, harness: Harness) -> None:
    harness.change()
    # Reads go well: this is about what is written.
    rules = [
        {"name": method, "system": "pigment", "path": "/pigment-latam/*", "method": method, **cell.fault}
        for method in ([cell.fault["method"]] if "method" in cell.fault else ["POST", "PUT", "PATCH"])
    ]
    if "method" not in cell.fault and ("start" in cell.fault or "times" in cell.fault):
        rules = [{**rules[0], "method": "PATCH"}]
    harness.sandbox.faults.put(parse_rules({"faults": rules}))
    try:
        code = harness.sync()
        assert harness.sandbox.faults.fired
    finally:
        harness.sandbox.faults.clear()
    (run_id, _), *_ = harness.state.newest_runs()
    outcomes = Counter(each["outcome"] for each in harness.state.changes(run_id))
    assert harness.sync() == 0
    assert harness.workforce.wrong() == []
    journal = harness.sandbox.workspace(WORKSPACE).write_log
    made = Counter(write.scim_id for write in journal.applied_writes() if write.method == "POST")
    assert len(made) == 2
    assert "username" not in journal.patched_paths()
    assert (code, outcomes["done"]) == (cell.exit, CHANGES - cell.failed), outcomes


def test_page_of_faults_documents_the_results_of_writes() -> None:
    text = (REPOSITORY / "docs" / "faults-and-answers.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    documented = {row[0]: row[2] for row in rows if len(row) == 3}

    assert {cell.name: str(cell.exit) for cell in WRITES}.items() <= documented.items()
