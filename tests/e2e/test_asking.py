"""Reports about people: `explain`, `access` and drift, with the whole command line against the sandbox."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.server import Sandbox, run_sandbox
from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.traced

LATAM = ("-w", "pigment-latam")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=1, size=30) as served:
        yield served


@pytest.fixture(scope="module")
def agent(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    agent = CommandLine(sandbox.write_config(tmp_path_factory.mktemp("agent")))
    assert agent.run("sync").code == 0
    return agent


def test_explain_shows_the_five_steps_of_a_person_with_access(agent: CommandLine) -> None:
    ran = agent.run("explain", "Ana.Lima@acme.com", *LATAM)

    assert ran.code == 0, ran.err
    assert ran.out.startswith("Ana.Lima@acme.com has access to pigment-latam.\n\n── pigment-latam\n")
    for step in ("1 source", "2 scope", "3 match", "4 decision", "5 actions"):
        assert step in ran.out
    assert "matched by link to okta-main:" in ran.out
    assert "adopt done" in ran.out


def test_explain_works_for_an_unknown_person_and_names_near_misses(agent: CommandLine) -> None:
    ran = agent.run("explain", "ana.limaa@acme.com", *LATAM)

    assert ran.code == 2
    assert "No person or member has ana.limaa@acme.com in pigment-latam." in ran.err
    assert "No source of pigment-latam assigns ana.limaa@acme.com." in ran.out
    assert "Ana Lima <ana.lima@acme.com>" in ran.out
    assert json.loads(agent.run("explain", "x@y.example", *LATAM, "--format", "json").out)[0]["near"] == []


@pytest.mark.parametrize("command", ["plan", "sync"])
def test_run_for_an_unknown_person_is_a_usage_error_with_near_misses(
    sandbox: Sandbox, agent: CommandLine, command: str
) -> None:
    written = [*sandbox.requests("pigment", "POST"), *sandbox.requests("pigment", "PATCH")]
    ran = agent.run(command, "--user", "ana.limaa@acme.com")

    assert (ran.code, ran.out) == (2, "")
    assert "No person or member has ana.limaa@acme.com in pigment-latam, pigment-eu, pigment-apac" in ran.err
    assert "  Ana Lima <ana.lima@acme.com> in okta-main" in ran.err
    assert [*sandbox.requests("pigment", "POST"), *sandbox.requests("pigment", "PATCH")] == written


def test_run_for_a_person_in_sync_ends_with_0(agent: CommandLine) -> None:
    ran = agent.run("sync", "--user", "ANA.lima@acme.com")
    assert (ran.code, ran.err) == (0, "")


def test_change_by_another_tool_is_named_as_drift(sandbox: Sandbox, agent: CommandLine) -> None:
    sandbox.workspace("pigment-latam").admin_rename("ana.lima@acme.com", "Ana By Hand")
    ran = agent.run("plan", *LATAM, "-v")

    assert "Ana By Hand was renamed from Ana Lima since our last run, not by this agent." in " ".join(ran.out.split())
    assert agent.run("sync", *LATAM).code == 0
    assert "drift" not in agent.run("plan", *LATAM, "-v").out


def test_access_lists_who_has_it_through_which_group_and_what_is_odd(sandbox: Sandbox, agent: CommandLine) -> None:
    ran = agent.run("access", *LATAM, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    active = {member.user_name for member in sandbox.workspace("pigment-latam").members if member.active}

    assert ran.code == 0, ran.err
    assert {row["email"] for row in rows} == active
    ana = next(row for row in rows if row["email"] == "ana.lima@acme.com")
    assert "Pigment LatAm" in ana["groups"]
    assert (ana["since"], ana["first_seen"]) == ("", datetime.now(UTC).strftime("%Y-%m-%d"))
    created = next(row for row in rows if row["last_change"].endswith(" create"))
    assert created["since"] == created["first_seen"] == datetime.now(UTC).strftime("%Y-%m-%d")
    assert any(row["exceptions"] == "unmanaged" for row in rows)
    page = agent.run("access", *LATAM, "--format", "html").out
    assert page.startswith("<!doctype html>")
    assert "ana.lima@acme.com" in page


def test_access_of_a_past_day_comes_from_the_journal(agent: CommandLine) -> None:
    today = datetime.now(UTC)
    now = agent.run("access", *LATAM, "--as-of", today.strftime("%Y-%m-%d"))
    before = agent.run("access", *LATAM, "--as-of", (today - timedelta(days=2)).strftime("%Y-%m-%d"))

    assert now.code == 0, now.err
    assert "ana.lima@acme.com" in now.out
    assert before.code == 6
    assert "the journal has no run up to that day" in before.err


def test_history_has_headings_and_counts(agent: CommandLine) -> None:
    heading, *rows = [line.split("\t") for line in agent.run("history", *LATAM, "--limit", "100").out.splitlines()]
    first = dict(zip(heading, rows[-1], strict=True))

    assert (first["workspace"], first["trigger"]) == ("pigment-latam", "sync")
    assert int(first["created"]) > 0
    assert int(first["deactivated"]) > 0
    assert first["failed"] == "0"
    assert all(len(row) == len(heading) for row in rows)


def test_timeline_of_a_person_includes_changes_under_a_previous_email(sandbox: Sandbox, agent: CommandLine) -> None:
    sandbox.company.marry("ana.lima@acme.com", "Souza")
    assert agent.run("sync", *LATAM, "--by", "ida", "--reason", "married").code == 0
    by_new, by_old = (
        json.loads(agent.run("history", "--user", email, "--format", "json").out)
        for email in ("Ana.Souza@acme.com", "ana.lima@acme.com")
    )

    assert by_new == by_old
    newest = by_new[0]
    assert (newest["kind"], newest["by"], newest["reason"]) == ("update-email", "ida", "married")
    assert (newest["before"]["email"], newest["after"]["email"]) == ("ana.lima@acme.com", "ana.souza@acme.com")
    assert by_new[-1]["kind"] == "adopt"
    heading, row, *_ = agent.run("history", "--user", "ana.souza@acme.com").out.splitlines()
    assert heading.startswith("time\tworkspace\tchange\t")
    assert "ana.lima@acme.com → ana.souza@acme.com" in row


@pytest.mark.parametrize("text", ["not an email", "ana", "ana lima@acme.com", "@acme.com", "ana@"])
def test_text_that_is_no_address_is_a_usage_error(agent: CommandLine, text: str) -> None:
    for arguments in (("explain", text), ("history", "--user", text)):
        ran = agent.run(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert f"{text!r} is not an email address." in ran.err


def test_timeline_without_changes_names_the_address(agent: CommandLine) -> None:
    ran = agent.run("history", "--user", "x@y.example")
    assert ran.code == 0
    assert "the journal has no change of x@y.example." in ran.err


def test_suggested_command_has_the_configuration_and_a_line_of_its_own(agent: CommandLine) -> None:
    ran = agent.run("report", "20260301-120000-3f9a1c")
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == f"    pigment-sync --config {agent.config} history"


def test_digest_of_the_whole_plan_is_shown_where_it_is_saved(agent: CommandLine, tmp_path: Path) -> None:
    assert "Digest sha256:" not in agent.run("plan").out
    lines = agent.run("plan", "--out", str(tmp_path / "plan.json")).out.splitlines()
    digest = json.loads((tmp_path / "plan.json").read_bytes())["digest"]

    assert f"Digest {digest}" in lines
    assert "on hold" in lines[-1]


def test_plan_that_cannot_be_written_ends_with_a_sentence(agent: CommandLine, tmp_path: Path) -> None:
    ran = agent.run("plan", *LATAM, "--out", str(tmp_path / "nowhere" / "plan.json"))

    assert ran.code == 2
    assert "can't be written" in ran.err
    assert list(tmp_path.iterdir()) == []
