"""In a real browser: a group is unassigned, two persons approve one guard of the plan, and the report names them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import create_engine, update

from agent.settings.token import Role, hashed_token
from agent.store.tables import group_sightings
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e import browser
from tests.e2e.agent_process import Agent
from tests.e2e.daemon_process import OPERATOR, READER, configured, serving

pytestmark = pytest.mark.traced

LATAM, GROUP, OTHER_GROUP = "pigment-latam", "Pigment LatAm", "Pigment LatAm Finance"
BEFORE, RENAMED, NAMESAKE = "iara@acme.com", "iara.campos@acme.com", "tito.exemplar@acme.com"
PATIENCE_MS = 30_000
REASON = "Reason (for the journal, required)"


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with browser.opened() as found:
        yield found


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=40, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture
def agent(sandbox: Sandbox, tmp_path: Path) -> Agent:
    """An agent after its first sync. A group was unassigned since, and a run at least 5 minutes ago held its leavers.

    Two persons must approve, and creates need an approval too.
    """
    company = sandbox.company
    company.hire("okta", "Tito", "Exemplar", [OTHER_GROUP])
    sandbox.workspace(LATAM).admin_create("tito.senior@acme.com", "Tito Exemplar")
    tokens = [hashed_token(OPERATOR, Role.OPERATE, "ana@acme.com"), hashed_token(READER, Role.OPERATE, "bea@acme.com")]
    server = {"port": 0, "tokens": [str(each) for each in tokens]}
    agent = configured(sandbox, tmp_path, None, server=server)
    assert agent.run("sync").code in {0, 4}
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["approvals"] = {"needed": 2, "confirm_over": 3}
    document["limits"] = {"fleet_deactivations_percent": 100}
    latam = document["workspaces"][LATAM]
    latam["require_approval"] = ["create"]
    latam["limits"] = {"max_deactivations": 1000, "max_deactivations_percent": 100}
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    company.unassign_group(company.okta.pigment, GROUP)
    assert agent.run("sync", "-w", LATAM).code == 4
    engine = create_engine(f"sqlite:///{tmp_path / 'state.db'}")
    with engine.begin() as connection:
        connection.execute(
            update(group_sightings).values(empty_since=group_sightings.c.empty_since - 6 * 60 * 1_000_000)
        )
    engine.dispose()
    return agent


def active_members(sandbox: Sandbox) -> set[str]:
    return {member.user_name.lower() for member in sandbox.workspace(LATAM).members if member.active}


def log_in(page: Page, token: str) -> None:
    page.set_default_timeout(PATIENCE_MS)
    page.goto("/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Workspaces")).to_be_visible(timeout=PATIENCE_MS)


def settle_rename(page: Page, email: str, button: str, reason: str) -> None:
    """Decide for *email*, in a new plan, whether the person and the member of the same name are one human."""
    page.goto("/")
    page.get_by_role("button", name=f"Dry run of {LATAM}").click()
    expect(page.get_by_role("heading", name="Same person or two people?")).to_be_visible(timeout=PATIENCE_MS)
    form = page.locator("form", has_text=email).filter(has=page.get_by_role("button", name=button))
    form.get_by_label("Reason of this decision (required)").fill(reason)
    form.get_by_role("button", name=button).click()
    expect(page.get_by_role("heading", name=LATAM)).to_be_visible(timeout=PATIENCE_MS)


def approve_deactivations(page: Page, gone: int, reason: str) -> None:
    """Untick the other guard, read the new numbers, and approve them."""
    page.get_by_role("checkbox", name=re.compile("approval-required")).uncheck()
    page.get_by_label(REASON).fill(reason)
    page.locator("button.danger").click()
    expect(page.get_by_role("alert")).to_contain_text("The ticks have changed", timeout=PATIENCE_MS)
    expect(page.get_by_label(REASON)).to_have_value(reason)
    page.get_by_label("Type the number of deactivations to confirm").fill(str(gone))
    page.get_by_role("button", name=re.compile(f"[Dd]eactivate {gone} accounts$")).click()


def test_two_persons_approve_one_guard_and_the_report_names_them(
    chromium: Browser, sandbox: Sandbox, agent: Agent
) -> None:
    before = active_members(sandbox)
    joiner = sandbox.company.hire("okta", "New", "Joiner", [OTHER_GROUP])

    with serving(agent) as daemon:
        with browser.tab(chromium, f"http://127.0.0.1:{daemon.port}") as page:
            log_in(page, OPERATOR)
            settle_rename(page, RENAMED, "Same person: link", "she married")
            settle_rename(page, NAMESAKE, "Two people: create", "father and son")
            plan, gone = _approve_first(page)
        assert active_members(sandbox) >= before
        with browser.tab(chromium, f"http://127.0.0.1:{daemon.port}", width=390) as page:
            log_in(page, READER)
            page.goto(plan)
            expect(page.locator(".approval").first).to_contain_text("Approved by ana@acme.com")
            approve_deactivations(page, gone, "checked with Lima")
            expect(page.get_by_role("heading", name=f"Sync of {LATAM}")).to_be_visible(timeout=PATIENCE_MS)
            expect(page.locator(".about")).to_contain_text("checked with Lima", timeout=PATIENCE_MS)
            # The changes of the approved guard, and the address of the person who was linked.
            assert page.locator(".outcome.good").count() == gone + 1
            run_id = page.url.rpartition("/")[2]
            now = active_members(sandbox)
            assert (len(before - now - {BEFORE}), BEFORE in now, RENAMED in now) == (gone, False, True)
            _check_reports(page, run_id, gone, {joiner.email, NAMESAKE})
            _undo(page, gone)

    assert active_members(sandbox) >= before
    assert [sandbox.workspace(LATAM).find_member(each) for each in (joiner.email, NAMESAKE)] == [None, None]


def _approve_first(page: Page) -> tuple[str, int]:
    """Read the held plan, approve it as the first of two, and return its path and how many accounts it is about."""
    page.goto("/")
    page.get_by_role("button", name=f"Dry run of {LATAM}").click()
    heading = page.locator("#approve")
    expect(heading).to_have_text(re.compile(r"Deactivate \d+ accounts, create 2 accounts\?"), timeout=PATIENCE_MS)
    found = re.search(r"Deactivate (\d+) accounts", heading.inner_text())
    assert found
    gone = int(found[1])
    expect(page.get_by_role("list", name="Groups that lost people")).to_contain_text(re.compile(rf"{GROUP}: \d+ → 0"))
    expect(page.get_by_role("checkbox")).to_have_count(2)
    expect(page.get_by_role("checkbox", name=re.compile(f"group-shrink: {gone} deactivations"))).to_be_checked()
    plan = page.url
    approve_deactivations(page, gone, "the office closed")
    expect(page.locator(".about")).to_contain_text("held", timeout=PATIENCE_MS)
    return plan, gone


def _check_reports(page: Page, run_id: str, gone: int, on_hold: set[str]) -> None:
    """Download the report, and read in it the run, the people, the reasons, the approvals and what is still on hold."""
    report: dict[str, Any] = json.loads(_download(page, "JSON"))
    (workspace,) = report["workspaces"]
    run = workspace["run"]
    assert (run["id"], run["by"], run["reason"], run["status"]) == (run_id, "bea@acme.com", "checked with Lima", "held")
    assert [(each["by"], each["reason"], each["guards"]) for each in run["approvals"]] == [
        ("ana@acme.com", "the office closed", ["group-shrink"]),
        ("bea@acme.com", "checked with Lima", ["group-shrink"]),
    ]
    assert all(each["at"] for each in run["approvals"])
    (released,) = [each for each in workspace["guards"] if each.get("released_by")]
    assert (released["code"], released["released_by"]) == ("group-shrink", ["ana@acme.com", "bea@acme.com"])
    waiting = [each for each in workspace["holds"] if each["code"] == "approval-required"]
    assert {each["email"] for each in waiting} == on_hold
    assert all(workspace["held_since"])
    text = " ".join(_download(page, "TXT").split())
    for words in (run_id, "ana@acme.com at", "the office closed", "bea@acme.com at", "checked with Lima"):
        assert words in text
    assert text.count(f"for what group-shrink held: {gone} deactivations, on hold since 20") == 2
    rows = list(csv.DictReader(StringIO(_download(page, "CSV"))))
    approved = [each for each in rows if (each["row"], each["kind"]) == ("change", "deactivate")]
    assert {(each["approved_by"], each["outcome"]) for each in approved} == {("ana@acme.com; bea@acme.com", "done")}
    assert len(approved) == gone
    shown = _download(page, "HTML")
    for words in (run_id, "ana@acme.com", "the office closed", "checked with Lima"):
        assert words in shown


def _download(page: Page, name: str) -> str:
    with page.expect_download() as waiting:
        page.get_by_role("link", name=name, exact=True).click()
    return Path(waiting.value.path()).read_text("utf-8")


def _undo(page: Page, gone: int) -> None:
    """Plan the undo of the run that is shown, and approve it."""
    page.get_by_role("button", name="Plan an undo of this run").click()
    heading = page.locator("#undo")
    expect(heading).to_have_text(f"Reactivate {gone} accounts, change 1 email?", timeout=PATIENCE_MS)
    page.get_by_label(REASON).fill("the wrong office")
    page.get_by_role("button", name=f"Undo: reactivate {gone} accounts, change 1 email, and pause").click()
    expect(page.locator(".about")).to_contain_text("the wrong office", timeout=PATIENCE_MS)
    page.goto(f"/workspaces/{LATAM}")
    expect(page.locator(".standing")).to_contain_text("Paused")
    expect(page.locator(".standing")).to_contain_text("the wrong office")
