"""`compare` against a whole sandbox: equal, one difference put in on purpose, and readers that fail."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.faults.parse import parse_rules
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import LONGEST_SECONDS, Agent, Ran
from tests.e2e.command_line import run_command
from tests.e2e.forked_command import forked_reader
from tests.waiting import wait_until

pytestmark = pytest.mark.traced

LATAM, EU = "pigment-latam", "pigment-eu"
SDK_PAGE = {"system": "okta", "path": "/api/v1/apps/*/users", "query": "limit=*"}
"""The SDK puts the limit first, and our client puts it last: only the SDK's requests match."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox() as running:
        yield running


@pytest.fixture
def config(sandbox: Sandbox, tmp_path: Path) -> Iterator[Path]:
    yield sandbox.write_config(tmp_path / "agent", f"sqlite:///{tmp_path}/state.db")
    sandbox.faults.put([])


def compare(config: Path, other: str, *arguments: str, workspace: str = LATAM) -> Ran:
    return run_command(config, "compare", "-w", workspace, "--with", other, *arguments)


@pytest.fixture(scope="module")
def _reader() -> Iterator[Path]:
    with forked_reader() as python:
        yield python


@pytest.fixture
def _forked(_reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the SDK's process forked: to start one takes 2 s."""
    monkeypatch.setattr(sys, "executable", str(_reader))


def document(ran: Ran) -> Any:
    return json.loads(ran.out)


def put(sandbox: Sandbox, **rule: object) -> None:
    sandbox.faults.put(parse_rules({"faults": [rule]}))


def kept(config: Path) -> list[tuple[str, str, Any]]:
    """Return the results in the state, oldest first: with whom, how it ended, and the document."""
    with closing(sqlite3.connect(config.parent.parent / "state.db")) as state:
        rows = state.execute("SELECT subject, result, document FROM verifications ORDER BY started_at").fetchall()
    return [(subject, result, json.loads(text)) for subject, result, text in rows]


def write_members(sandbox: Sandbox, path: Path, workspace: str = LATAM) -> list[list[str]]:
    """Write what Pigment's own export would show, and return its rows."""
    rows = [["Name", "Email", "Status", "Account Type", "License Type", "Application Access"]]
    rows += [
        [each.display_name, each.user_name, "Active" if each.active else "Deactivated", "Standard Member", "", "1"]
        for each in sandbox.workspace(workspace).members
    ]
    write_rows(path, rows)
    return rows


def write_rows(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def test_sdk_reads_the_same_whatever_the_machine_has_for_it(
    sandbox: Sandbox, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = {
        "okta": {"client": {"orgUrl": "https://elsewhere.example.com", "token": "stolen", "proxy": {"host": "x"}}}
    }
    for folder in (tmp_path, tmp_path / ".okta"):
        folder.mkdir(exist_ok=True)
        (folder / "okta.yaml").write_text(yaml.safe_dump(hostile), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OKTA_CLIENT_ORGURL", "https://elsewhere.example.com")
    monkeypatch.setenv("OKTA_CLIENT_SCOPES", "okta.users.manage")
    monkeypatch.setenv("OKTA_CLIENT_PROXY_HOST", "proxy.example.com")
    monkeypatch.setenv("OKTA_CLIENT_RATELIMIT_MAXRETRIES", "-1")

    ran = compare(config, "okta-sdk", "--format", "json")

    found = document(ran)
    assert (ran.code, found["only_ours"], found["only_theirs"], found["different"]) == (0, [], [], [])
    assert found["ours"] == found["theirs"] > 100
    assert (found["with"], found["workspace"], found["version"]) == ("okta-sdk", LATAM, 1)
    assert "RSA keys only" in ran.err


@pytest.mark.usefixtures("_forked")
def test_difference_in_what_the_sdk_reads_is_found_and_nothing_else(sandbox: Sandbox, config: Path) -> None:
    put(sandbox, do="nulls", rows="first", **SDK_PAGE)

    ran = compare(config, "okta-sdk", "--format", "json")

    found = document(ran)
    assert ran.code == 3
    assert (found["only_ours"], found["only_theirs"]) == ([], [])
    assert len({each["id"] for each in found["different"]}) == 1
    assert {each["field"] for each in found["different"]} >= {"email", "status"}
    assert all(each["theirs"] in ("", "no") for each in found["different"])


@pytest.mark.usefixtures("_forked")
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"do": "status", "status": 500}, "page 1 of the people of application "),
        ({"do": "disconnect"}, "could not be read: ServerDisconnected"),
    ],
    ids=["refused", "disconnected"],
)
def test_page_that_the_sdk_can_not_read_makes_the_comparison_incomplete(
    sandbox: Sandbox, config: Path, rule: dict[str, object], message: str
) -> None:
    put(sandbox, **SDK_PAGE, **rule)

    ran = compare(config, "okta-sdk")

    assert (ran.code, ran.out) == (6, "")
    assert message in ran.err
    ((subject, result, kept_document),) = kept(config)
    assert (subject, result) == ("okta-sdk", "failed")
    assert message in kept_document["error"]


