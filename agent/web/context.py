"""What the page and the API share: the daemon, authentication and authorization, and approvals."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

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
from agent.model.run import Outcome, Run, Trigger
from agent.plan_parser import parse_workspace
from agent.report.hold_guards import hold_guards
from agent.report.view import is_approvable, wrong_target_message
from agent.settings.server import ServerSettings
from agent.settings.token import Role
from agent.web.approval_form import ApprovalForm, ApprovalRecord, approval_form, wrong_number
from agent.web.auth import LoginLimit, Principal, Sessions, find_principal
from agent.web.problems import HttpProblem

__all__ = ["AcceptedApproval", "GivenApproval", "WebContext"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class GivenApproval:
    """An approval as a client sent it. *guards* are codes, not validated yet; empty: all.

    *confirm* is the number of deactivations that its person expects; None: not given.
    """

    digest: str
    reason: str
    guards: tuple[str, ...] = ()
    confirm: int | None = None


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
    login_limit: LoginLimit

    async def authenticate(self, request: HttpRequest, token: str) -> Principal:
        """Return the principal of *token*. Raises `HttpProblem` (401, 429), and counts the failure.

        A correct token always passes. Behind a proxy all clients share one address, and one outdated script must not
        lock the others out.
        """
        if (principal := find_principal(self.server_settings().tokens, token)) is not None:
            return principal
        address = request.client.host if request.client else ""
        wait = await self.login_limit.count_failure(address)
        if wait:
            raise HttpProblem(
                429,
                "too-many-guesses",
                "Too many wrong tokens came from this address.",
                f"Try again in {wait} seconds.",
                {"Retry-After": str(wait)},
            )
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
        # Another daemon may have accepted it a moment ago.
        ongoing = next((each for each in await self.daemon.load_active_runs() if each.run_id == run_id), None)
        if ongoing is not None and not await self._has_ended(run_id):
            return ongoing
        run = await self.daemon.state.load_run(run_id)
        if run is None:
            raise NotFound("There is no run with this id.", "Take the id from the list of a workspace's runs.")
        return run

    async def _has_ended(self, run_id: str) -> bool:
        """Return whether the journal has the end of a run. Its tick may go on with other workspaces."""
        found = await self.daemon.state.load_runs(ids=[run_id], limit=1)
        return bool(found) and found[0].finished_at is not None

    async def find_approval_blocker(self, run: Run) -> str:
        """Return why the plan of *run* can't be approved now; empty when it can."""
        if run.workspace not in self.daemon.workspace_names:
            return f"The workspace {run.workspace} is no longer in the configuration."
        if run.document is None or run.digest is None:
            return "The run ended before it had a plan."
        if run.trigger is Trigger.UNDO:
            return (
                "An undo is approved at the run that it puts back, because that also pauses the workspace: open that "
                "run, and plan its undo again."
            )
        if not is_approvable(parse_workspace(run.document)):
            return wrong_target_message(parse_workspace(run.document)) or "No guard holds changes of this plan."
        if any(each.outcome is Outcome.DONE for each in await self.daemon.state.load_changes(run.id)):
            return "The run made changes, so the next plan is another one. Start a dry run, and approve what is left."
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
        return await self._load_form(run, principal, ticked)

    async def load_any_form(self, run: Run, principal: Principal) -> ApprovalForm | None:
        """Return the form of the plan of *run*, also where it can't be approved now; None without a plan."""
        return await self._load_form(run, principal, None)

    async def load_undo_form(self, plan: Run | None, principal: Principal) -> ApprovalForm | None:
        """Return the form to approve the undo that the run *plan* shows; None if that run has no plan of an undo."""
        if plan is None or plan.trigger is not Trigger.UNDO:
            return None
        return await self._load_form(plan, principal, None)

    async def _load_form(self, run: Run, principal: Principal, ticked: Collection[str] | None) -> ApprovalForm | None:
        workspace = parse_workspace(run.document) if run.document is not None else None
        if workspace is None or workspace["status"] != "planned" or run.digest is None:
            return None
        state = self.daemon.state
        approvals = await state.load_approvals(run.workspace, run.digest)
        baselines = await state.load_baselines(run.workspace, run.started_at - BASELINE_WINDOW)
        record = ApprovalRecord(approvals, self.daemon.approval_policy, baselines, self.daemon.now())
        return approval_form(workspace, principal.name, record, ticked, is_undo=run.trigger is Trigger.UNDO)

    async def find_undo_blocker(self, run: Run) -> str:
        """Return why *run* can't be undone; empty when it can."""
        if run.workspace not in self.daemon.workspace_names:
            return f"The workspace {run.workspace} is no longer in the configuration."
        if run.dry_run or run.document is None or run.finished_at is None:
            return "Only a run that has ended, with a plan that it applied, can be undone."
        if (await self.daemon.load_workspace_status(run.workspace)).mode is Mode.DRY_RUN:
            return "The workspace is in mode dry-run. Set `mode: enforce` first."
        return ""

    async def plan_undo(self, run: Run, by: str, trigger: Trigger) -> str:
        """Queue the plan of an undo of *run*, and return the id of that run. Raises `HttpProblem` if it has none."""
        await self._refuse_undo(run)
        return await self.daemon.request_run(
            ManualRunRequest(run.workspace, True, trigger, by, f"undo of {run.id}", undone=run)
        )

    async def find_undo_plan(self, digest: str) -> Run | None:
        """Return the newest run with the plan that *digest*, or its beginning, names. Raises `HttpProblem`."""
        return await self.daemon.state.load_run_by_digest(_parse_digest_prefix(digest))

    async def approve_undo(
        self, run: Run, plan: Run | None, given: GivenApproval, principal: Principal, trigger: Trigger
    ) -> AcceptedApproval:
        """Queue the undo of *run* that *plan* shows. Where a second person is needed, it records the approval only.

        Raises `HttpProblem` when it is not the plan that *given* names, or the approval can't be given.
        """
        await self._refuse_undo(run)
        form, prefix = await self.load_undo_form(plan, principal), _parse_digest_prefix(given.digest)
        if (
            form is None
            or plan is None
            or plan.workspace != run.workspace
            or not (plan.digest or "").startswith(prefix)
        ):
            raise HttpProblem(
                409, "digest", "This is not the plan of the undo that was shown.", "Plan the undo again, and review it."
            )
        if not form.action:
            raise HttpProblem(409, "not-undoable", "There is nothing to undo.", "Nothing was written.")
        _check_number(form, given)
        request = ManualRunRequest(
            run.workspace, False, trigger, principal.name, given.reason, approved_digest=plan.digest, undone=run
        )
        return await self._queue(plan, given, request)

    async def _refuse_undo(self, run: Run) -> None:
        if why_not := await self.find_undo_blocker(run):
            raise HttpProblem(409, "not-undoable", why_not, "Nothing was written. Open another run.")

    async def find_newer_plan(self, run: Run) -> Run | None:
        """Return the newest run whose plan of the workspace differs from that of *run*, if it is newer."""
        newest = None if run.user else await self.daemon.state.load_last_plan(run.workspace, run.target)
        if newest is None or newest.started_at <= run.started_at or newest.digest == run.digest:
            return None
        return newest

    async def refuse_old_plan(self, run: Run) -> None:
        """Raises `HttpProblem` if a newer plan than that of *run* differs: its approval would be stale."""
        if (newer := await self.find_newer_plan(run)) is not None:
            raise HttpProblem(
                409,
                "stale",
                "This plan is old: a newer one differs. Nothing was approved and nothing was written.",
                f"Review the newer plan: run {newer.id}.",
            )

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
        await self.refuse_old_plan(run)
        if given.confirm is not None and (form := await self.load_form(run, principal, given.guards or None)):
            _check_number(form, given)
        return await self._queue(
            run,
            given,
            ManualRunRequest(
                run.workspace, False, trigger, principal.name, given.reason, run.user, approved_digest=run.digest
            ),
        )

    async def _queue(self, plan: Run, given: GivenApproval, request: ManualRunRequest) -> AcceptedApproval:
        """Queue *request* with the guards of *given*, unless its approval of *plan* would be refused."""
        guards, found = await self._judge(plan, given, request)
        run_id = await self.daemon.request_run(replace(request, approved_guards=guards))
        statuses = found.release.statuses(found.named)
        return AcceptedApproval(run_id, tuple(each for each in statuses if not each.is_released))

    async def _judge(
        self, run: Run, given: GivenApproval, request: ManualRunRequest
    ) -> tuple[frozenset[str], PlanApproval]:
        """Return the guards that the approval is narrowed to, and what it does. The run judges it again.

        Raises `HttpProblem` for what the run would refuse: a client waits for this answer, and not for the run's end.
        """
        policy, now = self.daemon.approval_policy, self.daemon.now()
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
        digest = request.approved_digest or ""
        approval = Approval(
            workspace=run.workspace,
            digest=digest,
            by=request.by,
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


def _check_number(form: ApprovalForm, given: GivenApproval) -> None:
    """Raises `HttpProblem` if the approval's person expects another number of deactivations."""
    if given.confirm is not None and given.confirm != form.deactivations:
        raise HttpProblem(422, "confirm", wrong_number(form), "Review the plan, and send its number.")


def _parse_digest_prefix(digest: str) -> str:
    """Return a digest or its prefix as `sha256:…`. Raises `HttpProblem` if it is not one."""
    try:
        return digest_prefix(digest)
    except UsageError as error:
        raise HttpProblem(422, "digest", error.message, error.hint) from error
