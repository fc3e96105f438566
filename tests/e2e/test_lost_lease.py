"""A run that loses its lease sends nothing more and reports what it sent; a short outage of the state ends no run."""

from __future__ import annotations

import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import postgres
from tests.e2e.agent_process import LONGEST_SECONDS, Agent
from tests.e2e.ended_process import WORKSPACE, State, Workforce, unlimited
from tests.e2e.running_sync import Running, started
from tests.e2e.tcp_proxy import Proxy, proxied

SYNC = ("sync", "-w", WORKSPACE)
# Long after any lease has ended, and no longer than a request may wait.
LONG = "250"


@dataclass
class Harness:
    """A workspace in sync, its state, and people, some of them suspended at the source."""

    sandbox: Sandbox
    folder: Path
    agent: Agent
    state: State
    people: list[str]

    def suspend(self, count: int) -> list[str]:
        leavers = self.people[:count]
        for person in leavers:
            self.sandbox.company.suspend(person)
        return leavers

    def refuse(self, at: int, seconds: str) -> None:
        """Answer the PATCH number *at* with 429 and that `Retry-After`, once."""
        fault = {"name": "late", "do": "status", "system": "pigment", "method": "PATCH", "at": at, "status": 429}
        self.sandbox.faults.put(parse_rules({"faults": [fault | {"headers": {"Retry-After": seconds}}]}))

    def writes(self) -> int:
        """Return how many requests that write have arrived, whatever was answered."""
        return sum(len(self.sandbox.requests("pigment", method)) for method in ("POST", "PUT", "PATCH"))

    def active(self, person: str) -> bool:
        member = self.sandbox.workspace(WORKSPACE).find_member(self.sandbox.company.person(person).email)
        assert member is not None
        return member.active

    def outcomes(self, status: str) -> list[str]:
        """Return what the journal has of the newest run with that status."""
        run = next(run for run, found in self.state.newest_runs() if found == status)
        return [each["outcome"] for each in self.state.changes(run)]

    def sync(self) -> None:
        ran = self.agent.run(*SYNC, "--wait", "120", timeout=LONGEST_SECONDS)
        assert ran.code == 0, ran.out + ran.err


@contextmanager
def a_place(folder: Path, url: str) -> Iterator[Harness]:
    with run_sandbox(seed=11, size=20, limit=RateLimit(None)) as sandbox, State.at(url) as state:
        # One change at a time, so that each test knows which one a fault or a signal meets.
        agent = unlimited(sandbox.write_config(folder, url), apply={"in_flight": 1})
        people = Workforce(sandbox).hire(4)
        harness = Harness(sandbox, folder, agent, state, people)
        harness.sync()
        sandbox.request_log.clear()
        yield harness


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Harness]:
    with a_place(tmp_path, f"sqlite:///{tmp_path}/state.db") as harness:
        yield harness


@pytest.fixture
def on_postgres(postgres_server: str, tmp_path: Path) -> Iterator[Harness]:
    with a_place(tmp_path, postgres.new_database(postgres_server)) as harness:
        yield harness


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL that no other test needs, so that it can be stopped."""
    with postgres.serve() as served:
        yield served


@pytest.fixture
def on_server_of_its_own(server: postgres.Server, tmp_path: Path) -> Iterator[Harness]:
    with a_place(tmp_path, postgres.new_database(server.url)) as harness:
        yield harness


@contextmanager
def stopped(server: postgres.Server, mode: str, harness: Harness) -> Iterator[None]:
    """Keep the server away, and start it again at the end."""
    server.stop(mode)
    try:
        yield
    finally:
        refusal = server.start()
        # Its connections died with the server.
        harness.state.engine.dispose()
    assert not refusal, refusal


@contextmanager
def behind_proxy(harness: Harness) -> Iterator[tuple[Agent, Proxy]]:
    """Yield an agent like the place's, with a database connection that can be cut."""
    document = yaml.safe_load(harness.agent.config.read_text("utf-8"))
    url = make_url(document["state"]["url"])
    assert url.host is not None
    assert url.port is not None
    with proxied(url.host, url.port) as proxy:
        document["state"]["url"] = str(url.set(port=proxy.port))
        config = harness.agent.config.with_name("behind.yaml")
        config.write_text(yaml.safe_dump(document), "utf-8")
        config.chmod(0o600)
        yield Agent(config), proxy


