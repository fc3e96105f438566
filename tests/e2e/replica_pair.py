"""Two replicas of `serve` on one PostgreSQL, each with a connection that a test can cut, silence or redirect."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

import httpx
import yaml
from sqlalchemy import Engine, create_engine, select, update
from sqlalchemy.engine import make_url

from agent.store.tables import daemons, jobs, leases, runs, schedules
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import postgres
from tests.e2e import wrong_clock
from tests.e2e.agent_process import LONGEST_SECONDS, REPOSITORY, Agent, AgentProcess
from tests.e2e.daemon_process import Serving, access, configured, serving
from tests.e2e.requested_run import ended, operator_at
from tests.e2e.tcp_proxy import Proxy, Trap, proxied
from tests.waiting import wait_until

__all__ = ["LATAM", "VOID_AFTER", "Pair", "made_pair"]

LATAM, EUROPE, GROUP = "pigment-latam", "pigment-eu", "Pigment LatAm"
TICK = "tick:every 1h"
VOID_AFTER = 15 * 1_000_000


@dataclass(frozen=True)
class StartedBy(Agent):
    """An agent that Python starts with *words*, in *folder*."""

    words: tuple[str, ...] = ()
    folder: Path = REPOSITORY

    def start(
        self,
        *arguments: str,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        variables: Mapping[str, str] | None = None,
    ) -> AgentProcess:
        command = [sys.executable, *self.words, "--config", str(self.config), *arguments]
        environment = self.environment | dict(variables or {})
        return subprocess.Popen(command, stdout=stdout, stderr=stderr, cwd=self.folder, env=environment)


@dataclass
class Pair:
    """Two workspaces on one schedule that is due when a test starts it. *url* leads to the database without a proxy."""

    server: postgres.Server
    sandbox: Sandbox
    name: str
    proxies: Sequence[Proxy]
    agents: Sequence[Agent]
    stack: ExitStack
    replicas: list[Serving] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    """Runs from before the test."""
    hired: int = 0
    engines: dict[str, Engine] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.server.url}/{self.name}"

    def rows(self, query: Any) -> list[tuple[Any, ...]]:
        if self.url not in self.engines:
            # Its connections end with the server.
            self.engines[self.url] = create_engine(self.url, pool_pre_ping=True)
        with self.engines[self.url].begin() as connection:
            found = connection.execute(query)
            return [tuple(row) for row in found] if found.returns_rows else []

    def begin(self) -> None:
        """Count from now on, with both replicas at work and nothing left to do."""
        self.sandbox.faults.clear()
        wait_until(self.are_ready, "both replicas ready")
        self.wait_for_jobs()
        self.sandbox.workspace(LATAM).write_log.clear()
        self.known = {run for (run,) in self.rows(select(runs.c.id))}
        for replica in self.replicas:
            _drain(replica)

    def hire(self, count: int) -> list[str]:
        """Hire people whom the next run creates."""
        self.hired += 1
        company = self.sandbox.company
        names = [f"New{self.hired}x{number}" for number in range(count)]
        return [company.hire("okta", name, "Comer", [GROUP]).email.lower() for name in names]

    def slow_down(self, seconds: float) -> None:
        """Let each create take so long."""
        slow = {"name": "slow", "do": "slow", "system": "pigment", "method": "POST", "seconds": seconds}
        self.sandbox.faults.put(parse_rules({"faults": [slow]}))

    def start_tick(self) -> None:
        self.rows(update(schedules).values(next_at=0))

    def is_active(self, email: str) -> bool:
        member = self.sandbox.workspace(LATAM).find_member(email)
        return member is not None and member.active

    def wait_for_one(self, people: Sequence[str]) -> None:
        """Wait until the first of *people* is created, and others are not yet."""
        wait_until(lambda: any(map(self.is_active, people)), "the first newcomer")

    def wait_for_jobs(self) -> None:
        """Wait until no job is left: each ends a moment after its run."""
        wait_until(lambda: not self.rows(select(jobs.c.id)), "the end of each job")

    def wait_for_tick(self, people: Sequence[str]) -> None:
        """Wait until the tick has ended that creates *people*."""
        wait_until(lambda: all(map(self.is_active, people)) and not self.rows(select(jobs.c.id)), "the end of the tick")

    def created(self) -> Counter[str]:
        writes = self.sandbox.workspace(LATAM).write_log.writes
        return Counter(str(write.body["userName"]).lower() for write in writes if write.method == "POST")  # type: ignore[index]  # what our agent sends

    def ended(self, trigger: str = "schedule") -> Counter[tuple[str, str]]:
        """Count the runs of the test by workspace and status."""
        query = select(runs.c.id, runs.c.workspace, runs.c.status).where(runs.c.trigger == trigger)
        return Counter((name, status) for run, name, status in self.rows(query) if run not in self.known)

    def lease(self, key: str = TICK) -> tuple[int, int]:
        """Return when the lease was taken, and when it was renewed last, in microseconds."""
        ((since, renewed_at),) = self.rows(select(leases.c.since, leases.c.renewed_at).where(leases.c.workspace == key))
        return since, renewed_at

    def worker(self) -> int:
        """Return the number of the replica that works on the tick, once one does."""
        query = select(daemons.c.pid).join(jobs, jobs.c.replica == daemons.c.id).where(jobs.c.id == TICK)
        ((pid,),) = wait_until(lambda: self.rows(query), "a replica at work on the tick")
        return [replica.process.pid for replica in self.replicas].index(pid)

    def ask(self, number: int, **wanted: object) -> dict[str, Any]:
        """Request a run of the replica, and return it as it ended."""
        with self.client(number) as client:
            asked = client.post(f"/workspaces/{LATAM}/runs", json={"mode": "sync", "reason": "a look"} | wanted)
            return ended(client, f"/runs/{asked.raise_for_status().json()['id']}")

    def client(self, number: int) -> httpx.Client:
        return operator_at(self.replicas[number])

    def kill(self, number: int) -> None:
        self.replicas[number].process.send_signal(signal.SIGKILL)
        self.replicas[number].process.wait(LONGEST_SECONDS)

    def start_again(self, number: int) -> None:
        self.replicas[number] = self.stack.enter_context(serving(self.agents[number]))

    @contextmanager
    def joined_by(self, *words: str, folder: Path = REPOSITORY) -> Iterator[int]:
        """Start another replica with *words*, and yield its number."""
        agent = StartedBy(self.agents[0].config, words=words, folder=folder)
        with serving(agent) as replica, self._with(replica) as number:
            yield number

    @contextmanager
    def joined_at(self, seconds_ahead: int) -> Iterator[int]:
        """Start another replica with a clock that is wrong, and yield its number."""
        variables = {wrong_clock.VARIABLE: str(seconds_ahead)}
        with serving(self.agents[0], **variables) as replica, self._with(replica) as number:
            yield number

    @contextmanager
    def _with(self, replica: Serving) -> Iterator[int]:
        number = len(self.replicas)
        self.replicas.append(replica)
        try:
            yield number
        finally:
            self.replicas.remove(replica)

    @contextmanager
    def suspended(self, *numbers: int) -> Iterator[None]:
        """Suspend replicas, wherever they are: the database ends the transaction of one that is inside of it."""
        processes = [self.replicas[number].process for number in numbers]
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)

    def suspend_at(self, statement: str, *, is_committed: bool) -> int:
        """Suspend the replica that first commits *statement*, and return its number once it is."""
        traps = []
        for proxy, replica in zip(self.proxies, self.replicas, strict=True):
            spring = partial(replica.process.send_signal, signal.SIGSTOP)
            proxy.trap = Trap(statement.encode(), spring, is_committed)
            traps.append(proxy.trap)
        wait_until(lambda: any(trap.sprung.is_set() for trap in traps), f"a replica at {statement}")
        number = [trap.sprung.is_set() for trap in traps].index(True)
        self.proxies[1 - number].trap = None
        return number

    def wake(self, number: int) -> None:
        """Let a suspended replica go on."""
        trap, self.proxies[number].trap = self.proxies[number].trap, None
        self.replicas[number].process.send_signal(signal.SIGCONT)
        if trap is not None:
            trap.release()

    def expect_all_at_work(self) -> None:
        """Both replicas are ready and take requests."""
        wait_until(self.are_ready, "both replicas ready")
        for number in range(len(self.replicas)):
            assert self.ask(number)["status"] == "done"
        self.wait_for_jobs()

    def wait_until_given_up(self, number: int) -> None:
        """Wait until the replica has noticed that the job it worked on is no longer its own."""
        self.replicas[number].until("job.lost", "job.failed")

    def are_ready(self) -> bool:
        return all(replica.answer("/readyz").status_code == 200 for replica in self.replicas)


def _drain(replica: Serving) -> None:
    try:
        while True:
            replica.seen.append(replica.lines.get_nowait())
    except Empty:
        return


@contextmanager
def made_pair(folder: Path, **login: object) -> Iterator[Pair]:
    """Yield two replicas whose first tick has ended; *login* is added to `server:` in their configuration."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres.serve())
        url = make_url(postgres.new_database(server.url))
        sandbox = stack.enter_context(run_sandbox(seed=9, size=20, limit=RateLimit(None)))
        proxies = [stack.enter_context(proxied("127.0.0.1", server.port)) for _ in range(2)]
        agents = []
        for number, proxy in enumerate(proxies):
            place = folder / str(number)
            place.mkdir()
            through = url.set(port=proxy.port).render_as_string(hide_password=False)
            agent = configured(sandbox, place, {"every": "1h"}, state={"url": through}, server=access() | login)
            # One change at a time: trouble in the middle of a run must find some of its changes not sent yet.
            document = yaml.safe_load(agent.config.read_text("utf-8"))
            document["workspaces"] = {name: document["workspaces"][name] for name in (LATAM, EUROPE)}
            document["apply"] = {"in_flight": 1}
            document["limits"] = {"fleet_deactivations_percent": 100}
            # So that a tick has writes under way and others that wait, however few people there are.
            document["apply"] = {"in_flight": 2}
            agent.config.write_text(yaml.safe_dump(document), "utf-8")
            agents.append(agent)
        pair = Pair(server, sandbox, str(url.database), proxies, agents, stack)
        for agent in agents:
            pair.replicas.append(stack.enter_context(serving(agent)))
        first = select(runs.c.workspace).where(runs.c.finished_at.is_not(None))
        wait_until(lambda: len(set(pair.rows(first))) == 2, "the first tick")
        try:
            yield pair
        finally:
            for engine in pair.engines.values():
                engine.dispose()
            for number, replica in enumerate(pair.replicas):
                replica.process.send_signal(signal.SIGCONT)
                pair.wake(number)
