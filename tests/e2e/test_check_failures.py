"""`check` against real HTTP: each failure that the sandbox plays has its line, and the other lines stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.faults.parse import parse_rules
from sandbox.pigment.options import with_changes
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.command_line import CommandLine

WORKSPACES = {"okta": "pigment-latam", "entra": "pigment-eu", "onelogin": "pigment-apac"}
NOT_FOUND_YET = {"state-location", "links", "readable-by-others"}
"""Warnings of a new state and of the sandbox's own configuration."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=40) as served:
        yield served


@pytest.fixture(scope="module")
def agent(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(sandbox.write_config(tmp_path_factory.mktemp("agent")))


@pytest.fixture
def _no_faults(sandbox: Sandbox) -> Iterator[None]:
    yield
    sandbox.faults.put([])


def checked(agent: CommandLine, workspace: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Return the exit code, and the lines that are not ok, by the name of the check."""
    ran = agent.run("check", "-w", workspace, "--format", "json")
    found: dict[str, list[dict[str, Any]]] = {}
    for line in json.loads(ran.out)["checks"]:
        if line["status"] != "ok" and line["name"] not in NOT_FOUND_YET:
            found.setdefault(line["name"], []).append(line)
    return ran.code, found


@pytest.mark.parametrize("system", WORKSPACES)
def test_healthy_systems_have_no_line_to_fix(agent: CommandLine, system: str) -> None:
    assert checked(agent, WORKSPACES[system]) == (0, {})


@pytest.mark.usefixtures("_no_faults")
@pytest.mark.parametrize(
    ("system", "path"), [("okta", "/api/v1/users/*"), ("entra", "/v1.0/users/*"), ("onelogin", "/api/2/users/*")]
)
def test_refused_person_by_id(sandbox: Sandbox, agent: CommandLine, system: str, path: str) -> None:
    rule = {"do": "status", "status": 403, "system": system, "path": path, "name": "no people"}
    sandbox.faults.put(parse_rules({"faults": [rule]}))
    code, found = checked(agent, WORKSPACES[system])

    # Of those assigned individually in Entra, a run reads each by id.
    assert (code, found["one-person"][0]["status"]) == ((6, "error") if system == "entra" else (0, "warning"))
    assert set(found) <= {"one-person", "suspended-person"}
    assert all("403" in line["message"] and line["remedy"] for lines in found.values() for line in lines)


@pytest.mark.usefixtures("_no_faults")
@pytest.mark.parametrize("system", ["okta", "entra", "onelogin", "pigment"])
@pytest.mark.parametrize("ahead", [120, -120])
def test_clock_that_is_wrong(sandbox: Sandbox, agent: CommandLine, system: str, ahead: int) -> None:
    rule = {"do": "skewed-clock", "ahead": ahead, "system": system, "method": "HEAD", "name": "a wrong clock"}
    sandbox.faults.put(parse_rules({"faults": [rule]}))
    code, found = checked(agent, WORKSPACES.get(system, "pigment-eu"))

    assert (code, list(found)) == (0, ["clock-skew"])
    (line,) = found["clock-skew"]
    assert line["area"] == ("workspace" if system == "pigment" else "connector")
    assert ("behind" if ahead > 0 else "ahead of") in line["message"]


@pytest.mark.usefixtures("_no_faults")
def test_clock_so_wrong_that_signed_requests_are_refused(sandbox: Sandbox, agent: CommandLine) -> None:
    rule = {"do": "skewed-clock", "ahead": 900, "system": "okta", "method": "HEAD", "name": "a wrong clock"}
    sandbox.faults.put(parse_rules({"faults": [rule]}))
    code, found = checked(agent, "pigment-latam")

    assert (code, found["clock-skew"][0]["status"]) == (6, "error")


@pytest.mark.usefixtures("_no_faults")
def test_next_page_at_another_address(sandbox: Sandbox, agent: CommandLine) -> None:
    rule = {"do": "foreign-link", "system": "okta", "path": "/api/v1/apps/*/users", "name": "another address"}
    sandbox.faults.put(parse_rules({"faults": [rule]}))
    code, found = checked(agent, "pigment-latam")

    assert (code, list(found)) == (6, ["next-link"])
    assert "127.0.0.2" in found["next-link"][0]["message"]


def test_scope_that_is_not_granted(sandbox: Sandbox, agent: CommandLine) -> None:
    (client,) = sandbox.okta.token_issuer.clients.values()
    before, client.scopes = client.scopes, client.scopes - {"okta.users.read"}
    try:
        code, found = checked(agent, "pigment-latam")
    finally:
        client.scopes = before

    assert (code, list(found)) == (6, ["credentials"])
    assert "okta.users.read" in found["credentials"][0]["message"]


def test_permission_that_is_not_in_the_token(sandbox: Sandbox, agent: CommandLine) -> None:
    issuer = sandbox.entra.token_issuer
    before, issuer.roles = issuer.roles, issuer.roles - {"GroupMember.Read.All", "Directory.Read.All"}
    try:
        code, found = checked(agent, "pigment-eu")
    finally:
        issuer.roles = before

    assert code == 6
    assert "it lacks GroupMember.Read.All" in found["granted-scopes"][0]["message"]
    assert {line["status"] for line in found["group-members"]} == {"error"}


@pytest.mark.parametrize(
    ("switches", "name", "words"),
    [
        ({"filter": "exact case"}, "filter-case", "does not find the member"),
        ({"filter": "400"}, "unknown-name", "400"),
        ({"total_shown": "page"}, "total", "different totals"),
    ],
)
def test_workspace_that_differs(
    sandbox: Sandbox, agent: CommandLine, switches: dict[str, object], name: str, words: str
) -> None:
    space = sandbox.workspace("pigment-eu")
    before, space.options = space.options, with_changes(space.options, {"page_size": 10, **switches})
    try:
        _, found = checked(agent, "pigment-eu")
    finally:
        space.options = before

    assert words in found[name][0]["message"]
    assert found[name][0]["remedy"]


def test_clipped_pages_and_inactive_members_that_are_not_listed_are_said(sandbox: Sandbox, agent: CommandLine) -> None:
    space = sandbox.workspace("pigment-eu")
    before, space.options = space.options, with_changes(space.options, {"page_size": 10, "lists_inactive": False})
    try:
        lines = json.loads(agent.run("check", "-w", "pigment-eu", "--format", "json").out)["checks"]
    finally:
        space.options = before
    messages = {line["name"]: line["message"] for line in lines if line["area"] == "workspace"}

    assert "a page holds 10 members where 1,000 are asked for" in messages["page-size"]
    assert (
        "members are active; `pigment-sync probe` shows whether inactive ones are listed"
        in (messages["inactive-members"])
    )
