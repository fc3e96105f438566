"""A company moves from Okta to Entra: no person is locked out or duplicated, and the links move only on request."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sandbox.server import Sandbox, run_sandbox
from tests.e2e.command_line import CommandLine

LATAM, GROUP = "pigment-latam", "Pigment LatAm"
MOVE = ("links", "move", "--from", "okta-main", "--to", "entra-eu")
WHY = ("--by", "ana@acme.com", "--reason", "we moved to Entra")
WRITING = {"POST", "PUT", "PATCH", "DELETE"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=11, size=40) as served:
        yield served


@pytest.fixture(scope="module")
def agent(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """An agent that has brought pigment-latam in sync with Okta."""
    agent = CommandLine(sandbox.write_config(tmp_path_factory.mktemp("agent")))
    # Entra's application would otherwise belong to two workspaces.
    tree = configured(agent)
    write(agent, {**tree, "workspaces": {LATAM: tree["workspaces"][LATAM]}})
    ran = agent.run("sync")
    assert ran.code == 0, ran.out + ran.err
    assert planned(agent)["changes"] == []
    return agent


def configured(agent: CommandLine) -> Any:
    return yaml.safe_load(agent.config.read_text("utf-8"))


def write(agent: CommandLine, tree: object) -> None:
    agent.config.write_text(yaml.safe_dump(tree), "utf-8")


def planned(agent: CommandLine) -> Any:
    """Return the one workspace of a dry run."""
    ran = agent.run("plan", "--format", "json")
    assert ran.code == 0, ran.err
    (workspace,) = json.loads(ran.out)["workspaces"]
    return workspace


def links(agent: CommandLine) -> dict[str, str]:
    """Map the email of each linked member to the person that it belongs to."""
    rows = [line.split("\t") for line in agent.run("links", "list").out.splitlines()[1:]]
    return {email: person for _, email, person, *_ in rows}


def held(workspace: Any) -> Counter[tuple[str, str]]:
    return Counter((each["kind"], each["code"]) for each in workspace["holds"])


def moved_to_entra(sandbox: Sandbox, agent: CommandLine, staying: str) -> list[str]:
    """Let everyone who has an active member be in Entra too, but for *staying*, and name Entra in the configuration."""
    company = sandbox.company
    company.entra.add_group(GROUP)
    company.assign_group(company.entra.pigment, GROUP)
    emails = []
    for email, person in links(agent).items():
        member = sandbox.workspace(LATAM).find_member(email)
        if member is not None and member.active and email != staying:
            okta = company.person(person.partition(":")[2])
            company.hire(
                "entra", okta.given, okta.family, [GROUP], okta.email
            ).custom_display_name = okta.custom_display_name
            emails.append(email)
    tree = configured(agent)
    source = {"connector": "entra-eu", "app": company.entra.pigment.id, "groups": [GROUP]}
    tree["workspaces"][LATAM]["sources"] = [source]
    write(agent, tree)
    return emails


def the_journal_shows_who_moved_the_links_and_why(agent: CommandLine) -> None:
    runs = json.loads(agent.run("history", "--format", "json").out)
    (run,) = [run for run in runs if run["trigger"] == "links"]
    assert (run["by"], run["reason"], run["status"]) == ("ana@acme.com", "we moved to Entra", "done")
    report = agent.run("report", run["id"])
    assert report.code == 0, report.err
    first, counted, *edits, version, configuration = report.out.splitlines()
    assert first.startswith(f"{run['id']}  {LATAM}  links by ana@acme.com at ")
    assert first.endswith(" UTC: we moved to Entra")
    assert counted == f"{len(edits)} links changed:"
    assert all(line.startswith("  Linked member ") for line in edits)
    assert version.startswith("Version        pigment-sync ")
    assert re.fullmatch("Configuration  SHA-256 [0-9a-f]{64}", configuration)
    assert all(" to entra-eu:" in line and ", previously okta-main:" in line for line in edits)
    refused = agent.run("report", run["id"], "--format", "html")
    assert refused.code == 2
    assert "has no plan, so it is shown only as text" in refused.err


def a_move_to_what_is_no_source_is_refused(agent: CommandLine) -> None:
    ran = agent.run("links", "move", "--from", "entra-eu", "--to", "okta-main", "-w", LATAM, "--yes")
    assert ran.code == 2
    assert f"okta-main is not a source of {LATAM}." in ran.err


def test_company_moves_from_okta_to_entra(sandbox: Sandbox, agent: CommandLine) -> None:
    staying = "ana.lima@acme.com"
    emails = moved_to_entra(sandbox, agent, staying)
    newcomer = sandbox.company.hire("entra", "Nova", "Chegada", [GROUP])
    before = links(agent)
    sandbox.request_log.clear()
    assert len(emails) > 20

    # Linked people get no change: they are neither locked out nor created a second time.
    workspace = planned(agent)
    assert [(each["kind"], each["email"]) for each in workspace["changes"]] == [("create", newcomer.email)]
    assert held(workspace) == {
        ("deactivate", "source-changed"): len(emails) + 1,
        ("adopt", "source-changed"): len(emails),
    }
    remedies = {each["remedy"] for each in workspace["holds"] if each["email"] in emails}
    assert remedies == {f"If entra-eu has replaced okta-main: pigment-sync {' '.join(MOVE)} --workspace {LATAM}"}

    # It shows first, and changes nothing.
    shown = agent.run(*MOVE)
    assert shown.code == 0, shown.err
    assert f"{LATAM}: {len(emails)} links to move from okta-main to entra-eu, 2 without a match" in shown.out
    assert f"{staying} stays: entra-eu has no single unlinked person with this email" in shown.out
    assert "Nothing was written. To apply, add --yes" in shown.out
    assert links(agent) == before

    # With `--yes` it moves them: to the people with the members' emails.
    done = agent.run(*MOVE, "--yes", *WHY)
    assert done.code == 0, done.err
    assert f"{len(emails)} links changed" in done.out
    assert all(f"  Linked {email} to entra-eu:" in done.out for email in emails)
    after = links(agent)
    assert after.keys() == before.keys()
    for email in emails:
        person = sandbox.company.entra.person(email)
        assert person is not None
        assert after[email] == f"entra-eu:{person.id}"
    assert {email for email, person in after.items() if person.startswith("okta-main:")} == before.keys() - set(emails)

    # The rest is explained: the newcomer, and the people who are not in Entra.
    workspace = planned(agent)
    assert [(each["kind"], each["email"]) for each in workspace["changes"]] == [("create", newcomer.email)]
    assert [(each["kind"], each["code"], each["email"]) for each in workspace["holds"]] == [
        ("deactivate", "source-changed", staying)
    ]
    assert not [each for each in sandbox.requests("pigment") if each.method in WRITING]

    # From here on, changes happen in Entra.
    sandbox.company.leave(sandbox.company.entra.people[after[emails[0]].partition(":")[2]])
    ran = agent.run("sync", "--by", "test")
    assert ran.code == 0, ran.out + ran.err
    active = {member.user_name.lower(): member.active for member in sandbox.workspace(LATAM).members}
    assert active[emails[0]] is False
    assert active[staying] is True
    assert active[newcomer.email.lower()] is True
    workspace = planned(agent)
    assert (workspace["changes"], held(workspace)) == ([], {("deactivate", "source-changed"): 1})
    the_journal_shows_who_moved_the_links_and_why(agent)
    a_move_to_what_is_no_source_is_refused(agent)


def test_pause_is_shown_with_its_reason(agent: CommandLine) -> None:
    assert agent.run("pause", LATAM, *WHY).code == 0
    (run,) = json.loads(agent.run("history", "--limit", "1", "--format", "json").out)
    report = agent.run("report", run["id"])
    assert report.out.partition("\n")[0].endswith(" UTC: we moved to Entra"), report.err
    assert f"{LATAM}  pause by ana@acme.com at " in report.out
