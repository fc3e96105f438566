"""The public workflows: checked by zizmor, few rights, every action pinned, and every called script exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
CHART = ROOT / "deploy" / "helm" / "pigment-sync" / "Chart.yaml"
PINNED = re.compile(r"uses: ([\w-]+/[\w.-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$")
# Each right to write, where it is needed, and nowhere else.
WRITES = {
    ("release", "attest"): {"id-token", "attestations"},
    ("release", "image"): {"packages", "id-token", "attestations"},
    ("release", "chart"): {"packages", "id-token"},
    ("release", "release"): {"contents"},
    ("release", "index"): {"id-token"},
}


def loaded(workflow: Path) -> dict[str, Any]:
    # `on` is a word for true in YAML 1.1, so all stays text.
    found: dict[str, Any] = yaml.load(workflow.read_text("utf-8"), yaml.BaseLoader)  # noqa: S506  (makes only texts)
    return found


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = loaded(workflow)["jobs"]
    return found


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    for job in jobs(workflow).values():
        yield from job["steps"]


def test_there_are_workflows_for_test_image_and_release() -> None:
    assert [path.stem for path in WORKFLOWS] == ["image", "release", "test"]


def test_zizmor_finds_nothing() -> None:
    zizmor = shutil.which("zizmor", path=str(ROOT / ".venv" / "bin")) or shutil.which("zizmor")
    assert zizmor is not None
    done = subprocess.run(
        [zizmor, "--offline", "--no-progress", "--strict-collection", str(ROOT / ".github")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout + done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_commit_with_its_version(workflow: Path) -> None:
    lines = [line.strip().removeprefix("- ") for line in workflow.read_text("utf-8").splitlines()]
    used = [line for line in lines if line.startswith("uses:")]
    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []


def test_one_action_has_one_pin_everywhere() -> None:
    pins: dict[str, set[tuple[str, str]]] = {}
    for workflow in WORKFLOWS:
        for name, commit, version in re.findall(PINNED.pattern, workflow.read_text("utf-8"), re.MULTILINE):
            pins.setdefault(name, set()).add((commit, version))
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_rights_are_none_but_what_a_job_names(workflow: Path) -> None:
    assert loaded(workflow)["permissions"] == {}
    for name, job in jobs(workflow).items():
        writes = {right for right, kind in job["permissions"].items() if kind == "write"}
        assert writes == WRITES.get((workflow.stem, name), set()), name
        assert set(job["permissions"].values()) <= {"read", "write"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_checkout_keeps_no_credentials_and_jobs_end_in_time(workflow: Path) -> None:
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"
    assert all(int(job["timeout-minutes"]) <= 45 for job in jobs(workflow).values())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_script_that_is_run_exists_and_may_be_run(workflow: Path) -> None:
    ran = " ".join(step.get("run", "") for step in steps(workflow))
    scripts = re.findall(r"(?<![\w./-])((?:scripts|\.ci)/[\w-]+)", ran)
    assert scripts
    for script in scripts:
        assert (ROOT / script).stat().st_mode & 0o111, script


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_no_expression_is_pasted_into_a_shell_and_no_secret_is_kept(workflow: Path) -> None:
    assert [step["run"] for step in steps(workflow) if "${{" in step.get("run", "")] == []
    secrets = set(re.findall(r"secrets\.(\w+)", workflow.read_text("utf-8")))
    assert secrets <= {"GITHUB_TOKEN"}
    assert "pull_request_target" not in loaded(workflow)["on"]


def test_every_supported_python_is_tested() -> None:
    matrix = jobs(FOLDER / "test.yml")["test"]["strategy"]["matrix"]["python"]
    classifiers = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert matrix == classifiers


def test_holes_are_looked_for_strictly_and_only_where_there_is_a_network() -> None:
    [command] = [step["run"] for step in steps(FOLDER / "test.yml") if "pip-audit" in step.get("run", "")]
    assert {"--strict", "--require-hashes"} <= set(command.split())
    for script in (ROOT / ".ci" / "run", *(ROOT / "scripts").iterdir()):
        assert not script.is_file() or "pip-audit" not in script.read_text("utf-8")


def test_release_needs_a_version_tag_and_publishes_what_was_built_and_attested() -> None:
    release = loaded(FOLDER / "release.yml")
    assert release["on"] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
    built = " ".join(step.get("run", "") + step.get("uses", "") for step in release["jobs"]["build"]["steps"])
    for part in (
        "scripts/wheel dist",
        "scripts/sbom dist/",
        "SHA256SUMS",
        "upload-artifact@",
    ):
        assert part in built
    # Who may sign runs nothing that the build brought along.
    assert release["jobs"]["build"]["permissions"] == {"contents": "read"}
    attest = release["jobs"]["attest"]
    assert [step["uses"].partition("@")[0] for step in attest["steps"]] == [
        "actions/download-artifact",
        "actions/attest-build-provenance",
    ]
    assert attest["needs"] == "build"
    assert "attest" in release["jobs"]["release"]["needs"]
    assert release["jobs"]["index"]["needs"] == "attest"
    for name in ("image", "chart", "index"):
        assert release["jobs"][name]["if"].startswith("vars.")
    assert {"image", "chart"} <= set(release["jobs"]["release"]["needs"])


def test_release_signs_image_and_chart_by_digest_and_without_a_key() -> None:
    for name in ("image", "chart"):
        ran = [step.get("run", "") for step in jobs(FOLDER / "release.yml")[name]["steps"]]
        assert 'cosign sign --yes "$NAME@$DIGEST"' in ran
        used = [step.get("uses", "").partition("@")[0] for step in jobs(FOLDER / "release.yml")[name]["steps"]]
        assert "sigstore/cosign-installer" in used


def test_package_index_trusts_the_workflow_and_gets_no_token() -> None:
    index = jobs(FOLDER / "release.yml")["index"]
    assert index["environment"] == "package-index"
    (publish,) = (step for step in index["steps"] if "gh-action-pypi-publish@" in step.get("uses", ""))
    assert publish["with"] == {"repository-url": "${{ vars.PACKAGE_INDEX }}"}


def push_chart(folder: Path, version: str, pushed: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/chart with a helm that writes its arguments down and prints *pushed*."""
    helm = folder / "helm"
    helm.write_text(f"#!/bin/sh\necho \"$@\" >>{folder}/calls\n[ $1 = package ] || printf '{pushed}' >&2\n", "utf-8")
    helm.chmod(0o755)
    command = [str(ROOT / "scripts" / "chart"), "registry.example.com/acme/charts", version]
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(command, env={"PATH": path}, check=False, capture_output=True, text=True)


