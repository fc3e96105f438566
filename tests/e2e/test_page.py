"""The page in a real browser: an operator's tasks, on desktop and mobile widths, in light and dark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e import browser
from tests.e2e.agent_process import Agent
from tests.e2e.company import leavers
from tests.e2e.daemon_process import OPERATOR, READER, Serving, access, configured, serving

pytestmark = pytest.mark.traced

LATAM, GONE = "pigment-latam", 5
PATIENCE_MS = 20_000


@dataclass
class Harness:
    """A daemon without schedules over a sandbox with all workspaces in sync."""

    sandbox: Sandbox
    agent: Agent
    daemon: Serving
    browser: Browser
    reports: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.daemon.port}"


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with run_sandbox(seed=5, size=40, limit=RateLimit(None)) as sandbox, browser.opened() as chromium:
        reports = tmp_path_factory.mktemp("reports")
        daily = {"name": "daily", "what": "plan", "formats": ["html"], "to": [reports.as_uri()]}
        # One change at a time: a sync that ends at once shows no progress.
        single = {"apply": {"in_flight": 1}}
        folder = tmp_path_factory.mktemp("page")
        agent = configured(sandbox, folder, None, server=access(), reports=[daily], **single)
        assert agent.run("sync").code in {0, 4}
        with serving(agent) as daemon:
            yield Harness(sandbox, agent, daemon, chromium, reports)


def log_in(page: Page, token: str = OPERATOR) -> None:
    page.goto("/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Workspaces")).to_be_visible()


def active(sandbox: Sandbox, emails: set[str]) -> set[str]:
    return {member.user_name.lower() for member in sandbox.workspace(LATAM).members if member.active} & emails


def test_operator_logs_in_reads_a_plan_approves_it_and_logs_out(harness: Harness) -> None:
    left = {person.email.lower() for person in leavers(harness.sandbox, GONE)}
    with browser.tab(harness.browser, harness.url) as page:
        page.set_default_timeout(PATIENCE_MS)
        log_in(page)
        assert page.locator("[data-workspace]").count() == 3
        page.get_by_role("button", name=f"Dry run of {LATAM}").click()
        expect(page.get_by_role("heading", name=f"Deactivate {GONE} accounts?")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("heading", name=f"Dry run of {LATAM}")).to_be_visible()
        shown = page.locator("main").inner_text()
        assert {email for email in left if email not in shown.lower()} == set()
        assert "max-deactivations" in shown
        assert active(harness.sandbox, left) == left

        page.get_by_label("Reason (for the journal, required)").fill("the Lima office closed")
        page.get_by_role("button", name=f"Deactivate {GONE} accounts").click()
        expect(page.get_by_role("heading", name=f"Sync of {LATAM}")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator(".about")).to_contain_text("the Lima office closed", timeout=PATIENCE_MS)
        assert page.locator(".outcome.good").count() >= GONE
        assert active(harness.sandbox, left) == set()

        page.goto(f"/workspaces/{LATAM}")
        assert page.locator(".chart").last.evaluate("image => image.naturalWidth") > 0
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        page.goto(f"/workspaces/{LATAM}")
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    (run, *_) = json.loads(harness.agent.run("history", "--format", "json").out)
    assert (run["trigger"], run["by"], run["reason"]) == ("page", "ana@acme.com", "the Lima office closed")
    assert run["approved"] == run["digest"]


def test_running_sync_shows_its_progress_and_then_its_result(harness: Harness) -> None:
    company = harness.sandbox.company
    members = {member.user_name.lower() for member in harness.sandbox.workspace(LATAM).members if member.active}
    staying = [
        each for each in company.okta.people.values() if each.status == "ACTIVE" and each.email.lower() in members
    ]
    for person in staying[:4]:
        company.rename(person, family="Nova")
    slow = {"name": "slow", "do": "slow", "system": "pigment", "method": "PATCH", "seconds": 1.5}
    harness.sandbox.faults.put(parse_rules({"faults": [slow]}))
    with browser.tab(harness.browser, harness.url) as page:
        log_in(page)
        page.get_by_role("button", name=f"Sync now {LATAM}").click()
        expect(page.locator("#progress")).to_contain_text(re.compile(r"\d of \d"), timeout=PATIENCE_MS)
        expect(page.locator(".about")).to_contain_text(re.compile("Status(done|held)"), timeout=PATIENCE_MS)
        assert page.locator(".outcome.good").count() >= 3
    harness.sandbox.faults.clear()


def test_operator_sends_a_report_now(harness: Harness) -> None:
    with browser.tab(harness.browser, harness.url) as page:
        page.set_default_timeout(PATIENCE_MS)
        log_in(page)
        page.goto("/reports")
        # The loop must not break off the way back from the button.
        with page.expect_navigation():
            page.get_by_role("button", name="Send now daily").click()
        target = page.locator("[data-report=daily] li")
        for _ in range(PATIENCE_MS // 500):
            page.reload()
            if ": delivered 2" in target.inner_text():
                break
            page.wait_for_timeout(500)
        expect(target).to_contain_text(f"{harness.reports.as_uri()}: delivered 2")
        assert [file.suffix for file in harness.reports.iterdir()] == [".html"]


# The colours are of the scheme and the layout is of the width, so that two pages show both.
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_page_is_accessible_and_fits_the_screen(harness: Harness, scheme: str, width: int) -> None:
    assert scheme in {"light", "dark"}
    with browser.tab(harness.browser, harness.url, scheme="dark" if scheme == "dark" else "light", width=width) as page:
        page.goto("/")
        found = {"login": browser.violations(page)}
        log_in(page)
        run = json.loads(harness.agent.run("history", "-w", LATAM, "--limit", "1", "--format", "json").out)[0]["id"]
        for path in (
            "/",
            f"/workspaces/{LATAM}",
            f"/workspaces/{LATAM}/links",
            f"/runs/{run}",
            "/people",
            "/people?email=nobody@acme.com",
            "/reports",
        ):
            page.goto(path)
            found[path] = browser.violations(page)
            overhang = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overhang <= 0, path

    assert {path: some for path, some in found.items() if some} == {}


def test_page_is_used_by_keyboard_alone(harness: Harness) -> None:
    with browser.tab(harness.browser, harness.url) as page:
        page.goto("/")
        page.get_by_label("Token").focus()
        page.keyboard.type(OPERATOR)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Workspaces")).to_be_visible()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        for _ in range(30):
            page.keyboard.press("Tab")
            if "Dry run" in page.evaluate("document.activeElement.textContent"):
                break
        page.keyboard.press("Enter")
        expect(page.locator(".about")).to_contain_text("planned", timeout=PATIENCE_MS)


def test_reader_sees_plans_and_no_buttons(harness: Harness) -> None:
    with browser.tab(harness.browser, harness.url) as page:
        log_in(page, READER)
        names = [button.inner_text() for button in page.get_by_role("button").all()]
        page.goto(f"/workspaces/{LATAM}")
        names += [button.inner_text() for button in page.get_by_role("button").all()]

    assert set(names) == {"Log out"} | {name for name in names if re.search("↕|↑|↓", name) or name in HEADS}


HEADS = {"Started", "Run", "Status", "Numbers", "Started by", "Reason"}


def test_person_is_explained_in_each_workspace(harness: Harness) -> None:
    someone = next(member.user_name for member in harness.sandbox.workspace(LATAM).members if member.active)
    with browser.tab(harness.browser, harness.url) as page:
        log_in(page)
        page.get_by_role("link", name="Explain a person").click()
        page.get_by_label("Email address").fill(someone)
        page.get_by_role("button", name="Explain").click()
        expect(page.locator(f"[data-workspace={LATAM}]")).to_contain_text("Decision", timeout=PATIENCE_MS)
        assert someone in page.locator(f"[data-workspace={LATAM}]").inner_text()


def test_page_works_without_scripts(harness: Harness) -> None:
    context = harness.browser.new_context(base_url=harness.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.get_by_role("button", name="Dry run of pigment-eu").click()
    expect(page.locator(".about")).to_contain_text("planned", timeout=PATIENCE_MS)
    context.close()
