"""Two daemons share one PostgreSQL and one configuration: each change is made once, and both obey each request."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import select

from agent.store.tables import leases
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import LONGEST_SECONDS, Agent
from tests.e2e.company import leavers
from tests.e2e.daemon_process import Serving, access, configured, serving
from tests.e2e.ended_process import WORKSPACE, State
from tests.e2e.requested_run import ended, operator_at
from tests.postgres import new_database
from tests.waiting import wait_until

GROUP = "Pigment LatAm"
SLOW = {"name": "slow", "do": "slow", "system": "pigment"}
VOID_AFTER = 15 * 1_000_000
"""Microseconds after its last renewal in which no other may take a lease."""


@dataclass
class Harness:
    """One workspace, the state that all daemons share, and what each side has of the writes."""

    sandbox: Sandbox
    agent: Agent
    state: State
    known: set[str] = field(default_factory=set)
    """Runs from before the test."""

    def begin(self) -> None:
        """Count from now on."""
        self.sandbox.faults.clear()
        self.sandbox.workspace(WORKSPACE).write_log.clear()
        self.known = {run for run, _ in self.state.newest_runs()}

    def hire(self, *names: str) -> list[str]:
        return [self.sandbox.company.hire("okta", name, "Comer", [GROUP]).email.lower() for name in names]

    def slow_down(self, seconds: float = 0.3) -> None:
        """Let each create take so long."""
        self.sandbox.faults.put(parse_rules({"faults": [SLOW | {"method": "POST", "seconds": seconds}]}))

    def active(self, email: str) -> bool:
        member = self.sandbox.workspace(WORKSPACE).find_member(email)
        return member is not None and member.active

    def sent(self) -> Counter[tuple[str, str]]:
        """Count the writes that have arrived, whatever was answered, by method and address."""
        emails = {member.id: member.user_name.lower() for member in self.sandbox.workspace(WORKSPACE).members}
        writes = self.sandbox.workspace(WORKSPACE).write_log.writes
        return Counter((write.method, emails.get(str(write.scim_id)) or addressed(write.body)) for write in writes)

    def journalled(self) -> Counter[tuple[str, str]]:
        """Count the changes that the runs were made to send, by method and address."""
        methods = {
            "create": "POST",
            "deactivate": "PATCH",
            "reactivate": "PATCH",
            "update-name": "PATCH",
            "update-email": "PUT",
        }
        changes = self.state.changes(*(run for run, _ in self.state.newest_runs() if run not in self.known))
        return Counter(
            (methods[each["kind"]], each["email"])
            for each in changes
            if each["kind"] != "adopt" and each["outcome"] in {"done", "unknown"}
        )

    def statuses(self) -> set[str]:
        return {status for run, status in self.state.newest_runs() if run not in self.known}


@pytest.fixture(scope="module")
def made(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    url, folder = new_database(postgres_server), tmp_path_factory.mktemp("daemons")
    with run_sandbox(seed=9, size=20, limit=RateLimit(None)) as sandbox, State.at(url) as state:
        agent = scheduled(sandbox, folder, url, None)
        assert agent.run("sync").code in {0, 4}
        yield Harness(sandbox, agent, state)


@pytest.fixture
def harness(made: Harness) -> Harness:
    made.begin()
    return made


def scheduled(sandbox: Sandbox, folder: Path, url: str, schedule: object) -> Agent:
    """Write a configuration with one workspace; its daemons choose their own ports."""
    # One change at a time: a daemon that ends must leave some of its changes to the other.
    agent = configured(sandbox, folder, schedule, state={"url": url}, server=access(), apply={"in_flight": 1})
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["workspaces"] = {WORKSPACE: document["workspaces"][WORKSPACE]}
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    return agent


@dataclass
class Operator:
    """A person with a token, at one of the daemons."""

    client: httpx.Client

    def ask(self, **wanted: object) -> str:
        found = self.client.post(f"/workspaces/{WORKSPACE}/runs", json={"mode": "sync"} | wanted)
        run: str = found.raise_for_status().json()["id"]
        return run

    def approve(self, held: dict[str, Any]) -> str:
        approval = {"digest": held["digest"], "reason": "they left"}
        found = self.client.post(f"/runs/{held['id']}/approval", json=approval).raise_for_status()
        return str(found.json()["id"])

    def run(self, name: str) -> dict[str, Any]:
        """Return a run as it ended."""
        return ended(self.client, f"/runs/{name}")

    def do(self, what: str, reason: str) -> None:
        self.client.post(f"/workspaces/{WORKSPACE}/{what}", json={"reason": reason}).raise_for_status()


def addressed(body: Any) -> str:
    return str(body["userName"]).lower()


def at(daemon: Serving, stack: ExitStack) -> Operator:
    return Operator(stack.enter_context(operator_at(daemon)))


def test_two_daemons_with_one_schedule_make_each_change_once(harness: Harness, tmp_path: Path) -> None:
    url = harness.state.engine.url.render_as_string(hide_password=False)
    agent = scheduled(harness.sandbox, tmp_path, url, {"every": "10s"})
    first = harness.hire(*(f"First{number}" for number in range(6)))
    # So slow that the second daemon is due while the first one writes.
    harness.slow_down(3)
    with serving(agent) as one, serving(agent) as two:
        wait_until(lambda: harness.statuses() & {"busy", "done"}, "the end of a run")
        harness.slow_down()
        wait_until(lambda: all(map(harness.active, first)), "the newcomers")
        second = harness.hire(*(f"Second{number}" for number in range(4)))
        (leaver,) = leavers(harness.sandbox, 1)
        wait_until(lambda: all(map(harness.active, second)) and not harness.active(leaver.email), "the next changes")
        codes = one.stop(), two.stop()

    assert codes == (0, 0)
    sent = harness.sent()
    assert {("POST", email) for email in first + second} | {("PATCH", leaver.email.lower())} <= set(sent)
    assert set(sent.values()) == {1}
    assert harness.journalled() == sent
    assert harness.statuses() <= {"done", "busy"}


def test_what_one_daemon_is_asked_the_other_heeds(harness: Harness) -> None:
    with ExitStack() as stack:
        daemons = [stack.enter_context(serving(harness.agent)) for _ in range(2)]
        one, two = (at(daemon, stack) for daemon in daemons)

        # A run requested from one daemon waits for the other's, and reports that it is not finished.
        harness.hire(*(f"Queue{number}" for number in range(6)))
        harness.slow_down()
        ahead = one.ask()
        daemons[0].until("change.applied")
        behind = two.ask(reason="it can't wait")
        waiting = two.client.get(f"/runs/{behind}").json()
        done, waited = one.run(ahead), two.run(behind)

        # Each daemon is asked to pause the run of the other.
        late = harness.hire(*(f"Late{number}" for number in range(6)))
        harness.begin()
        harness.slow_down()
        paused = two.ask()
        daemons[1].until("change.applied")
        one.do("pause", "wrong group")
        stopped = two.run(paused)
        made = len(harness.sent())
        while_paused = two.run(two.ask())
        still = len(harness.sent())
        two.do("resume", "right group")
        harness.sandbox.faults.clear()
        resumed = one.run(one.ask())

        # A plan that one holds is approved at the other.
        departed = leavers(harness.sandbox, 6)
        held = one.run(one.ask())
        approved = two.run(two.approve(held))

    assert waiting["status"] in {"running", "waiting"}, waiting
    assert (done["status"], waited["status"]) == ("done", "done")
    assert not waited["changes"]
    assert waited["started_at"] >= done["finished_at"]
    assert stopped["status"] == "failed"
    assert 0 < made < len(late)
    assert (while_paused["status"], while_paused["changes"], still) == ("planned", [], made)
    assert resumed["status"] == "done"
    sent = harness.sent()
    assert {("POST", email) for email in late} | {("PATCH", each.email.lower()) for each in departed} <= set(sent)
    assert set(sent.values()) == {1}
    assert harness.journalled() == sent
    assert held["status"] == "held"
    assert (approved["status"], approved["approved"]) == ("done", held["digest"])


def test_killed_daemon_is_replaced_by_the_other_once_its_lease_is_void(harness: Harness) -> None:
    people = harness.hire(*(f"Orphan{number}" for number in range(8)))
    harness.slow_down()
    with ExitStack() as stack:
        dying, left = (stack.enter_context(serving(harness.agent)) for _ in range(2))
        died = at(dying, stack).ask()
        wait_until(lambda: sum(map(harness.active, people)) >= 2, "two newcomers")
        dying.process.send_signal(signal.SIGKILL)
        dying.process.wait(LONGEST_SECONDS)
        renewed = renewed_at(harness.state)
        other = at(left, stack)
        successor = other.run(other.ask(reason="the other one died"))
        lost = other.run(died)
        # What the other one worked on besides is taken up as well.
        wait_until(lambda: "running" not in harness.statuses(), "the end of each run")
        code = left.stop()

    assert (lost["status"], successor["status"], code) == ("interrupted", "done", 0)
    assert since(harness.state) - renewed >= VOID_AFTER
    sent = harness.sent()
    assert {("POST", email) for email in people} <= set(sent)
    assert set(sent.values()) == {1}
    assert set(harness.journalled()) == set(sent)
    assert "running" not in harness.statuses()


def renewed_at(state: State) -> int:
    with state.engine.connect() as connection:
        found: int = connection.execute(select(leases.c.renewed_at).where(leases.c.workspace == WORKSPACE)).scalar_one()
    return found


def since(state: State) -> int:
    with state.engine.connect() as connection:
        found: int = connection.execute(select(leases.c.since).where(leases.c.workspace == WORKSPACE)).scalar_one()
    return found
