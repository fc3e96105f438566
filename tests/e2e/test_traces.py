"""Traces of real runs over the sandbox: a collector gets each read and write, and never a person or a secret."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Agent
from tests.e2e.daemon_process import configured, serving
from tests.e2e.test_serve import LATAM
from tests.otlp_receiver import collector

CLIENT = 3
EMAIL = re.compile(rb"[\w.+-]+(@|%40)[\w-]+\.\w+")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=9, size=30, limit=RateLimit(None)) as served:
        yield served


def traced(sandbox: Sandbox, folder: Path, **more: object) -> Agent:
    config = sandbox.write_config(folder)
    document = yaml.safe_load(config.read_text("utf-8"))
    config.write_text(yaml.safe_dump(document | {"tracing": {"enabled": True}} | more), "utf-8")
    return Agent(config)


def test_each_read_and_write_of_a_run_is_a_span_of_its_trace(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = traced(sandbox, tmp_path)
    with collector() as found:
        ended = agent.run("sync", "-w", LATAM, OTEL_EXPORTER_OTLP_ENDPOINT=found.url)
    assert ended.code == 0, ended.err
    assert found.services == {"pigment-sync"}
    (root,) = found.named("sync")
    assert len({span.trace for span in found.spans}) == 1
    assert root.parent == b""
    assert root.attributes["pigment_sync.trigger"] == "sync"
    run_id = root.attributes["pigment_sync.run_id"]
    (applied,) = found.named("workspace.apply")
    assert applied.attributes == {
        "pigment_sync.workspace": LATAM,
        "pigment_sync.run_id": run_id,
        "pigment_sync.status": "done",
    }
    (listed,) = found.named("members.list")
    assert found.ancestors(listed) == ["workspace.read", "sync"]
    read = found.named("source.read")
    assert {span.attributes["pigment_sync.provider"] for span in read} <= {"okta", "entra", "onelogin"}
    assert all(int(span.attributes["pigment_sync.people"]) > 0 for span in read)
    changes = found.named("change")
    assert {span.attributes["pigment_sync.outcome"] for span in changes} == {"done"}
    assert {"create", "deactivate"} & {span.attributes["pigment_sync.kind"] for span in changes}
    assert {span.attributes["pigment_sync.run_id"] for span in changes} == {run_id}
    posts = [span for span in found.spans if span.attributes.get("http.request.method") == "POST"]
    written = [span for span in posts if span.attributes.get("pigment_sync.provider") == "pigment"]
    assert written
    for span in written:
        assert span.kind == CLIENT
        assert str(span.attributes["url.template"]).endswith("/Users")
        assert span.attributes["http.response.status_code"] == 201
        assert span.attributes["pigment_sync.workspace"] == LATAM
        assert found.ancestors(span) == ["change", "workspace.apply", "sync"]


def test_no_span_names_a_person_or_a_secret(sandbox: Sandbox, tmp_path: Path) -> None:
    group = next(each.name for each in sandbox.company.okta.groups.values() if "Pigment" in each.name)
    sandbox.company.hire("okta", "Eve'); DROP", "Ünïq\u202eName", [group], "eve.uniq@acme.com")
    agent = traced(sandbox, tmp_path)
    with collector() as found:
        assert agent.run("sync", OTEL_EXPORTER_OTLP_ENDPOINT=found.url).code == 0
        assert agent.run("plan", "--user", "eve.uniq@acme.com", OTEL_EXPORTER_OTLP_ENDPOINT=found.url).code == 0
    assert found.named("change")
    assert found.named("plan")
    everything = b"".join(found.bodies)
    assert not EMAIL.search(everything)
    people = [person for person in sandbox.company.okta.people.values() if "okta" in person.id or person.email]
    assert people
    for person in people:
        assert person.id.encode() not in everything
    for workspace in sandbox.environment.pigment.workspaces.values():
        for member in workspace.members:
            assert member.user_name.encode() not in everything
            assert member.id.encode() not in everything
    for word in ("DROP", "Ünïq", "uniq", "Bearer", "SSWS", "filter", "startIndex", "eyJ"):
        assert word.encode() not in everything
    assert all("?" not in str(value) for span in found.spans for value in span.attributes.values())


def test_failed_read_is_a_failed_span_without_its_text(sandbox: Sandbox, tmp_path: Path) -> None:
    rule = {"name": "down", "do": "status", "system": "pigment", "status": 503}
    sandbox.faults.put(parse_rules({"faults": [rule]}))
    agent = traced(sandbox, tmp_path, http={"retries": 0})
    with collector() as found:
        assert agent.run("sync", "-w", LATAM, OTEL_EXPORTER_OTLP_ENDPOINT=found.url).code == 6
    (listed,) = found.named("members.list")
    assert listed.failed
    assert listed.attributes["error.type"] == "incomplete"
    refused = [span for span in found.spans if span.attributes.get("http.response.status_code") == 503]
    assert refused
    assert all(span.failed for span in refused)


def test_lost_collector_changes_nothing_of_a_run(sandbox: Sandbox, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It accepts connections and never answers: the worst of the ways to be gone.
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        agent = traced(sandbox, tmp_path)
        ended = agent.run("sync", OTEL_EXPORTER_OTLP_ENDPOINT=silent_url)
    refused = agent.run("plan", "--exit-code", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert ended.code == 0, ended.err
    assert refused.code == 0, refused.err
    for each in (ended, refused):
        assert "traces.not_sent" in each.err
        assert "Traceback" not in each.err
    assert "127.0.0.1:9" not in refused.err


def test_daemon_sends_a_trace_of_each_tick_and_stops_in_time_without_a_collector(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    agent = configured(sandbox, tmp_path, {"every": "10s"}, tracing={"enabled": True})
    with collector() as found:
        with serving(agent, OTEL_EXPORTER_OTLP_ENDPOINT=found.url, OTEL_BSP_SCHEDULE_DELAY="200") as daemon:
            for _ in range(6):
                daemon.until("run.finished")
            assert daemon.stop() == 0
        roots = found.named("sync")
        assert {span.attributes["pigment_sync.trigger"] for span in roots} == {"schedule"}
        assert len({span.trace for span in roots}) == len(roots) >= 2
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serving(agent, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}") as daemon,
    ):
        assert daemon.until("run.finished")["status"] == "done"
        assert daemon.stop() == 0


def test_nothing_is_sent_unless_it_is_configured(sandbox: Sandbox, tmp_path: Path) -> None:
    with collector() as found:
        agent = traced(sandbox, tmp_path, tracing={"enabled": False})
        assert agent.run("sync", OTEL_EXPORTER_OTLP_ENDPOINT=found.url).code == 0
        assert found.bodies == []


def test_missing_extra_is_named_with_its_command(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = traced(sandbox, tmp_path)
    without = "import sys; sys.modules['opentelemetry.sdk'] = None; sys.argv = ['pigment-sync', *sys.argv[1:]]; "
    start = without + "from agent.__main__ import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", start, "--config", str(agent.config), "plan"],
        capture_output=True,
        text=True,
        env=agent.environment,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 8, ended.stderr
    assert "tracing.enabled needs the extra otel" in ended.stderr
    assert "pip install 'pigment-sync[otel]'" in ended.stderr
