"""Scheduled reports in the daemon: delivered on their schedule and on request, with the sandbox over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from agent.bootstrap import (
    Components,
    SystemClock,
    build_components,
    create_notifier,
    create_report_service,
    open_shared_resources,
)
from agent.daemon.daemon import Daemon
from agent.daemon.interface import NotFound, TooManyRequests
from agent.delivery.content import ReadComponents
from agent.delivery.service import ReportService
from agent.engine.shutdown import GracefulShutdown
from agent.model.report import DeliveryStatus
from agent.settings.load import load
from agent.settings.root import Settings
from connectors.base import Progress
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.notice_receivers import webhook
from tests.report_world import write_reports

LATAM, WITHIN_SECONDS = "pigment-latam", 300


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=28, size=20, limit=RateLimit(None)) as served:
        yield served


@asynccontextmanager
async def running_daemon(config: Path) -> AsyncIterator[Daemon]:
    settings = load(config, {})
    async with open_shared_resources(settings) as shared:

        @asynccontextmanager
        async def create_components(
            now: Settings, progress: Progress, stopping: GracefulShutdown
        ) -> AsyncIterator[Components]:
            async with build_components(now, progress, stopping, shared) as made:
                yield made

        def create_service(
            now: Settings, open_components: Callable[[], AbstractAsyncContextManager[ReadComponents]]
        ) -> ReportService:
            notify = create_notifier(now, shared.state).notify_report
            return create_report_service(now, shared.state, SystemClock(), open_components, notify)

        async def observe(*_: object) -> None:
            """Observe nothing."""

        daemon = Daemon(
            settings,
            shared.state,
            SystemClock(),
            create_components,
            observe,
            shared.rate_limiters.budget_left,
            create_service,
        )
        await daemon.start()
        try:
            yield daemon
        finally:
            await daemon.stop()


async def until(holds: Callable[[], object]) -> None:
    for _ in range(WITHIN_SECONDS * 20):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"not within {WITHIN_SECONDS} s")


async def test_report_is_delivered_on_its_schedule(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    often = {
        "name": "often",
        "what": "plan",
        "workspaces": [LATAM],
        "schedule": {"every": "10s"},
        "to": [folder.as_uri()],
    }
    config = write_reports(sandbox, tmp_path, [often], schedule=None)
    async with running_daemon(config) as daemon:
        await until(lambda: list(folder.glob("*.html")))
        (known,) = await daemon.load_reports()

    assert known.settings.name == "often"
    assert known.reports[0].name == "often"
    assert not known.reports[0].is_manual


async def test_report_is_sent_on_request_once_at_a_time(sandbox: Sandbox, tmp_path: Path) -> None:
    with webhook() as hook:
        by_hand = {"name": "by-hand", "what": "access", "workspaces": [LATAM], "to": [hook.url.reveal()]}
        async with running_daemon(write_reports(sandbox, tmp_path, [by_hand], schedule=None)) as daemon:
            daemon.send_report("by-hand", "ana")
            with pytest.raises(TooManyRequests):
                daemon.send_report("by-hand", "ana")
            with pytest.raises(NotFound):
                daemon.send_report("nothing", "ana")
            await until(lambda: hook.received)
            await daemon.stop()
            (known,) = await daemon.load_reports()

    assert len(hook.received) == 1
    assert known.reports[0].by == "ana"
    assert known.reports[0].deliveries[0].status in {DeliveryStatus.DELIVERED, DeliveryStatus.PENDING}