@pytest.mark.usefixtures("_forked")
def test_record_that_the_sdk_refuses_is_named_by_page_and_field(config: Path, sandbox: Sandbox) -> None:
    person = next(each for each in sandbox.company.okta.people.values() if each.email == "ana.lima@acme.com")
    status, person.status = person.status, "ACTIVATING"
    try:
        ran = compare(config, "okta-sdk")
    finally:
        person.status = status

    assert ran.code == 6
    assert "the SDK refuses page 1 of the members of group" in ran.err
    assert "status" in ran.err
    assert "docs/compare.md" in ran.err


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text("utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def wait_for_child(pid: int, module: str) -> int:
    def found() -> int | None:
        for child in children(pid):
            try:
                command = Path(f"/proc/{child}/cmdline").read_text("utf-8")
            except OSError:
                continue
            if module in command:
                return child
        return None

    return wait_until(found, f"a process of {module}")


def test_sdk_process_that_is_killed_and_what_others_see_of_it(sandbox: Sandbox, config: Path) -> None:
    put(sandbox, do="slow", seconds=120, **SDK_PAGE)
    agent = Agent(config, forked=False)
    secret = sandbox.environment.okta_key.private_pem.splitlines()[1]

    process = agent.start("compare", "-w", LATAM, "--with", "okta-sdk", variables={"OKTA_CLIENT_TOKEN": "of the shell"})
    child = wait_for_child(process.pid, "okta_sdk_process")
    # It reads the whole request before it asks Okta for anything.
    wait_until(
        lambda: any(each.path == "/oauth2/v1/token" for each in sandbox.requests("okta")[-1:]), "a request for a token"
    )
    seen = Path(f"/proc/{child}/cmdline").read_text("utf-8") + Path(f"/proc/{child}/environ").read_text("utf-8")
    os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=LONGEST_SECONDS)

    assert secret not in seen
    assert "of the shell" not in seen
    assert sandbox.environment.okta_client_id not in seen
    assert (process.wait(), out) == (6, b"")
    assert b"was ended by signal 9" in err


def test_independent_scim_client_lists_the_same_members(sandbox: Sandbox, config: Path) -> None:
    ran = compare(config, "scim2-client")

    assert ran.code == 0
    assert "Equal: both have the same" in ran.out
    assert "Compared: id, email, name, active." in ran.out


def test_tokens_that_scim2_client_can_not_use_are_no_difference(sandbox: Sandbox, config: Path) -> None:
    put(sandbox, do="status", status=401, system="pigment", query="startIndex=1&count=1")

    ran = compare(config, "scim2-client")

    assert ran.code == 6
    assert "the workspace refuses all" in ran.err


