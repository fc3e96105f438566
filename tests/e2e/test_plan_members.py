"""`plan --members`: a first look with an exported list, which must foretell the first sync and touch nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.server import Sandbox, run_sandbox
from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.traced

LATAM = "pigment-latam"
WORKSPACES = (LATAM, "pigment-eu", "pigment-apac")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=3, size=60) as served:
        yield served


@pytest.fixture(scope="module")
def config(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sandbox.write_config(tmp_path_factory.mktemp("agent"))


@pytest.fixture(scope="module")
def without_scim(config: Path) -> CommandLine:
    """Return an agent as before SCIM is switched on: no token, and a URL that does not exist."""
    document = yaml.safe_load(config.read_text())
    for number, workspace in enumerate(document["workspaces"].values()):
        workspace["tokens"] = [{"env": f"NOT_SET_{number}"}]
        workspace["scim_url"] = f"https://pigment-{number}.example.invalid/scim/v2"
    path = config.with_name("without-scim.yaml")
    path.write_text(yaml.safe_dump(document))
    return CommandLine(path)


def write_members(sandbox: Sandbox, workspace: str, path: Path, columns: str = "email,name,active") -> Path:
    names = columns.split(",")
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(names)
        for member in sandbox.workspace(workspace).members:
            row = {"email": member.user_name, "name": member.display_name, "active": str(member.active)}
            writer.writerow([row[name] for name in names])
    return path


def decisions(document: dict[str, Any]) -> dict[str, list[tuple[object, ...]]]:
    """Return what a plan decides, without ids that a file does not have."""
    (workspace,) = document["workspaces"]
    changes = [(each["kind"], each["email"], each["code"], str(each["after"])) for each in workspace["changes"]]
    holds = [(each["kind"], each["email"], each["code"]) for each in workspace["holds"]]
    return {"changes": sorted(changes), "holds": sorted(holds)}


@pytest.mark.parametrize("workspace", WORKSPACES)
def test_plan_from_a_file_is_that_of_the_first_sync(
    sandbox: Sandbox, config: Path, without_scim: CommandLine, tmp_path: Path, workspace: str
) -> None:
    path = write_members(sandbox, workspace, tmp_path / "members.csv")
    before = len(sandbox.requests("pigment"))

    ran = without_scim.run("plan", "-w", workspace, "--members", str(path), "--format", "json")

    assert ran.code == 0, ran.err
    assert len(sandbox.requests("pigment")) == before, "the workspace is left alone"
    planned = json.loads(ran.out)
    real = json.loads(CommandLine(config).run("plan", "-w", workspace, "--format", "json").out)
    assert decisions(planned) == decisions(real)
    assert {kind for kind, *_ in decisions(planned)["changes"]} >= {"adopt", "create"}
    object_ = planned["workspaces"][0]
    assert object_["members_from"]["rows"] == len(sandbox.workspace(workspace).members)
    assert "run" not in object_
    assert "state-empty" not in {note["code"] for note in object_["notes"]}
    assert object_["digest"] != real["workspaces"][0]["digest"]


def test_nothing_is_recorded(sandbox: Sandbox, without_scim: CommandLine, config: Path, tmp_path: Path) -> None:
    history = CommandLine(config).run("history", "--format", "json").out
    files = {each.name for each in config.parent.iterdir()}
    path = write_members(sandbox, LATAM, tmp_path / "members.csv")

    assert without_scim.run("plan", "-w", LATAM, "--members", str(path)).code == 0

    assert CommandLine(config).run("history", "--format", "json").out == history
    assert {each.name for each in config.parent.iterdir()} == files


@pytest.mark.parametrize("form", ["text", "markdown", "html", "csv"])
def test_every_format_begins_with_the_file(
    sandbox: Sandbox, without_scim: CommandLine, tmp_path: Path, form: str
) -> None:
    path = write_members(sandbox, LATAM, tmp_path / "export.csv")

    out = without_scim.run("plan", "-w", LATAM, "--members", str(path), "--format", form).out

    count = len(sandbox.workspace(LATAM).members)
    first = f"{count:,} from the file export.csv, not from {LATAM}"
    assert first in out.replace("\\", "")
    assert out.replace("\\", "").index(first) < out.index("Ana")
    assert "sync --approve" not in out
    if form == "csv":
        assert next(iter(csv.DictReader(io.StringIO(out))))["row"] == "members"


def test_names_are_not_compared_with_a_file_without_names(
    sandbox: Sandbox, without_scim: CommandLine, tmp_path: Path
) -> None:
    path = write_members(sandbox, LATAM, tmp_path / "members.csv", "email,active")

    ran = without_scim.run("plan", "-w", LATAM, "--members", str(path), "--format", "json")

    counts = json.loads(ran.out)["workspaces"][0]["counts"]
    assert (counts["update-name"], counts["adopt"] > 0) == (0, True)
    assert "has no column for the name: changes of names are not planned" in ran.err


def test_exit_codes_are_those_of_a_plan(sandbox: Sandbox, without_scim: CommandLine, tmp_path: Path) -> None:
    path = write_members(sandbox, LATAM, tmp_path / "members.csv")

    assert without_scim.run("plan", "-w", LATAM, "--members", str(path), "--exit-code").code == 3
    sandbox.okta.token_issuer.clients[sandbox.environment.okta_client_id].scopes = frozenset()
    try:
        ran = without_scim.run("plan", "-w", LATAM, "--members", str(path))
    finally:
        sandbox.okta.token_issuer.clients[sandbox.environment.okta_client_id].scopes = frozenset(
            {"okta.apps.read", "okta.groups.read", "okta.users.read"}
        )
    assert ran.code == 6
    assert "from the file members.csv" in ran.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--members", "{file}"), "--members needs one workspace, and 3 are meant"),
        (("-w", LATAM, "--members", "{file}", "--out", "{folder}/plan.json"), "a plan from a file can't be applied"),
        (("-w", LATAM, "--members", "{folder}/none.csv"), "none.csv can't be read (No such file or directory)"),
        (("-w", LATAM, "--members", "{folder}/bad.csv"), "line 3: a@acme.com is in line 2 already"),
    ],
)
def test_bad_input_is_a_usage_error_and_reads_nothing(
    sandbox: Sandbox, without_scim: CommandLine, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    file = write_members(sandbox, LATAM, tmp_path / "members.csv")
    (tmp_path / "bad.csv").write_text("email\na@acme.com\na@acme.com\n")
    before = len(sandbox.requests())

    ran = without_scim.run("plan", *(each.format(file=file, folder=tmp_path) for each in options))

    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert len(sandbox.requests()) == before
    assert not (tmp_path / "plan.json").exists()


def test_plan_from_a_file_cannot_be_applied(
    sandbox: Sandbox, config: Path, without_scim: CommandLine, tmp_path: Path
) -> None:
    path = write_members(sandbox, LATAM, tmp_path / "members.csv")
    plan = tmp_path / "plan.json"
    plan.write_text(without_scim.run("plan", "-w", LATAM, "--members", str(path), "--format", "json").out)
    before = len(sandbox.requests())

    ran = CommandLine(config).run("apply", str(plan), "--reason", "no")

    assert ran.code == 2
    assert "was planned against an exported member list" in ran.err
    assert len(sandbox.requests()) == before
    digest = json.loads(plan.read_text())["workspaces"][0]["digest"]
    assert CommandLine(config).run("sync", "-w", LATAM, "--approve", digest, "--reason", "no").code == 9
