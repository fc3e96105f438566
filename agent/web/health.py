"""Probes and metrics: whether the process is alive and ready, and the status of each workspace."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agent.daemon.interface import DaemonApi, Health, WorkspaceStatus
from agent.delivery.service import ReportState
from agent.errors import PigmentSyncError
from agent.metrics import CONTENT_TYPE, Metrics, Sample
from agent.model import Mode
from agent.model.codes import GuardCode, HoldCode
from agent.model.run import Lease
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.report.compare import difference_count
from agent.report.plan_figures import PlanFigures

__all__ = ["routes"]

STATE_TIMEOUT_SECONDS = 8.0
"""How long the state may take to answer; Prometheus gives up after 10 s."""
Samples = dict[str, list[Sample]]


@dataclass(frozen=True, slots=True)
class ScrapeData:
    """The data of one scrape. *statuses* is empty while the state can't be read."""

    now: datetime
    health: Health | None
    budget_left: int | None
    active_run_counts: Mapping[str, int]
    statuses: tuple[WorkspaceStatus, ...] = ()
    leases: tuple[Lease, ...] = ()
    reports: tuple[ReportState, ...] = ()
    comparisons: tuple[Verification, ...] = ()
    is_state_up: bool = False
    replica: str = ""


def routes(daemon: DaemonApi, metrics: Metrics, timeout_seconds: float = STATE_TIMEOUT_SECONDS) -> list[Route]:
    """Return `/healthz`, `/readyz` and `/metrics`. They need no login and name no person."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        health = await _read_health(daemon, timeout_seconds)
        if health is None:
            return PlainTextResponse("The state does not answer. Is its database up?\n", 503)
        if health.problems:
            return PlainTextResponse("".join(f"{each}\n" for each in health.problems), 503)
        return PlainTextResponse("ready\n")

    async def scrape(_: Request) -> Response:
        # No await between setting and rendering, or two scrapes at once would mix.
        metrics.set_workspaces(daemon.workspace_names)
        name = next((each.daemon.host for each in daemon.replicas if each.is_this), "")
        metrics.set_gauges(_samples(replace(await _collect_scrape_data(daemon, timeout_seconds), replica=name)))
        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", scrape, methods=["GET"]),
    ]


async def _read_health(daemon: DaemonApi, timeout_seconds: float) -> Health | None:
    try:
        async with asyncio.timeout(timeout_seconds):
            return await daemon.check_health()
    except (PigmentSyncError, TimeoutError):
        return None


async def _collect_scrape_data(daemon: DaemonApi, timeout_seconds: float) -> ScrapeData:
    ongoing = dict.fromkeys(daemon.workspace_names, 0)
    for each in daemon.active_runs:
        ongoing[each.workspace] = ongoing.get(each.workspace, 0) + 1
    health, budget = await _read_health(daemon, timeout_seconds / 2), daemon.budget_left()
    now, names = daemon.now(), daemon.workspace_names
    try:
        async with asyncio.timeout(timeout_seconds / 2):
            statuses = await daemon.load_statuses()
            leases = await daemon.state.load_leases(names)
            reports = tuple(await daemon.load_reports())
            comparisons = await daemon.state.load_all_verifications(names, VerificationKind.COMPARE)
    except (PigmentSyncError, TimeoutError):
        return ScrapeData(now, health, budget, ongoing)
    # A run can't work with a state that can be read but not written.
    is_state_up = health is not None and health.is_state_up
    return ScrapeData(
        now,
        health,
        budget,
        ongoing,
        statuses,
        leases,
        reports,
        comparisons,
        is_state_up,
    )


def _samples(seen: ScrapeData) -> Samples:
    samples: Samples = {
        "pigment_sync_build_info": [((version("pigment-sync"), platform.python_version()), 1)],
        "pigment_sync_replica_info": [((seen.replica,), 1)],
        "pigment_sync_state_up": [((), float(seen.is_state_up))],
        "pigment_sync_ready": [((), float(seen.health is not None and not seen.health.problems))],
        "pigment_sync_ongoing_runs": [((name,), count) for name, count in seen.active_run_counts.items()],
        "pigment_sync_lease_holder_info": [((each.workspace, each.holder), 1) for each in seen.leases],
    }
    if seen.budget_left is not None:
        samples["pigment_sync_budget_left"] = [((), seen.budget_left)]
    for report in seen.reports:
        for name, sample in _report_samples(report):
            samples.setdefault(name, []).append(sample)
    samples |= _comparison_samples(seen.comparisons)
    if seen.health is not None:
        samples["pigment_sync_started_timestamp_seconds"] = [((), seen.health.started_at.timestamp())]
        samples["pigment_sync_config_loaded_timestamp_seconds"] = [((), seen.health.config_loaded_at.timestamp())]
    for each in seen.statuses:
        for name, sample in _workspace_samples(each, seen.now.date()):
            samples.setdefault(name, []).append(sample)
    return samples


def _comparison_samples(comparisons: Sequence[Verification]) -> Samples:
    """Return the samples of the newest completed comparison with each reader. *comparisons* are newest first."""
    newest: dict[tuple[str, ...], Verification] = {}
    for each in comparisons:
        if each.result in (VerificationResult.PASSED, VerificationResult.DIFFERS):
            newest.setdefault((each.workspace, each.subject), each)
    return {
        "pigment_sync_compare_differences": [
            (labels, difference_count(each.document)) for labels, each in newest.items()
        ],
        "pigment_sync_compare_timestamp_seconds": [
            (labels, each.started_at.timestamp()) for labels, each in newest.items()
        ],
    }


def _report_samples(report: ReportState) -> list[tuple[str, Sample]]:
    moments = {
        "pigment_sync_report_last_delivered_timestamp_seconds": report.last_delivered_at,
        "pigment_sync_report_overdue_since_timestamp_seconds": report.overdue_since,
    }
    return [(key, ((report.settings.name,), when.timestamp())) for key, when in moments.items() if when]


def _workspace_samples(status: WorkspaceStatus, today: date) -> list[tuple[str, Sample]]:
    name = status.name
    last_read = status.last_read
    moments = {
        "pigment_sync_next_run_timestamp_seconds": status.next_run,
        "pigment_sync_last_read_timestamp_seconds": last_read and (last_read.finished_at or last_read.started_at),
        "pigment_sync_last_apply_timestamp_seconds": status.last_applied and status.last_applied.finished_at,
        "pigment_sync_stale_after_timestamp_seconds": status.stale_after,
        "pigment_sync_oldest_hold_timestamp_seconds": status.figures and status.figures.oldest_hold,
    }
    found: list[tuple[str, Sample]] = [(key, ((name,), when.timestamp())) for key, when in moments.items() if when]
    found.append(("pigment_sync_paused", ((name,), float(status.pause is not None))))
    found.append(("pigment_sync_enforcing", ((name,), float(status.mode is Mode.ENFORCE))))
    if status.figures is not None:
        found += _plan_samples(name, status.figures)
    if status.last_run is not None:
        found.append(("pigment_sync_last_run", ((name, status.last_run.status), 1)))
    if status.token_expires is not None:
        found.append(("pigment_sync_token_days_left", ((name,), (status.token_expires - today).days)))
    return found


def _plan_samples(name: str, figures: PlanFigures) -> list[tuple[str, Sample]]:
    codes = dict.fromkeys([*HoldCode, *GuardCode, *figures.holds])
    return [
        ("pigment_sync_members", ((name, "active"), figures.active)),
        ("pigment_sync_members", ((name, "inactive"), figures.members - figures.active)),
        ("pigment_sync_linked_members", ((name,), figures.linked)),
        ("pigment_sync_in_sync_members", ((name,), figures.in_sync)),
        *(("pigment_sync_assigned_people", ((name, key), each.people)) for key, each in figures.sources.items()),
        *(("pigment_sync_eligible_people", ((name, key), each.eligible)) for key, each in figures.sources.items()),
        *(("pigment_sync_planned_changes", ((name, kind), count)) for kind, count in figures.changes.items()),
        # Every code, also at 0: a series that ends would look like one that was lost.
        *(("pigment_sync_holds", ((name, code), figures.holds.get(code, 0))) for code in codes),
        *(("pigment_sync_tripped_guards", ((name, guard), 1)) for guard in figures.guards),
    ]
