"""Two agents with separate states on one workspace: each names the other, first in sync with it, then in conflict."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from sandbox.server import run_sandbox
from tests.e2e.command_line import CommandLine
from tests.e2e.ended_process import WORKSPACE, unlimited

SYNC = ("sync", "-w", WORKSPACE)
FINANCE = "Pigment LatAm Finance"


def notes(agent: CommandLine) -> dict[str, list[str]]:
    """Return the notes of a plan on changes by other writers: their code and text, by email."""
    ran = agent.run("plan", "-w", WORKSPACE, "--format", "json")
    assert ran.code == 0, ran.out + ran.err
    (workspace,) = json.loads(ran.out)["workspaces"]
    found: dict[str, list[str]] = {}
    for note in workspace["notes"]:
        if note["code"] in {"drift", "another-writer"}:
            found.setdefault(note["email"], []).append(f"{note['code']}: {note['reason']}")
    return found


def count_only(agent: CommandLine, groups: list[str]) -> None:
    """Let the workspace's source count only *groups*."""
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    for source in document["workspaces"][WORKSPACE]["sources"]:
        source["groups"] = groups
    agent.config.write_text(yaml.safe_dump(document), "utf-8")


def sync(agent: CommandLine) -> None:
    ran = agent.run(*SYNC)
    assert ran.code in {0, 3}, ran.out + ran.err


def test_second_agent_is_named_by_what_it_did_and_by_what_it_undoes(tmp_path: Path) -> None:
    with run_sandbox(seed=3, size=20) as sandbox:
        one, two = (CommandLine(unlimited(sandbox.write_config(tmp_path / name)).config) for name in ("one", "two"))
        sync(one)
        sync(two)
        ada = sandbox.company.hire("okta", "Ada", "Hopper", [FINANCE])
        sync(one)
        in_step = notes(two)
        assert notes(one) == {}
        sync(two)
        assert notes(two) == {}

        count_only(two, ["Pigment LatAm", "Pigment LatAm Modelers"])
        sync(two)
        member = sandbox.workspace(WORKSPACE).find_member(ada.email)
        assert member is not None
        assert not member.active
        undone = notes(one)
        sync(one)
        fought = notes(two)

    also = "another tool or administrator also manages this workspace."
    since = "since our last run, not by this agent"
    assert in_step == {ada.email: [f"another-writer: Ada Hopper was created {since}, as the sources require: {also}"]}
    undoes = f"{since}, which reverts what this agent wrote within 24 hours: {also}"
    assert undone[ada.email] == [f"another-writer: Ada Hopper was deactivated {undoes}"]
    assert fought[ada.email] == [f"another-writer: Ada Hopper was reactivated {undoes}"]
