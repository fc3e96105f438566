"""A workspace with behaviour never observed at Pigment: possible changes are made, and created members are known."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.cli.app import run_cli
from sandbox.faults.parse import parse_rules
from sandbox.pigment.member import Member
from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.ended_process import GROUP, WORKSPACE, State, Workforce, unlimited

LATE = 100_000.0
"""So far ahead on the workspace's timer that what was written before is old."""


@dataclass
class Harness:
    """One company in sync, and the agent that keeps it so."""

    sandbox: Sandbox
    config: Path
    state: State
    workforce: Workforce
    capture: pytest.CaptureFixture[str]
    seconds: list[float] = field(default_factory=lambda: [0.0])

    def sync(self) -> int:
        code = run_cli(["--config", str(self.config), "sync", "-w", WORKSPACE])
        self.capture.readouterr()
        return code

    def plan(self) -> Any:
        """Return the workspace of a dry run."""
        self.capture.readouterr()
        assert run_cli(["--config", str(self.config), "plan", "-w", WORKSPACE, "--format", "json"]) == 0
        return json.loads(self.capture.readouterr().out)["workspaces"][0]

    def codes(self) -> set[str]:
        return {hold["code"] for hold in self.plan()["holds"]}

    def switch(self, **switches: Any) -> None:
        self.sandbox.workspace(WORKSPACE).options = WorkspaceOptions(**switches)

    def fault(self, *rules: dict[str, object]) -> None:
        path = f"/{WORKSPACE}/*"
        self.sandbox.faults.put(
            parse_rules({"faults": [{"system": "pigment", "path": path, **rule} for rule in rules]})
        )

    def hire(self, given: str) -> Any:
        return self.sandbox.company.hire("okta", f"Hire{given}", "Tester", [GROUP])

    def member(self, email: str) -> Member | None:
        return self.sandbox.workspace(WORKSPACE).find_member(email)

    def outcomes(self) -> Counter[str]:
        (newest, _), *_ = self.state.newest_runs()
        return Counter(each["outcome"] for each in self.state.changes(newest))

    def details(self) -> str:
        (newest, _), *_ = self.state.newest_runs()
        return " ".join(each["detail"] for each in self.state.changes(newest))

    def posts(self) -> int:
        return len([each for each in self.sandbox.requests("pigment", "POST") if WORKSPACE in each.path])


@pytest.fixture
def harness(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Harness]:
    url = f"sqlite:///{tmp_path}/state.db"
    with run_sandbox(seed=12, size=12, limit=RateLimit(None)) as sandbox:
        bounds = {"timeout_seconds": 30, "max_wait_seconds": 60, "retries": 1}
        agent = unlimited(sandbox.write_config(tmp_path, url), http=bounds)
        with State.at(url) as state:
            harness = Harness(sandbox, agent.config, state, Workforce(sandbox), capsys)
            sandbox.workspace(WORKSPACE).elapsed = lambda: harness.seconds[0]
            assert harness.sync() == 0
            harness.seconds[0] = LATE
            sandbox.request_log.clear()
            yield harness


