"""The environment of a real command applies to its requests, or ends it with a clear error: never with a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sandbox.server import run_sandbox
from tests.e2e.agent_process import LONGEST_SECONDS, Agent, Ran

# Python or OpenSSL reads the others, as they start.
READ_BY_THE_AGENT = {"NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}


@pytest.fixture(scope="module", name="agent")
def _agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with run_sandbox(seed=8, size=6) as sandbox:
        yield Agent(sandbox.write_config(tmp_path_factory.mktemp("environment")))


def run(agent: Agent, *arguments: str, **variables: str) -> Ran:
    """Run a command with *variables*, and forked if all of them are for the agent alone."""
    return replace(agent, forked=variables.keys() <= READ_BY_THE_AGENT).run(
        *arguments, timeout=LONGEST_SECONDS, **variables
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [("NO_PROXY", "localhost,127.0.0.1,[::1],fd00::/8"), ("TZ", '"Europe/Rome"')],
)
def test_odd_value_that_does_no_harm_changes_nothing(agent: Agent, variable: str, value: str) -> None:
    variables = {"HTTP_PROXY": "http://127.0.0.1:9", variable: value}
    planned = run(agent, "plan", "-w", "pigment-eu", **variables)
    assert planned.code == 0, planned.err
    assert variable not in planned.err


@pytest.mark.parametrize(
    ("command", "variable", "value"),
    [
        ("plan", "HTTPS_PROXY", "socks5://ana:s3cret@127.0.0.1:1"),
        ("check", "ALL_PROXY", "http://[::1"),
        ("serve", "SSL_CERT_FILE", "/not/there.pem"),
        ("plan", "SSLKEYLOGFILE", "/not/there/keys"),
    ],
)
def test_value_that_cannot_be_used_ends_every_command_with_8(
    agent: Agent, command: str, variable: str, value: str
) -> None:
    ran = run(agent, command, **{variable: value})

    assert ran.code == 8
    assert variable in ran.out + ran.err
    assert "This is a bug" not in ran.out + ran.err
    assert "s3cret" not in ran.out + ran.err


def test_proxy_is_named_without_its_password_in_every_connection_error(agent: Agent) -> None:
    planned = run(agent, "plan", "--format", "json", HTTP_PROXY="http://ana:s3cret@127.0.0.1:9", NO_PROXY="")

    assert planned.code == 6
    assert planned.out.count("through the proxy http://127.0.0.1:9 (HTTP_PROXY)") >= 3
    assert "s3cret" not in planned.out + planned.err
