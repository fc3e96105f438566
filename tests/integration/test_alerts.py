"""The alerting rules: Prometheus' own tool checks and tests them, and the agent exposes each metric that they query."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from agent.model.run import RunStatus
from tests.exported_metrics import exported_labels
from tests.programs import require

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = re.compile(r"\bpigment_sync_\w+")
STATUS = re.compile(r'status=~?"([^"]+)"')


def rules() -> list[dict[str, object]]:
    document = yaml.safe_load((DEPLOY / "alerts.yaml").read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> None:
    environment = {"PATH": os.environ["PATH"]}
    ended = subprocess.run(
        [require("promtool"), *arguments],
        cwd=DEPLOY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_rules_are_valid() -> None:
    promtool("check", "rules", "alerts.yaml")


@pytest.mark.parametrize("tests", ["alerts_test.yaml", "alerts_days_test.yaml"])
def test_rules_alert_when_they_should_and_never_else(tests: str) -> None:
    promtool("test", "rules", tests)


def test_every_metric_of_an_alert_is_exposed() -> None:
    exposed = {name for series in exported_labels().values() for name in series}
    queried = {name for rule in rules() for name in NAME.findall(str(rule["expr"]))}

    assert queried
    assert queried <= exposed


def test_every_status_of_an_alert_is_one_that_a_run_has() -> None:
    queried = {each for rule in rules() for found in STATUS.findall(str(rule["expr"])) for each in found.split("|")}

    assert queried == {"held", "failed", "incomplete", "interrupted", "credentials"}
    assert queried <= set(RunStatus)


def test_every_alert_names_the_problem_and_the_runbook() -> None:
    for rule in yaml.safe_load((DEPLOY / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]:
        notes = rule["annotations"]
        assert notes["summary"]
        assert notes["description"]
        assert notes["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
