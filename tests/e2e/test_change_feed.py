"""The daemon with a change feed: a leaver is out long before the schedule, and the page and the metrics show it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import yaml

from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import run_sandbox
from tests.e2e.agent_process import LONGEST_SECONDS
from tests.e2e.company import LATAM
from tests.e2e.daemon_process import READER, access, configured, serving

FEED = {"every": "10s", "whole_run_every": "10s"}


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + LONGEST_SECONDS
    while not holds():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.2)


def test_leaver_is_out_within_a_poll_and_the_feed_is_shown(tmp_path: Path) -> None:
    with run_sandbox(seed=5, size=30, limit=RateLimit(None)) as sandbox:
        agent = configured(sandbox, tmp_path, {"every": "1d"}, limits={"fleet_deactivations_percent": 100})
        document = yaml.safe_load(agent.config.read_text("utf-8"))
        document["connectors"]["okta-main"]["feed"] = FEED
        document["server"] = access()
        agent.config.write_text(yaml.safe_dump(document), "utf-8")
        assert agent.run("sync", "-w", LATAM).code in {0, 4}
        company, app = sandbox.company, sandbox.company.okta.pigment
        members = sandbox.workspace(LATAM).members
        active = {member.user_name.lower() for member in members if member.active}
        person = next(
            each
            for each in company.okta.people.values()
            if each.status == "ACTIVE" and each.email.lower() in active and each.id in company.okta.assignments(app)
        )
        with serving(agent) as served:
            metric = "pigment_sync_feed_last_poll_timestamp_seconds"
            wait_until(lambda: f'{metric}{{connector="okta-main"}}' in served.answer("/metrics").text)

            company.suspend(person)
            started = served.until("run.started", lambda line: line["trigger"] == "feed")
            served.until("run.finished", lambda line: line["run_id"] == started["run_id"])

            member = sandbox.workspace(LATAM).find_member(person.email)
            assert member is not None
            assert not member.active
            lag = re.search(r'feed_lag_seconds_count\{connector="okta-main"\} ([\d.]+)', served.answer("/metrics").text)
            assert lag is not None
            assert float(lag[1]) == 1
            with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", trust_env=False) as browser:
                browser.post("/login", data={"token": READER})
                page = browser.get("/").text
            assert "Change feed okta-main: polled" in page
            assert "median lag" in page


def test_feed_without_its_permission_is_shown_and_runs_go_on(tmp_path: Path) -> None:
    with run_sandbox(seed=5, size=30, limit=RateLimit(None)) as sandbox:
        agent = configured(sandbox, tmp_path, {"every": "1d"})
        document = yaml.safe_load(agent.config.read_text("utf-8"))
        document["connectors"]["okta-main"]["feed"] = FEED
        document["server"] = access()
        agent.config.write_text(yaml.safe_dump(document), "utf-8")
        for client in sandbox.environment.okta.token_issuer.clients.values():
            client.scopes -= {"okta.logs.read"}
        with serving(agent) as served:
            refused = served.until("feed.not_polled")
            assert "okta.logs.read" in refused["error"]
            # The daemon's own first run may still hold the workspace.
            wait_until(lambda: agent.run("sync", "-w", LATAM).code in {0, 4})
            with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", trust_env=False) as browser:
                browser.post("/login", data={"token": READER})
                page = browser.get("/").text
            assert "Change feed okta-main: " in page
            assert "okta.logs.read" in page
