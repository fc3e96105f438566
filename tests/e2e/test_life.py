"""A company changes, and its workspaces follow: real processes against the sandbox's real HTTP."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Agent

pytestmark = pytest.mark.traced

WORKSPACES = ("pigment-latam", "pigment-eu", "pigment-apac")
DIRECTORIES = {"okta": "pigment-latam", "entra": "pigment-eu", "onelogin": "pigment-apac"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=3, size=40) as served:
        yield served


@pytest.fixture(scope="module")
def agent(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    config = sandbox.write_config(tmp_path_factory.mktemp("agent"))
    # Three of thirty leave at once here, which the guards would rightly hold.
    more = "defaults: {limits: {max_deactivations_percent: 100}}\nlimits: {fleet_deactivations_percent: 100}\n"
    config.write_text(f"{config.read_text('utf-8')}\n{more}", "utf-8")
    return Agent(config)


@pytest.fixture(scope="module")
def in_step(sandbox: Sandbox, agent: Agent) -> Agent:
    """The agent after its first sync."""
    ran = agent.run("sync", "--by", "test", "--reason", "the first sync")
    assert ran.code == 0, ran.err
    return agent


def writes(sandbox: Sandbox) -> list[tuple[str, str]]:
    return [(each.system, each.method) for each in sandbox.requests() if each.method != "GET"]


def test_dry_run_sends_nothing_but_reads(sandbox: Sandbox, agent: Agent) -> None:
    sandbox.request_log.clear()
    ran = agent.run("plan", "--format", "json")
    sent = set(writes(sandbox))

    assert ran.code == 0, ran.err
    assert sent <= {("okta", "POST"), ("entra", "POST"), ("onelogin", "POST")}, "only token requests are POSTs"
    assert {each.path for each in sandbox.requests("okta", "POST")} <= {"/oauth2/v1/token"}
    assert [each["status"] for each in json.loads(ran.out)["workspaces"]] == ["planned"] * 3


def test_every_line_of_the_log_names_its_run(in_step: Agent) -> None:
    for command in ("plan", "sync"):
        ran = in_step.run(command, PIGMENT_SYNC__LOG__LEVEL="debug", PIGMENT_SYNC__LOG__FORMAT="json")
        lines = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
        ids = {run["id"] for run in json.loads(in_step.run("history", "--format", "json").out)}
        named = [line for line in lines if set(str(line.get("run_id", "")).split()) & ids]
        before = [line["event"] for line in lines if line not in named]

        assert len(named) >= 3
        assert set(before) <= {"Using selector: EpollSelector"}


def test_check_finds_everything_well(agent: Agent) -> None:
    ran = agent.run("check")

    assert ran.code == 0, ran.out + ran.err
    assert "✗" not in ran.out
    # Except for the new state there is no warning: `check` tries the requests of later runs, and each is answered.
    warned = [line for line in ran.out.splitlines() if line.startswith("!")]
    assert [line for line in warned if "state" not in line] == []
    found = json.loads(agent.run("check", "--format", "json").out)
    assert (found["version"], found["exit_code"], found["ok"], len(found["checks"]) > 10) == (1, 0, True, True)
    assert list(found) == sorted(found)


def test_result_of_a_check_is_kept_for_each_workspace_unless_it_is_offline(agent: Agent) -> None:
    def kept() -> list[tuple[str, str, bytes]]:
        with closing(sqlite3.connect(agent.config.with_name("state.db"))) as connection:
            return connection.execute("SELECT workspace, result, document FROM verifications ORDER BY rowid").fetchall()

    agent.run("check", "-w", "pigment-eu")
    before = kept()
    agent.run("check", "--offline")
    workspace, result, document = before[-1]

    assert kept() == before
    assert (workspace, result) == ("pigment-eu", "passed")
    subjects = {each["subject"] for each in json.loads(document)["checks"]}
    assert any("entra-eu" in subject for subject in subjects)
    assert not any("okta" in subject or "pigment-latam" in subject for subject in subjects)


def test_check_shows_the_ladder_to_enforce(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = Agent(sandbox.write_config(tmp_path, mode="dry-run"))
    for _ in range(3):
        assert agent.run("plan", "-w", "pigment-eu").code == 0
    shown = agent.run("check", "-w", "pigment-eu").out
    found = json.loads(agent.run("check", "-w", "pigment-eu", "--format", "json").out)["ladder"]

    assert "Ladder to enforce of pigment-eu:" in shown
    assert f"pigment-sync --config {agent.config} probe --workspace pigment-eu --as canary@acme.com" in shown
    states = {step["step"]: step["state"] for step in found["pigment-eu"]}
    assert states["checked"] == "done"
    assert states["probed"] == states["compared"] == states["approved-run"] == "missing"
    # The first plan has every kind of drift, and a guard holds some of it.
    (dry_runs,) = [step for step in found["pigment-eu"] if step["step"] == "dry-runs"]
    assert dry_runs["detail"] == "3 of 3" or dry_runs["detail"].endswith("was held by max-deactivations")


def test_check_warns_of_secrets_that_every_user_can_read(agent: Agent) -> None:
    agent.config.chmod(0o644)
    ran = agent.run("check", "-w", "pigment-eu")
    agent.config.chmod(0o600)

    assert ran.code == 0, ran.err
    assert f"!  config: {agent.config} holds secrets, and every user of this machine can read it." in ran.out


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_everything_that_happens_to_people_arrives(directory: str, sandbox: Sandbox, in_step: Agent) -> None:
    """Joiner, rename, marriage, suspension, leaver and rehire, each in its workspace; an email change keeps the id."""
    space, company = sandbox.workspace(DIRECTORIES[directory]), sandbox.company
    groups = [group.name for group in sandbox.company.directory(directory).groups.values() if "Pigment" in group.name]
    people = [company.hire(directory, f"{word}", f"Tester{directory.title()}", groups[:1]) for word in PEOPLE]
    assert in_step.run("sync").code == 0
    made = {person.id: space.find_member(person.email) for person in people}
    assert all(member is not None and member.active for member in made.values())
    ids = {key: member.id for key, member in made.items() if member is not None}
    joiner, renamed, married, suspended, leaver, rehired = people
    company.rename(renamed, given="Newly")
    company.marry(married, "Wedded")
    company.suspend(suspended)
    company.leave(leaver)
    company.leave(rehired)
    space.write_log.clear()
    ran = in_step.run("sync", "--reason", "a week later")
    assert ran.code == 0, ran.out + ran.err
    methods = Counter(write.method for write in space.write_log.applied_writes())
    now = {member.id: member for member in space.members}

    assert methods == {"PATCH": 4, "PUT": 1}
    assert now[ids[joiner.id]].active
    assert now[ids[renamed.id]].display_name.startswith("Newly")
    assert now[ids[married.id]].user_name == company.person(married.id).email
    assert "wedded" in now[ids[married.id]].user_name.lower()
    assert not any(now[ids[person.id]].active for person in (suspended, leaver, rehired))
    company.reinstate(suspended)
    company.rehire(rehired, groups[:1])
    assert in_step.run("sync").code == 0
    assert now[ids[suspended.id]].active
    assert now[ids[rehired.id]].active
    assert not now[ids[leaver.id]].active
    assert "username" not in space.write_log.patched_paths()


PEOPLE = ("Joiner", "Renamed", "Married", "Suspended", "Leaver", "Rehired")


def test_unchanged_workspaces_cost_their_listing_and_no_write(sandbox: Sandbox, in_step: Agent) -> None:
    assert in_step.run("sync").code == 0
    sandbox.request_log.clear()
    ran = in_step.run("sync", "--format", "json")
    listed = Counter(each.path.split("/")[1] for each in sandbox.requests("pigment"))
    pages = {name: -(-len(sandbox.workspace(name).members) // 100) for name in WORKSPACES}

    assert ran.code == 0, ran.err
    assert {method for system, method in writes(sandbox) if system == "pigment"} == set()
    assert listed == pages


def test_plan_exit_code_shows_whether_a_sync_would_change_something(sandbox: Sandbox, in_step: Agent) -> None:
    assert in_step.run("sync").code == 0
    assert in_step.run("plan", "--exit-code").code == 0
    group = next(name for name in (g.name for g in sandbox.company.okta.groups.values()) if "Pigment" in name)
    sandbox.company.hire("okta", "Exit", "Code", [group])
    assert in_step.run("plan").code == 0
    assert in_step.run("plan", "--exit-code").code == 3
    assert in_step.run("sync").code == 0
    assert in_step.run("plan", "--exit-code").code == 0


def test_sync_exit_code_shows_whether_something_was_written_or_waits(
    sandbox: Sandbox, in_step: Agent, tmp_path: Path
) -> None:
    saved = tmp_path / "held.json"
    planned = json.loads(in_step.run("plan", "--format", "json").out)["workspaces"]
    holds = {each["name"]: each["counts"]["hold"] for each in planned}
    directory, clear = next((key, name) for key, name in DIRECTORIES.items() if not holds[name])
    held = next(name for name in holds if holds[name])
    home = sandbox.company.directories[directory]
    group = next(each.name for each in home.groups.values() if "Pigment" in each.name)
    sandbox.company.hire(directory, "Writ", "Ten", [group])
    assert in_step.run("sync", "-w", clear, "--exit-code").code == 3
    assert in_step.run("sync", "-w", clear, "--exit-code").code == 0
    assert in_step.run("sync", "-w", held).code == 0
    waiting = in_step.run("sync", "-w", clear, "-w", held, "--exit-code")
    assert waiting.code == 4
    assert f"{held}: {holds[held]} change" in waiting.err
    assert "  To see what clears each:\n    pigment-sync --config " in waiting.err
    assert f" plan --workspace {held}\n" in waiting.err
    assert f"{clear}: " not in waiting.err
    in_step.run("plan", "-w", held, "--out", str(saved))
    assert in_step.run("apply", str(saved), "--reason", "test").code == 0
    assert in_step.run("apply", str(saved), "--reason", "test", "--exit-code").code == 4


def test_every_run_is_in_the_history_with_who_and_why(in_step: Agent) -> None:
    ran = in_step.run("history", "--format", "json", "--limit", "1000")
    runs = json.loads(ran.out)
    first = [run for run in runs if run["reason"] == "the first sync"]

    assert {run["workspace"] for run in first} == set(WORKSPACES)
    assert {(run["by"], run["status"]) for run in first} == {("test", "done")}
    shown = in_step.run("report", first[0]["id"])
    assert shown.code == 0, shown.err
    assert first[0]["workspace"] in shown.out


def test_members_and_links_list_what_is_there(sandbox: Sandbox, in_step: Agent) -> None:
    members = json.loads(in_step.run("members", "-w", "pigment-eu", "--format", "json").out)
    one = json.loads(in_step.run("members", "-w", "pigment-eu", "--format", "json", "--email", members[0]["email"]).out)
    links = in_step.run("links", "list", "-w", "pigment-eu").out.splitlines()

    assert {member["scim_id"] for member in members} == {
        member.id for member in sandbox.workspace("pigment-eu").members
    }
    assert one == members[:1]
    assert links.pop(0) == "workspace\temail\tperson\tscim_id\tstatus"
    assert all("entra-eu:" in line for line in links)
    assert links


def test_report_of_a_run_that_is_none_is_a_usage_error(in_step: Agent, tmp_path: Path) -> None:
    ran = in_step.run("report", "20260101-000000-abcdef")

    assert ran.code == 2
    assert f"pigment-sync --config {in_step.config} history" in ran.err
    assert in_step.run("report", str(tmp_path / "none.json")).code == 2
