"""The daemon with a change feed: a leaver is out long before the schedule, and the page and the metrics show it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sandbox.company import Person
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import plain_http
from tests.e2e.company import LATAM
from tests.e2e.daemon_process import READER, access, configured, serving
from tests.waiting import wait_until

FEED = {"every": "10s", "whole_run_every": "10s"}


@dataclass(frozen=True)
class Fed:
    """A provider with a feed. *has_times*: its events have the time of the change, so that the lag is known."""

    directory: str
    connector: str
    workspace: str
    has_times: bool


PROVIDERS = [
    Fed("okta", "okta-main", LATAM, has_times=True),
    Fed("entra", "entra-eu", "pigment-eu", has_times=False),
    Fed("onelogin", "onelogin-apac", "pigment-apac", has_times=True),
]


def linked_people(sandbox: Sandbox, fed: Fed) -> list[Person]:
    """Return active people with an active member, who have the application through one group alone."""
    home = sandbox.company.directory(fed.directory)
    active = {member.user_name.lower() for member in sandbox.workspace(fed.workspace).members if member.active}
    return [
        home.people[key]
        for key, groups in home.assignments(home.pigment).items()
        if len(groups) == 1
        and home.people[key].status == home.status_words.active
        and home.people[key].state == 1
        and home.people[key].email.lower() in active
        and key not in home.pigment.individuals
    ]


@pytest.mark.parametrize("fed", PROVIDERS, ids=lambda fed: fed.directory)
def test_leavers_are_out_some_polls_later_and_the_feed_is_shown(tmp_path: Path, fed: Fed) -> None:
    with run_sandbox(seed=5, size=30, limit=RateLimit(None)) as sandbox:
        agent = configured(sandbox, tmp_path, {"every": "1d"}, limits={"fleet_deactivations_percent": 100})
        document = yaml.safe_load(agent.config.read_text("utf-8"))
        # No run over everyone comes into it.
        document["connectors"][fed.connector]["feed"] = {"every": "10s", "whole_run_every": "1h"}
        document["workspaces"][fed.workspace]["limits"] = {"max_deactivations_percent": 100}
        document["server"] = access()
        agent.config.write_text(yaml.safe_dump(document), "utf-8")
        assert agent.run("sync", "-w", fed.workspace).code in {0, 4}
        company = sandbox.company
        disabled, left, deleted = linked_people(sandbox, fed)[:3]
        emails = {each.email.lower() for each in (disabled, left, deleted)}

        def active_leavers() -> set[str]:
            members = sandbox.workspace(fed.workspace).members
            return {member.user_name.lower() for member in members if member.active} & emails

        with serving(agent) as served:
            metric = "pigment_sync_feed_last_poll_timestamp_seconds"
            wait_until(lambda: f'{metric}{{connector="{fed.connector}"}}' in served.answer("/metrics").text, "a poll")
            assert active_leavers() == emails

            company.suspend(disabled)
            home = company.directory(fed.directory)
            company.quit(left, home.assignments(home.pigment)[left.id][0])
            company.delete(deleted)
            started = served.until("run.started", holds=lambda line: line["trigger"] == "feed")
            served.until("run.finished", holds=lambda line: line["run_id"] == started["run_id"])
            wait_until(lambda: active_leavers() == set(), "the deactivation of the leavers")

            if fed.has_times:
                counted = f'feed_lag_seconds_count{{connector="{fed.connector}"}} 3.0'
                wait_until(lambda: counted in served.answer("/metrics").text, "three lags")
            with plain_http.client(f"http://127.0.0.1:{served.port}") as browser:
                browser.post("/login", data={"token": READER})
                page = browser.get("/").text
            assert f"Change feed {fed.connector}: polled" in page
            assert ("median lag" in page) is fed.has_times
            assert "deltatoken" not in str(served.seen)


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
            wait_until(lambda: agent.run("sync", "-w", LATAM).code in {0, 4}, "a sync of the command")
            with plain_http.client(f"http://127.0.0.1:{served.port}") as browser:
                browser.post("/login", data={"token": READER})
                page = browser.get("/").text
            assert "Change feed okta-main is off: " in page
            assert "okta.logs.read" in page
