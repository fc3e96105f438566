"""The files for code review of a configuration: the Action, the GitLab template, the hook, and their guide."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.settings.load import load
from tests.guide_page import REPOSITORY, pages

ACTION_FILE = REPOSITORY / "deploy" / "github-action" / "action.yml"
ACTION = yaml.safe_load(ACTION_FILE.read_text("utf-8"))
TEMPLATE = yaml.safe_load((REPOSITORY / "deploy" / "gitlab" / "pigment-sync.gitlab-ci.yml").read_text("utf-8"))
HOOKS = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text("utf-8"))
SCRIPTS = sorted(REPOSITORY.glob("deploy/*/*.sh"))
GUIDE = next(page for page in pages() if page.name == "docs/code-review.md")
COMMAND = str(Path(sys.executable).parent / "pigment-sync")


def workflow() -> str:
    (block,) = (each for each in GUIDE.blocks if each.mark == "workflow")
    return block.text + "\n"


def jobs() -> dict[str, Any]:
    # `on` is a word for true in YAML 1.1, so all stays text.
    found: dict[str, Any] = yaml.load(workflow(), yaml.BaseLoader)["jobs"]  # noqa: S506  (makes only texts)
    return found


def test_zizmor_finds_nothing_in_the_action_and_in_the_workflow_of_the_guide(tmp_path: Path) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "access.yml").write_text(workflow(), "utf-8")
    shutil.copytree(ACTION_FILE.parent, tmp_path / "action")
    zizmor = str(Path(sys.executable).parent / "zizmor")
    done = subprocess.run(
        [zizmor, "--offline", "--no-progress", "--strict-collection", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "action.yml" in done.stderr
    assert "access.yml" in done.stderr


def test_action_is_composite_and_pastes_nothing_into_a_shell() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for step in ACTION["runs"]["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"])
        else:
            assert re.fullmatch(r'"\$GITHUB_ACTION_PATH/github\.sh" [a-z]+', step["run"])
            assert step["shell"] == "bash"


def test_action_pins_what_the_workflows_pin() -> None:
    pin = re.compile(r"uses: (actions/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$", re.MULTILINE)
    pinned = set(pin.findall("".join(each.read_text("utf-8") for each in (REPOSITORY / ".github").rglob("*.yml"))))
    used = pin.findall(ACTION_FILE.read_text("utf-8") + workflow())
    assert len(used) == 4
    assert set(used) <= pinned


def test_guide_gives_each_job_the_least_permissions() -> None:
    assert jobs()["review"]["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert jobs()["apply"]["permissions"] == {"contents": "read", "pull-requests": "read", "actions": "read"}
    for job in jobs().values():
        assert job["environment"].startswith("pigment-sync")
        assert job["steps"][0]["with"]["persist-credentials"] == "false"


def test_guide_lists_every_input_and_variable() -> None:
    rows = set(re.findall(r"^\| `([\w-]+)` \|", GUIDE.text, re.MULTILINE))
    assert set(ACTION["inputs"]) <= rows
    script = (REPOSITORY / "deploy" / "gitlab" / "gitlab.sh").read_text("utf-8")
    common = (REPOSITORY / "deploy" / "code-review" / "common.sh").read_text("utf-8")
    named = set(re.findall(r"PIGMENT_SYNC_[A-Z_]+", script + common)) | set(TEMPLATE["variables"])
    assert named - set(re.findall(r"PIGMENT_SYNC_[A-Z_]+", GUIDE.text)) == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_strict_and_have_no_mistake_in_their_syntax(script: Path) -> None:
    text = script.read_text("utf-8")
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    if script.name != "common.sh":
        assert "\nset -euo pipefail\n" in text
        assert script.stat().st_mode & 0o111
    # Never traced: a trace shows tokens.
    assert "set -x" not in text


def test_gitlab_applies_on_the_protected_default_branch_one_at_a_time() -> None:
    apply, review = TEMPLATE["pigment-sync-apply"], TEMPLATE["pigment-sync-review"]
    (rule,) = apply["rules"]
    assert '$CI_COMMIT_REF_PROTECTED == "true"' in rule["if"]
    assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"]
    assert (apply["resource_group"], apply["interruptible"]) == ("pigment-sync", False)
    assert [each["if"] for each in review["rules"]] == ['$CI_PIPELINE_SOURCE == "merge_request_event"']
    for job in (apply, review):
        assert job["extends"] == ".pigment-sync"
        assert (job["artifacts"]["when"], job["artifacts"]["access"]) == ("always", "developer")
        assert [each["changes"]["paths"] for each in job["rules"]] == [["$PIGMENT_SYNC_CONFIG_FILE"]]


def test_gitlab_runs_exactly_the_commit_that_was_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(source)]
    subprocess.run(["git", "init", "--quiet", str(source)], check=True)
    for name in ("one", "two"):
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", name], check=True)
    first = subprocess.check_output([*git, "rev-parse", "HEAD~1"], text=True).strip()
    branch = subprocess.check_output([*git, "rev-parse", "--abbrev-ref", "HEAD"], text=True).strip()

    def prepare(commit: str, folder: str) -> int:
        script = "\n".join(["set -eo pipefail", *TEMPLATE[".pigment-sync"]["before_script"]])
        script = script.replace("/tmp/pigment-sync", str(tmp_path / folder))
        variables = {"PIGMENT_SYNC_REPOSITORY": str(source), "PIGMENT_SYNC_COMMIT": commit}
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **variables}
        return subprocess.run(["bash", "-c", script], env=environment, check=False, capture_output=True).returncode

    assert prepare(first, "first") == 0
    # A branch can be moved, so its name is not enough.
    assert prepare(branch, "second") != 0


def test_hook_runs_the_offline_check(tmp_path: Path) -> None:
    (hook,) = HOOKS
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    assert re.search(hook["files"], "config.yaml")
    assert not re.search(hook["files"], "docs/config.yaml")
    shutil.copy(REPOSITORY / "config.example.yaml", tmp_path / "config.yaml")

    def run() -> subprocess.CompletedProcess[str]:
        # As pre-commit does: in the repository, with the arguments after the entry.
        command = [COMMAND, *hook["args"]]
        return subprocess.run(command, cwd=tmp_path, env={}, check=False, capture_output=True, text=True)

    assert hook["entry"] == "pigment-sync"
    assert run().returncode == 0
    load(tmp_path / "config.yaml", {})
    text = (tmp_path / "config.yaml").read_text("utf-8")
    (tmp_path / "config.yaml").write_text(text.replace("mode: dry-run", "mode: dry"), "utf-8")
    refused = run()
    assert refused.returncode == 8
    assert "workspaces.pigment-latam.mode" in refused.stderr
