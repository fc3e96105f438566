"""Pages, API and metrics over many workspaces ask the state as often as over a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, event

from agent.bootstrap import SystemClock
from agent.daemon.daemon import Daemon
from agent.metrics import Metrics
from agent.model.run import RunCounts, RunStatus
from agent.settings.root import Settings
from agent.settings.server import ServerSettings
from agent.settings.token import Role, hashed_token
from agent.store.state import SqlState
from agent.web.app import application
from tests.migrated_state import new_sqlite_state
from tests.state_samples import NOW, Clock, a_run

TOKEN = "pgs_of-ana"


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


@contextmanager
def counted_transactions() -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()

    def count(_connection: object) -> None:
        counts["transactions"] += 1

    event.listen(Engine, "begin", count)
    try:
        yield counts
    finally:
        event.remove(Engine, "begin", count)


async def count_for(count: int, path: str, url: str) -> int:
    """Return how many transactions an answer for *path* takes with *count* workspaces, once their plans are known."""
    names = [f"w{number}" for number in range(count)]
    state = await SqlState.open(url, Clock().now)
    try:
        for name in names:
            run = replace(a_run(f"of-{name}", name), status=RunStatus.HELD, finished_at=NOW)
            await state.record_run(replace(run, tally=RunCounts(active=7, changes=0, held=1)))
        daemon = Daemon(settings_of(names), state, SystemClock(), None, None, lambda: 480)  # type: ignore[arg-type]  # no run begins
        server = ServerSettings.model_validate({"tokens": [str(hashed_token(TOKEN, Role.READ, "ana"))]})
        app = application(daemon, Metrics(CollectorRegistry()), lambda: server, httpx.AsyncHTTPTransport)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=headers
        ) as client:
            await client.post("/login", data={"token": TOKEN})
            await client.get(path)
            with counted_transactions() as counts:
                answer = await client.get(path)
            assert answer.status_code == 200
            assert all(name in answer.text for name in names)
            return counts["transactions"]
    finally:
        await state.close()


@pytest.fixture
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return new_sqlite_state(tmp_path_factory.mktemp("few")), new_sqlite_state(tmp_path_factory.mktemp("many"))


@pytest.mark.parametrize("path", ["/", "/api/v1/workspaces", "/metrics"])
async def test_state_is_asked_as_often_for_many_workspaces_as_for_a_few(path: str, states: tuple[str, str]) -> None:
    few = await count_for(2, path, states[0])
    assert await count_for(30, path, states[1]) == few