def with_a_pace(harness: Harness, **pigment: Any) -> Agent:
    document = yaml.safe_load(harness.agent.config.read_text("utf-8"))
    config = harness.agent.config.with_name("slow.yaml")
    config.write_text(yaml.safe_dump(document | {"pigment": pigment}), "utf-8")
    config.chmod(0o600)
    return Agent(config)


def test_run_that_was_suspended_in_a_back_off_sends_nothing_after_another_took_over(on_sqlite: Harness) -> None:
    """The leaver came back meanwhile, and the run that took over found all people in sync."""
    harness = on_sqlite
    _, back = harness.suspend(2)
    harness.refuse(2, "3")
    with started(harness.agent, harness.folder / "late", *SYNC) as late:
        late.wait_until(lambda: harness.writes() == 2)
        late.process.send_signal(signal.SIGSTOP)
        harness.sandbox.company.reinstate(back)
        harness.sync()
        late.process.send_signal(signal.SIGCONT)
        code = late.end()

    assert harness.writes() == 2, "the late run wrote"
    assert harness.active(back)
    assert code == 5
    assert "lost its lease" in late.err
    assert "Of 2 changes: 1 made, 1 not sent." in late.err
    assert "Nothing was written" not in late.out + late.err
    assert harness.outcomes("interrupted") == ["done", "not-tried"]


def test_run_that_was_suspended_in_its_pace_sends_nothing_after_another_took_over(on_sqlite: Harness) -> None:
    """Suspended between the intent and the request, which the pace lets go 30 s after the listing."""
    harness = on_sqlite
    (back,) = harness.suspend(1)
    with started(
        with_a_pace(harness, requests_per_window=1, window_seconds=30), harness.folder / "late", *SYNC
    ) as late:
        late.wait_until(lambda: "unknown" in [each["outcome"] for each in harness.state.changes(newest(harness))])
        late.process.send_signal(signal.SIGSTOP)
        harness.sandbox.company.reinstate(back)
        harness.sync()
        late.process.send_signal(signal.SIGCONT)
        code = late.end()

    assert (harness.writes(), code, harness.active(back)) == (0, 5, True)
    assert "Of 1 changes: 1 not sent." in late.err
    assert harness.outcomes("interrupted") == ["not-tried"]


def newest(harness: Harness) -> str:
    return harness.state.newest_runs()[0][0]


def test_run_that_is_cut_off_from_its_state_ends_before_another_can_take_over(on_postgres: Harness) -> None:
    """No process is suspended: it must not wait out its back-off, either."""
    harness = on_postgres
    _, back = harness.suspend(2)
    harness.refuse(2, LONG)
    with behind_proxy(harness) as (agent, proxy), started(agent, harness.folder / "late", *SYNC) as late:
        late.wait_until(lambda: harness.writes() == 2)
        proxy.cut()
        harness.sandbox.company.reinstate(back)
        code = late.end()
        # Whether the late run could report the host's pause before it was cut off is a matter of milliseconds.
        harness.state.let_pauses_end()
        harness.sync()

    assert (harness.writes(), code, harness.active(back)) == (2, 5, True)
    assert "lost its lease" in late.err
    assert "Of 2 changes: 1 made, 1 not sent." in late.err
    assert "Nothing was written" not in late.out + late.err
    # It could not record that the change was not sent, so the next run treated it as sent without an answer.
    assert harness.outcomes("interrupted") == ["done", "unknown"]


def test_run_whose_state_falls_silent_ends_by_itself(on_postgres: Harness) -> None:
    harness = on_postgres
    harness.suspend(1)
    harness.refuse(1, LONG)
    with behind_proxy(harness) as (agent, proxy), started(agent, harness.folder / "late", *SYNC) as late:
        late.wait_until(lambda: harness.writes() == 1)
        proxy.silence()
        code = late.end()

    assert (harness.writes(), code) == (1, 5)
    assert "Of 1 changes: 1 not sent." in late.err


def test_run_goes_on_when_its_state_comes_back_in_time(on_postgres: Harness) -> None:
    """Like a restart of the server: renewals fail again and again, and the back-off outlasts a lease by far."""
    harness = on_postgres
    leavers = harness.suspend(2)
    harness.refuse(1, "20")
    with behind_proxy(harness) as (agent, proxy), started(agent, harness.folder / "run", *SYNC) as run:
        run.wait_until(lambda: harness.writes() == 1)
        proxy.cut()
        run.wait_until(lambda: proxy.refused >= 4)
        proxy.restore()
        code = run.end()

    assert code == 0, run.err
    assert "lease.not_renewed" in run.err
    assert [harness.active(person) for person in leavers] == [False, False]
    assert harness.outcomes("done") == ["done", "done"]


