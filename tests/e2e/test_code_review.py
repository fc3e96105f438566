"""The GitHub Action and the GitLab template, step by step with their own shell commands, against pretend servers."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.server import Sandbox, run_sandbox
from tests.code_review_servers import TOKEN, GitHub, GitLab, Response, serve
from tests.e2e.agent_process import Agent
from tests.e2e.company import leavers
from tests.e2e.forked_command import forked_command
from tests.programs import require

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "deploy" / "github-action" / "action.yml").read_text("utf-8"))
PIPELINE = yaml.safe_load((ROOT / "deploy" / "gitlab" / "pigment-sync.gitlab-ci.yml").read_text("utf-8"))
HEAD, MERGE = "a" * 40, "b" * 40
WORKSPACE = "pigment-latam"
BEFORE, PLANNED, APPROVED, LATER = (f"2026-11-27T0{hour}:00:00Z" for hour in (7, 8, 9, 10))
STUB = """#!/usr/bin/env bash
# A plan of more people than a comment can list.
[[ $3 == check ]] && exit 0
while [[ $1 != --out ]]; do shift; done
cp "$PLAN" "$2"
printf '# Plan\\n\\n<details><summary>changes</summary>\\n\\n'
for ((row = 0; row < 6000; row++)); do echo "| Zoë Example $row | create | zoe.$row@acme.com |"; done
printf '\\n</details>\\n'
exit 3
"""


@pytest.fixture(autouse=True)
def programs() -> None:
    require("curl")
    require("jq")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=16) as served:
        yield served


@pytest.fixture
def config(sandbox: Sandbox, tmp_path: Path) -> Path:
    return sandbox.write_config(tmp_path)


@dataclass
class Done:
    code: int
    out: str
    outputs: dict[str, str]
    summary: str


def run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        command,
        cwd=folder,
        env={**kept, "NO_PROXY": "127.0.0.1,localhost", "TMPDIR": str(folder), **environment},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@dataclass
class Runner:
    """What a runner of GitHub does with the steps of a composite action."""

    github: GitHub
    folder: Path
    inputs: dict[str, str]
    event: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, mode: str, kind: str = "pull_request", **inputs: str) -> Done:
        defaults = {name: each.get("default", "") for name, each in ACTION["inputs"].items()}
        values = {
            f"inputs.{name}": value for name, value in {**defaults, **self.inputs, **inputs, "mode": mode}.items()
        }
        out, outputs = "", {}
        event = self.folder / "event.json"
        event.write_text(json.dumps(self.event), "utf-8")
        summary = self.folder / "summary.md"
        summary.write_text("", "utf-8")
        for step in ACTION["runs"]["steps"]:
            if not holds(step.get("if", "always"), values):
                continue
            if step.get("uses", "").startswith("actions/upload-artifact@"):
                self.upload({name: filled(str(value), values) for name, value in step["with"].items()})
            if "run" not in step:
                continue
            written = self.folder / "output"
            written.write_text("", "utf-8")
            done = run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                self.folder,
                {
                    **self.environment_of(kind),
                    **{name: filled(value, values) for name, value in step.get("env", {}).items()},
                },
            )
            out += done.stdout
            for line in written.read_text("utf-8").splitlines():
                name, _, value = line.partition("=")
                outputs[name] = value
                values[f"steps.{step['id']}.outputs.{name}"] = value
            if done.returncode:
                return Done(done.returncode, out, outputs, summary.read_text("utf-8"))
        return Done(0, out, outputs, summary.read_text("utf-8"))

    def environment_of(self, kind: str) -> dict[str, str]:
        return {
            "GITHUB_ACTION_PATH": str(ROOT / "deploy" / "github-action"),
            "GITHUB_API_URL": self.github.url,
            "GITHUB_SERVER_URL": "https://github.example.com",
            "GITHUB_REPOSITORY": "acme/access",
            "GITHUB_RUN_ID": "77",
            "GITHUB_ACTOR": "ana",
            "GITHUB_EVENT_NAME": kind,
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "GITHUB_SHA": MERGE,
            "GITHUB_REF_NAME": "main",
            "RUNNER_TEMP": str(self.folder),
            **self.environment,
        }

    def upload(self, options: dict[str, str]) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.write(options["path"], Path(options["path"]).name)
        assert options["overwrite"] == "True"
        self.github.artifacts[:] = [each for each in self.github.artifacts if each["name"] != options["name"]]
        number = len(self.github.archives) + 1
        run = {"head_sha": HEAD, "repository_id": 1, "head_repository_id": 1}
        artifact = {"id": number, "name": options["name"], "expired": False, "created_at": PLANNED, "workflow_run": run}
        self.github.artifacts.append(artifact)
        self.github.archives[number] = archive.getvalue()


def holds(condition: str, values: dict[str, str]) -> bool:
    if condition == "always":
        return True
    match = re.fullmatch(r"([\w.-]+) (==|!=) '(\w*)'", condition)
    assert match is not None, condition
    return (values.get(match[1], "") == match[3]) == (match[2] == "==")


def filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: values.get(match[1], ""), text)


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serve(server := GitHub()):
        yield server


@pytest.fixture(scope="module")
def command() -> Iterator[str]:
    with forked_command() as folder:
        yield str(folder / "pigment-sync")


@pytest.fixture
def runner(github: GitHub, config: Path, command: str, tmp_path: Path) -> Runner:
    folder = tmp_path / "runner"
    folder.mkdir()
    return Runner(github, folder, inputs_for(config, command), opened())


@pytest.fixture(scope="module")
def reviewed_once(command: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Runner]]:
    """A review of the plan of a sandbox that no test may write to: each costs a plan and 20 processes."""
    folder = tmp_path_factory.mktemp("reviewed")
    with run_sandbox(seed=5, size=16) as served, serve(server := GitHub()):
        inputs = inputs_for(served.write_config(folder), command)
        runner = Runner(server, folder, inputs, opened())
        assert runner.run("review").code == 0
        yield served, runner


@pytest.fixture
def reviewed(reviewed_once: tuple[Sandbox, Runner], github: GitHub, tmp_path: Path) -> Iterator[Runner]:
    """A runner of its own, with what the review left; nothing may write."""
    served, runner = reviewed_once
    github.artifacts.extend(copy.deepcopy(runner.github.artifacts))
    github.archives.update(runner.github.archives)
    yield Runner(github, tmp_path, runner.inputs, opened())
    assert writes(served) == 0


def inputs_for(config: Path, command: str) -> dict[str, str]:
    return {"config": str(config), "workspaces": WORKSPACE, "executable": command, "token": TOKEN}


def opened(repository: str = "acme/access") -> dict[str, Any]:
    return {"pull_request": {"number": 12, "head": {"sha": HEAD, "repo": {"full_name": repository}}}}


def merged(github: GitHub, *reviews: dict[str, Any]) -> None:
    github.pulls.append(
        {
            "number": 12,
            "html_url": "https://github.example.com/acme/access/pull/12",
            "merged_at": LATER,
            "merge_commit_sha": MERGE,
            "user": {"login": "ana"},
            "head": {"sha": HEAD},
            "base": {"ref": "main"},
        }
    )
    github.reviews.extend(reviews or [review()])


def review(login: str = "ben", state: str = "APPROVED", at: str = APPROVED, **more: str) -> dict[str, Any]:
    found = {"user": {"login": login}, "state": state, "submitted_at": at, "commit_id": HEAD}
    return {**found, "author_association": "MEMBER", **more}


def writes(sandbox: Sandbox) -> int:
    return sum(len(sandbox.requests("pigment", method)) for method in ("POST", "PATCH", "PUT"))


def test_pull_request_gets_a_comment_that_updates_itself_and_its_merge_applies_the_plan(
    runner: Runner, github: GitHub, sandbox: Sandbox, config: Path
) -> None:
    first = runner.run("review")
    (comment,) = github.comments
    first_body = comment["body"]
    second = runner.run("review")

    assert (first.code, second.code) == (0, 0), first.out + second.out
    assert first_body.startswith("<!-- pigment-sync plan: pigment-sync -->\n### pigment-sync: plan for `")
    assert "After the merge, `apply` makes these changes." in first_body
    assert first.outputs["digest"] in first_body
    assert first.summary == f"{first_body}"
    assert [each["id"] for each in github.comments] == [1]
    assert len(github.called("PATCH .*/issues/comments/1$")) == 1
    assert [each["name"] for each in github.artifacts] == [f"pigment-sync-plan-pigment-sync-{HEAD}"]
    assert writes(sandbox) == 0

    merged(github)
    applied = runner.run("apply", "push")

    assert applied.code == 0, applied.out
    assert f"Applying {second.outputs['digest']}, approved by ben in https://" in applied.out
    assert "The approved plan was applied." in applied.summary
    assert writes(sandbox) > 0
    (latest,) = json.loads(Agent(config).run("history", "--limit", "1", "--format", "json").out)
    assert (latest["trigger"], latest["by"]) == ("apply", "ben")
    assert latest["reason"] == "pull request 12, approved by ben: https://github.example.com/acme/access/pull/12"


def test_plan_that_changed_since_its_approval_is_not_applied(runner: Runner, github: GitHub, sandbox: Sandbox) -> None:
    assert runner.run("review").code == 0
    merged(github)
    person = next(
        each
        for each in sandbox.company.okta.people.values()
        if "Pigment LatAm" in [group.name for group in sandbox.company.groups_of(each)] and each.status == "ACTIVE"
    )
    sandbox.company.leave(person)

    done = runner.run("apply", "push")

    assert done.code == 9
    assert "::error title=pigment-sync::The plan has changed since it was approved. Nothing was written." in done.out
    assert "The plan has changed since it was approved." in done.summary
    assert writes(sandbox) == 0


def test_approving_review_releases_what_guards_hold(
    runner: Runner, github: GitHub, sandbox: Sandbox, config: Path
) -> None:
    assert Agent(config).run("sync", "-w", WORKSPACE).code == 0
    gone = leavers(sandbox, 4)

    reviewed = runner.run("review")
    assert (reviewed.code, reviewed.outputs["exit-code"]) == (0, "4"), reviewed.out
    assert "Who approves and merges it approves these changes too." in github.comments[0]["body"]
    merged(github)
    narrowed = runner.run("apply", "push", guards="max-creates")
    assert narrowed.code == 2
    applied = runner.run("apply", "push", guards="max-deactivations fleet")

    assert applied.code == 0, applied.out
    members = {member.user_name.lower(): member.active for member in sandbox.workspace(WORKSPACE).members}
    assert [members[person.email.lower()] for person in gone] == [False] * 4


@pytest.mark.parametrize(
    ("reviews", "code", "message"),
    [
        ([review("ana")], 4, "No one but its author approved the last commit of pull request 12."),
        ([review(state="COMMENTED")], 4, "No one but its author"),
        ([review(commit_id="c" * 40)], 4, "No one but its author"),
        ([review(author_association="NONE")], 4, "No one but its author"),
        ([review(at=BEFORE), review(state="DISMISSED")], 4, "No one but its author"),
        ([review(at=BEFORE)], 9, f"There is no plan for {HEAD} from before its approval at {BEFORE}."),
    ],
)
def test_nothing_is_written_without_an_approval_of_this_plan(
    reviewed: Runner, reviews: list[dict[str, Any]], code: int, message: str
) -> None:
    merged(reviewed.github, *reviews)

    done = reviewed.run("apply", "push")

    assert done.code == code
    assert f"::error title=pigment-sync::{message}" in done.out


def test_comment_after_an_approval_does_not_withdraw_it(runner: Runner, github: GitHub) -> None:
    assert runner.run("review").code == 0
    merged(github, review(), review(state="COMMENTED", at=LATER))

    assert runner.run("apply", "push").code == 0


@pytest.mark.parametrize("forged", [{"head_sha": "c" * 40}, {"head_repository_id": 2}])
def test_plan_of_another_commit_or_repository_is_not_taken(reviewed: Runner, forged: dict[str, Any]) -> None:
    reviewed.github.artifacts[0]["workflow_run"].update(forged)
    merged(reviewed.github)

    assert reviewed.run("apply", "push").code == 9


def test_push_without_a_pull_request_applies_nothing(runner: Runner, github: GitHub, sandbox: Sandbox) -> None:
    done = runner.run("apply", "push")
    wrong = runner.run("apply", "workflow_dispatch")

    assert (done.code, wrong.code, writes(sandbox)) == (2, 2, 0)
    assert "No merged pull request made the commit" in done.out
    assert "needs the event push" in wrong.out


def test_workspaces_in_dry_run_have_nothing_to_apply(runner: Runner, github: GitHub, sandbox: Sandbox) -> None:
    sandbox.write_config(Path(runner.inputs["config"]).parent, mode="dry-run")
    assert runner.run("review").code == 0
    merged(github)

    done = runner.run("apply", "push")

    assert (done.code, writes(sandbox)) == (0, 0)
    assert "Every workspace of the approved plan is in mode dry-run" in done.out


@pytest.mark.parametrize("who", ["fork", "dependabot"])
def test_fork_gets_a_check_without_secrets_and_no_plan(
    runner: Runner, github: GitHub, sandbox: Sandbox, who: str
) -> None:
    if who == "fork":
        runner.event = opened("mallory/access")
    else:
        runner.environment["GITHUB_ACTOR"] = "dependabot[bot]"

    done = runner.run("review")

    assert (done.code, done.outputs["exit-code"], done.outputs["digest"]) == (0, "0", "")
    assert "No plan was made: a plan needs secrets, and this change gets none." in done.summary
    assert "Not checked, because the check is offline:" in done.summary
    assert (github.requests, github.artifacts, sandbox.requests()) == ([], [], [])


@pytest.mark.parametrize("kind", ["pull_request_target", "push"])
def test_review_refuses_other_events(runner: Runner, github: GitHub, sandbox: Sandbox, kind: str) -> None:
    done = runner.run("review", kind)

    assert done.code == 2
    assert kind in done.out
    assert (github.requests, sandbox.requests()) == ([], [])


def test_unknown_mode_is_refused(runner: Runner) -> None:
    done = runner.run("aply")
    assert done.code == 2
    assert "The mode is review or apply, not 'aply'." in done.out


def test_invalid_configuration_fails_after_its_comment(runner: Runner, github: GitHub, config: Path) -> None:
    config.write_text(config.read_text("utf-8").replace("mode: enforce", "mode: ~~~~always~~~~"), "utf-8")

    done = runner.run("review")

    assert (done.code, github.artifacts) == (8, [])
    (comment,) = github.comments
    assert "The configuration is not valid (exit code 8)." in comment["body"]
    assert "workspaces.pigment-latam.mode" in comment["body"]
    # Nothing in the output ends the fence.
    assert comment["body"].count("~~~~") == 2


def test_incomplete_read_leaves_no_plan_to_approve(runner: Runner, github: GitHub, config: Path) -> None:
    tree = yaml.safe_load(config.read_text("utf-8"))
    tree["workspaces"][WORKSPACE]["tokens"] = ["not-the-token"]
    config.write_text(yaml.safe_dump(tree), "utf-8")

    done = runner.run("review")

    assert (done.code, github.artifacts) == (6, [])
    assert "there is no plan to approve" in github.comments[0]["body"]


def test_comment_of_someone_else_is_left_alone(runner: Runner, github: GitHub) -> None:
    mark = "<!-- pigment-sync plan: pigment-sync -->"
    github.comments.extend({"id": number, "user": {"login": "mallory"}, "body": mark} for number in range(1, 131))

    assert runner.run("review").code == 0
    assert runner.run("review").code == 0

    assert {each["body"] for each in github.comments[:130]} == {mark}
    assert [each["id"] for each in github.comments[130:]] == [131]


def test_two_configurations_have_a_comment_each(runner: Runner, github: GitHub) -> None:
    assert runner.run("review").code == 0
    assert runner.run("review", name="emea --> test").code == 0

    marks = [each["body"].splitlines()[0] for each in github.comments]
    assert marks == ["<!-- pigment-sync plan: pigment-sync -->", "<!-- pigment-sync plan: emea_--__test -->"]
    assert len({each["name"] for each in github.artifacts}) == 2


def test_huge_plan_is_cut_in_the_comment_and_whole_in_the_artefact(
    runner: Runner, github: GitHub, tmp_path: Path
) -> None:
    stub = tmp_path / "stub"
    stub.write_text(STUB, "utf-8")
    stub.chmod(0o755)
    plan = tmp_path / "huge.json"
    plan.write_text('{"digest": "sha256:abc", "workspaces": []}', "utf-8")
    runner.environment["PLAN"] = str(plan)

    done = runner.run("review", executable=str(stub))

    assert done.code == 0, done.out
    body = github.comments[0]["body"]
    assert 60_000 < len(body) <= 65_000
    assert body.splitlines()[1].startswith("**This comment is cut")
    assert body.count("<details>") == body.count("</details>") == 1
    rows = re.findall(r"^\| Zoë .*$", body, re.MULTILINE)
    assert rows
    assert all(row.endswith("@acme.com |") for row in rows)
    with zipfile.ZipFile(io.BytesIO(github.archives[1])) as archive:
        assert archive.read("plan.json") == plan.read_bytes()


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        (
            "POST .*/comments$",
            403,
            "was refused with 403: no%0Aaccess. Give the job the permission pull-requests: write.",
        ),
        ("POST .*/comments$", 500, "failed with 500: no%0Aaccess. Run the job again."),
        ("GET .*/comments$", 404, "was refused with 404"),
    ],
)
def test_refused_comment_is_an_error_with_its_remedy(
    runner: Runner, github: GitHub, fault: str, status: int, message: str
) -> None:
    github.faults[fault] = Response(status, {"message": "no\naccess"})

    done = runner.run("review")

    assert done.code == 1
    assert message in done.out
    assert len(github.called(fault)) == 1
    assert TOKEN not in done.out + done.summary
    # The plan is there all the same.
    assert len(github.artifacts) == 1


def test_server_that_does_not_answer_is_an_error(reviewed: Runner) -> None:
    merged(reviewed.github)
    reviewed.environment["GITHUB_API_URL"] = "http://127.0.0.1:9"

    done = reviewed.run("apply", "push")

    assert done.code == 1
    assert "got no answer" in done.out


@dataclass
class Pipeline:
    """What a runner of GitLab does with the jobs of the template."""

    gitlab: GitLab
    folder: Path
    variables: dict[str, str]

    def run(self, job: str, **variables: str) -> Done:
        script = "\n".join(["set -eo pipefail", *PIPELINE[job]["script"]]).replace("/tmp/pigment-sync", str(ROOT))
        environment = {
            **PIPELINE["variables"],
            "CI_API_V4_URL": f"{self.gitlab.url}/api/v4",
            "CI_PROJECT_ID": "7",
            "CI_PROJECT_DIR": str(self.folder),
            "CI_JOB_URL": "https://gitlab.example.com/job/1",
            "CI_COMMIT_SHA": HEAD,
            "CI_DEFAULT_BRANCH": "main",
            "PIGMENT_SYNC_GITLAB_TOKEN": TOKEN,
            **self.variables,
            **variables,
        }
        done = run(["bash", "-c", script], self.folder, environment)
        return Done(done.returncode, done.stdout, {}, "")

    def review(self, **variables: str) -> Done:
        here = {"CI_MERGE_REQUEST_PROJECT_ID": "7", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "7"}
        done = self.run("pigment-sync-review", CI_MERGE_REQUEST_IID="3", **(here | variables))
        number = len(self.gitlab.jobs) + 1
        for path in PIPELINE["pigment-sync-review"]["artifacts"]["paths"]:
            if (self.folder / path).exists():
                self.gitlab.files[number, Path(path).name] = (self.folder / path).read_bytes()
        status = "failed" if done.code else "success"
        self.gitlab.jobs.append({"id": number, "name": "pigment-sync-review", "status": status, "finished_at": PLANNED})
        return done

    def apply(self, **variables: str) -> Done:
        pushed = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_PROTECTED": "true"}
        shutil.rmtree(self.folder / "pigment-sync-plan", ignore_errors=True)
        return self.run("pigment-sync-apply", **(pushed | {"CI_COMMIT_SHA": MERGE} | variables))

    def merge(self, author: str = "ana", approver: str = "ben", at: str = APPROVED, sha: str = HEAD) -> None:
        self.gitlab.merge_requests.append(
            {
                "iid": 3,
                "state": "merged",
                "sha": sha,
                "merge_commit_sha": MERGE,
                "squash_commit_sha": None,
                "target_branch": "main",
                "source_project_id": 7,
                "target_project_id": 7,
                "author": {"username": author},
                "web_url": "https://gitlab.example.com/acme/access/-/merge_requests/3",
            }
        )
        body = "approved this merge request"
        self.gitlab.notes.append({"system": True, "author": {"username": approver}, "created_at": at, "body": body})
        self.gitlab.approved_by.append(approver)


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    with serve(server := GitLab()):
        yield server


@pytest.fixture
def pipeline(gitlab: GitLab, config: Path, command: str, tmp_path: Path) -> Pipeline:
    folder = tmp_path / "builds"
    folder.mkdir()
    return Pipeline(gitlab, folder, variables_for(config, command))


def variables_for(config: Path, command: str) -> dict[str, str]:
    return {
        "PIGMENT_SYNC_CONFIG_FILE": str(config),
        "PIGMENT_SYNC_WORKSPACES": WORKSPACE,
        "PIGMENT_SYNC_EXECUTABLE": command,
    }


@pytest.fixture(scope="module")
def merge_request_reviewed_once(
    command: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Sandbox, Pipeline]]:
    """As `reviewed_once`, for a merge request."""
    folder = tmp_path_factory.mktemp("reviewed-pipeline")
    with run_sandbox(seed=5, size=16) as served, serve(server := GitLab()):
        found = Pipeline(server, folder, variables_for(served.write_config(folder), command))
        assert found.review().code == 0
        yield served, found


@pytest.fixture
def reviewed_pipeline(
    merge_request_reviewed_once: tuple[Sandbox, Pipeline], gitlab: GitLab, tmp_path: Path
) -> Iterator[Pipeline]:
    """A pipeline of its own, with what the review left; nothing may write."""
    served, found = merge_request_reviewed_once
    gitlab.jobs.extend(copy.deepcopy(found.gitlab.jobs))
    gitlab.files.update(found.gitlab.files)
    yield Pipeline(gitlab, tmp_path, found.variables)
    assert writes(served) == 0


def test_merge_request_gets_a_note_that_updates_itself_and_its_merge_applies_the_plan(
    pipeline: Pipeline, gitlab: GitLab, sandbox: Sandbox
) -> None:
    first, second = pipeline.review(), pipeline.review()

    assert (first.code, second.code) == (0, 0), first.out + second.out
    (note,) = gitlab.notes
    assert note["body"].startswith("<!-- pigment-sync plan: ")
    assert "After the merge, `apply` makes these changes." in note["body"]
    assert len(gitlab.called("PUT .*/notes/1$")) == 1
    assert {name for _, name in gitlab.files} == {"check.txt", "commit.txt", "plan.json", "plan.md"}
    assert writes(sandbox) == 0

    pipeline.merge()
    applied = pipeline.apply()

    assert applied.code == 0, applied.out
    assert "approved by ben in https://gitlab.example.com" in applied.out
    assert writes(sandbox) > 0
    assert "The approved plan was applied." in (pipeline.folder / "pigment-sync-plan" / "report.md").read_text("utf-8")


def test_merge_request_whose_plan_changed_is_not_applied(
    pipeline: Pipeline, gitlab: GitLab, sandbox: Sandbox, config: Path
) -> None:
    assert pipeline.review().code == 0
    pipeline.merge()
    assert Agent(config).run("sync", "-w", WORKSPACE).code == 0
    before = writes(sandbox)

    done = pipeline.apply()

    assert (done.code, writes(sandbox)) == (9, before)
    assert "pigment-sync: The plan has changed since it was approved. Nothing was written." in done.out


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda pipeline: pipeline.merge(author="ben"), 4, "No one but its author approved merge request 3."),
        (lambda pipeline: (pipeline.merge(), pipeline.gitlab.approved_by.clear()), 4, "No one but its author"),
        (lambda pipeline: pipeline.merge(at=BEFORE), 9, "There is no plan for"),
        (lambda pipeline: pipeline.merge(sha="c" * 40), 9, "There is no plan for"),
        (repr, 2, "No merge request of this project made the commit"),
    ],
)
def test_merge_without_an_approval_of_its_plan_writes_nothing(
    reviewed_pipeline: Pipeline, change: Callable[[Pipeline], object], code: int, message: str
) -> None:
    change(reviewed_pipeline)

    done = reviewed_pipeline.apply()

    assert done.code == code, done.out
    assert message in done.out


@pytest.mark.parametrize(
    "variables",
    [{"CI_COMMIT_REF_PROTECTED": "false"}, {"CI_COMMIT_BRANCH": "feature"}, {"CI_PIPELINE_SOURCE": "schedule"}],
)
def test_apply_is_for_the_protected_default_branch(
    pipeline: Pipeline, gitlab: GitLab, variables: dict[str, str]
) -> None:
    done = pipeline.apply(**variables)

    assert done.code == 2
    assert "only by a push to the default branch, which must be protected" in done.out
    assert gitlab.requests == []


def test_merge_request_from_a_fork_gets_a_check_alone(pipeline: Pipeline, gitlab: GitLab, sandbox: Sandbox) -> None:
    done = pipeline.review(CI_MERGE_REQUEST_SOURCE_PROJECT_ID="8")

    assert done.code == 0, done.out
    assert "No plan and no note: this merge request comes from a fork." in done.out
    assert (gitlab.requests, sandbox.requests()) == ([], [])
    assert (1, "plan.json") not in gitlab.files


@pytest.mark.parametrize(
    ("status", "message"), [(403, "Set PIGMENT_SYNC_GITLAB_TOKEN to"), (500, "Run the job again.")]
)
def test_refused_note_is_an_error_with_its_remedy(
    pipeline: Pipeline, gitlab: GitLab, status: int, message: str
) -> None:
    gitlab.faults["POST .*/notes$"] = Response(status, {"message": "insufficient_scope"})

    done, without = pipeline.review(), pipeline.review(PIGMENT_SYNC_GITLAB_TOKEN="")

    assert done.code == 1
    assert f"{status}: insufficient_scope. " in done.out
    assert message in done.out
    assert TOKEN not in done.out
    assert without.code == 2
    assert "PIGMENT_SYNC_GITLAB_TOKEN is not set" in without.out
