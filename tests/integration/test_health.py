"""Responses to the probes and to Prometheus, also when the state can't be reached."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from agent.daemon.interface import (
    ActiveRun,
    FeedStatus,
    Health,
    LinkDecision,
    ManualRunRequest,
    RenameDecision,
    Replica,
    WorkspaceStatus,
)
from agent.delivery.service import ReportState
from agent.engine.links import LinkCorrection
from agent.errors import StateError
from agent.metrics import Metrics
from agent.model import Kind, Mode, Unplanned
from agent.model.access import Explanation
from agent.model.approval import ApprovalPolicy
from agent.model.daemon import DaemonRecord
from agent.model.job import Job
from agent.model.run import LinkEdit, Pause, Run, RunStatus, Trigger
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.ports.state import State
from agent.report.plan_figures import PlanFigures, SourceFigures
from agent.web.health import routes
from tests.memory_state import MemoryState
from tests.state_samples import NOW, Clock

STALE = NOW + timedelta(minutes=31)
RUN = Run(
    id="r1",
    workspace="latam",
    trigger=Trigger.SCHEDULE,
    dry_run=False,
    started_at=NOW,
    status=RunStatus.HELD,
    finished_at=NOW + timedelta(minutes=1),
)


@dataclass
class FakeDaemonApi:
    """A daemon with one workspace. Its state takes *delay* seconds, or can't be reached if *is_gone*."""

    state: State = field(default_factory=lambda: MemoryState(Clock().now))
    workspace_names: tuple[str, ...] = ("latam",)
    active_runs: tuple[ActiveRun, ...] = ()
    problems: tuple[str, ...] = ()
    is_gone: bool = False
    delay: float = 0
    expires: date | None = None
    last: Run | None = RUN
    figures: PlanFigures | None = None
    approval_policy: ApprovalPolicy = field(default_factory=ApprovalPolicy)

    other_daemons: tuple[DaemonRecord, ...] = ()
    feeds: tuple[FeedStatus, ...] = ()
    stopped_ticks: tuple[Job, ...] = ()
    replicas: tuple[Replica, ...] = ()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def load_active_runs(self) -> tuple[ActiveRun, ...]:
        return self.active_runs

    async def load_statuses(self) -> tuple[WorkspaceStatus, ...]:
        return tuple([await self.load_workspace_status(name) for name in self.workspace_names])

    async def load_workspace_status(self, name: str) -> WorkspaceStatus:
        await asyncio.sleep(self.delay)
        if self.is_gone:
            raise StateError("The state can't be reached.", "Start the database.")
        pause = Pause(NOW, "ops", "")
        return WorkspaceStatus(
            name,
            Mode.ENFORCE,
            "every 15m",
            NOW,
            STALE,
            self.expires,
            pause,
            self.last,
            self.last,
            self.last,
            figures=self.figures,
        )

    async def check_health(self) -> Health:
        await asyncio.sleep(self.delay)
        return Health(self.problems, NOW, NOW)

    def budget_left(self) -> int | None:
        return 470

    async def request_run(self, request: ManualRunRequest) -> str:
        return request.workspace

    async def explain_person(self, email: str) -> Sequence[Explanation | Unplanned]:
        assert email
        return []

    async def load_reports(self) -> Sequence[ReportState]:
        return ()

    def send_report(self, name: str, by: str) -> None:
        """Do nothing."""

    async def settle_rename(self, decision: RenameDecision) -> None:
        """Do nothing."""

    async def plan_link_correction(self, name: str, correction: LinkCorrection) -> Sequence[LinkEdit]:
        assert name
        assert correction.person
        return ()

    async def correct_link(self, decision: LinkDecision) -> None:
        """Do nothing."""

    async def pause(self, name: str, by: str, reason: str) -> None:
        """Do nothing."""

    async def resume(self, name: str, by: str, reason: str) -> None:
        """Do nothing."""


