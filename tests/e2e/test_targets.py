"""What the state knows belongs to the workspace that a `scim_url` names, never to the key that a file has it under."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Ran
from tests.e2e.command_line import run_command
from tests.e2e.company import leavers

pytestmark = pytest.mark.traced

LATAM, EU = "pigment-latam", "pigment-eu"
WRITING = ("POST", "PUT", "PATCH", "DELETE")
Edit = Callable[[Any], None]


class Harness:
    """An agent's configuration and state next to a running sandbox."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.config = sandbox.write_config(folder)

    def edit(self, change: Edit, to: str = "") -> Path:
        """Change the configuration, or with *to* write a changed copy next to it, on the same state."""
        tree = yaml.safe_load(self.config.read_text("utf-8"))
        change(tree)
        path = self.config.with_name(to) if to else self.config
        path.write_text(yaml.safe_dump(tree), "utf-8")
        path.chmod(0o600)
        return path

    def run(self, *arguments: str, config: Path | None = None) -> Ran:
        return run_command(config or self.config, *arguments)

    def synced(self, *arguments: str, config: Path | None = None) -> tuple[Ran, int]:
        """Sync, and return what it answered with the number of requests that would have written something."""
        before = self.writes()
        ran = self.run("sync", *arguments, config=config)
        return ran, self.writes() - before

    def writes(self) -> int:
        return sum(len(self.sandbox.requests("pigment", method)) for method in WRITING)

    def planned(self, *arguments: str) -> Any:
        return json.loads(self.run("plan", "--format", "json", *arguments).out)["workspaces"]

    def links(self, name: str) -> int:
        return len(self.run("links", "list", "-w", name).out.splitlines()[1:])


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=7, size=40, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture
def harness(sandbox: Sandbox, tmp_path: Path) -> Harness:
    """An agent that has brought all workspaces in sync."""
    harness = Harness(sandbox, tmp_path)
    ran, written = harness.synced()
    assert ran.code == 0, ran.out + ran.err
    assert written > 0
    return harness


def renamed(old: str, new: str) -> Edit:
    def change(tree: Any) -> None:
        tree["workspaces"] = {new if name == old else name: each for name, each in tree["workspaces"].items()}

    return change


def codes(workspace: Any) -> set[str]:
    return {hold["code"] for hold in workspace["holds"]}


def test_renamed_key_holds_everything_until_it_is_recorded_as_the_same(harness: Harness, sandbox: Sandbox) -> None:
    links = harness.links(LATAM)
    (leaver,) = leavers(sandbox, 1)
    harness.edit(renamed(LATAM, "brazil"))
    ran, written = harness.synced("-w", "brazil")

    assert (ran.code, written) == (4, 0), ran.out + ran.err
    assert f" workspaces rename {LATAM} brazil\n" in ran.err
    assert harness.links("brazil") == 0, "nor is anybody adopted"
    (planned,) = harness.planned("-w", "brazil")
    assert codes(planned) <= {"wrong-target"} | {hold["code"] for hold in planned["holds"] if "after" not in hold}
    assert planned["changes"] == []
    refused = harness.run("sync", "-w", "brazil", "--approve", planned["digest"], "--reason", "let it go")
    assert refused.code == 4
    assert harness.links("brazil") == 0

    settled = harness.run("workspaces", "rename", LATAM, "brazil", "--by", "ana@acme.com", "--reason", "new names")
    assert settled.code == 0, settled.err
    assert harness.links("brazil") == links
    ran, written = harness.synced("-w", "brazil")
    assert (ran.code, written) == (0, 1), ran.out + ran.err
    member = sandbox.workspace(LATAM).find_member(leaver.email)
    assert member is not None
    assert not member.active, "who left meanwhile is not lost"


