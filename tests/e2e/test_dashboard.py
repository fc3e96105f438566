"""Every query of the Grafana dashboard, put to a real Prometheus that scrapes a real agent over the sandbox."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import yaml

from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import run_sandbox
from tests.dashboard import load, queries
from tests.e2e.daemon_process import configured, serving
from tests.e2e.test_serve import LATAM, active
from tests.notice_receivers import webhook
from tests.prometheus_server import Prometheus, scraping
from tests.waiting import wait_until

DRY = "pigment-eu"
EMPTY_WHEN_ALL_IS_WELL = {
    "Changes that were not made",
    "Rate limits",
    "Tripped guards",
    "Guard trips",
    "Errors",
    "Who writes",
    "Overdue reports",
}
"""Panels that show nothing in this test: no change fails, no limit is reached, and no run is in progress."""


def count_of(prometheus: Prometheus, expression: str) -> float:
    return sum(float(each["value"][1]) for each in prometheus.query(expression))


def wait_for_series(prometheus: Prometheus, expression: str) -> None:
    wait_until(lambda: count_of(prometheus, expression) > 0, expression)


def test_every_panel_shows_what_a_real_agent_does(tmp_path: Path) -> None:
    with run_sandbox(seed=9, size=30, limit=RateLimit(None)) as sandbox, webhook() as receiver:
        agent = configured(sandbox, tmp_path, {"every": "10s"}, notify={"urls": [receiver.url.reveal()]})
        document = yaml.safe_load(agent.config.read_text("utf-8"))
        document["workspaces"][DRY]["mode"] = "dry-run"
        document["workspaces"][LATAM]["token_expires"] = date(2099, 1, 1)
        document["connectors"]["okta-main"]["feed"] = {"every": "10s"}
        (tmp_path / "reports").mkdir()
        report = {"name": "fleet", "what": "access", "schedule": {"every": "10s"}, "to": [f"file://{tmp_path}/reports"]}
        document["reports"] = [report]
        agent.config.write_text(yaml.safe_dump(document), "utf-8")
        with serving(agent) as daemon, scraping(daemon.port, tmp_path) as prometheus:
            wait_for_series(prometheus, f'pigment_sync_last_apply_timestamp_seconds{{workspace="{LATAM}"}}')
            sandbox.company.leave(next(iter(active(sandbox))))
            wait_for_series(prometheus, 'increase(pigment_sync_changes_total{kind="deactivate"}[5m])')
            wait_for_series(prometheus, "pigment_sync_report_last_delivered_timestamp_seconds")
            wait_for_series(prometheus, 'rate(pigment_sync_feed_polls_total{outcome="done"}[5m])')
            # A counter that begins above 0 has no increase before its second value.
            wait_for_series(prometheus, "increase(pigment_sync_runs_total[5m])")
            found = {query: prometheus.query(query.expression) for query in queries(load())}
            planned = {each["metric"]["workspace"] for each in prometheus.query("pigment_sync_planned_changes > 0")}
            members = count_of(prometheus, f'pigment_sync_members{{workspace="{DRY}",state="active"}}')
            assert daemon.stop() == 0
    empty = {query.panel: query.expression for query, series in found.items() if not series}
    assert set(empty) <= EMPTY_WHEN_ALL_IS_WELL, empty
    assert members == sum(member.active for member in sandbox.workspace(DRY).members)
    assert DRY in planned
