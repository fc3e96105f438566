"""A scheduled run waits for a feed run of its workspace, and for no other run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from agent.daemon.runner import FEED_RUN_SECONDS, ActiveConfig, RunComponents, Runner
from agent.engine.request import RunRequest, RunResult
from agent.engine.shutdown import GracefulShutdown
from agent.engine.sync import Sync
from agent.model.run import Trigger
from agent.settings.root import Settings
from connectors.base import Progress
from tests.memory_state import MemoryState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class StoppedClock:
    def now(self) -> datetime:
        return NOW

    def elapsed(self) -> float:
        return 0.0


@dataclass
class Held:
    """Components whose runs last until *released*. *requests* are what they were asked for."""

    requests: list[RunRequest] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    feed_planner: None = None

    @property
    def sync(self) -> Sync:
        return cast("Sync", self)

    def feed_sync(self) -> Sync:
        return cast("Sync", self)

    async def run(self, _names: Sequence[str], request: RunRequest) -> list[RunResult]:
        self.requests.append(request)
        await self.released.wait()
        return []

    async def notify(self, results: Sequence[RunResult]) -> None:
        assert results == []


@pytest.mark.parametrize(
    ("first", "second", "workspace", "waits"),
    [
        (Trigger.FEED, Trigger.SCHEDULE, "latam", FEED_RUN_SECONDS),
        (Trigger.FEED, Trigger.SCHEDULE, "apac", 0),
        (Trigger.FEED, Trigger.FEED, "latam", 0),
        (Trigger.SYNC, Trigger.SCHEDULE, "latam", 0),
    ],
)
async def test_scheduled_run_waits_for_a_feed_run(
    first: Trigger, second: Trigger, workspace: str, waits: float
) -> None:
    held = Held()

    @asynccontextmanager
    async def components(
        _settings: Settings, _progress: Progress, _shutdown: GracefulShutdown
    ) -> AsyncIterator[RunComponents]:
        yield cast("RunComponents", held)

    async def observe(_results: Sequence[RunResult], _trigger: Trigger, _seconds: float) -> None:
        """Count nothing."""

    document = {
        "connectors": {"okta": {"type": "okta", "org_url": "https://acme.okta.com", "api_token": "token"}},
        "workspaces": {
            name: {
                "scim_url": f"https://{name}.example.com/scim/v2",
                "tokens": [f"token-of-{name}"],
                "sources": [{"connector": "okta", "app": "0oa1"}],
                "mode": "enforce",
            }
            for name in ("latam", "apac")
        },
    }
    config = ActiveConfig(Settings.model_validate(document), NOW)
    runner = Runner(config, MemoryState(StoppedClock().now), StoppedClock(), components, observe)
    _, earlier = runner.start(["latam"], RunRequest(first), is_dry_run=False)
    _, later = runner.start([workspace], RunRequest(second), is_dry_run=False)
    held.released.set()
    await asyncio.gather(earlier, later)

    assert [request.wait_seconds for request in held.requests] == [0, waits]