def test_run_goes_on_when_its_state_is_away_between_two_changes(on_postgres: Harness) -> None:
    """The answer can't be recorded at once, nor the next intent: both are tried again."""
    harness = on_postgres
    leavers = harness.suspend(3)
    harness.refuse(1, "1")
    with behind_proxy(harness) as (agent, proxy), started(agent, harness.folder / "run", *SYNC) as run:
        run.wait_until(lambda: harness.writes() == 1)
        proxy.cut()
        run.wait_until(lambda: proxy.refused >= 3)
        proxy.restore()
        code = run.end()

    assert code == 0, run.err
    assert harness.writes() == 4
    assert [harness.active(person) for person in leavers] == [False] * 3
    assert harness.outcomes("done") == ["done"] * 3


def test_run_whose_file_is_locked_for_too_long_stops_and_reports_what_it_made(on_sqlite: Harness) -> None:
    harness = on_sqlite
    harness.suspend(3)
    harness.refuse(1, "1")
    with started(harness.agent, harness.folder / "late", *SYNC) as late:
        late.wait_until(lambda: harness.writes() == 1)
        other = sqlite3.connect(harness.folder / "state.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            # A renewal fails slowly, so the lease has already ended when the second renewal fails.
            late.wait_until(lambda: late.err.count("seconds_left=0.0") == 2)
        finally:
            other.close()
        code = late.end()

    assert (harness.writes(), code) == (2, 5)
    assert "Of 3 changes: 1 made, 2 not sent." in late.err
    assert harness.outcomes("interrupted") == ["done", "not-tried", "not-tried"]
    harness.sync()
    assert harness.writes() == 4


def seconds_left(run: Running) -> float:
    """Return how much of its lease the run had left when it failed to renew it last."""
    return min((float(found) for found in re.findall(r"seconds_left=([\d.]+)", run.err)), default=100)


# A back-off that outlasts the restart and a lease, and one that ends while the server is away.
@pytest.mark.parametrize(("mode", "back_off"), [("fast", "20"), ("immediate", "1")])
def test_run_goes_on_after_a_restart_of_its_server(
    mode: str, back_off: str, server: postgres.Server, on_server_of_its_own: Harness
) -> None:
    """The server is away until the lease has 7 of its 13 seconds left."""
    harness = on_server_of_its_own
    leavers = harness.suspend(3)
    harness.refuse(2, back_off)
    with started(harness.agent, harness.folder / "run", *SYNC) as run:
        run.wait_until(lambda: harness.writes() == 2)
        before = harness.state.renewed_at()
        run.wait_until(lambda: back_off == "1" or harness.state.renewed_at() != before)
        with stopped(server, mode, harness):
            run.wait_until(lambda: seconds_left(run) <= 7)
        code = run.end()

    assert code == 0, run.err
    assert "lease.not_renewed" in run.err
    assert harness.writes() == 4, "each of the three once, and the one that was refused"
    assert [harness.active(person) for person in leavers] == [False] * 3
    assert harness.outcomes("done") == ["done"] * 3
    assert all(each["answered_at"] for each in harness.state.changes(newest(harness)))
    assert harness.state.renewed_at() == {0}, "the lease was not released"


def test_run_whose_server_stays_away_writes_nothing_after_its_deadline(
    server: postgres.Server, on_server_of_its_own: Harness
) -> None:
    """Once the server is back, the next run makes the remaining changes."""
    harness = on_server_of_its_own
    leavers = harness.suspend(3)
    harness.refuse(2, LONG)
    with started(harness.agent, harness.folder / "late", *SYNC) as late:
        late.wait_until(lambda: harness.writes() == 2)
        with stopped(server, "immediate", harness):
            code = late.end()
            writes = harness.writes()

    assert (writes, code) == (2, 5)
    assert "lost its lease" in late.err
    assert "Of 3 changes: 1 made, 2 not sent." in late.err
    assert "Nothing was written" not in late.out + late.err
    harness.state.let_pauses_end()
    harness.sync()
    assert harness.writes() == 4
    assert [harness.active(person) for person in leavers] == [False] * 3
    assert harness.outcomes("done") == ["done"] * 2
    assert harness.outcomes("interrupted") == ["done", "unknown"]
    assert harness.state.renewed_at() == {0}
