"""`--trace` of whole commands over the sandbox: a line for each request that the pretend systems saw, with its id."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.cli.app import COMMANDS, app
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.command_line import CommandLine
from tests.e2e.daemon_process import configured, serving
from tests.e2e.test_serve import LATAM
from tests.notice_receivers import webhook
from tests.waiting import wait_until

Line = dict[str, Any]
KEYS = ["at", "attempt", "bytes", "host", "method", "ms", "path", "request_id", "status"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=9, size=30, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture(scope="module")
def synced(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """An agent whose state knows the workspaces."""
    agent = CommandLine(sandbox.write_config(tmp_path_factory.mktemp("synced")))
    assert agent.run("sync").code == 0
    return agent


@pytest.fixture
def agent(sandbox: Sandbox, synced: CommandLine) -> Iterator[CommandLine]:
    """An agent that is in sync, and a log of requests that is empty."""
    sandbox.environment.request_log.clear()
    yield synced
    sandbox.faults.put([])


def lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def as_seen(found: list[Line]) -> Counter[tuple[object, ...]]:
    return Counter((line["method"], line["status"], line["request_id"]) for line in found)


def answered(sandbox: Sandbox) -> Counter[tuple[object, ...]]:
    return Counter((each.method, each.status, each.request_id) for each in sandbox.requests())


def people_of(sandbox: Sandbox) -> Iterator[str]:
    """Yield every id and address of a person, in each directory and workspace."""
    for name in ("okta", "entra", "onelogin"):
        for person in sandbox.company.directory(name).people.values():
            # OneLogin's ids are short numbers, which a size may repeat.
            yield from (text for text in (person.id, person.email) if text and not text.isdigit())
    for workspace in sandbox.environment.pigment.workspaces.values():
        for member in workspace.members:
            yield from (member.id, member.user_name)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_accepts_it(name: str) -> None:
    context = app.commands[name].make_context(name, [], resilient_parsing=True)
    assert "trace" in {each.name for each in context.command.params}


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["plan", "--user", "unknown@acme.com"],
        ["sync"],
        ["check"],
        ["members"],
        ["access"],
        ["explain", "unknown@acme.com"],
        ["apply", "plan.json"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_trace_has_each_request_that_was_made(
    sandbox: Sandbox, agent: CommandLine, tmp_path: Path, arguments: list[str], is_first: bool
) -> None:
    trace = tmp_path / "trace.jsonl"
    option = ["--trace", str(trace)]
    if arguments[0] == "apply":
        plan = str(tmp_path / arguments[1])
        assert agent.run("plan", "--out", plan).code == 0
        sandbox.environment.request_log.clear()
        arguments = ["apply", plan]
    ran = agent.run(*option, *arguments) if is_first else agent.run(*arguments, *option)

    found = lines(trace)
    assert found, ran.err
    assert as_seen(found) == answered(sandbox)
    assert all(list(line) == KEYS and line["attempt"] == 1 and line["host"] == "127.0.0.1" for line in found)
    text = trace.read_text("utf-8")
    assert [each for each in people_of(sandbox) if each in text] == []
    assert "@" not in text


def test_trace_of_a_plan_has_token_requests_and_templates(sandbox: Sandbox, agent: CommandLine, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    assert agent.run("--trace", str(trace), "plan").code == 0

    found = {f"{line['method']} {line['path']}" for line in lines(trace)}
    assert found >= {
        "POST /oauth2/v1/token",
        "POST /auth/oauth2/v2/token",
        "POST /{id}/oauth2/v2.0/token",
        "GET /{id}/v2.0/.well-known/openid-configuration",
        "GET /api/v1/apps/{id}/users",
        "GET /v1.0/groups/{id}/members",
        "GET /api/2/apps/{id}/users",
        "GET /{id}/scim/v2/Users",
    }


def test_retries_are_numbered_and_the_message_names_the_last(
    sandbox: Sandbox, agent: CommandLine, tmp_path: Path
) -> None:
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    config = agent.config.with_name("retries.yaml")
    config.write_text(yaml.safe_dump(document | {"http": {"retries": 1}}), "utf-8")
    rule = {"name": "down", "do": "status", "system": "pigment", "status": 503}
    sandbox.faults.put(parse_rules({"faults": [rule]}))
    trace = tmp_path / "trace.jsonl"
    ran = CommandLine(config).run("--trace", str(trace), "plan", "-w", LATAM)

    assert ran.code == 6
    failed = [line for line in lines(trace) if line["status"] == 503]
    assert [line["attempt"] for line in failed] == [1, 2]
    assert f"request id {failed[1]['request_id']}]" in ran.out
    assert failed[0]["request_id"] not in ran.out


@pytest.mark.parametrize("system", ["okta", "entra", "onelogin", "pigment"])
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_refusal_names_its_id_in_text_json_and_log(
    sandbox: Sandbox, agent: CommandLine, system: str, status: int
) -> None:
    rule = {"name": "refused", "do": "status", "system": system, "status": status}
    sandbox.faults.put(parse_rules({"faults": [rule]}))
    ran = agent.run("plan", "--format", "json")

    assert ran.code == 6
    refused = {each.request_id for each in sandbox.requests(system)}
    documents = json.dumps([each for each in json.loads(ran.out)["workspaces"] if each.get("error")])
    assert [each for each in refused if f"request id {each}]" in documents], documents


@pytest.mark.parametrize("system", ["okta", "entra", "onelogin"])
def test_check_names_the_id_of_a_refused_token_request(sandbox: Sandbox, agent: CommandLine, system: str) -> None:
    rule = {"name": "refused", "do": "status", "system": system, "status": 401, "path": "*/token"}
    sandbox.faults.put(parse_rules({"faults": [rule]}))
    ran = agent.run("check", "--format", "json")

    assert ran.code == 6
    refused = [each.request_id for each in sandbox.requests(system, "POST") if each.status == 401]
    assert refused
    assert [each for each in refused if f"request id {each}]" in ran.out], ran.out


def test_write_that_is_refused_names_its_id(sandbox: Sandbox, agent: CommandLine) -> None:
    group = next(each.name for each in sandbox.company.okta.groups.values() if "Pigment" in each.name)
    sandbox.company.hire("okta", "Eve", "New", [group], "eve.new@acme.com")
    rule = {"name": "refused", "do": "status", "system": "pigment", "status": 422, "method": "POST"}
    sandbox.faults.put(parse_rules({"faults": [rule]}))
    ran = agent.run("sync", "-w", LATAM, "--format", "json")

    assert ran.code == 5, ran.err
    [refused] = [each.request_id for each in sandbox.requests("pigment", "POST")]
    assert f"request id {refused}]" in ran.out


def test_address_of_a_notice_or_a_report_is_neither_traced_nor_logged(
    sandbox: Sandbox, agent: CommandLine, tmp_path: Path
) -> None:
    with webhook() as hook:
        secret = f"{hook.url.reveal()}/secret-of-the-hook"
        document = yaml.safe_load(agent.config.read_text("utf-8"))
        report = {"name": "daily", "what": "plan", "schedule": {"every": "1d"}, "to": [secret]}
        more = {"notify": {"urls": [secret]}, "reports": [report], "log": {"level": "debug"}}
        config = agent.config.with_name("notices.yaml")
        config.write_text(yaml.safe_dump(document | more | {"http": {"retries": 0}}), "utf-8")
        trace = tmp_path / "trace.jsonl"
        sent = CommandLine(config).run("report", "send", "daily", "--trace", str(trace))
        rule = {"name": "refused", "do": "status", "system": "pigment", "status": 401}
        sandbox.faults.put(parse_rules({"faults": [rule]}))
        failed = CommandLine(config).run("sync", "-w", LATAM, "--trace", str(trace))

    assert (sent.code, failed.code) == (0, 6), sent.err
    assert len(hook.received) == 2
    assert as_seen(lines(trace)) == answered(sandbox)
    everything = trace.read_text("utf-8") + sent.err + failed.err
    assert "http.request" in everything
    assert "secret-of-the-hook" not in everything


def test_killed_daemon_leaves_its_trace(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, {"every": "10s"})
    sandbox.environment.request_log.clear()
    trace = tmp_path / "trace.jsonl"
    process = agent.start("serve", "--trace", str(trace))
    try:
        wait_until(lambda: trace.exists() and trace.read_bytes().count(b"\n") > 20, "twenty requests in the trace")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    found = as_seen(lines(trace))
    assert found.total() > 20
    assert not found - answered(sandbox)


def test_daemon_logs_each_request_with_its_run_and_workspace(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, {"every": "10s"}, log={"level": "debug"})
    with serving(agent) as daemon:
        started = daemon.until("run.finished")
        assert daemon.stop() == 0
    events = [line for line in daemon.seen if line["event"] == "http.request"]
    assert {key for line in events for key in KEYS} - {"at"} <= set(events[0])
    run_ids = {line.get("run_id") for line in events}
    assert any(started["run_id"] in str(run_id) for run_id in run_ids)
    assert LATAM in {line.get("workspace") for line in events}
    assert "@" not in json.dumps(events)


def test_file_that_cannot_be_written_ends_the_command_before_anything(
    sandbox: Sandbox, agent: CommandLine, tmp_path: Path
) -> None:
    config = agent.config.read_bytes()
    for place in (tmp_path, tmp_path / "missing" / "trace", agent.config, Path(os.devnull)):
        ran = agent.run("sync", "--trace", str(place))
        assert ran.code == 2
        assert ran.out == ""
        assert ran.err.startswith("pigment-sync: --trace: ")
    assert sandbox.requests() == []
    assert agent.config.read_bytes() == config


def test_second_trace_is_appended_and_two_options_are_refused(
    sandbox: Sandbox, agent: CommandLine, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.jsonl"
    for _ in range(2):
        assert agent.run("members", "--trace", str(trace)).code == 0
    assert as_seen(lines(trace)) == answered(sandbox)
    assert agent.run("--trace", str(trace), "members", "--trace", str(trace)).code == 2
