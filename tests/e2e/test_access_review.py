"""An access review from the sheet to the last removal, with the real command against the sandbox."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import REPOSITORY
from tests.e2e.command_line import run_command
from tests.e2e.hostile_names import filled

pytestmark = pytest.mark.traced

LATAM = ("-w", "pigment-latam")
WRITES = ("POST", "PUT", "PATCH", "DELETE")


def decide(sheet: Path, copy: Path, decision_of: Callable[[str], str | None]) -> None:
    """Write *copy*: the sheet as a reviewer saves it, with the decision for each address."""
    book = load_workbook(sheet)
    rows: Any = book["Access"]
    places = {cell.value: cell.column for cell in rows[1]}
    for number in range(2, rows.max_row + 1):
        rows.cell(number, places["Decision"]).value = decision_of(rows.cell(number, places["Email"]).value)
        rows.cell(number, places["Reviewer"]).value = "Ida Berg"
    book.save(copy)


def writes(sandbox: Sandbox) -> int:
    """Count the requests that may change something, without those for tokens."""
    sent = [request for method in WRITES for request in sandbox.requests("", method)]
    return len([request for request in sent if "token" not in request.path])


def test_removal_is_listed_until_the_source_no_longer_gives_the_access(tmp_path: Path) -> None:
    sheet, decided = tmp_path / "review.xlsx", tmp_path / "decided.xlsx"
    with run_sandbox(seed=1, size=30) as sandbox:
        config = sandbox.write_config(tmp_path / "agent")
        assert run_command(config, "sync", *LATAM).code == 0
        before = writes(sandbox)
        written = run_command(config, "access", *LATAM, "--format", "xlsx", "--out", str(sheet), "--by", "Ida Berg")
        leaver = sandbox.company.person("ana.lima@acme.com")
        decide(sheet, decided, lambda email: "remove" if email == leaver.email else "keep")
        open_review = run_command(config, "access", "--import", str(sheet))
        found = run_command(config, "access", "--import", str(decided), "--format", "json")
        (removal,) = json.loads(found.out)["remove"]
        (grant,) = removal["grants"]

        assert (written.code, written.out, open_review.code, found.code) == (0, "", 4, 3), written.err + found.err
        assert writes(sandbox) == before
        assert (grant["connector"], grant["id"]) == ("okta-main", leaver.id)
        assert set(grant["groups"]) == {
            group.name for group in sandbox.company.groups_of(leaver) if "Pig" in group.name
        }

        for group in grant["groups"]:
            sandbox.company.quit(leaver, group)
        assert run_command(config, "sync", *LATAM, "--reason", "access review").code == 0
        after = run_command(config, "access", "--import", str(decided), "--format", "csv")
        results = {row["email"]: row["result"] for row in csv.DictReader(io.StringIO(after.out))}

    assert after.code == 0, after.out
    assert results.pop(leaver.email) == "gone"
    assert set(results.values()) == {"keep"}


def test_workspace_that_can_not_be_read_is_on_top_of_the_sheet(tmp_path: Path) -> None:
    sheet = tmp_path / "review.xlsx"
    with run_sandbox(seed=1, size=30) as sandbox:
        config = sandbox.write_config(tmp_path / "agent")
        whole = tmp_path / "whole.xlsx"
        assert run_command(config, "access", "--format", "xlsx", "--out", str(whole)).code == 0
        tokens = sandbox.workspace("pigment-eu").tokens
        for token in list(tokens):
            tokens.revoke(token.secret)
        ran = run_command(config, "access", "--format", "xlsx", "--out", str(sheet))
        result = run_command(config, "access", "--import", str(whole), "--format", "json")
    about = load_workbook(sheet)["About"]

    assert (ran.code, result.code) == (6, 6)
    assert about["A2"].value == "Not complete: pigment-eu"
    assert "401" in about["B2"].value
    assert [each["workspace"] for each in json.loads(result.out)["unread"]] == ["pigment-eu"]
    assert {each["workspace"] for each in json.loads(result.out)["undecided"]} == {"pigment-latam", "pigment-apac"}


def test_hostile_people_come_back_from_the_sheet(tmp_path: Path) -> None:
    sheet, decided = tmp_path / "review.xlsx", tmp_path / "decided.xlsx"
    with run_sandbox(seed=41, size=12) as sandbox:
        filled(sandbox, sandbox.workspace("pigment-latam"))
        config = sandbox.write_config(tmp_path / "agent")
        assert run_command(config, "access", *LATAM, "--format", "xlsx", "--out", str(sheet)).code == 0
        decide(sheet, decided, lambda _: "keep")
        ran = run_command(config, "access", "--import", str(decided), "--format", "json")
        text = run_command(config, "access", "--import", str(decided)).out

    assert ran.code == 0, ran.out
    assert json.loads(ran.out)["counts"]["keep"] == load_workbook(sheet)["Access"].max_row - 1
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "xlsx"), "Add --out FILE"),
        (("--format", "json"), "There is no json of a listing."),
        (("--by", "ida"), "--by is written into a workbook only."),
        (("--import", "FILE", "--format", "html"), "There is no html of --import."),
        (("--import", "FILE", "--as-of", "2026-01-01"), "Remove --as-of."),
        (("--import", "FOLDER/none.xlsx"), "can't be read (No such file or directory)"),
        (("--import", "FILE"), "There is no decision to read"),
        (("--format", "xlsx", "--out", "FILE"), "exists, and may hold decisions. Nothing was written."),
        (("--format", "xlsx", "--out", "FOLDER/none/a.xlsx"), "can't be written"),
    ],
)
def test_what_can_not_work_is_refused_with_the_way_out(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    file = tmp_path / "file.xlsx"
    file.write_bytes(b"hello")
    places = {"FILE": str(file), "FOLDER/none.xlsx": str(tmp_path / "none.xlsx")}
    places["FOLDER/none/a.xlsx"] = str(tmp_path / "none" / "a.xlsx")
    with run_sandbox(seed=1, size=10) as sandbox:
        config = sandbox.write_config(tmp_path / "agent")
        ran = run_command(config, "access", *(places.get(each, each) for each in arguments))

    assert (ran.code, ran.out) == (2, "")
    assert words in " ".join(ran.err.split())
    assert file.read_bytes() == b"hello"


def test_other_formats_do_not_import_the_libraries_of_workbooks() -> None:
    code = "import sys, agent.cli.commands.access; print({'xlsxwriter', 'python_calamine'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "set()"