def test_swapped_urls_write_nothing_anywhere(harness: Harness, sandbox: Sandbox) -> None:
    runs = json.loads(harness.run("history", "--format", "json").out)
    sandbox.company.hire("okta", "Nova", "Pessoa", ["Pigment LatAm"])

    def swap(tree: Any) -> None:
        spaces = tree["workspaces"]
        for key in ("scim_url", "tokens"):
            spaces[LATAM][key], spaces[EU][key] = spaces[EU][key], spaces[LATAM][key]

    harness.edit(swap)
    ran, written = harness.synced("-w", LATAM, "-w", EU)

    assert (ran.code, written) == (4, 0), ran.out + ran.err
    assert f"which the state knows as {EU}" in ran.err
    assert f"which the state knows as {LATAM}" in ran.err
    assert f" workspaces reset {LATAM}\n" in ran.err
    stranger = next(member.user_name for member in sandbox.workspace(EU).members if member.active)
    assigned = harness.run("links", "assign", stranger, "-w", LATAM, "--person", "okta-main:00u1", "--reason", "why")
    assert assigned.code == 4, "nor is a link written by hand"
    assert f"workspaces reset {LATAM}" in assigned.err
    (run,) = [each for each in runs if each["workspace"] == LATAM]
    undone = harness.run("undo", run["id"])
    digest = next(line.split()[-1] for line in undone.out.splitlines() if "sha256:" in line)
    before = harness.writes()
    approved = harness.run("undo", run["id"], "--approve", digest, "--reason", "why")
    assert (approved.code, harness.writes()) == (4, before), approved.out + approved.err
    assert harness.run("resume", LATAM).code == 0

    harness.edit(swap)
    ran, written = harness.synced("-w", LATAM, "-w", EU)
    assert (ran.code, written) == (0, 1), "put right, it goes on as if nothing had been"


def test_wrong_url_deactivates_no_unknown_members_and_reset_confirms_it(harness: Harness, sandbox: Sandbox) -> None:
    links = harness.links(LATAM)
    for number in range(3):
        sandbox.workspace(EU).admin_create(f"stranger{number}@acme.com", f"Stranger {number}")

    def point_elsewhere(tree: Any) -> None:
        spaces = tree["workspaces"]
        spaces[LATAM] |= {key: spaces[EU][key] for key in ("scim_url", "tokens")} | {"unmanaged": "deactivate"}
        del spaces[EU]

    harness.edit(point_elsewhere)
    ran, written = harness.synced("-w", LATAM)
    assert (ran.code, written) == (4, 0), ran.out + ran.err

    reset = harness.run("workspaces", "reset", LATAM, "--by", "ana@acme.com", "--reason", "a new workspace")
    assert reset.code == 0, reset.err
    assert f"{links} links of {LATAM} dropped" in reset.out
    assert harness.links(LATAM) == 0
    (planned,) = harness.planned("-w", LATAM)
    assert "wrong-target" not in codes(planned)
    (run,) = [
        each for each in json.loads(harness.run("history", "--format", "json").out) if each["by"] == "ana@acme.com"
    ]
    assert (run["trigger"], run["status"]) == ("workspaces", "done")
    assert run["reason"].endswith(": a new workspace")
    report = harness.run("report", run["id"])
    assert (report.code, report.out.count("  Unlinked member ")) == (0, links), (
        "which links were dropped stays in the journal"
    )


def test_same_workspace_at_a_new_url_continues_once_recorded(harness: Harness, sandbox: Sandbox) -> None:
    links = harness.links(LATAM)
    (leaver,) = leavers(sandbox, 1)

    def move(tree: Any) -> None:
        url = tree["workspaces"][LATAM]["scim_url"]
        tree["workspaces"][LATAM]["scim_url"] = url.replace("127.0.0.1", "localhost")

    harness.edit(move)
    ran, written = harness.synced("-w", LATAM)
    assert (ran.code, written) == (4, 0), ran.out + ran.err
    assert f" workspaces rename {LATAM} {LATAM}\n" in ran.err

    assert harness.run("workspaces", "rename", LATAM, LATAM, "--reason", "new host").code == 0
    ran, written = harness.synced("-w", LATAM)
    assert (ran.code, written, harness.links(LATAM)) == (0, 1, links), ran.out + ran.err
    assert leaver.email in ran.out
    assert harness.run("workspaces", "rename", LATAM, LATAM).code == 2, "nothing to settle"


