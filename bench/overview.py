"""What the overview, the API's list and a scrape cost with many workspaces: `python -m bench.overview`.

In one process, on a new SQLite state. CPU seconds of the whole process, its state's threads included: the least of
*--repeat* requests, once the daemon knows the newest plans.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
from prometheus_client import CollectorRegistry

from agent.bootstrap import SystemClock
from agent.daemon.daemon import Daemon
from agent.metrics import Metrics
from agent.model.run import Run, RunCounts, RunStatus, Trigger
from agent.settings.root import Settings
from agent.settings.server import ServerSettings
from agent.settings.token import Role, hashed_token
from agent.store.state import SqlState
from agent.web.app import application

TOKEN = "pgs_of-the-bench"  # noqa: S105  (of a state that ends with the process)
PATHS = ("/", "/api/v1/workspaces", "/metrics")


def settings_of(names: list[str]) -> Settings:
    source = {"connector": "okta-main", "app": "0oa1"}
    return Settings.model_validate(
        {
            "connectors": {"okta-main": {"type": "okta", "org_url": "https://acme.okta.com", "api_token": "x"}},
            "workspaces": {
                name: {"scim_url": f"https://pigment.example.com/{name}", "tokens": ["x"], "sources": [source]}
                for name in names
            },
        }
    )


async def record_runs(state: SqlState, names: list[str], count: int) -> None:
    """Record *count* runs of each workspace, one every 15 minutes until now."""
    counts, now = RunCounts(active=500, changes=0, held=0), datetime.now(UTC)
    for name in names:
        for number in range(count):
            at = now - timedelta(minutes=15 * (count - number))
            run = Run(id=f"{name}-{number}", workspace=name, trigger=Trigger.SCHEDULE, dry_run=False, started_at=at)
            await state.record_run(replace(run, status=RunStatus.DONE, finished_at=at, tally=counts))


async def measure(workspaces: int, runs: int, repeat: int) -> None:
    names = [f"w{number}" for number in range(workspaces)]
    with tempfile.TemporaryDirectory() as folder:
        clock = SystemClock()
        state = await SqlState.open(f"sqlite:///{folder}/state.db", clock.now)
        await record_runs(state, names, runs)
        daemon = Daemon(settings_of(names), state, clock, None, None, lambda: 480)  # type: ignore[arg-type]  # no run begins
        server = ServerSettings.model_validate({"tokens": [str(hashed_token(TOKEN, Role.READ, "bench"))]})
        app = application(daemon, Metrics(CollectorRegistry()), lambda: server, httpx.AsyncHTTPTransport)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as client:
            await client.post("/login", data={"token": TOKEN})
            for path in PATHS:
                costs = [await cost_of(client, path) for _ in range(repeat + 1)]
                print(f"{path}: {min(costs[1:]) * 1000:.0f} ms")
        await state.close()


async def cost_of(client: httpx.AsyncClient, path: str) -> float:
    started = time.process_time()
    (await client.get(path)).raise_for_status()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspaces", type=int, default=200)
    parser.add_argument("--runs", type=int, default=200, help="runs in the journal of each workspace")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(measure(options.workspaces, options.runs, options.repeat))


if __name__ == "__main__":
    main()
