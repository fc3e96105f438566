"""A recording of the sample company plans alike when it is replayed, and holds nothing of the original."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import stat
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from agent.cli.app import run_cli
from agent.errors import ExitCode
from agent.recording.file import read_recording
from agent.recording.memory import Names, plan_summary
from agent.replayer import load_replay, write_replay_files
from sandbox.replay import RecordedAnswers, host_replay
from sandbox.server import Sandbox, run_sandbox
from tests.unit.test_recording_pseudonyms import HOSTILE, NAMES

WORKSPACES = ("pigment-latam", "pigment-eu", "pigment-apac")


class Unchanged:
    """Replaces nothing."""

    def same(self, text: str) -> str:
        return text

    id = email = name = domain = cursor = word = same


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=60) as served:
        yield served


@pytest.fixture(scope="module")
def config(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose workspaces were synced once, before a week in which much changed."""
    path = sandbox.write_config(tmp_path_factory.mktemp("agent"))
    groups = "      - connector: okta-main\n"
    text = path.read_text("utf-8").replace(groups, groups.replace("\n", "\n        groups: [Pigment LatAm]\n"), 1)
    policy = "defaults: {protect: ['caio.*@acme.com', '*@partners.example'], limits: {max_deactivations: 1}}\n"
    path.write_text(f"{text}\n{policy}", "utf-8")
    assert run_cli(["--config", str(path), "sync", "--by", "Tess Ter", "--reason", "first"]) in {0, 4}
    sandbox.simulate_week()
    for number, person in enumerate(list(sandbox.company.okta.people.values())[:4]):
        person.given = ("ACTIVE", "Jos\u00e9 ana@acme.com", person.id, 'x"<script>')[number]
    return path


