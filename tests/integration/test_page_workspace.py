"""A workspace's page: where it writes, who may do what, and what others changed since the last run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client import CollectorRegistry

from agent.daemon.interface import WorkspaceStatus
from agent.metrics import Metrics
from agent.model import Mode, Note
from agent.model.approval import ApprovalPolicy
from agent.model.codes import NoteCode
from agent.model.run import Run, RunCounts, RunOutline, RunStatus
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.report.document import encode_plan, plan_digest
from agent.settings.server import OidcSettings, ServerSettings
from agent.settings.token import Role, hashed_token
from agent.web.app import application
from agent.web.permissions import permissions
from connectors.secret import Secret
from tests.golden.samples import a_plan
from tests.integration.test_api_approvals import TOKENS
from tests.integration.test_health import RUN, FakeDaemonApi
from tests.integration.test_page_approvals import PageDaemon, Visitor
from tests.state_samples import NOW

READ = replace(RUN, id="read", status=RunStatus.DONE, tally=RunCounts(active=405, changes=0, held=0), target="")


@dataclass
class WorkspaceDaemon(PageDaemon):
    """A daemon whose newest run is `read`; *earlier* are the runs before it."""

    earlier: tuple[Run, ...] = ()

    async def load_workspace_status(self, name: str) -> WorkspaceStatus:
        status = await PageDaemon.load_workspace_status(self, name)
        runs = (READ, *self.earlier)
        outlines = tuple(
            RunOutline(run.id, run.started_at, run.status, run.dry_run, run.tally.active if run.tally else None)
            for run in runs
        )
        return replace(status, whole_runs=outlines, scim_url="https://acme.example.com/scim/v2?a=<b>")

    async def finish(self, notes: tuple[Note, ...]) -> None:
        """Record the run `read`, whose plan has *notes*."""
        plan = a_plan("latam", notes=notes)
        await self.state.record_run(replace(READ, document=encode_plan(plan), digest=plan_digest(plan)))
        self.last = READ


@pytest.fixture
async def daemon() -> WorkspaceDaemon:
    return WorkspaceDaemon()


@pytest.fixture
async def visitor(daemon: WorkspaceDaemon) -> AsyncIterator[Visitor]:
    entries = [Secret("value", str(hashed_token(f"token-of-{name}", role, name))) for name, role in TOKENS.items()]
    oidc = OidcSettings(
        issuer="https://login.acme.com",
        client_id="x",
        client_secret=Secret("value", "secret"),
        roles={"Identity <team>": Role.OPERATE, "Auditors": Role.READ},
    )
    server = ServerSettings(tokens=tuple(entries), oidc=oidc)
    app = application(daemon, Metrics(CollectorRegistry()), lambda: server, httpx.AsyncHTTPTransport)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        found = Visitor(client)
        await found.log_in("ann")
        yield found


async def test_page_shows_the_scim_url(visitor: Visitor) -> None:
    assert "SCIM URL https://acme.example.com/scim/v2?a=<b>" in await visitor.read("/workspaces/latam")
    assert "?a=<b>" not in (await visitor.client.get("/workspaces/latam")).text


async def test_page_shows_who_has_which_role_and_what_the_visitor_may_do(visitor: Visitor) -> None:
    shown = await visitor.read("/workspaces/latam")
    assert "You are ann , with the role operate." in shown
    assert "Role operate ann , bea ; groups Identity <team>" in shown
    assert "Role read rea ; groups Auditors" in shown
    assert "Sync now yes operate" in shown

    await visitor.log_in("rea")
    shown = await visitor.read("/workspaces/latam")
    assert "download reports yes read or operate" in shown
    assert "Sync now no : your role is read operate" in shown


@pytest.mark.parametrize(
    ("action", "mode", "is_paused", "why_not"),
    [
        ("Sync now", Mode.ENFORCE, False, ""),
        ("Sync now", Mode.DRY_RUN, False, "the workspace is in mode dry-run"),
        ("Sync now", Mode.ENFORCE, True, "the workspace is paused, so a sync only plans"),
        ("Approve a plan", Mode.DRY_RUN, True, "the workspace is in mode dry-run"),
        ("Approve a plan", Mode.ENFORCE, True, "the workspace is paused"),
        ("Undo a run", Mode.ENFORCE, True, ""),
        ("Undo a run", Mode.DRY_RUN, False, "the workspace is in mode dry-run"),
        ("Dry run", Mode.DRY_RUN, True, ""),
        ("Pause and resume", Mode.DRY_RUN, False, ""),
        ("Correct links", Mode.DRY_RUN, True, ""),
    ],
)
async def test_permission_is_what_the_workspace_allows_now(
    action: str, mode: Mode, is_paused: bool, why_not: str
) -> None:
    status = replace(await FakeDaemonApi().load_workspace_status("latam"), mode=mode)
    status = status if is_paused else replace(status, pause=None)
    for role, expected in ((Role.OPERATE, why_not), (Role.READ, "your role is read")):
        (found,) = [each for each in permissions(role, status, ApprovalPolicy()) if each.action == action]
        assert found.why_not == expected


async def test_permission_to_approve_names_what_an_approval_asks_for() -> None:
    status = await FakeDaemonApi().load_workspace_status("latam")
    for policy, needs in (
        (
            ApprovalPolicy(needed=2, confirm_over=30),
            "2 different people; a reason; above 30 deactivations, their number",
        ),
        (ApprovalPolicy(requires_reason=False, confirm_over=0), "above 0 deactivations, their number"),
    ):
        (found,) = [each for each in permissions(Role.OPERATE, status, policy) if each.action == "Approve a plan"]
        assert found.needs.startswith(needs)
        (undo,) = [each for each in permissions(Role.OPERATE, status, policy) if each.action == "Undo a run"]
        assert undo.needs == ("2 different people; a reason" if policy.needed == 2 else "")


async def test_changes_by_others_since_the_last_run_stand_on_the_page(
    visitor: Visitor, daemon: WorkspaceDaemon
) -> None:
    await daemon.finish(
        (
            Note(NoteCode.DRIFT, "ann@acme.com", "Ann <Lee> was deactivated since our last run, not by this agent."),
            Note(NoteCode.ANOTHER_WRITER, "bea@acme.com", "Bea was created, as the sources require."),
            Note(NoteCode.UNMANAGED, "robot@acme.com", "robot@acme.com is a member that no source knows."),
        )
    )
    shown = await visitor.read("/workspaces/latam")

    assert "Drift 2" in shown
    assert "ann@acme.com Ann <Lee> was deactivated since our last run, not by this agent." in shown
    assert "another tool bea@acme.com Bea was created" in shown
    assert "robot@acme.com" not in shown


async def test_only_the_first_changes_by_others_are_shown_with_a_link_to_all(
    visitor: Visitor, daemon: WorkspaceDaemon
) -> None:
    await daemon.finish(tuple(Note(NoteCode.DRIFT, f"p{each:02}@acme.com", "was renamed") for each in range(12)))
    shown = await visitor.read("/workspaces/latam")

    assert "p09@acme.com" in shown
    assert "p10@acme.com" not in shown
    assert "All 12 in the notes of the run" in shown
    page = (await visitor.client.get("/workspaces/latam")).text
    assert 'href="/runs/read#workspace-1-notes"' in page
    assert 'id="workspace-1-notes"' in (await visitor.client.get("/runs/read")).text


async def test_no_drift_is_claimed_only_if_an_earlier_run_recorded_the_members(
    visitor: Visitor, daemon: WorkspaceDaemon
) -> None:
    await daemon.finish(())
    assert "Not known yet: no earlier run" in await visitor.read("/workspaces/latam")

    earlier = replace(READ, id="earlier", started_at=NOW - timedelta(hours=1))
    daemon.earlier = (replace(earlier, dry_run=True),)
    assert "Not known yet: no earlier run" in await visitor.read("/workspaces/latam")
    daemon.earlier = (earlier,)
    assert "No one else has changed a member" in await visitor.read("/workspaces/latam")


async def test_page_shows_the_ladder_to_enforce_with_the_next_command(
    visitor: Visitor, daemon: WorkspaceDaemon
) -> None:
    at = datetime.now(UTC) - timedelta(hours=2)
    found = {"started_at": at, "result": VerificationResult.PASSED, "subject": "<canary@acme.com>"}
    for kind in (VerificationKind.CHECK, VerificationKind.PROBE):
        await daemon.state.record_verification(Verification(workspace="latam", kind=kind, **found))  # type: ignore[arg-type]  # fields by name
    shown = await visitor.read("/workspaces/latam")

    assert "Ladder to enforce" in shown
    assert "done Checked 2 h ago" in shown
    assert "done Probed on a canary 2 h ago with <canary@acme.com>" in shown
    assert "to do Compared with another reader Next: pigment-sync compare --workspace latam --with EXPORT.csv" in shown
    assert shown.count("Next: ") == 1
    assert "<canary" not in (await visitor.client.get("/workspaces/latam")).text
