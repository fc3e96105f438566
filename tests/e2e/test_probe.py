"""`probe` as an operator runs it: on the sandbox, as a process that is killed at a write, and on two other servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.rate_limit import RateLimit
from sandbox.pigment.token import DomainRestriction
from sandbox.server import Sandbox, run_sandbox
from tests.contract.scim_servers import TOKEN, Server, django_scim2_server, scim2_server
from tests.e2e.agent_process import LONGEST_SECONDS, REPOSITORY, Agent, AgentProcess, Ran
from tests.e2e.command_line import run_command
from tests.e2e.ended_process import WORKSPACE, Ended, State, Unheard
from tests.e2e.fork_server import fork
from tests.e2e.scim_hosts import serving

CANARY = "canary@acme.com"
PROBE = ("probe", "-w", WORKSPACE, "--as", CANARY)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=11, size=30, limit=RateLimit(None)) as running:
        # Without it, a member in a foreign domain is created too, and must be undone.
        running.workspace(WORKSPACE).restriction = DomainRestriction()
        yield running


@pytest.fixture
def agent(sandbox: Sandbox, tmp_path: Path) -> Iterator[Agent]:
    """An agent in mode dry-run with a state of its own, and a workspace without a canary."""
    made = Agent(sandbox.write_config(tmp_path))
    document = yaml.safe_load(made.config.read_text("utf-8"))
    document["defaults"] = {"mode": "dry-run"}
    for workspace in document["workspaces"].values():
        del workspace["mode"]
    made.config.write_text(yaml.safe_dump(document), "utf-8")
    space = sandbox.workspace(WORKSPACE)
    space.write_log.writes, space.write_log.request_counts = [], Counter()
    yield made
    space.options = WorkspaceOptions()
    space.write_log.writes, space.write_log.request_counts = [], Counter()
    for member in space.members:
        if "canary" in member.user_name:
            space.admin_remove(member.user_name)


def _canaries(sandbox: Sandbox) -> dict[str, bool]:
    members = sandbox.workspace(WORKSPACE).members
    return {member.user_name: member.active for member in members if "canary" in member.user_name}


def _verdicts(ran: Ran) -> dict[str, str]:
    return {row["code"]: row["verdict"] for row in json.loads(ran.out)["facts"]}


def test_probe_writes_in_dry_run_to_its_canary_alone_and_announces_it(agent: Agent, sandbox: Sandbox) -> None:
    plan = json.loads(run_command(agent.config, "plan", "-w", WORKSPACE, "--format", "json").out)
    ran = run_command(agent.config, *PROBE, "--yes")
    after = json.loads(run_command(agent.config, "plan", "-w", WORKSPACE, "--format", "json").out)

    assert ran.code == 0, ran.out + ran.err
    assert f"{WORKSPACE} (mode dry-run): this probe writes to " in ran.err
    assert f"to its canary {CANARY} alone" in " ".join(ran.err.split())
    assert f"The probe of {WORKSPACE} with {CANARY} on " in ran.out
    assert _canaries(sandbox) == {CANARY: False, "canary@example.invalid": False}
    writes = sandbox.workspace(WORKSPACE).write_log.applied_writes()
    own = {member.id for member in sandbox.workspace(WORKSPACE).members if "canary" in member.user_name}
    assert {write.scim_id for write in writes} == own
    (planned,), (later,) = plan["workspaces"], after["workspaces"]
    assert (later["changes"], later["holds"]) == (planned["changes"], planned["holds"])
    codes = [Counter(note["code"] for note in each["notes"]) for each in (planned, later)]
    assert codes[0] == codes[1]


def test_newest_result_is_shown_and_checked(agent: Agent, sandbox: Sandbox) -> None:
    never = run_command(agent.config, "probe", "-w", WORKSPACE, "--show")
    sandbox.workspace(WORKSPACE).options = WorkspaceOptions(patch_dropped="204")
    ran = run_command(agent.config, *PROBE, "--yes", "--format", "json")
    shown = run_command(agent.config, "probe", "-w", WORKSPACE, "--show", "--format", "json")
    text = run_command(agent.config, "probe", "-w", WORKSPACE, "--show")
    check = run_command(agent.config, "check", "-w", WORKSPACE, "--format", "json")

    assert (never.code, "was never probed" in never.err) == (2, True)
    assert (ran.code, shown.code, text.code) == (3, 3, 3)
    assert shown.out == ran.out
    assert "2 differ (patch-email, patch-user-name)" in text.out
    assert "!  patch-email: 204, not changed (assumed: 200, not changed)" in text.out
    assert "2 differ (patch-email, patch-user-name)" in check.out


def test_probe_without_a_terminal_needs_yes(agent: Agent, sandbox: Sandbox) -> None:
    ran = agent.run(*PROBE)

    assert (ran.code, "Add --yes." in ran.err) == (2, True)
    assert sandbox.workspace(WORKSPACE).write_log.writes == []


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_probe_asks_on_a_terminal(answer: str, code: int, agent: Agent, sandbox: Sandbox) -> None:
    terminal, its_end = os.openpty()
    try:
        os.write(terminal, f"{answer}\n".encode())
        streams = its_end, subprocess.PIPE, subprocess.PIPE
        process = fork(["--config", str(agent.config), *PROBE], agent.environment, REPOSITORY, streams)
        _, err = process.communicate(timeout=LONGEST_SECONDS)
    finally:
        os.close(terminal)
        os.close(its_end)

    assert (process.wait(), b"Begin? [y/N]" in err) == (code, True), err
    assert bool(sandbox.workspace(WORKSPACE).write_log.writes) is (answer == "y")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("probe", "-w", WORKSPACE), "The canary is missing."),
        (("probe", "-w", "nowhere", "--as", CANARY, "--yes"), "There is no workspace nowhere."),
        (("probe", "-w", WORKSPACE, "--as", "canary@example.com", "--yes"), "is not in the allowed_domains"),
        (("probe", "-w", WORKSPACE, "--as", "ana.lima@acme.com", "--yes"), "is assigned to"),
    ],
)
def test_refused_canary_is_exit_2_and_nothing_is_written(
    arguments: tuple[str, ...], message: str, agent: Agent, sandbox: Sandbox
) -> None:
    ran = run_command(agent.config, *arguments)

    assert (ran.code, message in " ".join(ran.err.split())) == (2, True), ran.err
    assert sandbox.workspace(WORKSPACE).write_log.writes == []


def test_workspace_out_of_reach_is_exit_6(agent: Agent) -> None:
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["workspaces"][WORKSPACE]["tokens"] = ["a-token-that-was-revoked"]
    agent.config.write_text(yaml.safe_dump(document), "utf-8")

    assert run_command(agent.config, *PROBE, "--yes").code == 6


Ending = Callable[[AgentProcess, int, Sandbox], None]


def _kill_after(process: AgentProcess, at: int, sandbox: Sandbox) -> None:
    sandbox.workspace(WORKSPACE).write_log.writes = Ended(process, at, signal.SIGKILL)


def _kill_before(process: AgentProcess, at: int, sandbox: Sandbox) -> None:
    sandbox.workspace(WORKSPACE).write_log.request_counts = Unheard(process, at)


@pytest.mark.parametrize(("at", "end"), [(1, _kill_after), (5, _kill_before), (9, _kill_after), (10, _kill_after)])
def test_killed_probe_is_cleaned_up_by_the_next_one(at: int, end: Ending, agent: Agent, sandbox: Sandbox) -> None:
    """Write 1 creates the canary, 9 creates the foreign member, 10 deactivates it, 11 moves the canary."""
    process = agent.start(*PROBE, "--yes")
    end(process, at, sandbox)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert any(_canaries(sandbox).values())
    busy = run_command(agent.config, *PROBE, "--yes")
    with State.at(f"sqlite:///{agent.config.parent}/state.db") as state:
        state.let_lease_go_void()
    between = run_command(agent.config, "plan", "-w", WORKSPACE, "--format", "json")
    ran = run_command(agent.config, *PROBE, "--yes", "--format", "json")

    assert busy.code == 7
    assert CANARY not in [change["email"] for change in json.loads(between.out)["workspaces"][0]["changes"]]
    assert ran.code == 0, ran.out + ran.err
    assert set(_verdicts(ran).values()) == {"as-assumed", "unknown"}
    assert _canaries(sandbox) == {CANARY: False, "canary@example.invalid": False}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_probe_leaves_its_canary_inactive(number: int, agent: Agent, sandbox: Sandbox) -> None:
    process = agent.start(*PROBE, "--yes")
    sandbox.workspace(WORKSPACE).write_log.writes = Ended(process, 11, number)
    _, err = process.communicate(timeout=120)

    assert process.returncode == 6, err
    assert b"The probe was stopped." in err
    assert not any(_canaries(sandbox).values())
    assert run_command(agent.config, *PROBE, "--yes").code == 0


SCIM2_SERVER = {
    "name-formatted": "not shown",
    "name-parts": "givenName and familyName stored",
    "version": "a weak version",
    "groups": "200",
    "patch-display-name": "204, changed",
    "patch-formatted": "204, changed alone",
    "patch-email": "204, changed",
    "patch-user-name": "204, changed",
    "patch-mixed": "both changed",
    "external-id": "stored",
    "put-without-active": "active became unreadable, inactive became unreadable",
    "deactivate": "204, changed",
    "reactivate": "204, changed",
    "patch-active-text": "204, changed",
}
DJANGO_SCIM2_SERVER = {
    "name-formatted": "not shown",
    "name-parts": "givenName and familyName stored",
    "filter-emails": "400",
    "groups": "200",
    "patch-display-name": "200, not changed",
    "patch-formatted": "200, not changed",
    "patch-email": "200, changed",
    "patch-user-name": "200, changed",
    "patch-mixed": "the email changed, the name not",
    "external-id": "stored",
    "put-without-active": "inactive became active",
    "create-again-case": "201 with another member",
    "foreign-domain": "400",
}


@pytest.mark.parametrize(
    ("start", "expected"),
    [(scim2_server, SCIM2_SERVER), (django_scim2_server, DJANGO_SCIM2_SERVER)],
    ids=["scim2-server", "django-scim2-server"],
)
def test_probe_finds_the_differences_of_other_servers(
    start: Callable[[], Server], expected: dict[str, str], agent: Agent
) -> None:
    with serving(start(), TOKEN) as target:
        document = yaml.safe_load(agent.config.read_text("utf-8"))
        document["workspaces"][WORKSPACE] |= {"scim_url": target.url, "tokens": [target.token]}
        agent.config.write_text(yaml.safe_dump(document), "utf-8")
        ran = run_command(agent.config, *PROBE, "--yes", "--format", "json")
        made = [row for row in target.members().values() if "canary" in row["userName"].lower()]

    assert ran.code == 3, ran.out + ran.err
    rows = json.loads(ran.out)["facts"]
    assert {row["code"]: row["seen"] for row in rows if row["verdict"] == "differs"} == expected
    assert [row["active"] for row in made] == [False] * 2
