"""All processes of a PostgreSQL are stopped while TCP works: clients get an error, and nothing hangs forever."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, text

from agent.daemon.watchdog import HUNG_EXIT_CODE
from agent.server import FORCE_EXIT_AFTER_SECONDS
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import postgres
from tests.e2e.daemon_process import configured, serving
from tests.waiting import wait_until

LATAM = "pigment-latam"
WITHIN_SECONDS = 120


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=9, size=20, limit=RateLimit(None)) as served:
        yield served


def parent_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))


def all_processes(url: str) -> list[int]:
    """Return the server's first process, and all that it has started."""
    engine = create_engine(url)
    with engine.connect() as connection:
        ours = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    first = parent_of(ours)
    engine.dispose()
    found = [first]
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal() and parent_of(int(each.name)) == first:
                found.append(int(each.name))
        except FileNotFoundError:
            continue
    return found


@contextmanager
def stopped(url: str) -> Iterator[None]:
    pids = [pid for pid in all_processes(url) if Path(f"/proc/{pid}").exists()]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGCONT)


def test_daemon_reports_a_stopped_server_and_ends_all_the_same(sandbox: Sandbox, tmp_path: Path) -> None:
    # A server of its own: no other test may wait for it.
    with postgres.running() as server:
        url = postgres.new_database(server)
        agent = configured(sandbox, tmp_path, {"every": "10s"})
        document = yaml.safe_load(agent.config.read_text("utf-8"))
        agent.config.write_text(yaml.safe_dump(document | {"state": {"url": url}}), "utf-8")
        with serving(agent) as daemon:
            daemon.until("run.finished")
            assert daemon.answer("/readyz").status_code == 200
            with stopped(url):
                wait_until(lambda: daemon.answer("/readyz").status_code != 200, "a daemon that is not ready")
                assert daemon.answer("/healthz").status_code == 200
                assert "pigment_sync_state_up 0.0" in daemon.answer("/metrics").text.splitlines()
                command = agent.run("sync", "-w", LATAM, timeout=WITHIN_SECONDS)
                daemon.process.send_signal(signal.SIGTERM)
                code = daemon.process.wait(FORCE_EXIT_AFTER_SECONDS + WITHIN_SECONDS)
                log = [daemon.lines.get() for _ in range(daemon.lines.qsize())]

    assert command.code == 1
    assert "can't be used" in command.err
    assert "Traceback" not in command.err
    # A run that is under way gets 20 s, and 2 s more to account for itself; what is asked of the state gets 3 s before
    # its connections are broken off. That is 27 s with the end of the process. The last resort comes 28 s after the
    # signal by the clock, because a container is killed after 30 s. Where the machine is too busy for the second
    # between them, the last resort comes first, as it should, and it is on record.
    assert code == (HUNG_EXIT_CODE if "daemon.stop_overdue" in {line.get("event") for line in log} else 0)