async def get(daemon: FakeDaemonApi, path: str, timeout_seconds: float = 5) -> httpx.Response:
    app = Starlette(routes=routes(daemon, Metrics(CollectorRegistry()), timeout_seconds))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent") as client:
        return await client.get(path)


async def test_process_is_alive_whatever_its_state_does() -> None:
    assert (await get(FakeDaemonApi(is_gone=True, problems=("x",)), "/healthz")).status_code == 200


async def test_daemon_is_ready_or_reports_the_problem() -> None:
    ready = await get(FakeDaemonApi(), "/readyz")
    unready = await get(FakeDaemonApi(problems=("The state is gone. Start it.",)), "/readyz")
    slow = await get(FakeDaemonApi(delay=5), "/readyz", 0.05)

    assert (ready.status_code, ready.text) == (200, "ready\n")
    assert (unready.status_code, unready.text) == (503, "The state is gone. Start it.\n")
    assert slow.status_code == 503


async def test_scrape_shows_the_status_of_a_workspace() -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=7)
    daemon = FakeDaemonApi(expires=tomorrow)
    await daemon.state.take_lease("latam", "host, process 7")
    answer = await get(daemon, "/metrics")
    finished = (NOW + timedelta(minutes=1)).timestamp()
    lines = answer.text.splitlines()

    assert answer.headers["content-type"].startswith("text/plain; version=")
    for line in (
        'pigment_sync_paused{workspace="latam"} 1.0',
        'pigment_sync_enforcing{workspace="latam"} 1.0',
        'pigment_sync_last_run{status="held",workspace="latam"} 1.0',
        'pigment_sync_token_days_left{workspace="latam"} 7.0',
        'pigment_sync_lease_holder_info{holder="host, process 7",workspace="latam"} 1.0',
        "pigment_sync_budget_left 470.0",
        "pigment_sync_state_up 1.0",
        "pigment_sync_ready 1.0",
    ):
        assert line in lines
    values = {line.split(" ")[0]: line.split(" ")[1] for line in lines if not line.startswith("#")}
    stale = 'pigment_sync_stale_after_timestamp_seconds{workspace="latam"}'
    assert float(values['pigment_sync_last_apply_timestamp_seconds{workspace="latam"}']) == finished
    assert float(values['pigment_sync_last_read_timestamp_seconds{workspace="latam"}']) == finished
    assert float(values[stale]) == STALE.timestamp()


@pytest.mark.parametrize("daemon", [FakeDaemonApi(is_gone=True), FakeDaemonApi(delay=5)], ids=["gone", "hanging"])
async def test_scrape_without_a_state_reports_it_and_still_responds(daemon: FakeDaemonApi) -> None:
    answer = await get(daemon, "/metrics", 0.1)

    assert answer.status_code == 200
    assert "pigment_sync_state_up 0.0" in answer.text.splitlines()
    assert "pigment_sync_paused{" not in answer.text


async def test_workspace_that_was_never_read_shows_when_it_is_stale() -> None:
    answer = await get(FakeDaemonApi(last=None), "/metrics")

    assert "pigment_sync_last_read_timestamp_seconds{" not in answer.text
    assert "pigment_sync_last_run{" not in answer.text
    assert 'pigment_sync_stale_after_timestamp_seconds{workspace="latam"}' in answer.text


async def test_status_of_the_last_run_replaces_the_one_before() -> None:
    daemon = FakeDaemonApi()
    app = Starlette(routes=routes(daemon, Metrics(CollectorRegistry())))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent") as client:
        await client.get("/metrics")
        daemon.last = replace(RUN, status=RunStatus.DONE)
        again = await client.get("/metrics")

    assert 'pigment_sync_last_run{status="done",workspace="latam"} 1.0' in again.text
    assert 'status="held"' not in again.text


