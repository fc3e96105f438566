"""The daemon's scheduled reports: a look every half minute at what is due, and reports that someone asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import structlog

from agent.daemon.interface import NotFound, TooManyRequests
from agent.daemon.runner import ActiveConfig, ComponentsFactory
from agent.delivery.content import ReadComponents
from agent.delivery.service import ReportService, ReportState, load_report_state
from agent.engine.shutdown import GracefulShutdown
from agent.errors import PigmentSyncError
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.settings.report import ReportSettings
from agent.settings.root import Settings
from connectors.base import ReadError, discard_progress

__all__ = ["TICK_SECONDS", "DaemonReports", "ReportServiceFactory"]

log = structlog.get_logger()
TICK_SECONDS = 30
MAX_REQUESTED = 4
"""Reports that people asked for and that are not delivered yet. A client in a loop is refused."""
ReportServiceFactory = Callable[[Settings, Callable[[], AbstractAsyncContextManager[ReadComponents]]], ReportService]


@dataclass(frozen=True, slots=True)
class DaemonReports:
    """Delivers the reports of the active configuration. Without *create_service*, none."""

    config: ActiveConfig
    state: State
    clock: Clock
    components_factory: ComponentsFactory
    create_service: ReportServiceFactory | None
    tasks: dict[asyncio.Task[None], str] = field(default_factory=dict)

    async def run_due(self) -> None:
        """Make and deliver what is due. Failures are recorded and logged."""
        settings = self.config.settings
        if settings.reports and self.create_service is not None:
            await self._service(settings, self.create_service).run_due(settings.reports)

    async def load_states(self) -> list[ReportState]:
        """Return each configured report with what the state has of it."""
        now = self.clock.now()
        return [
            await load_report_state(self.state, each, now, self.config.loaded_at)
            for each in self.config.settings.reports
        ]

    def request(self, name: str, by: str) -> None:
        """Start a delivery of the report *name* now. Raises `NotFound`, `TooManyRequests`."""
        settings = self.config.settings
        report = next((each for each in settings.reports if each.name == name), None)
        if report is None or self.create_service is None:
            raise NotFound(f"There is no report {name}.", "Take the name from the list of reports.")
        if name in self.tasks.values() or len(self.tasks) >= MAX_REQUESTED:
            raise TooManyRequests(f"The report {name} is being sent.", "Wait until the list shows how it went.")
        task = asyncio.create_task(self._send(self._service(settings, self.create_service), report, by))
        self.tasks[task] = name
        task.add_done_callback(lambda ended: self.tasks.pop(ended, None))

    async def stop(self) -> None:
        """End what is being sent. What was not recorded as delivered is delivered by the next daemon."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, service: ReportService, report: ReportSettings, by: str) -> None:
        try:
            await service.send_now(report, by)
        except (PigmentSyncError, ReadError) as error:
            log.warning("report.failed", report=report.name, code=error.code, error=error.message)

    def _service(self, settings: Settings, create_service: ReportServiceFactory) -> ReportService:
        @asynccontextmanager
        async def open_components() -> AsyncIterator[ReadComponents]:
            async with self.components_factory(settings, discard_progress, GracefulShutdown()) as components:
                yield components

        return create_service(settings, open_components)
