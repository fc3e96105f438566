"""The forms that decide about a plan: approve it, undo a run, and settle a possible rename."""

from __future__ import annotations

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response

from agent.daemon.interface import ActiveRun, RenameDecision
from agent.model.run import Run, Trigger
from agent.plan_parser import parse_workspace
from agent.web.approval_form import guards_in_fields, possible_renames
from agent.web.auth import Session
from agent.web.context import GivenApproval, WebContext
from agent.web.form_refusal import button_refusal, form_refusal, refusal_status
from agent.web.page_frame import PageFrame
from agent.web.problems import HttpProblem
from agent.web.run_pages import RunPages
from connectors.base import PersonKey

__all__ = ["DecisionPages"]


class DecisionPages:
    """Shows each form again with the reason if it is refused; *runs* shows the plan that it is about."""

    def __init__(self, context: WebContext, frame: PageFrame, runs: RunPages) -> None:
        self._context = context
        self._frame = frame
        self._runs = runs

    async def approve(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        found = await self._context.find_run(request.path_params["run_id"])
        if isinstance(found, ActiveRun):
            raise HttpProblem(409, "not-approvable", "The run has not ended.", "Wait until it ends.")
        await self._context.refuse_old_plan(found)
        ticked, reason = guards_in_fields(fields), fields.get("reason", "")
        form = await self._context.load_form(found, session.principal, ticked)
        # Without a form no approval can be given: `approve` raises the reason for that.
        if form is not None and (refusal := form_refusal(form, fields, ticked)):
            return await self._runs.render_run(found, session, ticked, reason, refusal)
        given = GivenApproval(fields.get("digest", ""), reason, ticked)
        accepted = await self._context.approve(found, given, session.principal, Trigger.PAGE)
        return RedirectResponse(f"/runs/{accepted.run_id}", 303)

    async def plan_undo(self, request: HttpRequest, session: Session, _: dict[str, str]) -> Response:
        run = await self._find_ended_run(request.path_params["run_id"])
        plan_id = await self._context.plan_undo(run, session.principal.name, Trigger.PAGE)
        return RedirectResponse(f"/runs/{run.id}/undo/{plan_id}", 303)

    async def _find_ended_run(self, run_id: str) -> Run:
        found = await self._context.find_run(run_id)
        if isinstance(found, ActiveRun):
            raise HttpProblem(409, "not-undoable", "The run has not ended.", "Wait until it ends.")
        return found

    async def show_undo(self, request: HttpRequest, session: Session) -> Response:
        run = await self._find_ended_run(request.path_params["run_id"])
        found = await self._context.find_run(request.path_params["plan_id"])
        if isinstance(found, ActiveRun):
            return self._frame.render("ongoing.html", session, run=found)
        return await self._render_undo(run, found, session)

    async def _render_undo(
        self, run: Run, plan: Run, session: Session, reason: str = "", refusal: str = ""
    ) -> Response:
        return self._frame.render(
            "undo.html",
            session,
            refusal_status(refusal),
            run=run,
            planned=plan,
            plan=await self._runs.render_plan(plan, ()),
            form=await self._context.load_undo_form(plan, session.principal),
            why_not=await self._context.find_undo_blocker(run),
            reason=reason,
            refusal=refusal,
        )

    async def undo(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        """Queue the undo whose plan was shown. It is computed again, and refused if its digest is another."""
        run = await self._find_ended_run(request.path_params["run_id"])
        plan = await self._find_ended_run(request.path_params["plan_id"])
        form, reason = await self._context.load_undo_form(plan, session.principal), fields.get("reason", "")
        # Without a form `approve_undo` raises the reason for that.
        if form is not None and (refusal := button_refusal(form, fields)):
            return await self._render_undo(run, plan, session, reason, refusal)
        given = GivenApproval(fields.get("digest", ""), reason)
        accepted = await self._context.approve_undo(run, plan, given, session.principal, Trigger.PAGE)
        return RedirectResponse(f"/runs/{accepted.run_id}", 303)

    async def settle_rename(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        """Settle a hold `possible-rename`, as its person decided: the same human, or two."""
        found = await self._context.find_run(request.path_params["run_id"])
        document = None if isinstance(found, ActiveRun) else found.document
        planned = None if document is None else parse_workspace(document)
        person, decision = fields.get("person", ""), fields.get("decision", "")
        renames = possible_renames(planned) if planned is not None and planned["status"] == "planned" else []
        hold = next((each for each in renames if each.person == person), None)
        if hold is None or isinstance(found, ActiveRun) or decision not in {"link", "create"}:
            raise HttpProblem(422, "form", "The plan of this run has no such hold.", "Use the buttons of the run.")
        reason = fields.get("reason", "")
        if not any(map(str.isalnum, reason)):
            raise HttpProblem(422, "reason", "A decision needs a reason. Nothing was linked.", "Send a reason.")
        connector, _, person_id = person.partition(":")
        await self._context.daemon.settle_rename(
            RenameDecision(
                found.workspace,
                PersonKey(connector, person_id),
                hold.reason,
                decision == "link",
                session.principal.name,
                reason,
            )
        )
        return RedirectResponse(f"/workspaces/{found.workspace}", 303)
