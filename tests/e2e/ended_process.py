"""End the agent at its k-th write, and inspect what it left in the workspace and in its state."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml
from sqlalchemy import Engine, create_engine, select

from agent.store.tables import changes, leases, links, request_budgets, runs
from sandbox.pigment.write_log import Write
from sandbox.server import Sandbox
from tests.e2e.agent_process import Agent, AgentProcess

__all__ = ["WORKSPACE", "Ended", "State", "Unheard", "Workforce", "environment_points", "unlimited"]

WORKSPACE = "pigment-latam"
GROUP = "Pigment LatAm"
HOUR = 3600 * 1_000_000
WRITES = frozenset({"POST", "PUT", "PATCH"})


def unlimited(config: Path, **more: object) -> Agent:
    """Raise every limit of the configuration, so that no guard holds many changes at once."""
    document = yaml.safe_load(config.read_text("utf-8"))
    limits = {"max_deactivations": 100_000, "max_deactivations_percent": 100, "max_email_changes": 100_000}
    document["defaults"] = {"limits": limits}
    document["limits"] = {"fleet_deactivations_percent": 100}
    config.write_text(yaml.safe_dump(document | more), "utf-8")
    return Agent(config)


class Ended(list[Write]):
    """The workspace's journal, which sends *process* a signal as its k-th write is made and not yet answered."""

    def __init__(self, process: AgentProcess, at: int, number: int) -> None:
        super().__init__()
        self.process = process
        self.at = at
        self.number = number

    def append(self, write: Write) -> None:
        super().append(write)
        if len(self) == self.at:
            self.process.send_signal(self.number)


class Unheard(Counter[str]):
    """The workspace's count of requests, which kills *process* as its k-th write arrives; that one is never made."""

    def __init__(self, process: AgentProcess, at: int) -> None:
        super().__init__()
        self.process = process
        self.at = at

    def __setitem__(self, method: str, count: int) -> None:
        super().__setitem__(method, count)
        if method in WRITES and sum(self[each] for each in WRITES) == self.at:
            self.process.kill()
            self.process.wait()
            raise ConnectionResetError("nobody is there any more")


@dataclass
class Workforce:
    """The people of one company: in each round some join, leave and change."""

    sandbox: Sandbox
    rounds: int = 0
    waiting: list[str] = field(default_factory=list)

    def hire(self, count: int) -> list[str]:
        """Hire people with unique names, and return their ids."""
        self.rounds += 1
        names = (f"Hire{self.rounds}x{number}" for number in range(count))
        return [self.sandbox.company.hire("okta", name, "Tester", [GROUP]).id for name in names]

    def change(self, candidates: list[str]) -> tuple[int, list[str]]:
        """Let 5 of *candidates* go, 5 marry, 5 be renamed and 5 be suspended; those of the last round come back, and 15
        others come. Return how many changes that makes, and who may change in the next round."""
        company = self.sandbox.company
        departed, married, renamed, suspended = (candidates[start : start + 5] for start in (0, 5, 10, 15))
        for person in departed:
            company.leave(person)
        for person in married:
            company.marry(person, f"Wedded{self.rounds}{company.person(person).given}")
        for person in renamed:
            company.rename(person, given=f"{company.person(person).given}b")
        for person in suspended:
            company.suspend(person)
        back, self.waiting = self.waiting, suspended
        for person in back:
            company.reinstate(person)
        hired = self.hire(15)
        count = len(departed) + len(married) + len(renamed) + len(suspended) + len(back) + len(hired)
        return count, [*hired, *renamed, *married, *back]

    def wrong(self) -> list[str]:
        """Return a line for each of our people with a member that differs from the company's data."""
        space, differences = self.sandbox.workspace(WORKSPACE), []
        for person in self.sandbox.company.okta.people.values():
            if not person.given.startswith("Hire"):
                continue
            is_active = person.status == self.sandbox.company.okta.status_words.active
            is_in = any(group.name == GROUP for group in self.sandbox.company.groups_of(person))
            member = space.find_member(person.email)
            shown = (member.active, member.display_name) if member else None
            wanted = (is_active and is_in, f"{person.given} {person.family}")
            if shown != wanted:
                differences.append(f"{person.email}: {shown} and not {wanted}")
        return differences


@dataclass(frozen=True)
class State:
    """The agent's state, read directly from its database."""

    engine: Engine

    @classmethod
    @contextmanager
    def at(cls, url: str) -> Iterator[State]:
        engine = create_engine(url)
        try:
            yield cls(engine)
        finally:
            engine.dispose()

    def let_lease_go_void(self) -> None:
        """As if 15 s had passed."""
        with self.engine.begin() as connection:
            connection.execute(leases.update().values(renewed_at=0))

    def let_pauses_end(self) -> None:
        """As if the time had passed that a host asked all processes to wait."""
        with self.engine.begin() as connection:
            connection.execute(request_budgets.update().values(paused_until=0))

    def renewed_at(self) -> set[int]:
        """Return when each lease was renewed last: 0 where it was released."""
        with self.engine.connect() as connection:
            return set(connection.execute(select(leases.c.renewed_at)).scalars())

    def let_an_hour_pass(self) -> None:
        """As if all changes so far were an hour old, and counted against no limit any more."""
        with self.engine.begin() as connection:
            connection.execute(changes.update().values(sent_at=changes.c.sent_at - HOUR))

    def links(self) -> dict[str, str]:
        """Return the SCIM id of each person."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(links.c.person, links.c.scim_id).where(links.c.workspace == WORKSPACE))
            return {row.person: row.scim_id for row in rows}

    def newest_runs(self) -> list[tuple[str, str]]:
        """Return id and status of each run, newest first."""
        with self.engine.connect() as connection:
            newest = select(runs.c.id, runs.c.status).order_by(runs.c.started_at.desc())
            return [(row.id, row.status) for row in connection.execute(newest)]

    def changes(self, *run_ids: str) -> list[dict[str, Any]]:
        """Return what the journal has of these runs, in the order in which it was sent."""
        with self.engine.connect() as connection:
            theirs = select(changes).where(changes.c.run_id.in_(run_ids)).order_by(changes.c.sent_at, changes.c.seq)
            rows = connection.execute(theirs).mappings()
            return [{**row, "change": orjson.loads(row["change"])} for row in rows]


def environment_points(name: str, usual: list[int], last: int) -> list[int]:
    """Return at which writes to end the agent: *usual*, or all of them where the environment asks for `all`."""
    return list(range(1, last + 1)) if os.environ.get(name) == "all" else usual