@pytest.fixture(scope="module")
def recording(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "problem.jsonl"
    assert run_cli(["--config", str(config), "record", "--out", str(path)]) == 0
    return path


@contextmanager
def replayed(path: Path, folder: Path) -> Iterator[tuple[Path, dict[str, str], list[Any]]]:
    answers = RecordedAnswers()
    replay = load_replay(path, answers.add)
    with host_replay(answers, replay.config["connectors"]) as urls:
        yield write_replay_files(replay, urls, folder), urls, list(replay.plans)


def planned(config: Path, capsys: pytest.CaptureFixture[str], *names: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    chosen = [word for name in names for word in ("-w", name)]
    run_cli(["--config", str(config), "plan", "--format", "json", *chosen])
    return json.loads(capsys.readouterr().out)["workspaces"]  # type: ignore[no-any-return]  # JSON


def summaries(workspaces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {each["name"]: each["name"] for each in workspaces}
    connectors = {source["connector"]: source["connector"] for each in workspaces for source in each.get("sources", ())}
    return [plan_summary(each, Unchanged(), Names(names, connectors, {})) for each in workspaces]


def without_kind(plans: list[Any]) -> list[Any]:
    return [{key: value for key, value in each.items() if key != "kind"} for each in plans]


def test_a_replay_plans_the_same(
    recording: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    was = planned(config, capsys)
    with replayed(recording, tmp_path) as (replay, _, plans):
        now = planned(replay, capsys)
        again = planned(replay, capsys)
    assert summaries(now) == without_kind(plans)
    assert [each["digest"] for each in again] == [each["digest"] for each in now]
    assert [each["counts"] for each in now] == [each["counts"] for each in was]
    assert sum(each["counts"]["deactivate"] + each["counts"]["hold"] for each in now) > 5
    assert any(each["guards"] for each in now)


@pytest.mark.parametrize("name", WORKSPACES)
def test_one_workspace_of_several_plans_the_same(
    name: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.jsonl.gz"
    assert run_cli(["--config", str(config), "record", "-w", name, "--out", str(path)]) == 0
    with gzip.open(path) as file:
        assert file.readline().startswith(b'{"kind":"header"')
    with replayed(path, tmp_path) as (replay, _, plans):
        now = planned(replay, capsys, plans[0]["workspace"])
    assert summaries(now) == without_kind(plans)


def originals(sandbox: Sandbox, config: Path) -> set[str]:
    """Return everything that identifies a person or the company in the sample company and its configuration."""
    found = {*WORKSPACES, "okta-main", "entra-eu", "onelogin-apac", "acme", "Pigment LatAm", "Tess", "partners"}
    found |= {sandbox.environment.entra.tenant_id, sandbox.environment.entra_client_id}
    found |= {sandbox.environment.secret(each) for each in ("entra", "onelogin", *WORKSPACES)}
    found |= {sandbox.environment.okta_client_id, sandbox.environment.onelogin_client_id, *sandbox.urls.values()}
    found |= {url.removeprefix("http://") for url in sandbox.urls.values()}
    for directory in sandbox.company.directories.values():
        for person in directory.people.values():
            found |= {person.id, person.email, person.given, person.family, person.display_name, *person.aliases}
            found.add(person.email.partition("@")[0])
        for group in directory.groups.values():
            found |= {group.id, group.name}
        found |= {app.id for app in directory.apps.values()}
    for workspace in sandbox.pigment.workspaces.values():
        for member in workspace.members:
            found |= {member.id, member.user_name, member.display_name}
    with closing(sqlite3.connect(config.parent / "state.db")) as state:
        found |= {row[0] for row in state.execute("SELECT id FROM runs")}
    # Pigment's own address is public, and every plan protects it.
    return {each for each in found if len(each) >= 4 and each not in {"ACTIVE", "support@pigment.com", "support"}}


FIXED_KEYS = {"kind", "table", "code", "change_code", "mode", "unmanaged", "individual_assignments", "total_results"}


def texts(value: Any) -> Iterator[str]:
    """Yield every text of a recording, but for words of the agent's own."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in FIXED_KEYS:
                yield from texts(each)


def test_no_original_is_in_the_file(recording: Path, sandbox: Sandbox, config: Path) -> None:
    text = "\n".join(texts([*read_recording(recording)])).casefold()
    tokens = set(re.findall(r"\w+", text))
    for original in originals(sandbox, config):
        if original.isdigit() or len(original) < 6:
            # Chance puts four letters or digits into a long made-up id.
            assert original.casefold() not in tokens, original
            continue
        escaped = json.dumps(original)[1:-1]
        for form in (original, quote(original, safe=""), b64encode(original.encode()).decode().rstrip("="), escaped):
            assert form.casefold() not in text, original


def test_the_file_is_for_its_owner_and_never_replaced(
    recording: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = recording.read_bytes()
    assert stat.S_IMODE(recording.stat().st_mode) == 0o600
    assert run_cli(["--config", str(config), "record", "--out", str(recording)]) == ExitCode.USAGE
    assert "never replaces" in capsys.readouterr().err
    assert recording.read_bytes() == before


def test_recording_writes_nothing_else(sandbox: Sandbox, config: Path, tmp_path: Path) -> None:
    sandbox.request_log.clear()
    with closing(sqlite3.connect(config.parent / "state.db")) as state:
        before = state.execute("SELECT count(*) FROM runs").fetchone()
        assert run_cli(["--config", str(config), "record", "--out", str(tmp_path / "a.jsonl")]) == 0
        assert state.execute("SELECT count(*) FROM runs").fetchone() == before
    assert {each.method for each in sandbox.requests("pigment")} == {"GET"}


def test_a_request_that_was_not_recorded_is_refused_clearly(recording: Path, tmp_path: Path) -> None:
    with replayed(recording, tmp_path) as (_, urls, plans):
        workspace = f"{urls['pigment']}/{plans[0]['workspace']}/scim/v2"
        unknown = httpx.get(f"{workspace}/Users?filter=userName%20eq%20%22a%22")
        write = httpx.post(f"{workspace}/Users", json={})
        token = httpx.post(f"{urls['connector-1']}/oauth2/v1/nothing", json={})
    assert (unknown.status_code, unknown.json()["error"]) == (501, "not-recorded")
    assert "The recording has no answer to GET" in unknown.json()["message"]
    assert (write.status_code, write.headers["allow"], write.json()["error"]) == (405, "GET", "read-only")
    assert token.status_code == 405


def test_what_could_not_be_read_fails_alike(
    sandbox: Sandbox, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "failed.jsonl"
    app = next(iter(sandbox.company.onelogin.apps.values()))
    app_id, app.id = app.id, "1"
    removed = sandbox.company.onelogin.apps.pop(app_id)
    try:
        assert run_cli(["--config", str(config), "record", "-w", "pigment-apac", "--out", str(path)]) == 0
    finally:
        removed.id = app_id
        sandbox.company.onelogin.apps[app_id] = removed
    assert "could not be planned" in capsys.readouterr().err
    with replayed(path, tmp_path) as (replay, _, plans):
        now = planned(replay, capsys, plans[0]["workspace"])
    assert plans[0]["status"] == "incomplete"
    assert summaries(now) == without_kind(plans)


@pytest.mark.parametrize(
    ("system", "status", "name", "code"),
    [
        ("okta", 403, "pigment-latam", "permission-missing"),
        ("entra", 404, "pigment-eu", "incomplete"),
        ("onelogin", 403, "pigment-apac", "permission-missing"),
        ("pigment", 404, "pigment-apac", "incomplete"),
    ],
)
def test_a_refusal_is_replayed_with_its_code(  # noqa: PLR0913  (pytest passes each by name)
    system: str,
    status: int,
    name: str,
    code: str,
    sandbox: Sandbox,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "refused.jsonl"
    rule = {"do": "status", "status": status, "system": system, "method": "GET"}
    httpx.put(f"{sandbox.admin_url}/faults", json={"faults": [rule]}).raise_for_status()
    try:
        assert run_cli(["--config", str(config), "record", "-w", name, "--out", str(path)]) == 0
    finally:
        httpx.put(f"{sandbox.admin_url}/faults", json={"faults": []}).raise_for_status()
    with replayed(path, tmp_path) as (replay, _, plans):
        now = planned(replay, capsys, plans[0]["workspace"])
    assert plans[0]["error"] == code
    assert summaries(now) == without_kind(plans)


def refusal(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run_cli(["sandbox", "--replay", str(path)]) == ExitCode.USAGE
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "is cut: its last line"),
        (lambda lines: [*lines[:3], lines[3][:40]], "is cut: line 4 is not whole JSON"),
        (lambda lines: [*lines[:2], *lines[3:]], "was edited: line 3"),
        (lambda lines: [*lines[:-2], lines[-1]], "is cut: it has"),
        (lambda lines: [*lines, lines[1]], "comes after the end"),
        (lambda lines: [lines[0], lines[1].replace(b"200", b"404"), *lines[2:]], "line 2 (answer"),
        (lambda lines: [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]], "of version 2"),
        (lambda lines: [b"hello\n", *lines[1:]], "is not a recording"),
        (lambda lines: lines[1:], "is not a recording"),
    ],
)
def test_a_file_that_was_changed_is_refused(
    change: Any, message: str, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "changed.jsonl"
    path.write_bytes(b"".join(change(recording.read_bytes().splitlines(keepends=True))))
    assert message in refusal(path, capsys)


def test_a_cut_compressed_file_is_refused(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(recording.read_bytes())[:-100])
    assert "is cut" in refusal(path, capsys)


def test_a_failed_recording_leaves_no_file(tmp_path: Path, config: Path) -> None:
    path = tmp_path / "none.jsonl"
    assert run_cli(["--config", str(config), "record", "-w", "unknown", "--out", str(path)]) == ExitCode.USAGE
    assert not path.exists()


def test_the_lines_are_of_the_documented_kinds(recording: Path) -> None:
    kinds = [each["kind"] for each in read_recording(recording)]
    assert kinds[0] == "header"
    assert set(kinds) == {"header", "answer", "state", "plan", "config"}


def make_hostile(sandbox: Sandbox) -> None:
    """Give the people of all directories, and the members of all workspaces, addresses and names that are hard."""
    for directory in sandbox.company.directories.values():
        people = list(directory.people.values())
        for number, email in enumerate(HOSTILE):
            people[number].email = email
        for number, name in enumerate(NAMES):
            people[number].given, people[number].family = name, people[-1 - number].id
            people[-1 - number].given = name.upper()
            people[-1 - number].family = "ACTIVE"
        for number, group in enumerate(directory.groups.values()):
            group.name = f"{group.name} {NAMES[number]}"
    for workspace in sandbox.pigment.workspaces.values():
        for number, member in enumerate(workspace.members[: len(NAMES)]):
            member.display_name = NAMES[-1 - number]
            member.given_name = NAMES[number]


def test_hostile_names_and_addresses_plan_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_sandbox(seed=8, size=60) as hostile:
        path = hostile.write_config(tmp_path)
        make_hostile(hostile)
        was = planned(path, capsys)
        recording = tmp_path / "hostile.jsonl"
        assert run_cli(["--config", str(path), "record", "--out", str(recording)]) == 0
        shown = "\n".join(texts([*read_recording(recording)])).casefold()
        parts = {
            part
            for text in [*HOSTILE, *NAMES, *originals(hostile, path)]
            for part in re.findall(r"[^\W_]{4,}", text.casefold())
        }
    with replayed(recording, tmp_path / "replay") as (replay, _, plans):
        now = planned(replay, capsys)
    assert [each["status"] for each in now] == ["planned"] * 3
    assert summaries(now) == without_kind(plans)
    assert [each["counts"] for each in now] == [each["counts"] for each in was]
    public = {
        "active",
        "example",
        "support",
        "pigment",
        "https",
        "users",
        "invalid",
        "okta",
        "entra",
        "onelogin",
        "plan",
    }
    words = set(re.findall(r"[^\W_]+", shown))
    # Chance puts four letters or digits into a long made-up id: short ones count as whole words, and the short parts
    # of GUIDs not at all, because those of people who are not assigned are not known to the recording.
    parts = {part for part in parts if part.isalpha() or len(part) > 5}
    found = {part for part in parts - public if part in (shown if part.isalpha() and len(part) > 5 else words)}
    assert found == set()