def test_export_of_pigment_is_equal_or_has_the_one_difference(sandbox: Sandbox, config: Path, tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    rows = write_members(sandbox, path)

    assert compare(config, str(path)).code == 0

    (name, email, *_), gone = rows[3], rows.pop(5)
    rows[3][0] = "Another Name"
    rows.append(["New", "new@acme.com", "Pending", "Standard Member", "", "0"])
    write_rows(path, rows)
    ran = compare(config, str(path), "--format", "json")

    found = document(ran)
    members = {each.user_name: each.id for each in sandbox.workspace(LATAM).members}
    assert ran.code == 3
    assert found["only_ours"] == [{"email": gone[1], "id": members[gone[1]]}]
    assert found["only_theirs"] == [{"email": "new@acme.com", "id": ""}]
    assert found["different"] == [
        {"email": email, "field": "name", "id": members[email], "ours": name, "theirs": "Another Name"}
    ]
    assert found["with"] == "pigment-members"
    assert "members.csv was read as Pigment" in ran.err
    (_, first, equal), (subject, second, differs) = kept(config)
    assert (subject, first, second) == ("pigment-members", "passed", "differs")
    assert equal["counts"] == {"only_ours": 0, "only_theirs": 0, "different": 0}
    assert {key: differs[key] for key in found} == found


def test_export_of_okta_is_compared_with_the_people_that_a_run_reads(
    sandbox: Sandbox, config: Path, tmp_path: Path
) -> None:
    headings = ["User", "Login", "Application instance", "Okta user ID", "Okta user status"]
    okta = sandbox.company.okta
    assigned = [
        [each.email, each.email, "Pigment LatAm", each.id, each.status.replace("_", " ").title()]
        for each in okta.people.values()
        if each.status != "DEPROVISIONED" and any(each.id in okta.groups[key].people for key in okta.pigment.groups)
    ]
    path = tmp_path / "okta.csv"
    write_rows(path, [headings, *assigned])

    ran = compare(config, str(path), "--format", "json")

    found = document(ran)
    individually = {each["email"] for each in found["only_ours"]}
    assert ran.code == 3
    assert "felipe.neto@acme.com" in individually, "assigned individually, and in no group"
    assert (found["only_theirs"], found["different"]) == ([], [])

    people = okta.people.values()
    write_rows(path, [headings, *assigned, *[
        [each.email, each.email, "Pigment LatAm", each.id, "Active"] for each in people if each.email in individually
    ]])  # fmt: skip
    assert compare(config, str(path)).code == 0


def test_download_of_one_group_of_entra_needs_to_know_which(sandbox: Sandbox, config: Path, tmp_path: Path) -> None:
    entra = sandbox.company.entra
    group = next(each for each in entra.groups.values() if each.name == "Pigment EU Sales")
    rows = [
        [each.id.upper(), f"{each.id}#EXT#@acme.com" if each.guest else each.email, each.display_name, "User"]
        for each in (entra.people[key] for key in group.people)
    ]
    path = tmp_path / "exportGroupMembers.csv"
    write_rows(path, [["Object ID", "User principal name", "Display name", "Member type"], *rows])

    unknown = compare(config, str(path), workspace=EU)
    ran = compare(config, str(path), "--group", "Pigment EU Sales", workspace=EU)

    assert unknown.code == 2
    assert "it is not known which: the groups are" in unknown.err
    assert ran.code == 0, ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--with", "nothing.csv"], "nothing.csv is neither a reader nor a file."),
        (["--with", "okta-sdk", "--kind", "okta-app"], "--kind and --group are for files"),
        (["--with", "scim2-client", "--group", "x"], "--kind and --group are for files"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(config: Path, arguments: list[str], message: str) -> None:
    ran = run_command(config, "compare", "-w", LATAM, *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_reader_of_another_provider_is_refused(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    write_rows(path, [["userPrincipalName", "accountEnabled"], ["ana@acme.com", "True"]])

    for ran in (compare(config, "okta-sdk", workspace=EU), compare(config, str(path))):
        assert ran.code == 2
        assert "has no source of type" in ran.err
