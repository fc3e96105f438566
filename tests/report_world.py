"""The reports of a configuration over the sandbox, with a clock that tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from agent.bootstrap import SharedResources, build_components
from agent.delivery.content import ReadComponents
from agent.delivery.service import ReportService
from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.shutdown import GracefulShutdown
from agent.notifications.notice import Notice
from agent.scim.rate_limit import RateLimiters
from agent.settings.load import load
from agent.settings.root import Settings
from agent.store.state import SqlState
from connectors.base import discard_progress
from sandbox.server import Sandbox
from tests.migrated_state import new_sqlite_state

__all__ = ["START", "ReportWorld", "TestClock", "report_world"]

START = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass
class TestClock:
    """Time passes only when a test lets it."""

    __test__ = False
    moment: datetime = START

    def now(self) -> datetime:
        return self.moment

    def elapsed(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@dataclass(frozen=True)
class ReadOnly:
    planner: Planner
    read_only_workspaces: Mapping[str, ReadOnlyWorkspace]


@dataclass
class ReportWorld:
    """One process that delivers reports. *readings* counts how often it read what a report is about."""

    settings: Settings
    state: SqlState
    clock: TestClock
    service: ReportService = field(init=False)
    readings: int = 0
    notices: list[tuple[str, str, Notice]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service = ReportService(
            state=self.state,
            clock=self.clock,
            sleep=asyncio.sleep,
            holder="one",
            open_components=self._open_components,
            notify=self._notify,
        )

    async def _notify(self, name: str, report: str, notice: Notice) -> None:
        self.notices.append((name, report, notice))

    def _open_components(self) -> AbstractAsyncContextManager[ReadComponents]:
        return self._components()

    @asynccontextmanager
    async def _components(self) -> AsyncIterator[ReadComponents]:
        self.readings += 1
        shared = SharedResources(self.state, RateLimiters(100_000, 300))
        async with build_components(self.settings, discard_progress, GracefulShutdown(), shared) as made:
            yield ReadOnly(replace(made.planner, clock=self.clock), made.read_only_workspaces)

    async def tick(self, until: datetime, step: timedelta = timedelta(minutes=30)) -> None:
        """Let time pass until *until*, with a tick of the daemon at each *step*."""
        while self.clock.moment < until:
            self.clock.moment += step
            await self.service.run_due(self.settings.reports)


def write_reports(sandbox: Sandbox, folder: Path, reports: Sequence[Mapping[str, object]], **latam: object) -> Path:
    """Write a configuration of the sandbox's workspaces with *reports*."""
    config = sandbox.write_config(folder)
    document = yaml.safe_load(config.read_text("utf-8"))
    document["reports"] = [dict(each) for each in reports]
    document["workspaces"]["pigment-latam"].update(latam)
    config.write_text(yaml.safe_dump(document), "utf-8")
    return config


@asynccontextmanager
async def report_world(
    sandbox: Sandbox, folder: Path, *reports: Mapping[str, object], **latam: object
) -> AsyncIterator[ReportWorld]:
    clock = TestClock()
    settings = load(write_reports(sandbox, folder, reports, **latam), {})
    state = await SqlState.open(new_sqlite_state(folder), clock.now)
    try:
        yield ReportWorld(settings, state, clock)
    finally:
        await state.close()
