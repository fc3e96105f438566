"""What the page and the API share: the daemon, authentication and authorization, and approvals."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from starlette.requests import Request as HttpRequest

from agent.daemon.interface import ActiveRun, DaemonApi, ManualRunRequest, NotFound
from agent.engine.approval import digest_prefix
from agent.engine.plan_approval import ApprovalJudge, PlanApproval, parse_guards, require_reason
from agent.engine.planner import BASELINE_WINDOW
from agent.errors import AlreadyApproved, UsageError
from agent.guard.release import GuardApproval
from agent.model import Mode
from agent.model.approval import Approval
from agent.model.run import Run, Trigger
from agent.plan_parser import parse_workspace
from agent.report.view import hold_guards, is_approvable, wrong_target_message
from agent.settings.server import ServerSettings
from agent.settings.token import Role
from agent.web.approval_form import ApprovalForm, ApprovalRecord, approval_form
from agent.web.auth import LoginRateLimit, Principal, Sessions, find_principal
from agent.web.problems import HttpProblem

__all__ = ["AcceptedApproval", "GivenApproval", "WebContext"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class GivenApproval:
    """An approval as a client sent it. *guards* are codes, not validated yet; empty: all."""

    digest: str
    reason: str
    guards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AcceptedApproval:
    """The run that was queued, and the guards for which other people are *missing* even after this approval."""

    run_id: str
    missing: tuple[GuardApproval, ...]


@dataclass(frozen=True, slots=True)
class WebContext:
    """*server_settings* returns the active settings: a token that was removed from the file is refused at once."""

    daemon: DaemonApi
    server_settings: Callable[[], ServerSettings]
    sessions: Sessions
    login_limit: LoginRateLimit

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        """Return the principal of *token*. Raises `HttpProblem` (401, 429), and counts the failure.

        A correct token always passes. Behind a proxy all clients share one address, and one outdated script must not
        lock the others out.
        """
        if (principal := find_principal(self.server_settings().tokens, token)) is not None:
            return principal
        address = request.client.host if request.client else ""
        wait = self.login_limit.wait_seconds(address)
        if wait:
            raise HttpProblem(
                429,
                "too-many-guesses",
                "Too many wrong tokens came from this address.",
                f"Try again in {wait} seconds.",
                {"Retry-After": str(wait)},
            )
        self.login_limit.record_failure(address)
        log.warning("login.refused", address=address)
        raise HttpProblem(
            401,
            "credentials",
            "The token is not in the configuration.",
            "Create one with `pigment-sync hash-token`, and add its entry to server.tokens.",
            {"WWW-Authenticate": "Bearer"},
        )

    def authorize(self, principal: Principal, role: Role) -> None:
        """Raises `HttpProblem` (403)."""
        if not principal.role.includes(role):
            raise HttpProblem(
                403,
                "role",
                f"{principal.name} has the role {principal.role}; this needs {role}.",
                "Ask an operator, or use a token with that role.",
            )

    async def find_run(self, run_id: str) -> Run | ActiveRun:
        """Return a run, with its document once it has ended. Raises `NotFound`, `StateError`."""
        ongoing = next((each for each in self.daemon.active_runs if each.run_id == run_id), None)
        if ongoing is not None:
            return ongoing
        run = await self.daemon.state.load_run(run_id)
        if run is None:
            raise NotFound("There is no run with this id.", "Take the id from the list of a workspace's runs.")
        return run

    async def find_approval_blocker(self, run: Run) -> str:
        """Return why the plan of *run* can't be approved now; empty when it can."""
        if run.workspace not in self.daemon.workspace_names:
            return f"The workspace {run.workspace} is no longer in the configuration."
        if run.document is None or run.digest is None:
            return "The run ended before it had a plan."
        if run.trigger is Trigger.UNDO:
            return "Approve an undo with `pigment-sync undo`, which also pauses the workspace."
        if not is_approvable(parse_workspace(run.document)):
            return wrong_target_message(parse_workspace(run.document)) or "No guard holds changes of this plan."
        status = await self.daemon.load_workspace_status(run.workspace)
        if status.mode is Mode.DRY_RUN:
            return "The workspace is in mode dry-run. Set `mode: enforce` first."
        if status.pause is not None:
            return "The workspace is paused. Resume it first."
        return ""

    async def load_form(
        self, run: Run, principal: Principal, ticked: Collection[str] | None = None
    ) -> ApprovalForm | None:
        """Return the form to approve the plan of *run*; None if none can be given. *ticked*: None for all."""
        if run.document is None or run.digest is None or await self.find_approval_blocker(run):
            return None
        workspace = parse_workspace(run.document)
        if workspace["status"] != "planned":
            return None
        state = self.daemon.state
        approvals = await state.load_approvals(run.workspace, run.digest)
        baselines = await state.load_baselines(run.workspace, run.started_at - BASELINE_WINDOW)
        record = ApprovalRecord(approvals, self.daemon.approval_policy, baselines, datetime.now(UTC))
        return approval_form(workspace, principal.name, record, ticked)

    async def find_undo_blocker(self, run: Run) -> str:
        """Return why *run* can't be undone; empty when it can."""
        if run.workspace not in self.daemon.workspace_names:
            return f"The workspace {run.workspace} is no longer in the configuration."
        if run.dry_run or run.document is None or run.finished_at is None:
            return "Only a run that has ended, with a plan that it applied, can be undone."
        if (await self.daemon.load_workspace_status(run.workspace)).mode is Mode.DRY_RUN:
            return "The workspace is in mode dry-run. Set `mode: enforce` first."
        return ""

    async def request_undo(self, run: Run, by: str, plan: Run | None = None, reason: str = "") -> str:
        """Queue the plan of an undo of *run*, or with *plan* the undo that this plan shows. Return the run's id.

        Raises `HttpProblem` if it can't be undone, or the approval has no reason.
        """
        if why_not := await self.find_undo_blocker(run):
            raise HttpProblem(409, "not-undoable", why_not, "Nothing was written. Open another run.")
        if plan is not None:
            try:
                require_reason(reason, self.daemon.approval_policy)
            except UsageError as error:
                raise HttpProblem(422, "reason", error.message, "Send a reason.") from error
        digest = plan.digest if plan is not None else None
        shown_reason = reason or f"undo of {run.id}"
        return await self.daemon.request_run(
            ManualRunRequest(
                run.workspace, plan is None, Trigger.PAGE, by, shown_reason, approved_digest=digest, undone=run
            )
        )

    async def find_newer_plan(self, run: Run) -> Run | None:
        """Return the newest run whose plan of the workspace differs from that of *run*, if it is newer."""
        newest = None if run.user else await self.daemon.state.load_last_plan(run.workspace, run.target)
        if newest is None or newest.started_at <= run.started_at or newest.digest == run.digest:
            return None
        return newest

    async def approve(self, run: Run, given: GivenApproval, principal: Principal, trigger: Trigger) -> AcceptedApproval:
        """Queue a sync that records the approval of *run* and, once no person is missing, applies what it releases.

        Raises `HttpProblem` when it is not the plan that *given* names, or the approval can't be given.
        """
        why_not = await self.find_approval_blocker(run)
        if why_not:
            raise HttpProblem(409, "not-approvable", why_not, "Open the newest run of the workspace.")
        if run.digest is None or not run.digest.startswith(_parse_digest_prefix(given.digest)):
            raise HttpProblem(
                409, "digest", "The digest is not that of this run's plan.", "Review the plan, and send its digest."
            )
        guards, found = await self._judge(run, run.digest, given, principal)
        run_id = await self.daemon.request_run(
            ManualRunRequest(
                run.workspace,
                False,
                trigger,
                principal.name,
                given.reason,
                run.user,
                approved_digest=run.digest,
                approved_guards=guards,
            )
        )
        statuses = found.release.statuses(found.named)
        return AcceptedApproval(run_id, tuple(each for each in statuses if not each.is_released))

    async def _judge(
        self, run: Run, digest: str, given: GivenApproval, principal: Principal
    ) -> tuple[frozenset[str], PlanApproval]:
        """Return the guards that the approval is narrowed to, and what it does. The run judges it again.

        Raises `HttpProblem` for what the run would refuse: a client waits for this answer, and not for the run's end.
        """
        policy, now = self.daemon.approval_policy, datetime.now(UTC)
        try:
            require_reason(given.reason, policy)
        except UsageError as error:
            raise HttpProblem(422, "reason", error.message, "Send a reason.") from error
        try:
            wanted = parse_guards(given.guards)
        except UsageError as error:
            raise HttpProblem(422, "guards", error.message, error.hint) from error
        held = frozenset[str]().union(*hold_guards(parse_workspace(run.document or b"")))
        if idle := sorted(wanted - held):
            raise HttpProblem(
                409,
                "guards",
                f"{', '.join(idle)}: holds nothing in this plan.",
                f"The guards that do are: {', '.join(sorted(held))}.",
            )
        approval = Approval(
            workspace=run.workspace,
            digest=digest,
            by=principal.name,
            at=now,
            reason=given.reason,
            guards=tuple(sorted(wanted)),
        )
        judge = ApprovalJudge(policy, self.daemon.state, lambda: now)
        try:
            return wanted, await judge.judge_one(approval, digest, tuple(sorted(wanted or held)))
        except AlreadyApproved as error:
            hint = "Ask a second person to approve this plan."
            raise HttpProblem(409, error.code, error.message, hint) from error


def _parse_digest_prefix(digest: str) -> str:
    """Return a digest or its prefix as `sha256:…`. Raises `HttpProblem` if it is not one."""
    try:
        return digest_prefix(digest)
    except UsageError as error:
        raise HttpProblem(422, "digest", error.message, error.hint) from error
