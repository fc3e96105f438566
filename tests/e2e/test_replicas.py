"""Replicas of `serve` on one PostgreSQL: a tick starts once, and another replica takes up that of one that dies."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select

from agent.store.tables import jobs, leases, runs
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import LONGEST_SECONDS, Agent
from tests.e2e.daemon_process import Serving, access, configured, serving
from tests.postgres import new_database
from tests.waiting import wait_until

LATAM, GROUP = "pigment-latam", "Pigment LatAm"
TICK = "tick:every 1h"
VOID_AFTER = 15 * 1_000_000


@dataclass
class Harness:
    """Three workspaces on one schedule, whose first tick is due, and newcomers whose creation takes long."""

    sandbox: Sandbox
    agent: Agent
    url: str
    people: list[str]

    def active(self, email: str) -> bool:
        member = self.sandbox.workspace(LATAM).find_member(email)
        return member is not None and member.active

    def created(self) -> Counter[str]:
        writes = self.sandbox.workspace(LATAM).write_log.writes
        return Counter(addressed(write.body) for write in writes if write.method == "POST")

    def rows(self, query: object) -> list[tuple[object, ...]]:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(query)]  # type: ignore[call-overload]  # any query
        finally:
            engine.dispose()

    def scheduled(self) -> Counter[tuple[str, str]]:
        """Count the runs of the schedule by workspace and status."""
        query = select(runs.c.workspace, runs.c.status).where(runs.c.trigger == "schedule")
        return Counter((str(name), str(status)) for name, status in self.rows(query))

    def renewed_at(self) -> int:
        ((found,),) = self.rows(select(leases.c.renewed_at).where(leases.c.workspace == TICK))
        assert isinstance(found, int)
        return found

    def has_jobs(self) -> bool:
        return bool(self.rows(select(jobs.c.id)))

    def wait_for_tick(self) -> None:
        """Wait until the tick has ended that creates the newcomers."""
        wait_until(lambda: all(map(self.active, self.people)) and not self.has_jobs(), "the end of the tick")


@pytest.fixture
def harness(postgres_server: str, tmp_path: Path) -> Iterator[Harness]:
    url = new_database(postgres_server)
    with run_sandbox(seed=9, size=20, limit=RateLimit(None)) as sandbox:
        # One change at a time: a replica that ends must leave some of its changes to the other.
        agent = configured(
            sandbox, tmp_path, {"every": "1h"}, state={"url": url}, server=access(), apply={"in_flight": 1}
        )
        assert agent.run("sync").code in {0, 4}
        sandbox.workspace(LATAM).write_log.clear()
        people = [sandbox.company.hire("okta", f"New{number}", "Comer", [GROUP]).email.lower() for number in range(8)]
        slow = {"name": "slow", "do": "slow", "system": "pigment", "method": "POST", "seconds": 1}
        sandbox.faults.put(parse_rules({"faults": [slow]}))
        yield Harness(sandbox, agent, url, people)


def addressed(body: Any) -> str:
    return str(body["userName"]).lower()


def test_first_tick_of_two_replicas_that_start_together_is_one(harness: Harness) -> None:
    harness.sandbox.faults.clear()
    with serving(harness.agent) as one, serving(harness.agent) as two:
        harness.wait_for_tick()
        codes = one.stop(), two.stop()

    assert codes == (0, 0)
    assert set(harness.created().values()) == {1}
    ended = harness.scheduled()
    assert ended[LATAM, "done"] == 1
    assert set(ended.values()) == {1}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_other_replica_takes_up_what_is_left(how: signal.Signals, harness: Harness) -> None:
    with serving(harness.agent) as working:
        wait_until(lambda: any(map(harness.active, harness.people)), "the first newcomer")
        with serving(harness.agent) as other:
            working.process.send_signal(how)
            if how is signal.SIGKILL:
                working.process.wait(LONGEST_SECONDS)
            renewed = harness.renewed_at()
            taken = other.until("job.taken_over")
            since = harness.rows(select(leases.c.since).where(leases.c.workspace == TICK))[0][0]
            harness.wait_for_tick()
            if how is signal.SIGSTOP:
                wake(working)
            codes = other.stop(), working.stop() if how is signal.SIGSTOP else 0

    assert codes == (0, 0)
    assert isinstance(since, int)
    assert since - renewed >= VOID_AFTER
    assert LATAM in taken["left"]
    assert set(harness.created().values()) == {1}
    assert set(harness.created()) == set(harness.people)
    ended = harness.scheduled()
    assert ended[LATAM, "interrupted"] == 1
    assert ended[LATAM, "done"] == 1
    assert {status for _, status in ended} <= {"done", "held", "interrupted"}


def wake(replica: Serving) -> None:
    """Let the replica go on that lost its claim while it was suspended."""
    replica.process.send_signal(signal.SIGCONT)
    replica.until("job.lost")
    assert replica.answer("/healthz").text == "ok\n"
