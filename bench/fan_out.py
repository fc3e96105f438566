"""Run what the chart's fan-out runs: many workspaces, a process for each, on one PostgreSQL with the shared budget.

`.venv/bin/python -m bench.fan_out --state postgresql+psycopg://…` syncs 200 new workspaces, kills some of the
processes, lets them be started again, and syncs all once more. It prints how long that took and how many requests
the pretend Pigment saw in a window, and ends with 1 if a workspace is not in sync or the limit was exceeded.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import yaml
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.store.state import SqlState
from connectors.okta.mapping import ENTITLED_STATUSES
from sandbox.agent_config import AgentConfig
from sandbox.environment import Environment
from sandbox.host import host_apps
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.workspace import PigmentWorkspace

LIMIT_SHARE = 500 / 480
"""What the pretend Pigment accepts, for each request of the budget: as Pigment's own limit to the agent's default."""

BUSY_WAIT_SECONDS = 60
DONE, KILLED = 0, -9


class Running(Protocol):
    """A process that was started."""

    def kill(self) -> None: ...

    def poll(self) -> int | None: ...


Start = Callable[[Path, Sequence[str]], Running]
"""Starts `pigment-sync` with a configuration and arguments."""


def start_python(config: Path, arguments: Sequence[str]) -> Running:
    command = [sys.executable, "-m", "agent", "--config", str(config), *arguments]
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@dataclass(slots=True)
class FanOutWorld:
    """Many workspaces to which the same people are assigned, and the moments of all requests to them."""

    environment: Environment
    spaces: dict[str, PigmentWorkspace]
    config: Path
    start: Start
    parallel: int
    random: random.Random
    arrivals: list[float] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)

    def emails(self) -> set[str]:
        """Return the addresses of everyone who is entitled."""
        directory = self.environment.company.okta
        assigned = {key for group in directory.pigment.groups for key in directory.groups[group].people}
        people = directory.people
        return {people[key].email.lower() for key in assigned if people[key].status in ENTITLED_STATUSES}

    def different(self) -> list[str]:
        """Return the workspaces whose active members are not those who are entitled."""
        wanted = self.emails()
        return [
            name
            for name, space in self.spaces.items()
            if {member.user_name.lower() for member in space.members if member.active} != wanted
        ]

    def sync_all(self, kills: int = 0) -> Counter[int]:
        """Sync each workspace in a process of its own, some at a time, and start those that were killed again.

        Return how often the processes ended with which code.
        """
        waiting = list(self.spaces)
        doomed = set(self.random.sample(waiting, kills))
        running: dict[str, Running] = {}
        codes: Counter[int] = Counter()
        while waiting or running:
            while waiting and len(running) < self.parallel:
                name = waiting.pop(0)
                running[name] = self.start(self.config, ["sync", "-w", name, "--wait", str(BUSY_WAIT_SECONDS)])
            for name, process in list(running.items()):
                if name in doomed and self.spaces[name].members:
                    # Half-way: it has created members, and others are to come.
                    doomed.discard(name)
                    process.kill()
                code = process.poll()
                if code is None:
                    continue
                del running[name]
                codes[code] += 1
                if code == KILLED:
                    waiting.append(name)
            time.sleep(0.02)
        return codes

    def most_in_a_window(self, seconds: float) -> int:
        """Return the most requests that reached Pigment in any window of *seconds*."""
        times, most, first = sorted(self.arrivals), 0, 0
        for last, moment in enumerate(times):
            while times[first] <= moment - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


@contextmanager
def open_world(  # noqa: PLR0913  (the options of the command)
    folder: Path,
    state_url: str,
    *,
    workspaces: int,
    people: int,
    parallel: int,
    budget: tuple[int, float],
    start: Start,
) -> Iterator[FanOutWorld]:
    """Serve the systems until the end of the block. *budget* are requests and the seconds of their window."""
    requests, seconds = budget
    environment = Environment(seed=1, size=people, limit=RateLimit(None))
    names = [f"fan-{number:03}" for number in range(workspaces)]
    spaces = {name: PigmentWorkspace(name, [f"token-{name}"]) for name in names}
    world = FanOutWorld(environment, spaces, folder / "fan-out.yaml", start, parallel, random.Random(1))
    limiter = RateLimiter(RateLimit(int(requests * LIMIT_SHARE), seconds, "sliding"))
    pigment = _counted(pigment_app(Pigment(spaces.values(), limiter)), world)
    directory = environment.company.okta
    groups = tuple(directory.groups[key] for key in directory.pigment.groups)
    apps = {name: directory.add_app(name, groups).id for name in names}
    with host_apps({**environment.apps(), "pigment": pigment}, 0) as urls:
        written = AgentConfig(environment, urls).write(folder, state_url)
        document = yaml.safe_load(written.read_text("utf-8"))
        okta_name = next(name for name, each in document["connectors"].items() if each["type"] == "okta")
        document |= {
            "connectors": {okta_name: document["connectors"][okta_name]},
            "workspaces": {
                name: _workspace(f"{urls['pigment']}/{name}/scim/v2", name, okta_name, app)
                for name, app in apps.items()
            },
            "pigment": {"requests_per_window": requests, "window_seconds": seconds, "budget": "shared"},
        }
        world.config.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
        yield world


def _workspace(url: str, name: str, connector: str, app: str) -> dict[str, Any]:
    source = {"connector": connector, "app": app}
    return {"scim_url": url, "tokens": [f"token-{name}"], "sources": [source], "mode": "enforce"}


def _counted(app: ASGIApp, world: FanOutWorld) -> ASGIApp:
    """Return *app*, which notes the moment of each request and each refusal."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        world.arrivals.append(time.monotonic())

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 429:
                world.refusals.append(429)
            await send(message)

        await app(scope, receive, noted)

    return counted


async def count_runs(state_url: str) -> Counter[str]:
    """Return how many runs the journal has, by status."""
    state = await SqlState.open(state_url, lambda: datetime.now(UTC))
    try:
        return Counter(str(run.status) for run in await state.load_runs(limit=1_000_000))
    finally:
        await state.close()


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", required=True, help="an empty PostgreSQL database")
    parser.add_argument("--workspaces", type=int, default=200)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--parallel", type=int, default=16, help="processes at a time")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--requests", type=int, default=480)
    parser.add_argument("--seconds", type=float, default=20)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None, start: Start = start_python) -> int:
    options = _arguments(words)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_world(
            Path(folder),
            options.state,
            workspaces=options.workspaces,
            people=options.people,
            parallel=options.parallel,
            budget=(options.requests, options.seconds),
            start=start,
        ) as world,
    ):
        is_right = True
        for name, kills in (("first", options.kills), ("second", 0)):
            before, began = len(world.arrivals), time.monotonic()
            codes = world.sync_all(kills)
            seconds, sent = time.monotonic() - began, len(world.arrivals) - before
            different = world.different()
            is_right = is_right and not different and set(codes) <= {DONE, KILLED}
            print(
                f"{name} sync: {options.workspaces} workspaces of {len(world.emails())} people, "
                f"{options.parallel} processes at a time, in {seconds:.0f} s; {sent} requests; "
                f"exit codes {dict(codes)}; not in sync: {len(different)}",
                flush=True,
            )
        most = world.most_in_a_window(options.seconds)
        print(f"budget {options.requests} in {options.seconds:g} s: at most {most} in any window")
        print(f"refused with 429: {len(world.refusals)}; runs: {dict(asyncio.run(count_runs(options.state)))}")
    return 0 if is_right and most <= options.requests and not world.refusals else 1


if __name__ == "__main__":
    sys.exit(main())
