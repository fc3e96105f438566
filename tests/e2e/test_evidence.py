"""The evidence of a run: approved by a person, written into a folder, and verified without this program."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from agent.cli.output import write_evidence
from agent.errors import UsageError
from agent.report.document import workspace_digest
from agent.version import installed_version
from sandbox.server import run_sandbox
from tests.e2e.command_line import run_command
from tests.e2e.company import leavers
from tests.guide_page import pages
from tests.programs import require

pytestmark = pytest.mark.traced

LATAM = ("-w", "pigment-latam")
REPORTS = {"report.txt", "report.json", "report.md", "report.html", "report.csv"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a workspace whose last run was approved and deactivated five members."""
    with run_sandbox(seed=5, size=40) as sandbox:
        path = sandbox.write_config(tmp_path_factory.mktemp("agent"))
        assert run_command(path, "sync", *LATAM).code == 0
        leavers(sandbox, 5)
        held = run_command(path, "sync", *LATAM, "--format", "json")
        assert held.code == 4, held.err
        (workspace,) = json.loads(held.out)["workspaces"]
        assert workspace["run"]["status"] == "held"
        assert workspace["run"]["approvals"] == []
        approved = ("--approve", workspace["digest"], "--by", "ana@acme.com", "--reason", "the reorganisation")
        done = run_command(path, "sync", *LATAM, *approved)
        assert done.code == 0, done.err
        assert "Approved by    ana@acme.com at " in done.out
        assert "approved by ana@acme.com, done" in done.out
    return path


@pytest.fixture
def run_id(config: Path) -> str:
    runs = json.loads(run_command(config, "history", "--format", "json", "--limit", "1").out)
    return str(runs[0]["id"])


def test_evidence_is_verified_by_sha256sum_and_names_run_people_and_reasons(
    config: Path, run_id: str, tmp_path: Path
) -> None:
    folder = tmp_path / "evidence"
    ran = run_command(config, "report", run_id, "--evidence", str(folder))
    assert ran.code == 0, ran.err
    assert hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest() in ran.out
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))

    assert {each["name"] for each in manifest["files"]} == REPORTS | {"plan.json", "journal.jsonl"}
    assert {each.name for each in folder.iterdir()} == REPORTS | {"plan.json", "journal.jsonl", "manifest.json"}
    assert {each["name"]: each["bytes"] for each in manifest["files"]} == {
        each.name: each.stat().st_size for each in folder.iterdir() if each.name != "manifest.json"
    }
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (manifest["run"]["id"], manifest["run"]["status"]) == (run_id, "done")
    assert manifest["run"]["config_sha256"] == hashlib.sha256(config.read_bytes()).hexdigest()
    assert manifest["tool"]["version"] == installed_version()
    sums = "".join(f"{each['sha256']}  {each['name']}\n" for each in manifest["files"])
    check = [require("sha256sum"), "--check", "--strict", "-"]
    subprocess.run(check, cwd=folder, input=sums.encode(), check=True, capture_output=True)
    (folder / "plan.json").write_bytes((folder / "plan.json").read_bytes() + b" ")
    assert subprocess.run(check, cwd=folder, input=sums.encode(), check=False, capture_output=True).returncode == 1


def test_each_file_of_the_evidence_names_who_approved_what_and_why(config: Path, run_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    assert run_command(config, "report", run_id, "--evidence", str(folder)).code == 0
    for name in (*REPORTS, "plan.json", "journal.jsonl"):
        text = (folder / name).read_text("utf-8")
        assert [each for each in (run_id, "ana@acme.com", "the reorganisation") if each not in text] == [], name
        if name != "journal.jsonl":
            assert "Released by an approval of ana@acme.com." in " ".join(text.split()), name
    (workspace,) = json.loads((folder / "plan.json").read_text("utf-8"))["workspaces"]
    assert workspace_digest(workspace) == workspace["digest"]
    assert run_command(config, "report", str(folder / "plan.json"), "--format", "csv").code == 0
    rows = [json.loads(line) for line in (folder / "journal.jsonl").read_text("utf-8").splitlines()]
    assert rows[0]["approved_digest"] == workspace["digest"]
    changes = [row for row in rows if row["row"] == "change"]
    assert [row["outcome"] for row in changes if row["kind"] == "deactivate"] == ["done"] * 5
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        released = [row for row in csv.DictReader(file) if row["approved_by"] and row["row"] == "change"]
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        guards = {row["code"]: row["approved_by"] for row in csv.DictReader(file) if row["row"] == "guard"}
    assert guards == dict.fromkeys(("fleet", "max-deactivations"), "ana@acme.com")
    assert {row["approved_by"] for row in released} == {"ana@acme.com"}
    assert len([row for row in released if row["kind"] == "deactivate"]) == 5


def test_evidence_is_not_mixed_with_other_files(config: Path, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    refused = run_command(config, "report", run_id, "--evidence", str(tmp_path))
    assert refused.code == 2
    assert "is not empty" in refused.err
    file = run_command(config, "report", run_id, "--evidence", str(tmp_path / "notes.txt"))
    assert (file.code, "can't be written" in file.err) == (2, True)
    inside = run_command(config, "report", run_id, "--evidence", str(tmp_path / "notes.txt" / "evidence"))
    assert (inside.code, "can't be written" in inside.err) == (2, True)
    missing = run_command(config, "report", run_id, "--evidence", str(tmp_path / "no" / "evidence"))
    assert (missing.code, "can't be written" in missing.err) == (2, True)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_evidence_is_of_a_run_and_in_every_format(config: Path, run_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    plan = tmp_path / "plan.json"
    plan.write_text("{}", "utf-8")
    for arguments, why in (
        ((str(plan),), "evidence is of a run"),
        ((run_id, "--format", "html"), "--evidence writes every format"),
        (("20260101-000000-000000",), "There is no run"),
    ):
        refused = run_command(config, "report", *arguments, "--evidence", str(folder))
        assert refused.code == 2
        assert why in refused.err
        assert not folder.exists()


def test_evidence_that_is_cut_off_has_no_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    with pytest.raises(UsageError, match="can't be written"):
        write_evidence(folder, {"report.txt": b"all", "a/b": b"a folder that is not there"}, b"{}")
    assert [each.name for each in folder.iterdir()] == ["report.txt"]
    shutil.rmtree(folder)
    folder.mkdir()
    write_evidence(folder, {"report.txt": b"all"}, b"{}")
    assert {each.name for each in folder.iterdir()} == {"report.txt", "manifest.json"}


def test_manifest_is_signed_and_verified_with_the_commands_of_the_guide(
    config: Path, run_id: str, tmp_path: Path
) -> None:
    require("minisign")
    folder = tmp_path / "evidence"
    assert run_command(config, "report", run_id, "--evidence", str(folder)).code == 0
    guide = next(page for page in pages() if page.name == "docs/evidence.md")
    (block,) = [each.text for each in guide.blocks if each.text.startswith("minisign ")]
    commands = [line.partition("#")[0].split() for line in block.splitlines()]
    assert [command[1] for command in commands] == ["-G", "-S", "-V"]

    # Without a password: to derive a key from one takes minisign 2 s for each command.
    commands[0].append("-W")

    def run(command: list[str]) -> int:
        ran = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return ran.returncode

    assert [run(command) for command in commands] == [0, 0, 0]
    manifest = folder / "manifest.json"
    manifest.chmod(0o600)
    manifest.write_text(manifest.read_text("utf-8").replace("ana@acme.com", "bea@acme.com"), "utf-8")
    assert run(commands[-1]) == 1
