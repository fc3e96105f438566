"""The runbook has a row for every code, status, outcome and exit code of the product."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from agent.errors import ExitCode
from agent.model.codes import GuardCode, HoldCode, NoteCode
from agent.model.run import Outcome, RunStatus

REPOSITORY = Path(__file__).parents[2]
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text("utf-8")
ALERTS = [
    rule
    for group in yaml.safe_load((REPOSITORY / "deploy" / "alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
ADRS = sorted((REPOSITORY / "docs" / "adr").glob("*.md"))
CODE = re.compile(r"[a-z]+(?:-[a-z]+)+")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


def section(title: str, text: str = RUNBOOK) -> str:
    """Return the text under a heading, up to the next one of its level or a higher one."""
    headings = list(HEADING.finditer(text))
    start = next(each for each in headings if each[2] == title)
    ends = (each.start() for each in headings if each.start() > start.start() and len(each[1]) <= len(start[1]))
    return text[start.end() : next(ends, len(text))]


def rows(title: str, text: str = RUNBOOK) -> dict[str, list[str]]:
    """Return the rows of the tables of a section by the text of their first cell, without backticks."""
    found = {}
    for line in section(title, text).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and not line.startswith("|---"):
            found[cells[0].strip("` |")] = cells[1:]
    return found


def held_in_cases() -> set[str]:
    """Return the codes of all holds that the golden plans have."""
    found = set()
    for path in (REPOSITORY / "tests" / "cases").glob("*.yaml"):
        expected = yaml.safe_load(path.read_text("utf-8")).get("expect", {})
        found |= {code for hold in expected.get("holds", []) for code in re.findall(r"\(([a-z-]+)\)", str(hold))}
    return found


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_has_a_section_with_all_that_an_operator_asks(rule: dict[str, dict[str, str]]) -> None:
    text = section(str(rule["alert"]))

    fields = ("Means", "Danger", "First", "Causes", "Remedy", "Over when")
    assert [each for each in fields if f"- **{each}" not in text] == []
    assert "pigment-sync" in text
    assert rule["annotations"]["runbook_url"].endswith(f"runbook.md#{str(rule['alert']).lower()}")


def test_every_section_of_an_alert_is_of_an_alert_that_exists() -> None:
    named = re.findall(r"^### (.+)$", section("Alerts"), re.MULTILINE)

    assert named == [rule["alert"] for rule in ALERTS]


def test_each_exit_code_has_its_row_and_no_other_has() -> None:
    assert {key for key in rows("Exit codes") if key.isdecimal()} == {str(code.value) for code in ExitCode}


def test_each_way_a_run_can_end_has_its_row_and_no_other_has() -> None:
    assert set(rows("How a run ended")) - {"status"} == {status.value for status in RunStatus}


def test_each_outcome_has_its_row_and_no_other_has() -> None:
    assert set(rows("What became of a change")) - {"outcome"} == {outcome.value for outcome in Outcome}


def test_each_hold_has_its_row_and_no_other_has() -> None:
    assert set(rows("Holds")) - {"code"} == set(HoldCode)


def test_each_guard_has_its_row_and_no_other_has() -> None:
    assert set(rows("Guards")) - {"code"} == set(GuardCode)


def test_golden_plans_have_every_code_of_a_hold() -> None:
    assert held_in_cases() == set(HoldCode) | set(GuardCode)


def test_each_note_of_the_planner_has_its_row_on_the_planning_page() -> None:
    planning = (REPOSITORY / "docs" / "planning.md").read_text("utf-8")

    assert [code for code in NoteCode if f"| `{code}` |" not in planning] == []


def test_every_row_has_a_next_step() -> None:
    tables = ("Exit codes", "How a run ended", "What became of a change", "Holds", "Guards")
    short = [
        (title, key)
        for title in tables
        for key, cells in rows(title).items()
        if not all(cells) or not cells[-1].strip(" |")
    ]

    assert short == []


def test_holds_and_guards_are_those_of_the_planning_page() -> None:
    planning = (REPOSITORY / "docs" / "planning.md").read_text("utf-8")
    guards = {code for key in rows("Guards", planning) for code in CODE.findall(key)}

    assert set(rows("Holds of the table", planning)) - {"code"} == set(rows("Holds")) - {"code"}
    assert guards | {"fleet", "undone"} == set(rows("Guards")) - {"code"}


NAMED = re.compile(r"`((?:agent|bench|connectors|deploy|docs|sandbox|scripts|tests)/[\w./*-]+)`")
WITNESSES = ["security.md", "compatibility.md", "architecture.md", *(f"adr/{path.name}" for path in ADRS)]


@pytest.mark.parametrize("name", WITNESSES)
def test_files_that_a_page_calls_as_witnesses_exist(name: str) -> None:
    named = NAMED.findall((REPOSITORY / "docs" / name).read_text("utf-8"))

    assert [path for path in named if not any(REPOSITORY.glob(path.rstrip("/")))] == []
