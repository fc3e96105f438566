"""`serve` as a real process: it keeps its schedule, answers probes, reloads its file, and shuts down cleanly."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from agent.server import server_address, serving_line
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import plain_http
from tests.e2e.agent_process import LONGEST_SECONDS, Agent
from tests.e2e.daemon_process import OPERATOR, access, configured, serving
from tests.notice_receivers import webhook

pytestmark = pytest.mark.traced

LATAM = "pigment-latam"
SLOW = {"name": "slow", "do": "slow", "system": "pigment", "method": "POST", "seconds": 1}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=9, size=30, limit=RateLimit(None)) as served:
        yield served


def test_daemon_at_a_terminal_shows_address_workspaces_and_next_run(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, {"every": "1h"})
    side, terminal = pty.openpty()
    command = [sys.executable, "-m", "agent", "--config", str(agent.config), "serve"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal, env=agent.environment) as process:
        os.close(terminal)
        shown = ""
        try:
            while "Ctrl-C" not in shown:
                ready, _, _ = select.select([side], [], [], LONGEST_SECONDS)
                assert ready, shown
                shown += os.read(side, 4096).decode()
        finally:
            process.kill()
            os.close(side)
    assert re.search(
        r"Serving http://127\.0\.0\.1:\d+ for pigment-apac, pigment-eu, pigment-latam\. "
        r"Next run: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\. To stop: Ctrl-C",
        shown,
    )


def test_line_of_a_daemon_without_a_schedule() -> None:
    line = serving_line(server_address("::1", 80), ["latam"], None, [])
    assert line == "Serving http://[::1]:80 for latam. Next run: none is scheduled"


def test_second_daemon_on_one_state_logs_the_first_and_its_page_names_it(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, {"every": "1h"}, server=access())
    with serving(agent) as first:
        alone = first.until("daemon.started")
        assert alone["address"] == f"http://127.0.0.1:{first.port}"
        assert alone["workspaces"] == ["pigment-apac", "pigment-eu", "pigment-latam"]
        assert alone["other_daemons"] == []
        assert datetime.fromisoformat(alone["next_run"]).tzinfo is not None
        with serving(agent) as second:
            assert second.until("daemon.another")["pid"] == first.process.pid
            (other,) = second.until("daemon.started")["other_daemons"]
            assert other.startswith(f"pid {first.process.pid} on ")
            url = f"http://127.0.0.1:{second.port}"
            with plain_http.client(url, follow_redirects=True) as client:
                shown = client.post("/login", data={"token": OPERATOR}).text
            assert "2 daemons share this state." in shown
            assert f", pid {first.process.pid}: release" in shown
            assert second.stop() == 0
    with serving(agent) as third:
        others = third.until("daemon.started")["other_daemons"]
        assert all(f"pid {second.process.pid} on" not in each for each in others), "it ended, and was forgotten"


def test_daemon_syncs_on_schedule_and_ends_gently(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, {"every": "10s"})
    with serving(agent) as daemon:
        done = [daemon.until("run.finished") for _ in range(3)]
        assert {line["status"] for line in done} == {"done"}
        assert {line["workspace"] for line in done} == {"pigment-latam", "pigment-eu", "pigment-apac"}
        assert daemon.answer("/healthz").status_code == 200
        assert daemon.answer("/readyz").status_code == 200
        metrics = daemon.answer("/metrics").text
        assert re.search(r'pigment_sync_runs_total\{[^}]*workspace="pigment-latam"[^}]*\} 1\.0', metrics)
        departed = sandbox.company.leave(next(iter(active(sandbox))))
        daemon.until("run.finished", holds=lambda line: line["workspace"] == LATAM)
        member = sandbox.workspace(LATAM).find_member(departed.email)
        assert member is not None
        assert not member.active
        assert daemon.stop() == 0
    assert agent.run("plan", "--exit-code").code == 0
    runs = json.loads(agent.run("history", "--format", "json").out)
    assert {run["status"] for run in runs} <= {"done", "planned"}
    assert "schedule" in {run["trigger"] for run in runs}


def test_new_hold_is_sent_once_by_the_daemon_and_by_commands_and_its_age_is_a_metric(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    gauge = f'pigment_sync_oldest_hold_timestamp_seconds{{workspace="{LATAM}"}} '
    with webhook() as receiver:
        agent = configured(sandbox, tmp_path, {"every": "10s"}, notify={"urls": [receiver.url.reveal()]})
        with serving(agent) as daemon:
            first = daemon.until("run.finished", holds=lambda line: line["workspace"] == LATAM)
            daemon.until("run.finished", holds=lambda line: line["workspace"] == LATAM)
            metrics = daemon.answer("/metrics").text.splitlines()
            assert daemon.stop() == 0
        (line,) = [each.removeprefix(gauge) for each in metrics if each.startswith(gauge)]
        report = json.loads(agent.run("report", first["run_id"], "--format", "json").out)
        (waiting,) = (each for each in report["workspaces"] if each["name"] == LATAM)
        oldest = min(datetime.fromisoformat(each) for each in waiting["held_since"])
        assert float(line) == oldest.timestamp()
        count = len(waiting["holds"])
        sent = [each for each in receiver.received if LATAM in each["title"]]
        assert len(sent) == 1
        assert f"{count} changes of {LATAM} wait for a person" in sent[0]["title"]
        assert sent[0]["message"].count("on hold since this run") == count
        group = next(each.name for each in sandbox.company.okta.groups.values() if "Pigment" in each.name)
        sandbox.company.hire("okta", "Out", "Sider", [group], "out.sider@elsewhere.example.com")
        assert agent.run("sync", "-w", LATAM).code == 0
        assert agent.run("sync", "-w", LATAM).code == 0
        again = [each for each in receiver.received if LATAM in each["title"]][1:]
        assert [each["title"] for each in again] == [f"pigment-sync: 1 change of {LATAM} waits for a person"]
        assert "domain-not-allowed:" in again[0]["message"]


def active(sandbox: Sandbox) -> list[str]:
    members = {member.user_name.lower() for member in sandbox.workspace(LATAM).members if member.active}
    return [
        person.id
        for person in sandbox.company.okta.people.values()
        if person.status == "ACTIVE" and person.email.lower() in members
    ]


def test_stop_in_the_middle_of_a_sync_leaves_nothing_open(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, {"every": "1h"})
    sandbox.faults.put(parse_rules({"faults": [SLOW]}))
    with serving(agent) as daemon:
        daemon.until("change.applied")
        assert daemon.stop() == 0
    sandbox.faults.clear()
    runs = json.loads(agent.run("history", "--format", "json").out)
    assert runs
    assert not {run["status"] for run in runs} & {"running"}
    assert agent.run("sync").code == 0
    members = [member.user_name.lower() for member in sandbox.workspace(LATAM).members]
    assert len(members) == len(set(members))


def test_changed_file_is_taken_and_a_broken_one_is_refused_loudly(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, None)
    good = agent.config.read_text("utf-8")
    with serving(agent) as daemon:
        agent.config.write_text(good.replace("scim_url", "scim_uri"), "utf-8")
        assert daemon.until("config.refused")["level"] == "error"
        ready = daemon.answer("/readyz")
        assert ready.status_code == 503
        assert "scim_uri" in ready.text
        configured(sandbox, tmp_path, {"every": "1h"})
        daemon.until("config.reloaded")
        daemon.until("run.finished")
        assert daemon.answer("/readyz").status_code == 200
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until("config.reloaded")
        assert daemon.stop(signal.SIGINT) == 0


def test_port_that_is_in_use_is_reported_in_one_sentence(sandbox: Sandbox, tmp_path: Path) -> None:
    with serving(configured(sandbox, tmp_path / "one", None)) as first:
        other = configured(sandbox, tmp_path / "two", None, server={"port": first.port})
        ran = other.run("serve")

        assert ran.code == 8
        assert f"port {first.port} of 127.0.0.1 is in use" in ran.err
        assert "Traceback" not in ran.err


def test_daemon_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    agent = Agent(tmp_path / "missing.yaml")
    with pytest.raises(AssertionError, match=r"the process has ended; seen: .*missing\.yaml"), serving(agent):
        pass


def test_rotated_token_needs_no_restart(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "latam-token"
    agent = configured(sandbox, tmp_path, {"every": "10s"})
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    tokens = sandbox.workspace(LATAM).tokens
    tokens.add("first-token-of-latam")
    secret.write_text("first-token-of-latam\n", "utf-8")
    document["workspaces"] = {LATAM: document["workspaces"][LATAM] | {"tokens": [{"file": str(secret)}]}}
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    with serving(agent) as daemon:
        assert daemon.until("run.finished")["status"] == "done"
        tokens.add("second-token-of-latam")
        secret.write_text("second-token-of-latam\n", "utf-8")
        tokens.revoke("first-token-of-latam")
        assert daemon.until("run.finished")["status"] == "done"
