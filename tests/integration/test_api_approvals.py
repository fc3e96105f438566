"""The API's approvals: what the answer shows as still missing, and each refusal before a run is queued."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from agent.daemon.interface import ActiveRun, ManualRunRequest, WorkspaceStatus
from agent.metrics import Metrics
from agent.model.approval import Approval, ApprovalPolicy
from agent.model.run import RunStatus, Trigger
from agent.report.document import encode_plan, plan_digest
from agent.settings.server import ServerSettings
from agent.settings.token import Role, hashed_token
from agent.web.app import application
from connectors.secret import Secret
from tests.golden.samples import a_guard, a_guarded_leaver, a_plan
from tests.integration.test_health import FakeDaemonApi
from tests.state_samples import NOW, a_run

TOKENS = {"ann": Role.OPERATE, "bea": Role.OPERATE, "rea": Role.READ}
HOLD = a_guarded_leaver(1)
HELD = replace(
    a_plan("latam", holds=(HOLD, replace(a_guarded_leaver(2), guards=("group-shrink", "max-deactivations")))),
    guards=(a_guard(2), replace(a_guard(1), code="group-shrink")),
)


@dataclass
class ApprovalDaemon(FakeDaemonApi):
    """A daemon whose queued runs only record their approvals, as a run does that waits for a second person."""

    approval_policy: ApprovalPolicy = field(default_factory=lambda: ApprovalPolicy(needed=2))
    requests: list[ManualRunRequest] = field(default_factory=list)

    async def load_workspace_status(self, name: str) -> WorkspaceStatus:
        return replace(await FakeDaemonApi.load_workspace_status(self, name), pause=None)

    async def request_run(self, request: ManualRunRequest) -> str:
        self.requests.append(request)
        lease = await self.state.take_lease(request.workspace, "one")
        run_id = f"given{len(self.requests)}"
        await self.state.begin_run(a_run(run_id), lease)
        approval = Approval(
            workspace=request.workspace,
            digest=request.approved_digest or "",
            by=request.by,
            at=datetime.now(UTC),
            reason=request.reason,
            guards=tuple(sorted(request.approved_guards)),
            run_id=run_id,
        )
        await self.state.record_approval(lease, approval)
        await self.state.release_lease(lease)
        return run_id


@pytest.fixture
async def daemon() -> ApprovalDaemon:
    daemon = ApprovalDaemon()
    document = encode_plan(HELD)
    run = replace(a_run("held"), status=RunStatus.HELD, finished_at=NOW, digest=plan_digest(HELD), document=document)
    await daemon.state.record_run(run)
    return daemon


@pytest.fixture
async def client(daemon: ApprovalDaemon) -> AsyncIterator[httpx.AsyncClient]:
    entries = [Secret("value", str(hashed_token(f"token-of-{name}", role, name))) for name, role in TOKENS.items()]
    server = ServerSettings(tokens=tuple(entries))
    app = application(daemon, Metrics(CollectorRegistry()), lambda: server, httpx.AsyncHTTPTransport)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


async def post(client: httpx.AsyncClient, by: str, **body: object) -> tuple[int, Any]:
    body = {"digest": plan_digest(HELD), "reason": "reviewed", **body}
    headers = {"Authorization": f"Bearer token-of-{by}"}
    answer = await client.post("/api/v1/runs/held/approval", json=body, headers=headers)
    return answer.status_code, answer.json()


def ongoing(run_id: str) -> ActiveRun:
    return ActiveRun(run_id, "latam", Trigger.SCHEDULE, False, "", NOW, step="Plan")


async def test_run_that_has_ended_is_shown_so_while_its_tick_goes_on(
    client: httpx.AsyncClient, daemon: ApprovalDaemon
) -> None:
    lease = await daemon.state.take_lease("latam", "one")
    await daemon.state.begin_run(a_run("begun"), lease)
    daemon.active_runs = (ongoing("held"), ongoing("begun"), ongoing("waits"))
    headers = {"Authorization": "Bearer token-of-rea"}
    listed = (await client.get("/api/v1/runs", headers=headers)).json()["runs"]
    shown = {
        key: (await client.get(f"/api/v1/runs/{key}", headers=headers)).json() for key in ("held", "begun", "waits")
    }

    ended = {each["id"]: each["finished_at"] for each in listed}
    assert ended["held"] is not None
    assert {key: each["finished_at"] for key, each in shown.items()} == {**ended, "waits": None}
    assert shown["held"]["plan"]["holds"]
    assert shown["held"]["digest"] == plan_digest(HELD)
    assert shown["begun"]["progress"]["step"] == "Plan"


async def test_answer_says_which_guards_need_a_second_person(client: httpx.AsyncClient, daemon: ApprovalDaemon) -> None:
    status, first = await post(client, "ann")
    assert (status, first["missing"]) == (
        202,
        [
            {"guard": "group-shrink", "approved_by": ["ann"], "people": 1},
            {"guard": "max-deactivations", "approved_by": ["ann"], "people": 1},
        ],
    )
    _, second = await post(client, "bea", guards=["max-deactivations"])
    assert second["missing"] == []
    assert [sorted(each.approved_guards) for each in daemon.requests] == [[], ["max-deactivations"]]
    assert {each.approved_digest for each in daemon.requests} == {plan_digest(HELD)}


REFUSED: list[tuple[str, dict[str, object], int, str, str]] = [
    ("rea", {}, 403, "role", "rea has the role read; this needs operate."),
    ("ann", {"reason": " "}, 422, "reason", "An approval needs a reason."),
    ("ann", {"guards": ["nothing"]}, 422, "guards", "'nothing' is not a guard."),
    ("ann", {"guards": ["toggle-off"]}, 422, "guards", "toggle-off is not released by an approval"),
    ("ann", {"guards": ["fleet"]}, 409, "guards", "fleet: holds nothing in this plan."),
    ("ann", {"guards": "fleet"}, 422, "body", "guards"),
    ("ann", {"digest": "sha256:00000000"}, 409, "digest", "is not that of this run's plan"),
    ("ann", {"confirm": 3}, 422, "confirm", "The typed number is not the number of deactivations, 2."),
    ("ann", {"confirm": 2, "guards": ["max-deactivations"]}, 422, "confirm", "the number of deactivations, 1."),
    ("ann", {"confirm": -2}, 422, "body", "confirm"),
    ("ann", {"confirm": "2"}, 422, "body", "confirm"),
]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda each: each[4][:20])
async def test_refused_approval_queues_nothing(
    client: httpx.AsyncClient, daemon: ApprovalDaemon, refused: tuple[str, dict[str, object], int, str, str]
) -> None:
    by, body, status, code, words = refused
    found, problem = await post(client, by, **body)

    assert (found, problem["code"]) == (status, code)
    assert words in problem["detail"]
    assert problem["remedy"]
    assert daemon.requests == []


async def test_same_person_twice_is_refused(client: httpx.AsyncClient, daemon: ApprovalDaemon) -> None:
    await post(client, "ann")
    status, problem = await post(client, "ann", guards=["max-deactivations"])

    assert (status, problem["code"]) == (409, "already-approved")
    assert "ann approved this plan before" in problem["detail"]
    assert len(daemon.requests) == 1


async def test_reason_may_be_optional(client: httpx.AsyncClient, daemon: ApprovalDaemon) -> None:
    daemon.approval_policy = ApprovalPolicy(requires_reason=False)
    status, answer = await post(client, "ann", reason="")

    assert (status, answer["missing"]) == (202, [])


async def read(client: httpx.AsyncClient, by: str = "ann") -> Any:
    answer = await client.get("/api/v1/runs/held", headers={"Authorization": f"Bearer token-of-{by}"})
    return answer.json()["approval"]


async def test_run_shows_what_an_approval_needs(client: httpx.AsyncClient, daemon: ApprovalDaemon) -> None:
    daemon.approval_policy = ApprovalPolicy(
        needed=2, requires_reason=False, confirm_over=7, valid_for=timedelta(hours=1)
    )
    needs = await read(client, "rea")

    assert {key: needs[key] for key in ("needed", "reason_required", "confirm_over", "valid_for_seconds")} == {
        "needed": 2,
        "reason_required": False,
        "confirm_over": 7,
        "valid_for_seconds": 3600,
    }
    assert (needs["blocked"], needs["newer_run"], needs["counts"]) == ("", None, {"deactivate": 2})
    assert [(each["guard"], each["holds"], each["missing"]) for each in needs["guards"]] == [
        ("group-shrink", {"deactivate": 1}, 2),
        ("max-deactivations", {"deactivate": 2}, 2),
    ]
    assert needs["guards"][1]["message"]
    assert (needs["approvals"], needs["expired"], needs["waits"], needs["repeated"]) == ([], [], True, False)


async def test_run_shows_who_approved_and_until_when_it_counts(
    client: httpx.AsyncClient, daemon: ApprovalDaemon
) -> None:
    await post(client, "ann", guards=["max-deactivations"])
    needs = await read(client, "bea")

    (given,) = needs["approvals"]
    assert (given["by"], given["reason"], given["guards"]) == ("ann", "reviewed", ["max-deactivations"])
    lasts = datetime.fromisoformat(given["expires_at"]) - datetime.fromisoformat(given["at"])
    assert lasts == timedelta(hours=24)
    assert [(each["guard"], each["approved_by"], each["missing"]) for each in needs["guards"]] == [
        ("group-shrink", [], 2),
        ("max-deactivations", ["ann"], 1),
    ]
    assert (needs["waits"], needs["repeated"]) == (False, False)
    daemon.approval_policy = ApprovalPolicy(needed=2, valid_for=timedelta(0))
    needs = await read(client, "bea")
    assert (needs["approvals"], [each["by"] for each in needs["expired"]]) == ([], ["ann"])


async def test_run_shows_why_it_cannot_be_approved(client: httpx.AsyncClient, daemon: ApprovalDaemon) -> None:
    daemon.workspace_names = ()
    assert "no longer in the configuration" in (await read(client))["blocked"]
    listed = await client.get("/api/v1/runs", headers={"Authorization": "Bearer token-of-ann"})
    assert [each["approval"] for each in listed.json()["runs"]] == [None]


async def test_plan_without_holds_needs_no_approval(client: httpx.AsyncClient, daemon: ApprovalDaemon) -> None:
    plan = a_plan("latam")
    run = replace(a_run("free"), status=RunStatus.DONE, digest=plan_digest(plan), document=encode_plan(plan))
    await daemon.state.record_run(run)
    answer = await client.get("/api/v1/runs/free", headers={"Authorization": "Bearer token-of-ann"})
    assert answer.json()["approval"] is None


UNDO_REFUSED: list[tuple[str, dict[str, object], int, str]] = [
    ("rea", {}, 403, "role"),
    ("ann", {"digest": "sha256:00000000", "reason": "wrong"}, 409, "digest"),
    ("ann", {"digest": plan_digest(HELD), "reason": "of another plan"}, 409, "digest"),
    ("ann", {"digest": "now"}, 422, "body"),
    ("ann", {"force": True}, 422, "body"),
]


@pytest.mark.parametrize("refused", UNDO_REFUSED, ids=lambda each: each[3])
async def test_refused_undo_queues_nothing(
    client: httpx.AsyncClient, daemon: ApprovalDaemon, refused: tuple[str, dict[str, object], int, str]
) -> None:
    by, body, status, code = refused
    run = replace(a_run("held"), id="done", dry_run=False, status=RunStatus.DONE, document=encode_plan(HELD))
    run = replace(run, finished_at=run.started_at)
    await daemon.state.record_run(run)
    headers = {"Authorization": f"Bearer token-of-{by}"}
    answer = await client.post("/api/v1/runs/done/undo", json=body, headers=headers)

    assert (answer.status_code, answer.json()["code"], daemon.requests) == (status, code, [])
