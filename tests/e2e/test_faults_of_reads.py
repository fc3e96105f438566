"""No fault of a read causes a deactivation that would not have happened without the fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.cli.app import run_cli
from sandbox.faults.action import ACTIONS
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import REPOSITORY
from tests.e2e.ended_process import unlimited
from tests.e2e.fault_cells import CELLS, LISTS, SYSTEMS, WORKSPACES, Cell


@dataclass(frozen=True)
class Tenants:
    """A sandbox with people who moved since the last sync, and the plan of each workspace without faults."""

    sandbox: Sandbox
    patient: Path
    strict: Path
    good: dict[str, Any]

    def plan(self, config: Path, *names: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code of `plan` and each workspace's part of its document."""
        out = config.parent / "plan.json"
        out.unlink(missing_ok=True)
        chosen = [word for name in names for word in ("-w", name)]
        code = run_cli(["--config", str(config), "plan", "--out", str(out), *chosen])
        return code, {each["name"]: each for each in json.loads(out.read_bytes())["workspaces"]}


def _moved(sandbox: Sandbox) -> None:
    for directory in WORKSPACES:
        if directory == "pigment":
            continue
        home = sandbox.company.directory(directory)
        group = next(group for group in home.groups.values() if "Pigment" in group.name)
        people = [
            person for person in map(sandbox.company.person, group.people) if person.status == home.status_words.active
        ]
        sandbox.company.leave(people[0])
        sandbox.company.suspend(people[1])
        sandbox.company.rename(people[2], given="Renamed")
        sandbox.company.marry(people[3], "Married")
        sandbox.company.hire(directory, "New", f"Comer{directory}", [group.name])


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    patient, strict = tmp_path_factory.mktemp("patient"), tmp_path_factory.mktemp("strict")
    url = f"sqlite:///{patient}/state.db"
    with run_sandbox(seed=11, size=130, limit=RateLimit(None)) as sandbox:
        bounds = {"timeout_seconds": 2.0, "max_wait_seconds": 8.0}
        agents = [
            unlimited(sandbox.write_config(folder, url), http={**bounds, "retries": retries})
            for folder, retries in ((patient, 1), (strict, 0))
        ]
        assert run_cli(["--config", str(agents[0].config), "sync"]) == 0
        _moved(sandbox)
        made = Tenants(sandbox, agents[0].config, agents[1].config, {})
        code, good = made.plan(made.patient)
        assert code == 0
        yield Tenants(sandbox, made.patient, made.strict, good)


def _deactivated(workspace: dict[str, Any]) -> set[str]:
    return {row["email"] for row in workspace["changes"] if row["kind"] == "deactivate"}


def _met(tenants: Tenants, system: str, cell: Cell, *names: str) -> tuple[int, dict[str, Any]]:
    """Plan while *system* has the fault of *cell*, which must have happened."""
    rule = {"name": "fault", "system": system, "path": LISTS[system], **cell.fault}
    tenants.sandbox.faults.put(parse_rules({"faults": [rule]}))
    try:
        result = tenants.plan(tenants.patient if cell.patient else tenants.strict, *names)
        # Two lists must be asked for at once before one of them can be refused for it.
        assert tenants.sandbox.faults.fired or cell.fault["do"] == "concurrency"
    finally:
        tenants.sandbox.faults.clear()
    return result


CASES = [pytest.param(cell, system, id=f"{cell.name} - {system}") for cell in CELLS for system in cell.exits]


@pytest.mark.parametrize(("cell", "system"), CASES)
def test_fault_heals_or_ends_the_read_and_never_deactivates(cell: Cell, system: str, tenants: Tenants) -> None:
    name = WORKSPACES[system]
    code, plans = _met(tenants, system, cell, name)
    good = tenants.good[name]

    assert _deactivated(plans[name]) <= _deactivated(good)
    assert code == cell.exits[system], plans[name].get("error")
    if code:
        assert plans[name]["status"] in {"incomplete", "credentials"}
        assert plans[name]["changes"] == []
        assert plans[name]["error"]["remedy"]
    if cell.patient:
        assert plans[name]["digest"] == good["digest"], "what healed changed the plan"


@pytest.mark.parametrize("system", SYSTEMS)
def test_system_that_fails_stops_no_other(system: str, tenants: Tenants) -> None:
    fails = Cell("", {"do": "status", "status": 503, "path": "/pigment-latam/*" if system == "pigment" else "*"}, {})
    code, plans = _met(tenants, system, fails)
    failed = WORKSPACES[system]

    assert code == 6
    assert plans[failed]["status"] == "incomplete"
    others = {name: plan["digest"] for name, plan in plans.items() if name != failed}
    assert others == {name: tenants.good[name]["digest"] for name in others}


def test_page_of_faults_documents_what_the_tests_expect() -> None:
    text = (REPOSITORY / "docs" / "faults-and-answers.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    documented = {row[0]: row[2:] for row in rows if len(row) == 2 + len(SYSTEMS)}
    expected = {cell.name: [str(cell.exits.get(system, "")) for system in SYSTEMS] for cell in CELLS}

    assert {name: exits for name, exits in documented.items() if name in expected} == expected
    assert {cell.fault["do"] for cell in CELLS} | ELSEWHERE == set(ACTIONS)


# Writes have it, or 20,000 pages take longer than a test may: the contract tests of each reader have that with less.
ELSEWHERE = {"dropped", "endless-pages", "skewed-clock"}