def figures_with(oldest_hold: datetime | None) -> PlanFigures:
    changes = {kind: 2 * (kind is Kind.DEACTIVATE) for kind in Kind}
    sources = {"okta-main": SourceFigures(412, 409)}
    return PlanFigures(420, 405, 401, 398, sources, changes, ("max-deactivations",), {"email-taken": 3}, oldest_hold)


async def test_figures_of_the_newest_plan_are_shown() -> None:
    shown = (await get(FakeDaemonApi(figures=figures_with(NOW)), "/metrics")).text.splitlines()

    assert {
        'pigment_sync_members{state="active",workspace="latam"} 405.0',
        'pigment_sync_members{state="inactive",workspace="latam"} 15.0',
        'pigment_sync_linked_members{workspace="latam"} 401.0',
        'pigment_sync_in_sync_members{workspace="latam"} 398.0',
        'pigment_sync_assigned_people{connector="okta-main",workspace="latam"} 412.0',
        'pigment_sync_eligible_people{connector="okta-main",workspace="latam"} 409.0',
        'pigment_sync_planned_changes{kind="deactivate",workspace="latam"} 2.0',
        'pigment_sync_planned_changes{kind="create",workspace="latam"} 0.0',
        'pigment_sync_holds{code="email-taken",workspace="latam"} 3.0',
        'pigment_sync_holds{code="max-deactivations",workspace="latam"} 0.0',
        'pigment_sync_tripped_guards{guard="max-deactivations",workspace="latam"} 1.0',
    } <= set(shown)


async def test_workspace_that_the_configuration_no_longer_has_loses_its_series() -> None:
    daemon, metrics = FakeDaemonApi(figures=figures_with(NOW)), Metrics(CollectorRegistry())
    metrics.count_notice("latam", "sent")
    app = Starlette(routes=routes(daemon, metrics))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent") as client:
        before = await client.get("/metrics")
        daemon.workspace_names = ()
        after = await client.get("/metrics")

    assert 'workspace="latam"' in before.text
    assert 'workspace="latam"' not in after.text


async def test_oldest_hold_is_shown_with_its_time_and_absent_without_one() -> None:
    waiting = await get(FakeDaemonApi(figures=figures_with(NOW)), "/metrics")
    none = await get(FakeDaemonApi(figures=figures_with(None)), "/metrics")

    values = {line.split(" ")[0]: line.split(" ")[1] for line in waiting.text.splitlines() if not line.startswith("#")}
    assert float(values['pigment_sync_oldest_hold_timestamp_seconds{workspace="latam"}']) == NOW.timestamp()
    assert "pigment_sync_oldest_hold_timestamp_seconds{" not in none.text


async def test_newest_completed_comparison_with_each_reader_is_shown() -> None:
    daemon = FakeDaemonApi()

    def comparison(subject: str, minute: int, result: VerificationResult, **counts: int) -> Verification:
        return Verification(
            workspace="latam",
            kind=VerificationKind.COMPARE,
            started_at=NOW + timedelta(minutes=minute),
            result=result,
            subject=subject,
            document={"counts": counts},
        )

    for each in (
        comparison("okta-sdk", 1, VerificationResult.PASSED, different=0),
        comparison("okta-sdk", 2, VerificationResult.DIFFERS, only_ours=2, different=3),
        comparison("okta-sdk", 3, VerificationResult.FAILED),
        comparison("pigment-members", 4, VerificationResult.PASSED, only_ours=0),
    ):
        await daemon.state.record_verification(each)

    body = (await get(daemon, "/metrics")).text

    assert 'pigment_sync_compare_differences{with="okta-sdk",workspace="latam"} 5.0' in body
    assert 'pigment_sync_compare_differences{with="pigment-members",workspace="latam"} 0.0' in body
    shown = re.search(r'pigment_sync_compare_timestamp_seconds{with="okta-sdk",workspace="latam"} (\S+)', body)
    assert shown is not None
    assert float(shown[1]) == (NOW + timedelta(minutes=2)).timestamp()
