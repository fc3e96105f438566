"""The page and the API of scheduled reports: the same facts, no secret, and sending for operators only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import httpx
import pytest
from prometheus_client import CollectorRegistry

from agent.daemon.interface import NotFound
from agent.delivery.service import ReportState
from agent.metrics import Metrics
from agent.model.report import Delivery, DeliveryStatus, MadeReport, ReportKind, ReportStatus
from agent.settings.report import ReportSettings
from agent.settings.server import ServerSettings
from agent.settings.token import hashed_token
from agent.web.app import application
from connectors.secret import Secret
from tests.integration.test_api_approvals import TOKENS
from tests.integration.test_page_approvals import PageDaemon, Visitor
from tests.state_samples import NOW

URL = "json://127.0.0.1/s3cret"
TARGET = "1: json://127.0.0.1"
FAILED = MadeReport(
    id="weekly-20260301T120000Z",
    name="weekly",
    scheduled_at=NOW,
    status=ReportStatus.MADE,
    title="3 new",
    deliveries=(
        Delivery(
            report="weekly-20260301T120000Z",
            number=0,
            target=TARGET,
            status=DeliveryStatus.REFUSED,
            error="The service refused <b>it</b>.",
        ),
    ),
)


@dataclass
class ReportDaemon(PageDaemon):
    """A daemon with one report that a target refused. *sent* are the reports that were asked for."""

    sent: list[tuple[str, str]] = field(default_factory=list)

    async def load_reports(self) -> Sequence[ReportState]:
        settings = ReportSettings(name="weekly", what=ReportKind.PLAN, to=(Secret("value", URL),))
        return [ReportState(settings, (TARGET,), (FAILED,), NOW, None, NOW)]

    def send_report(self, name: str, by: str) -> None:
        if name != "weekly":
            raise NotFound(f"There is no report {name}.", "Take another.")
        self.sent.append((name, by))


@pytest.fixture
def daemon() -> ReportDaemon:
    return ReportDaemon()


@pytest.fixture
async def visitor(daemon: ReportDaemon) -> AsyncIterator[Visitor]:
    entries = [Secret("value", str(hashed_token(f"token-of-{name}", role, name))) for name, role in TOKENS.items()]
    server = ServerSettings(tokens=tuple(entries))
    app = application(daemon, Metrics(CollectorRegistry()), lambda: server, httpx.AsyncHTTPTransport)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        found = Visitor(client)
        await found.log_in("ann")
        yield found


async def test_page_shows_what_the_api_returns(visitor: Visitor) -> None:
    shown = await visitor.read("/reports")
    answer = await visitor.client.get("/api/v1/reports", headers={"Authorization": "Bearer token-of-rea"})
    (row,) = answer.json()["reports"]

    assert (row["name"], row["state"], row["to"]) == ("weekly", "failed", [TARGET])
    assert row["problem"] == f"{TARGET}: The service refused <b>it</b>."
    assert row["newest"]["id"] == FAILED.id
    for words in ("weekly", "failed", TARGET, "The service refused <b>it</b>.", FAILED.id, "Send now"):
        assert words in shown
    raw = (await visitor.client.get("/reports")).text
    assert "<b>it</b>" not in raw
    assert "s3cret" not in f"{raw}{answer.text}"


async def test_report_is_sent_by_operators_only(visitor: Visitor, daemon: ReportDaemon) -> None:
    assert (await visitor.send("/reports/weekly/send"))[0] == 303
    assert (await visitor.send("/reports/nothing/send"))[0] == 404
    await visitor.log_in("rea")
    assert "Send now" not in await visitor.read("/reports")
    assert (await visitor.send("/reports/weekly/send"))[0] == 403

    assert daemon.sent == [("weekly", "ann")]