def test_chart_is_pushed_in_its_version_and_its_digest_is_printed(tmp_path: Path) -> None:
    version = yaml.safe_load(CHART.read_text("utf-8"))["version"]
    digest = f"sha256:{'ab' * 32}"

    done = push_chart(tmp_path, version, f"Pushed: registry.example.com/acme/charts\\nDigest: {digest}\\n")

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"name=registry.example.com/acme/charts/pigment-sync\ndigest={digest}\n"
    package, push = (tmp_path / "calls").read_text("utf-8").splitlines()
    assert package.startswith(f"package deploy/helm/pigment-sync --version {version} --app-version {version} ")
    assert push.startswith("push ")
    assert push.endswith(f"/pigment-sync-{version}.tgz oci://registry.example.com/acme/charts")


def test_chart_of_another_version_or_without_a_digest_is_refused(tmp_path: Path) -> None:
    version = yaml.safe_load(CHART.read_text("utf-8"))["version"]

    other, bare = push_chart(tmp_path, "9.9.9", ""), push_chart(tmp_path, version, "Pushed")

    assert (other.returncode, other.stdout) == (1, "")
    assert "9.9.9 is not the version of" in other.stderr
    assert (bare.returncode, bare.stdout) == (1, "")


def test_chart_has_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    chart = yaml.safe_load(CHART.read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_no_host_of_a_registry_is_named() -> None:
    for path in (*WORKFLOWS, ROOT / ".github" / "dependabot.yml"):
        assert not re.search(r"[\w-]+\.(?:io|org|com|net)\b", path.read_text("utf-8")), path.name


def test_updates_are_proposed_for_each_kind_once_they_are_a_week_old() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text("utf-8"))["updates"]
    assert [each["package-ecosystem"] for each in updates] == ["pip", "github-actions", "docker"]
    assert {each["cooldown"]["default-days"] for each in updates} == {7}
