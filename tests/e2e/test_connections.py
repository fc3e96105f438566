"""Connections without a complete request: the daemon keeps syncing and responding, and its log stays small."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Agent
from tests.e2e.daemon_process import configured, serving

LATAM = "pigment-latam"
MANY = 1100
"""The number of connections that an open port received in practice."""
USUAL_FILES, FEW_FILES = 1024, 300
OWN_FILES = 200
"""Files that the tests need in addition to their connections."""
WITHIN_SECONDS = 60
HALF = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Endless: "


@dataclass(frozen=True)
class Limited(Agent):
    """An agent that may open only so many *files*, whatever the machine would let it have."""

    files: int = USUAL_FILES

    def command(self, *arguments: str) -> list[str]:
        return ["sh", "-c", f'ulimit -n {self.files} && exec "$@"', "sh", *super().command(*arguments)]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=9, size=20, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture
def _own_files() -> Iterator[None]:
    """Let the tests themselves open as many files as they need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MANY + OWN_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files, and this machine permits {hard}; see ulimit -Hn")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def half_open(port: int) -> Iterator[list[socket.socket]]:
    """Open connections that send the half of a request each; those that are refused are left out."""
    with ExitStack() as stack:
        found = []
        for _ in range(MANY):
            connection = stack.enter_context(socket.socket())
            connection.settimeout(WITHIN_SECONDS)
            try:
                connection.connect(("127.0.0.1", port))
                connection.sendall(HALF)
            except ConnectionError:
                continue
            found.append(connection)
        yield found


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.usefixtures("_own_files")
@pytest.mark.parametrize(("files", "most"), [(USUAL_FILES, 512), (FEW_FILES, 100)])
def test_daemon_syncs_and_answers_while_connections_send_half_a_request(
    files: int, most: int, sandbox: Sandbox, tmp_path: Path
) -> None:
    agent = configured(sandbox, tmp_path, {"every": "10s"})
    with serving(Limited(agent.config, forked=False, files=files)) as daemon:
        daemon.until("run.finished")
        with half_open(daemon.port) as connections:
            requests = sandbox.workspace(LATAM).write_log.request_counts
            gets = requests["GET"]
            assert daemon.answer("/healthz").status_code == 200
            full = daemon.until("server.connections_full")
            # Not a run that ended while they were being opened: its log line may still be unread.
            assert daemon.until("run.finished", holds=lambda _line: requests["GET"] > gets)["status"] == "done"
            assert daemon.answer("/readyz").status_code == 200
            # None of them is kept: each is closed in time, or made room for another.
            assert all(is_closed(connection) for connection in connections)
        assert daemon.stop() == 0
        while not daemon.lines.empty():
            daemon.seen.append(daemon.lines.get())

    assert full["most"] == most
    assert sum(line["event"] == "server.connections_full" for line in daemon.seen) <= 2
    assert not any("out of system resource" in str(line) for line in daemon.seen)
    assert sum(len(json.dumps(line)) for line in daemon.seen) < 200_000


def test_bad_requests_do_not_fill_the_log(sandbox: Sandbox, tmp_path: Path) -> None:
    agent = configured(sandbox, tmp_path, None)
    with serving(agent) as daemon:
        for _ in range(200):
            with socket.create_connection(("127.0.0.1", daemon.port), timeout=WITHIN_SECONDS) as connection:
                connection.sendall(b"\x16\x03\x01 not HTTP\r\n\r\n")
                assert connection.recv(12) == b"HTTP/1.1 400"
        assert daemon.stop() == 0
        while not daemon.lines.empty():
            daemon.seen.append(daemon.lines.get())

    assert sum("Invalid HTTP request" in line["event"] for line in daemon.seen) <= 2
