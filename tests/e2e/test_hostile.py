"""Hostile names, addresses and ids pass through the whole command and harm no output for people or programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from agent.report.escape import escape_control
from sandbox.company import Person
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import postgres
from tests.e2e.agent_process import Ran
from tests.e2e.command_line import run_command
from tests.e2e.ended_process import WORKSPACE, unlimited
from tests.e2e.hostile_names import EMAILS, GROUP, IDS, MEMBERS, NAMES, HostilePage, cells, filled, raw

ONLY = ("-w", WORKSPACE)
PARTS = ("changes", "holds", "notes")
NOT_ADDRESSES = {email for email in EMAILS if email not in {"=1+1@acme.com", "+a|b@acme.com", "a/b?c=d#e%2f@acme.com"}}


@dataclass(frozen=True)
class Story:
    """A plan, a sync and a plan after it, all of them about people with hostile names."""

    sandbox: Sandbox
    config: Path
    people: dict[str, Person]
    plan: Ran
    sync: Ran
    after: Ran

    @property
    def planned(self) -> dict[str, Any]:
        return _workspace(self.plan)

    @property
    def run_id(self) -> str:
        """The id of the sync."""
        runs = json.loads(self.run_with_fault("history", "--format", "json").out)
        return next(str(run["id"]) for run in runs if run["trigger"] == "sync")

    def run_with_fault(self, command: str, *more: str) -> Ran:
        """Run a read-only command; it must succeed."""
        names = () if command == "report" else ONLY
        ran = run_command(self.config, command, *more, *names)
        assert ran.code == 0, ran.err
        return ran


def _workspace(ran: Ran) -> dict[str, Any]:
    (found,) = json.loads(ran.out)["workspaces"]
    return dict(found)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("hostile")
    url = (
        "sqlite:///state.db"
        if request.param == "sqlite"
        else postgres.new_database(request.getfixturevalue("postgres_server"))
    )
    with run_sandbox(seed=41, size=12, limit=RateLimit(None)) as sandbox:
        people = filled(sandbox, sandbox.workspace(WORKSPACE))
        agent = unlimited(sandbox.write_config(folder, url), log={"level": "debug", "format": "json", "emails": True})
        plan = agent.run("plan", "--format", "json", *ONLY)
        sync = agent.run("sync", "--format", "json", "--reason", NAMES[0], "--by", "\x9b2J\u202eroot", *ONLY)
        after = run_command(agent.config, "plan", "--format", "json", *ONLY)
        yield Story(sandbox, agent.config, people, plan, sync, after)


def _persons(entries: list[dict[str, Any]]) -> set[str]:
    return {str(entry["person"]["id"]) for entry in entries if entry.get("person")}


def test_everyone_is_planned_or_held_for_an_invalid_address(story: Story) -> None:
    held = _persons(story.planned["holds"])
    changed = _persons(story.planned["changes"])

    assert story.plan.code == 0, story.plan.err
    assert story.people.keys() <= held | changed
    refused = {hold["email"] for hold in story.planned["holds"] if hold["code"] == "invalid-email"}
    assert refused == NOT_ADDRESSES
    assert not held & changed


def test_sync_writes_every_name_as_it_is_and_has_nothing_left_to_do(story: Story) -> None:
    space = story.sandbox.workspace(WORKSPACE)
    shown = {member.user_name: member for member in space.members}
    good = [person for person in story.people.values() if person.email not in NOT_ADDRESSES]

    assert story.sync.code == 0, story.sync.err
    assert {each["outcome"] for each in json.loads(story.sync.out)["outcomes"][WORKSPACE]} == {"done"}
    assert {person.email: shown[person.email].display_name for person in good} == {
        person.email: f"{person.given} {person.family}".strip() for person in good
    }
    assert all(shown[person.email].active for person in good)
    assert [email for email in NOT_ADDRESSES if email in shown] == []
    assert _workspace(story.after)["changes"] == []
    assert story.after.code == 0


def test_members_with_ids_that_bite_are_written_to_and_no_others(story: Story) -> None:
    space = story.sandbox.workspace(WORKSPACE)
    written = {write.scim_id for write in space.write_log.applied_writes() if write.method != "POST"}
    ours = {scim_id for number, (scim_id, _) in enumerate(MEMBERS) if number % 2 == 0}
    strangers = {scim_id for number, (scim_id, _) in enumerate(MEMBERS) if number % 2}

    assert ours <= written
    assert not strangers & written
    assert {space.require_member(scim_id).display_name for scim_id in strangers} == {
        f"Member {word}" for number, (_, word) in enumerate(MEMBERS) if number % 2
    }


def test_logs_are_json_without_raw_controls(story: Story) -> None:
    for ran in (story.plan, story.sync, story.after):
        # Next to the log lines, the command prints its own sentences, each after its name.
        events = [json.loads(line) for line in ran.err.split("\n") if line and not line.startswith("pigment-sync: ")]
        assert raw(ran.err) == []
        assert all(event["level"] in {"debug", "info", "warning"} for event in events)
    assert "run.finished" in story.sync.err


def test_links_list_shows_each_person_on_one_line(story: Story) -> None:
    lines = story.run_with_fault("links", "list").out.splitlines()
    linked = {line.split("\t")[2] for line in lines}

    good = {person.id for person in story.people.values() if person.email not in NOT_ADDRESSES}
    assert {escape_control(f"okta-main:{key}") for key in good} <= linked
    assert {len(line.split("\t")) for line in lines} <= {4, 5}


LOOKS = (
    ("plan", "--format", "text", "-v"),
    ("plan", "--format", "json"),
    ("plan", "--format", "csv"),
    ("plan", "--format", "html"),
    ("plan", "--format", "markdown"),
    ("links", "list"),
    ("members",),
    ("members", "--format", "json"),
    ("members", "--format", "csv"),
    ("members", "--email", "s\0\n@acme.com"),
    ("access",),
    ("access", "--format", "csv"),
    ("access", "--format", "html"),
    ("explain", "name0@acme.com"),
    ("explain", "name5@acme.com", "--format", "json"),
    ("explain", "=stranger|x@acme.com"),
    ("explain", EMAILS[5], "--format", "json"),
    ("history",),
    ("history", "--format", "json"),
)
REPORTS = (("text", "-v"), ("json",), ("csv",), ("csv", "--bom"), ("html",), ("markdown",))


@pytest.mark.parametrize("story", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_nothing_that_is_shown_moves_a_cursor_or_hides(command: tuple[str, ...], story: Story) -> None:
    ran = story.run_with_fault(*command)

    assert ran.out
    assert raw(ran.out) == []
    assert raw(ran.err) == []


@pytest.mark.parametrize("form", REPORTS, ids=" ".join)
def test_no_report_of_the_run_moves_a_cursor_or_hides(form: tuple[str, ...], story: Story) -> None:
    ran = story.run_with_fault("report", story.run_id, "--format", *form)

    assert len(ran.out) > 1000
    assert raw(ran.out) == []


def test_json_of_plan_and_run_have_names_as_they_are(story: Story) -> None:
    report = json.loads(story.run_with_fault("report", story.run_id, "--format", "json").out)
    names = {change["display_name"] for change in report["workspaces"][0]["changes"]}
    listed = {row["scim_id"] for row in json.loads(story.run_with_fault("members", "--format", "json").out)}

    assert {f"{name} Tester".strip() for name in NAMES} <= names
    assert {scim_id for scim_id, _ in MEMBERS} <= listed
    assert set(IDS) <= _persons(report["workspaces"][0]["changes"])
    assert {group["name"] for group in report["workspaces"][0]["sources"][0]["groups"]} >= {GROUP}


@pytest.mark.parametrize("story", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "command",
    [("plan", "--format", "csv"), ("members", "--format", "csv"), ("access", "--format", "csv")],
    ids=lambda command: command[0],
)
def test_tables_show_everyone_and_no_formula(command: tuple[str, ...], story: Story) -> None:
    rows = cells(story.run_with_fault(*command).out)
    good = {person.email for person in story.people.values() if person.email not in NOT_ADDRESSES}
    # After the sync the plan has no entry for the others.
    wanted = NOT_ADDRESSES if command[0] == "plan" else good

    assert {escape_control(email) for email in wanted} <= {row["email"].removeprefix("'") for row in rows}
    reported = cells(story.run_with_fault("report", story.run_id, "--format", "csv").out)
    entries = [row for row in reported if row["row"] not in {"run", "group"}]
    assert len(entries) == sum(len(story.planned[part]) for part in PARTS)


@pytest.mark.parametrize("story", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", ["report", "access"])
def test_pages_show_everyone_and_only_their_own_elements(command: str, story: Story) -> None:
    arguments = (story.run_id,) if command == "report" else ()
    page = HostilePage(story.run_with_fault(command, *arguments, "--format", "html").out)
    plain = HostilePage(run_command(story.config, command, *_other(story, command), "--format", "html").out)

    assert page.elements <= plain.elements | {"ul", "li"}
    assert page.scripts == plain.scripts
    assert page.handlers == []
    for name in NAMES:
        assert escape_control(name.strip())[:1500] in page.text


def _other(story: Story, command: str) -> tuple[str, ...]:
    """Return the arguments that produce the same page without any hostile person."""
    if command == "access":
        return ("-w", "pigment-eu")
    plan = story.config.parent / "other.json"
    assert run_command(story.config, "plan", "-w", "pigment-eu", "--out", str(plan)).code == 0
    return (str(plan),)


@pytest.mark.parametrize("story", ["sqlite"], indirect=True)
def test_markdown_has_no_markup_link_or_row_of_a_name(story: Story) -> None:
    text = story.run_with_fault("report", story.run_id, "--format", "markdown").out
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    inside = [child for token in tokens for child in token.children or ()]
    markup = HostilePage("".join(each.content for each in [*tokens, *inside] if each.type.startswith("html_")))
    rows = Counter(token.type for token in tokens)
    # Mentions are broken by a zero-width space, which a reader does not see.
    shown = "".join(child.content for child in inside).replace("\u200b", "")

    assert markup.elements <= {"details", "summary", "b"}
    assert {child.type for child in inside} <= {"text", "code_inline", "softbreak", "strong_open", "strong_close"}
    assert rows["tr_open"] - rows["thead_open"] == sum(len(story.planned[part]) for part in PARTS)
    for name in NAMES:
        assert escape_control(name.strip())[:1500] in shown
