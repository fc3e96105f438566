"""A secret that is missing from its configured place stops only what needs it, with an error that reports this."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Agent
from tests.e2e.command_line import CommandLine

GONE = "gone.token"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=8, size=12) as sandbox:
        yield sandbox


@pytest.fixture
def agent(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    agent = CommandLine(sandbox.write_config(tmp_path_factory.mktemp("missing")))
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["workspaces"]["pigment-eu"]["tokens"] = [{"file": GONE}]
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    return agent


def test_commands_end_with_8_and_the_other_workspaces_go_on(agent: CommandLine, sandbox: Sandbox) -> None:
    planned = agent.run("plan", "--format", "json")
    synced = agent.run("sync", "--format", "json")
    checked = agent.run("check")

    workspaces = {each["name"]: each for each in json.loads(planned.out)["workspaces"]}
    assert workspaces["pigment-eu"]["error"]["code"] == "secret-unreadable"
    statuses = {each["name"]: each["status"] for each in json.loads(planned.out)["workspaces"]}
    assert statuses == {"pigment-latam": "planned", "pigment-eu": "credentials", "pigment-apac": "planned"}
    assert (planned.code, synced.code, checked.code) == (8, 8, 8)
    assert f"{GONE} can't be read (No such file or directory)" in planned.out
    assert {seen.path.split("/")[1] for seen in sandbox.requests("pigment", "POST")} == {
        "pigment-latam",
        "pigment-apac",
    }
    assert agent.run("members", "-w", "pigment-eu").code == 8
    assert agent.run("check", "-w", "pigment-latam").code == 0


def test_each_cause_has_a_code_of_its_own(agent: CommandLine, sandbox: Sandbox) -> None:
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["workspaces"]["pigment-latam"]["tokens"] = [{"env": "ACME_NOT_SET"}]
    document["workspaces"]["pigment-apac"]["tokens"] = ["Bearer written-with-its-word"]
    agent.config.write_text(yaml.safe_dump(document), "utf-8")

    planned, shown = agent.run("plan", "--format", "json"), agent.run("plan")

    errors = {each["name"]: each["error"]["code"] for each in json.loads(planned.out)["workspaces"]}
    assert errors == {
        "pigment-latam": "secret-not-set",
        "pigment-eu": "secret-unreadable",
        "pigment-apac": "secret-invalid",
    }
    assert (planned.code, shown.code) == (8, 8)
    assert "refused" not in shown.out
    assert "pigment-latam: a secret is not set; nothing was planned" in shown.out


def test_daemon_does_not_start_and_names_what_to_mount(agent: CommandLine) -> None:
    served = Agent(agent.config).run("serve")

    assert served.code == 8
    assert served.err.splitlines() == [
        f"pigment-sync: workspaces.pigment-eu.tokens.0: The secret file {agent.config.parent / GONE} "
        "can't be read (No such file or directory).",
        "  Mount the file, and give the user that runs pigment-sync read permission.",
    ]
