"""What monitoring asks: is the process alive, is it ready, and how does each workspace stand."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agent.daemon.interface import DaemonApi, Health, WorkspaceStatus
from agent.errors import PigmentSyncError
from agent.metrics import CONTENT_TYPE, Metrics, Sample
from agent.model import Mode
from agent.model.run import Lease

__all__ = ["routes"]

STATE_TIMEOUT_SECONDS = 8.0
"""How long the state may take to answer; Prometheus gives up after 10 s."""
Samples = dict[str, list[Sample]]


@dataclass(frozen=True, slots=True)
class ScrapeData:
    """All that one scrape has learned. *statuses* are empty while the state can't be read."""

    now: datetime
    health: Health | None
    budget_left: int | None
    active_run_counts: Mapping[str, int]
    statuses: tuple[WorkspaceStatus, ...] = ()
    leases: tuple[Lease, ...] = ()
    is_state_up: bool = False


def routes(desk: DaemonApi, metrics: Metrics, timeout_seconds: float = STATE_TIMEOUT_SECONDS) -> list[Route]:
    """Return `/healthz`, `/readyz` and `/metrics`. None of them needs a login, and none names a person."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        health = await _read_health(desk, timeout_seconds)
        if health is None:
            return PlainTextResponse("The state does not answer. Is its database up?\n", 503)
        if health.problems:
            return PlainTextResponse("".join(f"{each}\n" for each in health.problems), 503)
        return PlainTextResponse("ready\n")

    async def scrape(_: Request) -> Response:
        # Nothing is awaited between the two lines that set and write: two scrapes at once don't mix.
        metrics.set_gauges(_samples(await _collect_scrape_data(desk, timeout_seconds)))
        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", scrape, methods=["GET"]),
    ]


async def _read_health(desk: DaemonApi, patience_seconds: float) -> Health | None:
    try:
        async with asyncio.timeout(patience_seconds):
            return await desk.check_health()
    except (PigmentSyncError, TimeoutError):
        return None


async def _collect_scrape_data(desk: DaemonApi, patience_seconds: float) -> ScrapeData:
    ongoing = dict.fromkeys(desk.workspace_names, 0)
    for each in desk.active_runs:
        ongoing[each.workspace] = ongoing.get(each.workspace, 0) + 1
    health, budget = await _read_health(desk, patience_seconds / 2), desk.budget_left()
    now = datetime.now(UTC)
    try:
        async with asyncio.timeout(patience_seconds / 2):
            standings = [await desk.load_workspace_status(name) for name in desk.workspace_names]
            leases = [await desk.state.load_lease(name) for name in desk.workspace_names]
    except (PigmentSyncError, TimeoutError):
        return ScrapeData(now, health, budget, ongoing)
    # A run can't work with a state that can be read but not written.
    is_state_up = health is not None and health.is_state_up
    return ScrapeData(
        now, health, budget, ongoing, tuple(standings), tuple(each for each in leases if each), is_state_up
    )


def _samples(seen: ScrapeData) -> Samples:
    samples: Samples = {
        "pigment_sync_build_info": [((version("pigment-sync"), platform.python_version()), 1)],
        "pigment_sync_state_up": [((), float(seen.is_state_up))],
        "pigment_sync_ready": [((), float(seen.health is not None and not seen.health.problems))],
        "pigment_sync_ongoing_runs": [((name,), count) for name, count in seen.active_run_counts.items()],
        "pigment_sync_lease_holder_info": [((each.workspace, each.holder), 1) for each in seen.leases],
    }
    if seen.budget_left is not None:
        samples["pigment_sync_budget_left"] = [((), seen.budget_left)]
    if seen.health is not None:
        samples["pigment_sync_started_timestamp_seconds"] = [((), seen.health.started_at.timestamp())]
        samples["pigment_sync_config_loaded_timestamp_seconds"] = [((), seen.health.config_loaded_at.timestamp())]
    for each in seen.statuses:
        for name, sample in _workspace_samples(each, seen.now.date()):
            samples.setdefault(name, []).append(sample)
    return samples


def _workspace_samples(standing: WorkspaceStatus, today: date) -> list[tuple[str, Sample]]:
    name = standing.name
    last_read = standing.last_read
    moments = {
        "pigment_sync_next_run_timestamp_seconds": standing.next_run,
        "pigment_sync_last_read_timestamp_seconds": last_read and (last_read.finished_at or last_read.started_at),
        "pigment_sync_last_apply_timestamp_seconds": standing.last_applied and standing.last_applied.finished_at,
        "pigment_sync_stale_after_timestamp_seconds": standing.stale_after,
    }
    found: list[tuple[str, Sample]] = [(key, ((name,), when.timestamp())) for key, when in moments.items() if when]
    found.append(("pigment_sync_paused", ((name,), float(standing.pause is not None))))
    found.append(("pigment_sync_enforcing", ((name,), float(standing.mode is Mode.ENFORCE))))
    if standing.last_run is not None:
        found.append(("pigment_sync_last_run", ((name, standing.last_run.status), 1)))
    if standing.token_expires is not None:
        found.append(("pigment_sync_token_days_left", ((name,), (standing.token_expires - today).days)))
    return found
