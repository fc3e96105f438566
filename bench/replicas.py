"""Many workspaces on several replicas of `serve` on one PostgreSQL: `.venv/bin/python -m bench.replicas --help`.

The servers are the sandbox in this process, and each answer of Pigment waits `--latency`, so that the processor is not
what is measured. First the time for one tick of all workspaces with each number of replicas; then, with `--minutes`,
replicas are killed or suspended once a minute while people join. Prints runs that were lost or doubled, the most
requests within 300 s, and whether every workspace is in sync at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.exc import SQLAlchemyError

from agent.store.tables import jobs, runs
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.pigment.workspace import PigmentWorkspace
from sandbox.server import Sandbox, run_sandbox
from tests import postgres

GROUP = "Pigment LatAm"
TEMPLATE = "pigment-latam"
WINDOW_SECONDS = 300


class Bench:
    """The workspaces, their configuration for each soak or measurement, and the replicas that run."""

    def __init__(self, sandbox: Sandbox, folder: Path, server: str, wanted: argparse.Namespace) -> None:
        self.sandbox, self.folder, self.server, self.wanted = sandbox, folder, server, wanted
        self.names = [f"w{number:03}" for number in range(wanted.workspaces)]
        self.processes: list[subprocess.Popen[bytes]] = []
        directory = sandbox.company.okta
        groups = tuple(directory.group(group) for group in directory.pigment.groups)
        self.apps = {name: directory.add_app(name, groups).id for name in self.names}
        for name in self.names:
            workspace = PigmentWorkspace(name, [f"token-{name}"])
            sandbox.pigment.add(workspace)
            for person in directory.assignments(directory.app(name)):
                found = directory.people[person]
                workspace.admin_create(found.email, f"{found.given} {found.family}")

    def write_config(self, every: int, budget: int) -> tuple[Path, str]:
        """Write a configuration on a new database, with a schedule of its own for each group; return both."""
        url = postgres.new_database(self.server)
        path = self.sandbox.write_config(self.folder, url)
        document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        template = document["workspaces"][TEMPLATE]
        root = template["scim_url"].partition(f"/{TEMPLATE}/")[0]
        document["workspaces"] = {
            name: {
                **template,
                "scim_url": f"{root}/{name}/scim/v2",
                "tokens": [f"token-{name}"],
                "sources": [{"connector": template["sources"][0]["connector"], "app": self.apps[name]}],
                "allowed_domains": [],
                "schedule": {"every": f"{every + number % self.wanted.groups}s"},
            }
            for number, name in enumerate(self.names)
        }
        document["server"] = {"port": 0}
        document["pigment"] = {"requests_per_window": budget}
        path.write_text(yaml.safe_dump(document), "utf-8")
        return path, url

    def start(self, config: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "agent", "--config", str(config), "serve"]
        with (self.folder / f"serve{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"NO_PROXY": "127.0.0.1"})
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            process.wait(60)
        self.processes.clear()

    def wait(self) -> None:
        """Let each answer of Pigment take `--latency` from now on."""
        slow = {"name": "latency", "do": "slow", "system": "pigment", "seconds": self.wanted.latency}
        self.sandbox.faults.put(parse_rules({"faults": [slow]}))

    def measure(self, count: int) -> None:
        """Print how long the first tick of every schedule takes, from the first run to the end of the last."""
        config, url = self.write_config(86_400, budget=1_000_000)
        self.wait()
        for _ in range(count):
            self.start(config)
        found = finished(url, len(self.names))
        self.stop()
        seconds = (max(ended for *_, ended in found) - min(started for *_, started, _ in found)) / 1e6
        print(f"{count} replicas: {seconds:.1f} s, runs by status: {statuses(found)}", flush=True)

    def soak(self, count: int) -> None:
        """Kill or suspend a replica once a minute while people join, and print what was lost or doubled."""
        rng = random.Random(1)
        config, url = self.write_config(self.wanted.every, budget=480)
        self.sandbox.faults.clear()
        for name in self.names:
            self.sandbox.pigment.workspaces[name].write_log.clear()
        self.sandbox.request_log.clear()
        running = [self.start(config) for _ in range(count)]
        ends = time.monotonic() + self.wanted.minutes * 60
        disturbed, hired = Counter[str](), 0
        while time.monotonic() < ends:
            time.sleep(30)
            hired += 1
            self.sandbox.company.hire("okta", f"Soak{hired}", "Tester", [GROUP])
            victim = running.pop(rng.randrange(len(running)))
            if hired % 2:
                victim.kill()
                running.append(self.start(config))
            else:
                victim.send_signal(signal.SIGSTOP)
                time.sleep(30)
                victim.send_signal(signal.SIGCONT)
                running.append(victim)
            disturbed["kill" if hired % 2 else "suspend"] += 1
        behind = self.settle()
        doubled = sum(
            times > 1
            for name in self.names
            for times in Counter(
                addressed(write.body)
                for write in self.sandbox.pigment.workspaces[name].write_log.writes
                if write.method == "POST"
            ).values()
        )
        print(f"disturbed: {dict(disturbed)}, joined: {hired}, runs by status: {statuses(all_runs(url))}")
        print(f"creates sent twice: {doubled}, workspaces behind at the end: {behind}, jobs left: {open_jobs(url)}")
        print(f"most requests to Pigment within 300 s: {self.busiest()}", flush=True)
        self.stop()

    def settle(self) -> int:
        """Wait until every workspace has everyone, for five minutes at most; return how many have not."""
        behind = len(self.names)
        for _ in range(100):
            behind = sum(not self.is_complete(name) for name in self.names)
            if not behind:
                break
            time.sleep(3)
        return behind

    def is_complete(self, name: str) -> bool:
        directory = self.sandbox.company.okta
        emails = {
            directory.people[person].email.lower() for person in directory.assignments(directory.app(self.apps[name]))
        }
        members = {each.user_name.lower() for each in self.sandbox.pigment.workspaces[name].members if each.active}
        joined = {email for email in emails if email.startswith("soak")}
        return joined <= members

    def busiest(self) -> int:
        times = sorted(request.at for request in self.sandbox.requests("pigment"))
        most = first = 0
        for last, moment in enumerate(times):
            while moment - times[first] > WINDOW_SECONDS:
                first += 1
            most = max(most, last - first + 1)
        return most


Row = tuple[str, str, int, int]


def all_runs(url: str) -> list[Row]:
    """Return workspace, status, start and end (0: none) of each run."""
    columns = (runs.c.workspace, runs.c.status, runs.c.started_at, runs.c.finished_at)
    with connected(url) as engine, engine.connect() as connection:
        return [
            (name, status, begun, ended or 0) for name, status, begun, ended in connection.execute(select(*columns))
        ]


def open_jobs(url: str) -> int:
    with connected(url) as engine, engine.connect() as connection:
        return len(connection.execute(select(jobs.c.id)).all())


def finished(url: str, count: int) -> list[Row]:
    """Wait until *count* runs have ended, and return them."""
    while True:
        time.sleep(1)
        with suppress(SQLAlchemyError):
            found = all_runs(url)
            if sum(bool(ended) for *_, ended in found) >= count and not open_jobs(url):
                return found


def addressed(body: Any) -> str:
    return str(body["userName"]).lower()


def statuses(found: list[Row]) -> dict[str, int]:
    return dict(Counter(status for _, status, *_ in found))


@contextmanager
def connected(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspaces", type=int, default=200)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--groups", type=int, default=16, help="schedules, which is how many ticks there are")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--latency", type=float, default=1.0, help="seconds that each answer of Pigment waits")
    parser.add_argument("--every", type=int, default=600, help="seconds of the shortest schedule of the soak")
    parser.add_argument("--minutes", type=float, default=0.0)
    wanted = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres.serve() as server,
        run_sandbox(seed=5, size=wanted.people, limit=RateLimit(None)) as sandbox,
    ):
        bench = Bench(sandbox, Path(folder), server.url, wanted)
        try:
            for count in wanted.replicas:
                bench.measure(count)
            if wanted.minutes:
                bench.soak(max(wanted.replicas))
        finally:
            bench.stop()


if __name__ == "__main__":
    main()
