"""What the page and the API share: the desk, who may ask it, and what of its runs may be approved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from starlette.requests import Request as HttpRequest

from agent.daemon.interface import ActiveRun, DaemonApi, ManualRunRequest, NotFound
from agent.engine.approval import digest_prefix
from agent.errors import UsageError
from agent.model import Mode
from agent.model.run import Run, Trigger
from agent.plan_parser import parse_workspace
from agent.report.view import is_approvable, wrong_target_message
from agent.settings.server import ServerSettings
from agent.settings.token import Role
from agent.web.auth import LoginRateLimit, Principal, Sessions, find_principal
from agent.web.problems import HttpProblem

__all__ = ["WebContext"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WebContext:
    """*server_settings* returns the settings in force, so that a token that was taken out lets nobody in any more."""

    daemon: DaemonApi
    server_settings: Callable[[], ServerSettings]
    sessions: Sessions
    login_limit: LoginRateLimit

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        """Return whose *token* it is. Raises `HttpProblem` (401, 429) and counts it as a guess.

        A right token passes at any time: behind a proxy all share one address, and one old script must lock nobody out.
        """
        if (visitor := find_principal(self.server_settings().tokens, token)) is not None:
            return visitor
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
            "This is not one of the tokens of the configuration.",
            "Make one with `pigment-sync hash-token`, and put its entry into server.tokens.",
            {"WWW-Authenticate": "Bearer"},
        )

    def authorize(self, visitor: Principal, role: Role) -> None:
        """Raises `HttpProblem` (403)."""
        if not visitor.role.includes(role):
            raise HttpProblem(
                403,
                "role",
                f"{visitor.name} has the role {visitor.role}; this needs {role}.",
                "Ask somebody who may operate, or for a token of that role.",
            )

    async def find_run(self, run_id: str) -> Run | ActiveRun:
        """Return a run, with its document once it has ended. Raises `NotFound`, `StateError`."""
        ongoing = next((each for each in self.daemon.active_runs if each.run_id == run_id), None)
        if ongoing is not None:
            return ongoing
        run = await self.daemon.state.load_run(run_id)
        if run is None:
            raise NotFound("There is no run with this id.", "See the runs of a workspace for theirs.")
        return run

    async def find_approval_blocker(self, run: Run) -> str:
        """Return why the plan of *run* can't be approved now; empty: it can."""
        if run.workspace not in self.daemon.workspace_names:
            return f"The workspace {run.workspace} is not in the configuration any more."
        if run.document is None or run.digest is None:
            return "The run ended before it had a plan."
        if run.trigger is Trigger.UNDO:
            return "An undo is approved with `pigment-sync undo`, which pauses the workspace too."
        if not is_approvable(parse_workspace(run.document)):
            return wrong_target_message(parse_workspace(run.document)) or "Nothing of this plan is held by a guard."
        standing = await self.daemon.load_workspace_status(run.workspace)
        if standing.mode is Mode.DRY_RUN:
            return "The workspace is in mode dry-run: set `mode: enforce` first."
        if standing.pause is not None:
            return "The workspace is paused: resume it first."
        return ""

    async def approve(self, run: Run, approved_digest: str, visitor: Principal, reason: str, trigger: Trigger) -> str:
        """Ask for a sync that releases the plan of *run*, and return its id.

        Raises `HttpProblem` when it is not the plan that *approved_digest* names, or can't be approved.
        """
        why_not = await self.find_approval_blocker(run)
        if why_not:
            raise HttpProblem(409, "not-approvable", why_not, "Look at the newest run of the workspace.")
        if run.digest is None or not run.digest.startswith(_parse_digest_prefix(approved_digest)):
            raise HttpProblem(
                409, "digest", "The digest is not that of this run's plan.", "Look at the plan, and send its digest."
            )
        return await self.daemon.request_run(
            ManualRunRequest(run.workspace, False, trigger, visitor.name, reason, run.user, approved_digest=run.digest)
        )


def _parse_digest_prefix(digest: str) -> str:
    """Return a digest or its beginning as `sha256:…`. Raises `HttpProblem` for what is neither."""
    try:
        return digest_prefix(digest)
    except UsageError as error:
        raise HttpProblem(422, "digest", error.message, error.hint) from error