def test_second_create_that_was_lost_is_held_and_deactivated_with_its_person(harness: Harness) -> None:
    person = harness.hire("Lost")
    first = person.email
    harness.fault({"do": "reset", "method": "POST", "times": 1}, {"do": "status", "status": 502, "query": "*filter*"})
    assert harness.sync() == 5
    assert harness.outcomes()["unknown"] == 1
    # Her address changes before any listing shows the member. It may appear yet, so no other one is created.
    harness.sandbox.faults.clear()
    harness.switch(reads_lag=3_600)
    second = harness.sandbox.company.rename(person, email="hire.lost@acme.com").email
    posts = harness.posts()
    for _ in range(3):
        assert harness.sync() == 0
        assert [hold["code"] for hold in harness.plan()["holds"] if hold["email"] == second] == ["create-unsettled"]
    assert harness.posts() == posts
    # After an hour and three listings without it, the next run creates another one.
    harness.state.let_an_hour_pass()
    assert harness.sync() == 0
    assert harness.posts() == posts + 1
    harness.switch()
    assert harness.sync() == 0

    members = harness.member(first), harness.member(second)
    assert [member.active for member in members if member] == [True, True]
    workspace = harness.plan()
    (hold,) = [hold for hold in workspace["holds"] if hold["code"] == "duplicate-member"]
    assert first in hold["reason"]
    assert second in hold["reason"]
    assert "links assign" in hold["remedy"]
    assert workspace["changes"] == []
    assert not [note for note in workspace["notes"] if note["email"] == first]

    # Whatever happens to the member meanwhile, the agent remembers its owner.
    harness.sandbox.workspace(WORKSPACE).admin_rename(first, "Somebody")
    harness.sandbox.company.quit(person, GROUP)
    workspace = harness.plan()
    codes = {each["email"]: each["code"] for each in workspace["changes"]}
    assert codes.keys() == {first, second}
    assert codes[first] == "duplicate-left"
    assert harness.sync() == 0
    assert [member.active for member in members if member] == [False, False]
    assert "duplicate-member" not in harness.codes()


def test_accepted_create_that_is_not_listed_is_not_posted_again_and_is_adopted_when_it_is(harness: Harness) -> None:
    person = harness.hire("Slow")
    harness.switch(reads_lag=3_600, writes_shown=False)
    assert harness.sync() == 5
    assert harness.outcomes()["unknown"] == 1
    for _ in range(4):
        assert harness.sync() == 0
    (hold,) = [hold for hold in harness.plan()["holds"] if hold["code"] == "create-unsettled"]
    assert (hold["email"], hold["kind"]) == (person.email, "create")
    assert harness.posts() == 1

    harness.switch()
    assert harness.sync() == 0
    member = harness.member(person.email)
    assert member is not None
    assert harness.state.links()[person.id] == member.id
    assert "create-unsettled" not in harness.codes()
    assert harness.posts() == 1


def test_accepted_create_that_was_never_made_is_posted_again_after_an_hour_and_three_listings(harness: Harness) -> None:
    person = harness.hire("Ghost")
    harness.fault({"do": "dropped", "posts": True, "method": "POST", "times": 1})
    assert harness.sync() == 5
    for _ in range(3):
        assert harness.sync() == 0
    assert (harness.posts(), harness.member(person.email)) == (1, None)

    harness.state.let_an_hour_pass()
    harness.state.let_an_hour_pass()
    assert harness.sync() == 0
    assert harness.posts() == 2
    assert harness.member(person.email) is not None
    assert harness.plan()["changes"] == []


def test_reads_that_lag_behind_writes_fail_no_change(harness: Harness) -> None:
    people = [harness.hire(f"Lag{letter}") for letter in "abc"]
    assert harness.sync() == 0
    harness.sandbox.workspace(WORKSPACE).elapsed = lambda: time.monotonic() + 2 * LATE
    harness.switch(reads_lag=1, writes_shown=False)
    harness.sandbox.company.leave(people[0])
    harness.sandbox.company.marry(people[1], "Wed")
    harness.sandbox.company.rename(people[2], given="HireLagd")
    harness.hire("Lage")
    assert harness.sync() == 0
    assert harness.outcomes() == {"done": 4}
    assert harness.workforce.wrong() == []


def test_one_answer_that_refuses_one_member_stops_no_other(harness: Harness) -> None:
    admin, other = harness.hire("Admin"), harness.hire("Other")
    assert harness.sync() == 0
    harness.switch(last_admin=admin.email)
    for person in (admin, other):
        harness.sandbox.company.leave(person)
    joiner = harness.hire("Joiner")
    for outcomes in ({"done": 2, "failed": 1}, {"failed": 1}):
        assert harness.sync() == 5
        assert harness.outcomes() == outcomes
        assert "The last security admin can't be deactivated" in harness.details()
        assert harness.state.newest_runs()[0][1] == "failed"
    shown = [harness.member(person.email) for person in (admin, other, joiner)]
    assert [member.active for member in shown if member] == [True, False, True]


