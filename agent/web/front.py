"""What the page and the API share: the desk, who may ask it, and what of its runs may be approved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from starlette.requests import Request as HttpRequest

from agent.desk import Desk, Ongoing, Request, UnknownName
from agent.engine.approval import digest_prefix
from agent.errors import UsageError
from agent.model import Mode
from agent.ports import Run, Trigger
from agent.report.saved import parse_workspace
from agent.report.view import approvable, wrong_target
from agent.settings.server import ServerSettings
from agent.settings.token import Role
from agent.web.problem import Refusal
from agent.web.visitor import LoginLimit, Sessions, Visitor, known

__all__ = ["Front"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Front:
    """*server* returns the settings in force, so that a token that was taken out lets nobody in any more."""

    desk: Desk
    server: Callable[[], ServerSettings]
    sessions: Sessions
    limit: LoginLimit

    def by_token(self, request: HttpRequest, token: str) -> Visitor:
        """Return whose *token* it is. Raises `Refusal` (401, 429) and counts it as a guess.

        A right token passes at any time: behind a proxy all share one address, and one old script must lock nobody out.
        """
        if (visitor := known(self.server().tokens, token)) is not None:
            return visitor
        address = request.client.host if request.client else ""
        wait = self.limit.wait_seconds(address)
        if wait:
            raise Refusal(
                429,
                "too-many-guesses",
                "Too many wrong tokens came from this address.",
                f"Try again in {wait} seconds.",
                {"Retry-After": str(wait)},
            )
        self.limit.failed(address)
        log.warning("login.refused", address=address)
        raise Refusal(
            401,
            "credentials",
            "This is not one of the tokens of the configuration.",
            "Make one with `pigment-sync hash-token`, and put its entry into server.tokens.",
            {"WWW-Authenticate": "Bearer"},
        )

    def may(self, visitor: Visitor, role: Role) -> None:
        """Raises `Refusal` (403)."""
        if not visitor.role.includes(role):
            raise Refusal(
                403,
                "role",
                f"{visitor.name} has the role {visitor.role}; this needs {role}.",
                "Ask somebody who may operate, or for a token of that role.",
            )

    async def run(self, run_id: str) -> Run | Ongoing:
        """Return a run, with its document once it has ended. Raises `UnknownName`, `StateError`."""
        ongoing = next((each for each in self.desk.ongoing if each.run_id == run_id), None)
        if ongoing is not None:
            return ongoing
        run = await self.desk.state.run(run_id)
        if run is None:
            raise UnknownName("There is no run with this id.", "See the runs of a workspace for theirs.")
        return run

    async def why_not(self, run: Run) -> str:
        """Return why the plan of *run* can't be approved now; empty: it can."""
        if run.workspace not in self.desk.names:
            return f"The workspace {run.workspace} is not in the configuration any more."
        if run.document is None or run.digest is None:
            return "The run ended before it had a plan."
        if run.trigger is Trigger.UNDO:
            return "An undo is approved with `pigment-sync undo`, which pauses the workspace too."
        if not approvable(parse_workspace(run.document)):
            return wrong_target(parse_workspace(run.document)) or "Nothing of this plan is held by a guard."
        standing = await self.desk.standing(run.workspace)
        if standing.mode is Mode.DRY_RUN:
            return "The workspace is in mode dry-run: set `mode: enforce` first."
        if standing.pause is not None:
            return "The workspace is paused: resume it first."
        return ""

    async def approve(self, run: Run, digest: str, visitor: Visitor, reason: str, trigger: Trigger) -> str:
        """Ask for a sync that releases the plan of *run*, and return its id.

        Raises `Refusal` when it is not the plan that *digest* says was seen, or can't be approved.
        """
        why_not = await self.why_not(run)
        if why_not:
            raise Refusal(409, "not-approvable", why_not, "Look at the newest run of the workspace.")
        if run.digest is None or not run.digest.startswith(_prefix(digest)):
            raise Refusal(
                409, "digest", "The digest is not that of this run's plan.", "Look at the plan, and send its digest."
            )
        return await self.desk.ask(
            Request(run.workspace, False, trigger, visitor.name, reason, run.user, approval=run.digest)
        )


def _prefix(digest: str) -> str:
    """Return a digest or its beginning as `sha256:…`. Raises `Refusal` for what is neither."""
    try:
        return digest_prefix(digest)
    except UsageError as error:
        raise Refusal(422, "digest", error.message, error.hint) from error
