"""Holds, approvals, undo and pauses by the whole command: what was reviewed is what is done, and can be undone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, update

from agent.store.tables import approvals
from sandbox.company import Person
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Ran
from tests.e2e.command_line import CommandLine
from tests.e2e.company import leavers
from tests.notice_receivers import webhook

pytestmark = pytest.mark.traced

LATAM = ("-w", "pigment-latam")
GROUP = "Pigment LatAm"
WHY = ("--reason", "the reorganisation")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=40) as served:
        yield served


@pytest.fixture
def agent(sandbox: Sandbox, tmp_path: Path) -> CommandLine:
    """An agent after its first sync, with limits that the last hour does not use up."""
    agent = CommandLine(sandbox.write_config(tmp_path))
    assert agent.run("sync", *LATAM).code == 0
    return agent


def digest(ran: Ran) -> str:
    (workspace,) = json.loads(ran.out)["workspaces"]
    return str(workspace["digest"])


def is_active(sandbox: Sandbox, person: Person) -> bool:
    member = sandbox.workspace("pigment-latam").find_member(person.email)
    assert member is not None
    return member.active


def test_held_plan_is_approved_by_its_digest_and_undone(sandbox: Sandbox, agent: CommandLine) -> None:
    departed = leavers(sandbox, 5)
    held = agent.run("sync", *LATAM, "--format", "json")
    assert held.code == 4, held.err
    assert "pigment-latam: 5 changes are on hold: max-deactivations 5.\n" in held.err
    assert all(is_active(sandbox, person) for person in departed)
    assert agent.run("plan", *LATAM).code == 0
    assert agent.run("plan", *LATAM, "--exit-code").code == 4
    shown = agent.run("plan", *LATAM).out
    assert f"    pigment-sync --config {agent.config} sync -w pigment-latam --approve {digest(held)}" in shown
    assert "max-deactivations" in shown
    short = digest(held).removeprefix("sha256:")[:8].upper()
    done = agent.run("sync", *LATAM, "--approve", short, "--by", "ops", "--reason", "the reorganisation")
    assert done.code == 0, done.out + done.err
    assert not any(is_active(sandbox, person) for person in departed)
    run = json.loads(agent.run("history", "--format", "json", "--limit", "1").out)[0]
    assert (run["by"], run["reason"], run["approved"]) == ("ops", "the reorganisation", digest(held))
    ran = agent.run("undo", run["id"])
    assert ran.code == 4, ran.err
    assert not any(is_active(sandbox, person) for person in departed), "showing an undo writes nothing"
    (approval,) = re.findall(
        rf"^ +pigment-sync --config \S+ undo {run['id']} --approve (sha256:\w+)", ran.err, re.MULTILINE
    )
    assert "--approve" not in ran.out
    other = agent.run("undo", run["id"], "--approve", f"sha256:{'0' * 64}", *WHY)
    assert other.code == 9
    unexplained = agent.run("undo", run["id"], "--approve", approval)
    assert (unexplained.code, "An approval needs a reason" in unexplained.err) == (2, True)
    assert "paused" not in agent.run("sync", *LATAM, "--wait", "5").err, "what was never begun leaves no pause behind"
    undone = agent.run("undo", run["id"], "--approve", approval[:20], "--reason", "a mistake")
    assert undone.code == 0, undone.err
    assert all(is_active(sandbox, person) for person in departed)
    put_back = json.loads(agent.run("history", "--format", "json", "--limit", "1").out)[0]["id"]
    again = agent.run("undo", put_back)
    assert again.code == 4
    assert "max-deactivations" in again.out, "an undo has the same guards"
    assert "--approve" not in again.out
    assert f" undo {put_back} --approve sha256:" in again.err
    shown_undo = json.loads(agent.run("history", "--format", "json", "--limit", "1").out)[0]["id"]
    for form in ("text", "markdown", "html"):
        report = agent.run("report", shown_undo, "--format", form).out
        assert "max-deactivations" in report
        assert "--approve" not in report, "an undo is approved by `undo`"
    paused = agent.run("sync", *LATAM)
    assert paused.code == 0
    assert "paused by" in paused.err
    assert "a mistake" in paused.err
    assert agent.run("resume", "pigment-latam", "--by", "ops", "--reason", "sorted out").code == 0
    last = json.loads(agent.run("history", "--format", "json", "--limit", "1").out)[0]
    assert (last["trigger"], last["by"], last["reason"]) == ("resume", "ops", "sorted out")


def test_notice_of_a_run_that_made_changes_has_the_digest_that_approves_the_rest(
    sandbox: Sandbox, agent: CommandLine
) -> None:
    departed = leavers(sandbox, 5)
    joiner = sandbox.company.hire("okta", "New", "Joiner", [GROUP])
    with webhook() as receiver:
        document = yaml.safe_load(agent.config.read_text("utf-8"))
        document["notify"] = {"urls": [receiver.url.reveal()]}
        agent.config.write_text(yaml.safe_dump(document), "utf-8")
        assert agent.run("sync", *LATAM).code == 4
        (sent,) = receiver.received
    assert is_active(sandbox, joiner)
    (digest_to_approve,) = set(re.findall(r"--approve (sha256:[0-9a-f]{64})", sent["message"]))
    approved = agent.run("sync", *LATAM, "--approve", digest_to_approve, *WHY)

    assert approved.code == 0, approved.err
    assert not any(is_active(sandbox, person) for person in departed)


def test_what_is_not_a_digest_is_a_usage_error_before_anything_is_read(sandbox: Sandbox, agent: CommandLine) -> None:
    request_count = len(sandbox.requests("pigment"))
    for wrong in ("4507743", "sha256:", "sha512:4507743a", "latest", "g" * 64, "0" * 65):
        ran = agent.run("sync", *LATAM, "--approve", wrong, *WHY)
        assert ran.code == 2, wrong
        assert "not a digest" in ran.err
    assert len(sandbox.requests("pigment")) == request_count

    well_formed = agent.run("sync", *LATAM, "--approve", "4507743a", *WHY)
    assert well_formed.code == 9
    assert "The plan changed after sha256:4507743a was approved" in well_formed.err


def test_approval_in_mode_dry_run_is_a_usage_error(agent: CommandLine) -> None:
    before = agent.config.read_text("utf-8")
    document = yaml.safe_load(before)
    document["workspaces"]["pigment-latam"]["mode"] = "dry-run"
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    planned = agent.run("plan", *LATAM, "--format", "json")
    run = json.loads(agent.run("history", *LATAM, "--format", "json", "--limit", "1").out)[0]["id"]

    refused = [
        agent.run("sync", *LATAM, "--approve", digest(planned)),
        agent.run("sync", "--approve", digest(planned), *WHY),
        agent.run("undo", run, "--approve", "4507743a"),
    ]
    agent.config.write_text(before, "utf-8")

    assert [ran.code for ran in refused] == [2, 2, 2]
    for ran in refused:
        assert "pigment-latam: in mode dry-run. Nothing was approved and nothing was written." in ran.err
    assert "paused" not in agent.run("sync", *LATAM).err


def test_each_refused_approval_says_why_and_writes_nothing(sandbox: Sandbox, agent: CommandLine) -> None:
    departed = leavers(sandbox, 5)
    approve = ("sync", *LATAM, "--approve", digest(agent.run("plan", *LATAM, "--format", "json")))
    refusals = [
        (approve, 2, "An approval needs a reason"),
        ((*approve, *WHY, "--guard", "max-everything"), 2, "'max-everything' is not a guard"),
        ((*approve, *WHY, "--guard", "toggle-off"), 2, "toggle-off is not released by an approval"),
        ((*approve, *WHY, "--guard", "max-creates"), 2, "max-creates: holds nothing in this plan of pigment-latam"),
        ((*approve, *WHY, "--by", " "), 2, "--by is empty"),
        (("sync", *LATAM, "--guard", "max-deactivations"), 2, "--approve is missing"),
    ]
    for command, code, words in refusals:
        ran = agent.run(*command)
        assert (ran.code, words in ran.err) == (code, True), ran.err
        assert all(is_active(sandbox, person) for person in departed)


def test_two_people_approve_one_guard_of_a_plan(sandbox: Sandbox, agent: CommandLine) -> None:
    """Refused meanwhile: the same person again, and a second person after the first approval has expired."""
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["approvals"] = {"needed": 2, "valid_for": "24h"}
    document["limits"] = {"fleet_deactivations_percent": 100}
    document["workspaces"]["pigment-latam"]["require_approval"] = ["create", "reactivate"]
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    departed = leavers(sandbox, 5)
    joiner = sandbox.company.hire("okta", "New", "Joiner", [GROUP])
    approve = ("sync", *LATAM, "--approve", digest(agent.run("plan", *LATAM, "--format", "json")), *WHY)
    narrowed = (*approve, "--guard", "max-deactivations")

    first = agent.run(*narrowed, "--by", "ana@acme.com")
    assert first.code == 4, first.err
    assert "Approved by ana@acme.com (only max-deactivations): 5 deactivations. Nothing was written" in first.err
    assert "max-deactivations needs the approval of a second person until" in first.err
    again = agent.run(*approve[:-2], "--reason", "sure", "--guard", "max-deactivations", "--by", " ANA@acme.com")
    assert (again.code, "ANA@acme.com approved this plan before" in again.err) == (4, True), again.err
    engine = create_engine(f"sqlite:///{agent.config.parent}/state.db")
    with engine.begin() as connection:
        connection.execute(update(approvals).values(at=approvals.c.at - 25 * 3600 * 1_000_000))
    engine.dispose()
    late = agent.run(*narrowed, "--by", "bea@acme.com")
    assert (late.code, "The approval of ana@acme.com of 20" in late.err) == (4, True), late.err
    assert "has expired" in late.err
    assert all(is_active(sandbox, person) for person in departed)

    done = agent.run(*narrowed, "--by", "ana@acme.com", "--format", "json")
    assert done.code == 4, done.out + done.err
    assert not any(is_active(sandbox, person) for person in departed)
    assert sandbox.workspace("pigment-latam").find_member(joiner.email) is None
    (workspace,) = json.loads(done.out)["workspaces"]
    assert {guard["code"]: guard.get("released_by") for guard in workspace["guards"]} == {
        "approval-required": None,
        "max-deactivations": ["bea@acme.com", "ana@acme.com"],
    }
    assert "Approved by bea@acme.com and ana@acme.com (only max-deactivations): 5 deactivations." in done.err

    run = json.loads(agent.run("history", "--format", "json", "--limit", "1").out)[0]["id"]
    (shown,) = re.findall(r"--approve (sha256:\w+)", agent.run("undo", run).err)
    undo = agent.run("undo", run, "--approve", shown, *WHY, "--by", "ana@acme.com")
    assert (undo.code, "Approved by ana@acme.com: 5 reactivations. Nothing was written" in undo.err) == (4, True), (
        undo.err
    )
    assert "paused" not in agent.run("sync", *LATAM).err, "an undo that waits leaves no pause behind"
    assert not any(is_active(sandbox, person) for person in departed)


def test_stale_approval_writes_nothing_and_shows_the_difference(
    sandbox: Sandbox, agent: CommandLine, tmp_path: Path
) -> None:
    departed = leavers(sandbox, 5)
    plan = tmp_path / "plan.json"
    assert agent.run("plan", *LATAM, "--out", str(plan)).code == 0
    joiner = sandbox.company.hire("okta", "Late", "Joiner", [GROUP])
    stale = agent.run("apply", str(plan), *WHY)

    assert stale.code == 9
    assert joiner.email in stale.err
    assert all(is_active(sandbox, person) for person in departed)
    assert sandbox.workspace("pigment-latam").find_member(joiner.email) is None
    assert agent.run("plan", *LATAM, "--out", str(plan)).code == 0
    unexplained = agent.run("apply", str(plan))
    assert (unexplained.code, "An approval needs a reason" in unexplained.err) == (2, True)
    assert all(is_active(sandbox, person) for person in departed)
    assert agent.run("apply", str(plan), *WHY).code == 0
    assert not any(is_active(sandbox, person) for person in departed)


def test_plan_file_that_was_edited_cut_or_is_of_another_config_is_refused(agent: CommandLine, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    assert agent.run("plan", *LATAM, "--out", str(plan)).code == 0
    good = plan.read_text("utf-8")
    another = good.replace("pigment-latam", "pigment-elsewhere")
    newer = re.sub(r'"version":\s*1', '"version": 2', good)
    for bad in (good[: len(good) // 2], another, newer, "{}"):
        assert bad != good
        plan.write_text(bad, "utf-8")
        ran = agent.run("apply", str(plan))
        assert ran.code == 2, ran.err
        assert str(plan) in ran.err or "pigment-elsewhere" in ran.err
        assert "Traceback" not in ran.err


def test_singles_trip_what_all_at_once_would(sandbox: Sandbox, agent: CommandLine) -> None:
    departed = leavers(sandbox, 5)
    codes = [agent.run("sync", *LATAM, "--user", person.email).code for person in departed]
    listed = agent.run("history", "--limit", "1").out

    assert set(codes) == {0, 4}
    assert f"sync of {departed[-1].email}" in listed
    assert any(is_active(sandbox, person) for person in departed)


def test_unknown_workspace_and_unreachable_systems_get_a_next_step(agent: CommandLine, tmp_path: Path) -> None:
    unknown = agent.run("plan", "-w", "nowhere")
    assert (unknown.code, "pigment-latam, pigment-eu, pigment-apac" in unknown.err) == (2, True)
    text = agent.config.read_text("utf-8")
    broken = CommandLine(tmp_path / "broken.yaml")
    broken.config.write_text(re.sub(r"(org_url: )\S+", r"\1http://127.0.0.1:1", text), "utf-8")
    failed = broken.run("sync", "--format", "json")
    statuses = {each["name"]: each["status"] for each in json.loads(failed.out)["workspaces"]}
    assert failed.code == 6
    assert statuses == {"pigment-latam": "incomplete", "pigment-eu": "planned", "pigment-apac": "planned"}
    broken.config.write_text(text.replace("mode: enforce", "mode: enforced"), "utf-8")
    invalid = broken.run("plan")
    assert invalid.code == 8
    assert ".mode" in invalid.err
    assert "Traceback" not in failed.err + invalid.err


def test_no_secret_is_ever_printed(sandbox: Sandbox, agent: CommandLine) -> None:
    output = ""
    for command in (("check",), ("plan", "--format", "json"), ("sync",), ("history",), ("members",), ("links", "list")):
        ran = agent.run(*command)
        output += ran.out + ran.err
    secrets = [
        *sandbox.environment.tokens("pigment-latam"),
        sandbox.environment.secret("entra"),
        sandbox.environment.secret("onelogin"),
    ]

    assert not [secret for secret in secrets if secret in output]
    assert "PRIVATE KEY" not in output


def test_plan_for_one_person_shows_how_that_very_plan_is_approved(sandbox: Sandbox, agent: CommandLine) -> None:
    departed = leavers(sandbox, 4)
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["workspaces"]["pigment-latam"]["require_approval"] = ["deactivate"]
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    email = departed[0].email

    shown = agent.run("plan", *LATAM, "--user", email)
    (command,) = re.findall(
        r"pigment-sync --config \S+ (sync -w pigment-latam --user \S+ --approve sha256:\w+ --reason .*)", shown.out
    )
    assert "Approving also applies what is on hold: 1 deactivation." in shown.out
    unexplained = agent.run(*shlex.split(command))
    assert (unexplained.code, "An approval needs a reason" in unexplained.err) == (2, True), "dots are not a reason"
    done = agent.run(*shlex.split(command.replace("…", "she left")))

    assert done.code == 0, done.out + done.err
    assert [is_active(sandbox, person) for person in departed] == [False, True, True, True]