def test_seats_that_are_taken_fail_each_create_and_nothing_else(harness: Harness) -> None:
    married = harness.hire("Bride")
    assert harness.sync() == 0
    harness.switch(seats=1)
    harness.workforce.hire(3)
    harness.sandbox.company.marry(married, "Wed")
    harness.sandbox.request_log.clear()
    assert harness.sync() == 5
    assert harness.outcomes() == {"done": 1, "failed": 3}
    assert "All 1 seats of the workspace are taken" in harness.details()
    probes = [each for each in harness.sandbox.requests("pigment", "GET") if "count=1&" in f"{each.query}&"]
    assert len(probes) == 1


def test_link_follows_a_member_whose_id_follows_its_email(harness: Harness) -> None:
    harness.switch(ids="email")
    one, other = harness.hire("Anna"), harness.hire("Berta")
    assert harness.sync() == 0
    # Berta takes the address that Anna leaves, and with it the id.
    previous_email = one.email
    harness.sandbox.company.rename(one, email="hire.anna.new@acme.com")
    harness.sandbox.company.rename(other, email=previous_email)
    assert harness.sync() == 0
    assert harness.outcomes() == {"done": 2}
    assert harness.state.links()[one.id] == "hire.anna.new@acme.com"
    assert harness.state.links()[other.id] == previous_email
    workspace = harness.plan()
    assert workspace["changes"] == []
    assert "drift" not in {note["code"] for note in workspace["notes"]}
    harness.sandbox.company.leave(one)
    assert harness.sync() == 0
    gone, there = harness.member("hire.anna.new@acme.com"), harness.member(previous_email)
    assert [member.active for member in (gone, there) if member] == [False, True]


def test_put_that_leaves_the_member_inactive_is_a_failure_that_the_next_run_makes_good(harness: Harness) -> None:
    person = harness.hire("Out")
    assert harness.sync() == 0
    harness.switch(put_active="lost")
    harness.sandbox.company.marry(person, "Wed")
    assert harness.sync() == 5
    assert harness.outcomes() == {"not-persisted": 1}
    assert "changed its active" in harness.details()
    assert harness.sync() == 0
    assert harness.workforce.wrong() == []


@pytest.mark.parametrize(
    "switches",
    [
        {"byte_order_mark": True},
        {"etags": True, "versions": "strict"},
        {"etags": True, "versions": "demanded"},
        {"writes_shown": False},
    ],
    ids=["byte-order-mark", "weak-versions", "versions-demanded", "writes-not-shown"],
)
def test_servers_that_only_speak_another_way_are_kept_in_step(harness: Harness, switches: dict[str, Any]) -> None:
    harness.switch(**switches)
    people = [harness.hire(f"Way{letter}") for letter in "abc"]
    assert harness.sync() == 0
    harness.sandbox.company.leave(people[0])
    harness.sandbox.company.marry(people[1], "Wed")
    harness.sandbox.company.rename(people[2], given="HireWayd")
    assert harness.sync() == 0
    assert harness.outcomes() == {"done": 3}
    assert harness.workforce.wrong() == []


def test_403_that_names_a_time_is_waited_for_in_reads_and_writes(harness: Harness) -> None:
    limit = {"do": "status", "status": 403, "headers": {"Retry-After": "1"}}
    harness.fault({**limit, "method": "GET", "at": 1}, {**limit, "method": "POST", "at": 1})
    harness.hire("Patient")
    assert harness.sync() == 0
    assert len(harness.sandbox.faults.fired) == 2
    assert harness.workforce.wrong() == []
