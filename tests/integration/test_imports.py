"""What a command imports: nothing that only others need, and nothing that garbage collection searches again."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import ExitCode

UNUSED_BY_A_PLAN = {
    *("agent.apply", "agent.daemon", "agent.delivery", "agent.diff.explain", "agent.diff.feed_plan"),
    *("agent.engine.feed_plan", "agent.engine.links", "agent.engine.next_digest", "agent.engine.probe"),
    *("agent.engine.sync", "agent.engine.undo", "agent.guard.release", "agent.model.check"),
    *("agent.model.probe", "agent.notifications"),
    *("agent.plan_parser", "agent.ports.permits", "agent.report.csv", "agent.report.evidence", "agent.report.html"),
    *("agent.report.markdown", "agent.scim.preflight", "agent.scim.probe", "agent.scim.shared_budget"),
    *("agent.scim.writer", "agent.settings.messages", "agent.store.permits", "agent.store.postgres"),
    *("agent.web", "alembic", "apprise", "apscheduler", "connectors.entra.connector", "connectors.entra.feed"),
    *("connectors.feed", "connectors.http.isolated_reads"),
    *("connectors.okta.feed", "connectors.onelogin.connector", "connectors.onelogin.feed"),
    *("connectors.onelogin.mapping", "cryptography", "fastapi", "jinja2", "jwcrypto", "jwt", "msal", "opentelemetry"),
    *("prometheus_client", "psycopg", "pydantic_settings", "pygments", "requests", "rich.progress", "rich.traceback"),
    *("sqlalchemy.dialects.postgresql", "starlette", "uvicorn"),
}
USED_BY_A_SYNC = {"agent.apply", "agent.engine.sync", "agent.guard.release", "agent.scim.writer", "connectors.feed"}
UNUSED_BY_A_SYNC = UNUSED_BY_A_PLAN - USED_BY_A_SYNC
USED_BY_TEXT = {"agent.report.layout", "agent.report.text", "rich"}


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port that no other process can listen on meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        (["plan"], UNUSED_BY_A_PLAN),
        (["plan", "--format", "json"], UNUSED_BY_A_PLAN | USED_BY_TEXT),
        (["sync"], UNUSED_BY_A_SYNC),
        (["sync", "--format", "json"], UNUSED_BY_A_SYNC | USED_BY_TEXT),
    ],
    ids=["plan", "plan-json", "sync", "sync-json"],
)
def test_command_imports_no_part_that_it_does_not_use(
    command: list[str], unused: set[str], tmp_path: Path, refusing_port: int
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""\
connectors: {{okta: {{type: okta, org_url: "http://127.0.0.1:{refusing_port}", api_token: "00abc"}}}}
http: {{retries: 0}}
workspaces:
  sales:
    scim_url: http://127.0.0.1:{refusing_port}/scim/v2
    tokens: [token]
    sources: [{{connector: okta, app: 0oa1}}]
    schedule: {{every: 1h}}
"""
    )
    arguments = ["--config", str(config), *command]
    code = (
        "import sys; from agent.cli.app import run_cli\n"
        f"code = run_cli({arguments!r})\n"
        f"print(code, sorted({unused}.intersection(sys.modules)))"
    )
    # The first one creates the state, which takes more.
    for _ in range(2):
        ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == f"{ExitCode.INCOMPLETE:d} []"
    assert "sales" in ran.stdout


@pytest.mark.parametrize("command", ["plan", "sync", "check", "explain", "undo"])
def test_help_of_a_command_imports_nothing_that_only_a_run_needs(command: str) -> None:
    code = (
        "import sys; from agent.cli.app import run_cli\n"
        f"code = run_cli([{command!r}, '--help'])\n"
        "print(code, sorted({'agent.bootstrap', 'sqlalchemy'}.intersection(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == f"{ExitCode.DONE:d} []"


@pytest.mark.parametrize("before", ["", "rich", "pygments", "structlog", "httpx", "rich.console, structlog, httpx"])
def test_rich_is_there_after_the_imports_that_do_without(before: str) -> None:
    code = (
        f"{f'import {before}' if before else ''}\n"
        "import agent.cli.lean_imports, sys; hidden = {'pygments', 'rich'}.isdisjoint(sys.modules)\n"
        "import httpx, structlog.dev; from agent.cli import progress_bars; from agent.report import text\n"
        "import pygments.lexers, rich.traceback\n"
        "text.Console(file=sys.stdout).print('shown')\n"
        "print(hidden, structlog.dev.rich is None, structlog.is_configured(), httpx.codes.OK)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["shown", f"{not before} {not before} False 200"]


def test_imports_of_a_command_are_excluded_from_garbage_collection() -> None:
    code = (
        "import gc; from agent.cli.app import run_cli\n"
        "try: run_cli(['hash-token', '--help'])\n"
        "finally: print(gc.isenabled(), gc.get_freeze_count() > 1000)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "True True"
