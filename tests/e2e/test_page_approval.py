"""In a real browser: people leave, two persons approve one guard of the held plan, and the report names them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from agent.settings.token import Role, hashed_token
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e import browser
from tests.e2e.agent_process import Agent
from tests.e2e.company import leavers
from tests.e2e.daemon_process import OPERATOR, READER, Serving, configured, serving

LATAM, GONE = "pigment-latam", 5
PATIENCE_MS = 30_000


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
    """An agent after its first sync, where two persons must approve, and creates need an approval too."""
    tokens = [hashed_token(OPERATOR, Role.OPERATE, "ana@acme.com"), hashed_token(READER, Role.OPERATE, "bea@acme.com")]
    server = {"port": 0, "tokens": [str(each) for each in tokens]}
    agent = configured(sandbox, tmp_path, None, server=server)
    assert agent.run("sync").code in {0, 4}
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["approvals"] = {"needed": 2, "confirm_over": 3}
    document["limits"] = {"fleet_deactivations_percent": 100}
    document["workspaces"][LATAM]["require_approval"] = ["create"]
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    return agent


def log_in(page: Page, token: str) -> None:
    page.set_default_timeout(PATIENCE_MS)
    page.goto("/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Workspaces")).to_be_visible(timeout=PATIENCE_MS)


def approve_deactivations(page: Page, reason: str) -> None:
    """Untick the other guard, read the new numbers, and approve them."""
    page.get_by_role("checkbox", name=re.compile("approval-required")).uncheck()
    page.get_by_label("Reason (for the journal, required)").fill(reason)
    page.locator("button.danger").click()
    expect(page.get_by_role("alert")).to_contain_text("The ticks have changed", timeout=PATIENCE_MS)
    expect(page.get_by_label("Reason (for the journal, required)")).to_have_value(reason)
    page.get_by_label("Type the number of deactivations to confirm").fill(str(GONE))
    page.get_by_role("button", name=re.compile(f"[Dd]eactivate {GONE} accounts$")).click()


def test_two_persons_approve_one_guard_and_the_report_names_them(
    chromium: Browser, sandbox: Sandbox, agent: Agent
) -> None:
    departed = leavers(sandbox, GONE)
    joiner = sandbox.company.hire("okta", "New", "Joiner", ["Pigment LatAm"])
    left = {person.email.lower() for person in departed}

    def still_active() -> set[str]:
        members = sandbox.workspace(LATAM).members
        return {member.user_name.lower() for member in members if member.active} & left

    with serving(agent) as daemon:
        plan = _first_person(chromium, daemon)
        assert still_active() == left
        with browser.tab(chromium, f"http://127.0.0.1:{daemon.port}", width=390) as page:
            log_in(page, READER)
            page.goto(plan)
            expect(page.locator(".approval").first).to_contain_text("Approved by ana@acme.com")
            approve_deactivations(page, "checked with Lima")
            expect(page.get_by_role("heading", name=f"Sync of {LATAM}")).to_be_visible(timeout=PATIENCE_MS)
            expect(page.locator(".about")).to_contain_text("checked with Lima", timeout=PATIENCE_MS)
            assert page.locator(".outcome.good").count() == GONE
            with page.expect_download() as waiting:
                page.get_by_role("link", name="TXT", exact=True).click()
            report = Path(waiting.value.path()).read_text("utf-8")
            assert still_active() == set()
            _undo(page)

    assert still_active() == left
    assert sandbox.workspace(LATAM).find_member(joiner.email) is None
    for words in ("ana@acme.com at", "the office closed", "bea@acme.com at", "checked with Lima", "approval-required"):
        assert words in report
    assert re.search(r"for\s+max-deactivations", report)


def _first_person(chromium: Browser, daemon: Serving) -> str:
    """Approve as the first of two, and return the path of the plan."""
    with browser.tab(chromium, f"http://127.0.0.1:{daemon.port}") as page:
        log_in(page, OPERATOR)
        page.get_by_role("button", name=f"Dry run of {LATAM}").click()
        expect(page.locator("#approve")).to_have_text(re.compile(f"Deactivate {GONE} accounts, create"))
        plan = page.url
        approve_deactivations(page, "the office closed")
        expect(page.locator(".about")).to_contain_text("held", timeout=PATIENCE_MS)
        return plan


def _undo(page: Page) -> None:
    """Plan the undo of the run that is shown, and approve it."""
    page.get_by_role("button", name="Plan an undo of this run").click()
    expect(page.get_by_role("heading", name=f"Reactivate {GONE} accounts?")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_label("Reason (for the journal, required)").fill("the wrong office")
    page.get_by_role("button", name=f"Undo: reactivate {GONE} accounts, and pause").click()
    expect(page.locator(".about")).to_contain_text("the wrong office", timeout=PATIENCE_MS)
    page.goto(f"/workspaces/{LATAM}")
    expect(page.locator(".standing")).to_contain_text("Paused")
    expect(page.locator(".standing")).to_contain_text("the wrong office")