def test_rename_and_reset_name_what_they_do_not_know(harness: Harness) -> None:
    unknown = harness.run("workspaces", "rename", "nowhere", LATAM)
    assert unknown.code == 2
    assert LATAM in unknown.err
    assert harness.run("workspaces", "reset", "nowhere").code == 2


def test_run_from_before_a_rename_is_still_reported_with_its_outcomes(harness: Harness) -> None:
    runs = json.loads(harness.run("history", "--format", "json", "-w", LATAM).out)
    (run,) = [each for each in runs if each["trigger"] == "sync"]
    before = harness.run("report", run["id"])
    harness.edit(renamed(LATAM, "brazil"))
    assert harness.run("workspaces", "rename", LATAM, "brazil").code == 0
    after = harness.run("report", run["id"])

    assert (after.code, after.out) == (0, before.out)
    assert run["id"] in harness.run("history", "-w", "brazil").out


def test_two_files_with_two_keys_for_one_url_never_write_both(harness: Harness, sandbox: Sandbox) -> None:
    links = harness.links(LATAM)
    sandbox.company.hire("okta", "Nova", "Pessoa", ["Pigment LatAm"])
    other = harness.edit(renamed(LATAM, "the-other"), "other.yaml")
    ran, written = harness.synced("-w", "the-other", config=other)

    assert (ran.code, written) == (4, 0), ran.out + ran.err
    assert harness.synced("-w", LATAM)[1] == 1
    assert harness.links(LATAM) == links + 1
    listed = json.loads(harness.run("workspaces", "list", "--format", "json", config=other).out)
    rows = {each["name"]: (each["in_configuration"], each["links"]) for each in listed}
    assert rows[LATAM] == (False, links + 1)
    assert rows["the-other"] == (True, 0)
    taken = harness.run("workspaces", "rename", EU, LATAM)
    assert taken.code == 2
    assert f"workspaces reset {LATAM}" in taken.err


def test_connector_that_reads_another_tenant_deactivates_no_one_unapproved(sandbox: Sandbox, tmp_path: Path) -> None:
    harness = Harness(sandbox, tmp_path)

    def alone(tree: Any) -> None:
        tree["workspaces"] = {EU: tree["workspaces"][EU]}

    harness.edit(alone)
    assert harness.synced()[0].code == 0
    with run_sandbox(seed=8, size=12, limit=RateLimit(None)) as elsewhere:
        moved = yaml.safe_load(elsewhere.write_config(tmp_path / "elsewhere").read_text("utf-8"))

        def reconnect(tree: Any) -> None:
            tree["connectors"] = moved["connectors"]
            tree["connectors"]["okta-main"]["private_key"] = {"file": str(tmp_path / "elsewhere" / "okta.pem")}
            tree["workspaces"][EU]["sources"] = moved["workspaces"][EU]["sources"]

        harness.edit(reconnect)
        (planned,) = harness.planned()
        ran, _ = harness.synced()
        deactivated = [hold for hold in planned["holds"] if hold["kind"] == "deactivate"]
        assert ran.code == 4, ran.out + ran.err
        assert deactivated
        assert "wrong-target" in {guard["code"] for guard in planned["guards"]}
        assert not [change for change in planned["changes"] if change["kind"] == "deactivate"]
        again, _ = harness.synced()
        assert again.code == 4, "an unapproved run records nothing"

        (planned,) = harness.planned()
        approved = harness.run("sync", "--approve", planned["digest"], "--reason", "we moved to another tenant")
        assert approved.code in {0, 4}, approved.out + approved.err
        (planned,) = harness.planned()
        assert "wrong-target" not in {guard["code"] for guard in planned["guards"]}, "accepted from then on"
