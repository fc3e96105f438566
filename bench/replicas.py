"""Many workspaces on several replicas of `serve` on one PostgreSQL: `.venv/bin/python -m bench.replicas --help`.

Okta and Pigment are `bench.waiting_servers`, and each workspace is in sync and has a schedule of its own.

Speed: the time from the moment at which all are due to the end of the last run, with each number of replicas. Every
workspace has three changes. Pigment has no limit, which would be all that is measured: 200 ticks are 800 requests.

Soak, with `--minutes`: Pigment has its real limit, people come and go, and once a minute a replica is killed and
another one suspended for half a minute. Triggers in the database record what happened (`bench.replica_journal`).
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import yaml
from sqlalchemy import Engine, create_engine, insert, select, text, update

from agent.daemon.schedule import format_schedule
from agent.settings.workspace import ScheduleSettings
from agent.store.tables import daemons, jobs, leases, schedules
from bench.cpu_time import CpuMeter
from bench.replica_journal import Disturbance, Schedule, Verdict, judge, load_events, watch
from bench.waiting_servers import ADDRESS, Servers, app_id, run_servers
from tests import postgres

MICROS = 1_000_000
DAY = 86_400
UNLIMITED = 1_000_000
BUDGET = 480
HALF_MINUTE = 30.0
SETTLE_SECONDS = 900.0
READY = '"server.listening"'
LEAD_SECONDS = 60.0
"""How long replicas have to start before the first tick of the soak."""
KINDS = ("join", "join", "leave", "rename")


@dataclass(frozen=True, slots=True)
class World:
    """The size of everything, and where the servers are."""

    workspaces: int
    people: int
    okta_port: int
    pigment_port: int

    @property
    def names(self) -> list[str]:
        return [f"w{number:03}" for number in range(self.workspaces)]

    def schedules(self, every: int) -> dict[str, Schedule]:
        """Return a schedule for each workspace: each a second longer than the one before."""
        return {
            _schedule_name(every + number): Schedule(every + number, (name,)) for number, name in enumerate(self.names)
        }

    def write_config(self, path: Path, url: str, every: int | None, budget: int = UNLIMITED) -> None:
        """Write a configuration, in which *every* is the shortest schedule; None: without schedules."""
        document = {
            "log": {"level": "info", "format": "json"},
            "state": {"url": url},
            "server": {"port": 0},
            "connectors": {
                "okta-main": {
                    "type": "okta",
                    "org_url": f"http://{ADDRESS}:{self.okta_port}",
                    "api_token": "bench-token-of-okta",
                }
            },
            "workspaces": {
                name: {
                    "scim_url": f"http://{ADDRESS}:{self.pigment_port}/{number}/scim/v2",
                    "tokens": [f"bench-token-of-{name}"],
                    "sources": [{"connector": "okta-main", "app": app_id(number)}],
                    "mode": "enforce",
                    **({} if every is None else {"schedule": {"every": f"{every + number}s"}}),
                }
                for number, name in enumerate(self.names)
            },
            "pigment": {"requests_per_window": budget},
        }
        written = path.with_suffix(".new")
        written.touch(0o600)
        written.write_text(yaml.safe_dump(document), "utf-8")
        written.replace(path)

    @contextmanager
    def serve(self, latency: float, *, is_changed: bool = False, has_limit: bool = True) -> Iterator[Servers]:
        ports, size = (self.okta_port, self.pigment_port), (self.workspaces, self.people)
        with run_servers(ports, size, latency, is_changed=is_changed, has_limit=has_limit) as servers:
            yield servers


def _schedule_name(seconds: int) -> str:
    return format_schedule(ScheduleSettings.model_validate({"every": f"{seconds}s"}))


@dataclass(slots=True)
class Replicas:
    """The running replicas of one configuration."""

    folder: Path
    config: Path
    meter: CpuMeter
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _logs: list[Path] = field(default_factory=list)

    def start(self) -> None:
        command = [sys.executable, "-m", "agent", "--config", str(self.config), "serve"]
        log = self.folder / f"serve-{len(self._logs)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=_environment())
        self._logs.append(log)
        self.running.append(process)
        self.meter.add(process.pid)

    def wait_until_ready(self) -> None:
        for log in self._logs:
            wait_until(partial(_contains, log, READY), 120)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        self._reap(process)

    def stop(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in list(self.running):
            self._reap(process)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        process.returncode = self.meter.reap(process.pid)
        self.running.remove(process)

    def count(self, event: str) -> int:
        return sum(log.read_text("utf-8").count(f'"{event}"') for log in self._logs)


class Bench:
    """One PostgreSQL, and a folder for the configurations and logs."""

    def __init__(self, world: World, folder: Path, server: postgres.Server, latency: float) -> None:
        self.world, self.folder, self.server, self.latency = world, folder, server, latency

    def prepare(self) -> str:
        """Sync all workspaces with servers that do not wait, and return the name of that database."""
        url = postgres.new_database(self.server.url)
        config = self.folder / "prepare.yaml"
        self.world.write_config(config, url, None)
        with self.world.serve(0.0, has_limit=False) as servers:
            command = [sys.executable, "-m", "agent", "--config", str(config), "sync"]
            started = time.monotonic()
            with (self.folder / "prepare.log").open("wb") as log:
                subprocess.run(command, check=True, env=_environment(), stdout=log, stderr=log)
            writes = servers.requests()["writes"]
            print(f"first sync: {time.monotonic() - started:.0f} s, writes: {dict(writes)}", flush=True)
        with connected(url) as engine:
            watch(engine)
        return url.rpartition("/")[2]

    def copy(self, template: str, every: int, lead: float, spread: float) -> str:
        """Copy the database *template* and make its schedules due: the first in *lead* seconds, all within *spread*."""
        url = postgres.new_database(self.server.url, template)
        with connected(url) as engine, engine.begin() as connection:
            now: int = connection.execute(select(now_micros())).scalar_one()
            times = [
                now + round((lead + spread * at / self.world.workspaces) * MICROS)
                for at in range(self.world.workspaces)
            ]
            names = self.world.schedules(every)
            rows = [{"name": name, "next_at": at} for name, at in zip(names, times, strict=True)]
            connection.execute(insert(schedules), rows)
        return url

    def measure(self, template: str, count: int) -> None:
        """Print how long *count* replicas take for a tick of each workspace, from when all are due to the last end."""
        every = DAY
        url = self.copy(template, every, lead=float(DAY), spread=0.0)
        config = self.folder / f"measure-{count}.yaml"
        self.world.write_config(config, url, every)
        with (
            self.world.serve(self.latency, is_changed=True, has_limit=False) as servers,
            self.replicas(config, servers) as replicas,
        ):
            for _ in range(count):
                replicas.start()
            replicas.wait_until_ready()
            with connected(url) as engine:
                begin = make_due(engine)
                replicas.meter.restart()
                wait_until(lambda: is_over(engine, self.world.workspaces), 3600)
                cpu = replicas.meter.read()
                events = load_events(engine)
            behind, requests = servers.workspaces_behind(), servers.requests()
        verdict = judge(events, self.world.schedules(every), [])
        seconds = (max(event.at for event in events if event.kind == "finished") - begin) / MICROS
        print(f"\n{count} replicas: {seconds:.1f} s for {verdict.ticks} ticks; {cpu}")
        print_verdict(verdict, behind, requests)

    @contextmanager
    def replicas(self, config: Path, servers: Servers) -> Iterator[Replicas]:
        if self.server.process is None:
            raise AssertionError("it was started")
        meter = CpuMeter([*servers.pids, self.server.process.pid])
        folder = self.folder / config.stem
        folder.mkdir()
        found = Replicas(folder, config, meter)
        try:
            yield found
        finally:
            found.stop()

    def soak(self, template: str, count: int, wanted: argparse.Namespace) -> None:
        """Kill and suspend replicas while people come and go, and print what became of every tick."""
        every = wanted.every
        # A time further ahead than an interval counts as due.
        url = self.copy(template, every, LEAD_SECONDS, spread=float(every))
        config = self.folder / "soak.yaml"
        self.world.write_config(config, url, every, BUDGET)
        with (
            self.world.serve(self.latency) as servers,
            self.replicas(config, servers) as replicas,
            connected(url) as engine,
        ):
            for _ in range(count):
                replicas.start()
            replicas.wait_until_ready()
            replicas.meter.restart()
            soak = Soak(servers, replicas, engine, self.world.workspaces, wanted.change_every)
            soak.disturb(round(wanted.minutes))
            wait_until(lambda: not servers.workspaces_behind(), SETTLE_SECONDS, pause=2.0)
            # The way an operator stops a schedule: what is under way ends.
            self.world.write_config(config, url, None, BUDGET)
            wait_until(lambda: not open_jobs(engine), SETTLE_SECONDS, pause=2.0)
            time.sleep(5.0)
            cpu = replicas.meter.read()
            behind, requests, left = servers.workspaces_behind(), servers.requests(), open_jobs(engine)
            events = load_events(engine)
            (self.folder / "events.json").write_bytes(orjson.dumps([events, soak.disturbances]))
            verdict = judge(events, self.world.schedules(every), soak.disturbances)
            logged = {event: replicas.count(event) for event in ("job.taken_over", "job.lost", "tick.skipped")}
        kinds = dict(Counter(each.kind for each in soak.disturbances))
        print(f"\nsoak of {wanted.minutes:g} minutes, {cpu.wall:.0f} s until all had settled; {count} replicas; {cpu}")
        print(f"disturbed: {kinds}, changes: {dict(soak.changes)}, jobs left: {left}, logged: {logged}")
        print_verdict(verdict, behind, requests)


@dataclass(slots=True)
class Soak:
    """Replicas that are killed and suspended while people come and go."""

    servers: Servers
    replicas: Replicas
    engine: Engine
    workspaces: int
    change_every: float
    changes: Counter[str] = field(default_factory=Counter)
    disturbances: list[Disturbance] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def disturb(self, minutes: int) -> None:
        """Kill a replica, start another in its place, and suspend a third one for half a minute: each minute."""
        wait_until(lambda: bool(self._working()), 2 * LEAD_SECONDS)
        self._let_people_change(HALF_MINUTE)
        for _ in range(minutes):
            victim = self._choose()
            replica = self._id_of(victim)
            self.replicas.kill(victim)
            self._record("kill -9", replica)
            self.replicas.start()
            self._let_people_change(HALF_MINUTE)
            victim = self._choose()
            replica = self._id_of(victim)
            victim.send_signal(signal.SIGSTOP)
            self._record("SIGSTOP", replica)
            self._let_people_change(HALF_MINUTE)
            victim.send_signal(signal.SIGCONT)

    def _record(self, kind: str, replica: str) -> None:
        with self.engine.connect() as connection:
            at = connection.execute(select(now_micros())).scalar_one()
        self.disturbances.append(Disturbance(at, kind, replica))
        print(f"{time.strftime('%H:%M:%S')} {kind} of {replica}", flush=True)

    def _choose(self) -> subprocess.Popen[bytes]:
        """Choose one of the replicas that work on something."""
        busy = {pid for pid, replica in self._ids().items() if replica in self._working()}
        return self._random.choice(
            [each for each in self.replicas.running if each.pid in busy] or self.replicas.running
        )

    def _id_of(self, process: subprocess.Popen[bytes]) -> str:
        wait_until(lambda: process.pid in self._ids(), 60)
        return self._ids()[process.pid]

    def _ids(self) -> dict[int, str]:
        with self.engine.connect() as connection:
            return {row.pid: row.id for row in connection.execute(select(daemons).order_by(daemons.c.started_at))}

    def _working(self) -> set[str]:
        with self.engine.connect() as connection:
            joined = select(jobs.c.replica).join(leases, leases.c.workspace == jobs.c.id).where(leases.c.renewed_at > 0)
            return set(connection.execute(joined).scalars())

    def _let_people_change(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            kind = self._random.choice(KINDS)
            self.servers.change(self._random.randrange(self.workspaces), kind)
            self.changes[kind] += 1
            time.sleep(min(left, self.change_every))


def print_verdict(verdict: Verdict, behind: list[int], requests: dict[str, Any]) -> None:
    print(f"due: {verdict.due}, ticks: {verdict.ticks}, runs by status: {dict(verdict.statuses)}")
    for what, lines in (("lost", verdict.lost), ("doubled", verdict.doubled)):
        print(f"{what}: {len(lines)}", *lines[:20], sep="\n  ")
    for kind, seconds in verdict.takeovers.items():
        shown = f"{min(seconds):.1f} to {max(seconds):.1f} s" if seconds else "none"
        print(f"work of a replica after {kind} taken over: {len(seconds)} workspaces, {shown}")
    print(f"workspaces behind at the end: {len(behind)} {behind[:20]}; requests to Pigment: {requests}", flush=True)


def now_micros() -> Any:
    return text("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


def make_due(engine: Engine) -> int:
    """Make all schedules due now, and return when that was. None may be due before."""
    with engine.begin() as connection:
        now: int = connection.execute(select(now_micros())).scalar_one()
        connection.execute(update(schedules).values(next_at=now))
        connection.exec_driver_sql("TRUNCATE bench_events")
    return now


def is_over(engine: Engine, ticks: int) -> bool:
    with engine.connect() as connection:
        ended = connection.exec_driver_sql("SELECT count(*) FROM bench_events WHERE kind = 'ended'").scalar_one()
    return bool(ended >= ticks)


def open_jobs(engine: Engine) -> int:
    with engine.connect() as connection:
        return len(connection.execute(select(jobs.c.id)).all())


def wait_until(holds: Callable[[], bool], seconds: float, pause: float = 0.5) -> None:
    """Wait, for *seconds* at most: what does not hold then is in the figures."""
    ends = time.monotonic() + seconds
    while not holds() and time.monotonic() < ends:
        time.sleep(pause)


def _contains(file: Path, words: str) -> bool:
    return words in file.read_text("utf-8")


@contextmanager
def connected(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _environment() -> dict[str, str]:
    return os.environ | {"NO_PROXY": "127.0.0.0/8,127.0.0.1", "no_proxy": "127.0.0.0/8,127.0.0.1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspaces", type=int, default=200)
    parser.add_argument("--people", type=int, default=500, help="people of each workspace")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--latency", type=float, default=3.0, help="seconds that each answer waits")
    parser.add_argument("--every", type=int, default=300, help="seconds of the shortest schedule of the soak")
    parser.add_argument("--change-every", type=float, default=2.5, help="seconds between changes in the soak")
    parser.add_argument("--minutes", type=float, default=0.0, help="how long the soak disturbs replicas")
    parser.add_argument("--soak-only", action="store_true", help="measure no speed")
    parser.add_argument("--keep", type=Path, help="a folder for configurations and logs that stays")
    wanted = parser.parse_args()
    print(f"{' '.join(sys.argv[1:])}: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()}", flush=True)
    world = World(wanted.workspaces, wanted.people, postgres.free_port(), postgres.free_port())
    with ExitStack() as stack:
        folder = wanted.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        bench = Bench(world, folder, stack.enter_context(postgres.serve()), wanted.latency)
        template = bench.prepare()
        if wanted.minutes:
            bench.soak(template, max(wanted.replicas), wanted)
        if not wanted.soak_only:
            for count in wanted.replicas:
                bench.measure(template, count)


if __name__ == "__main__":
    main()
