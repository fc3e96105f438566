"""The page of a run: its plan with what became of each change, its progress, and its reports as files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from markupsafe import Markup
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from agent.daemon.interface import ActiveRun
from agent.model.approval import Approval
from agent.model.run import Run, Trigger
from agent.plan_parser import parse_workspace
from agent.report.document import plan_document
from agent.report.evidence import Evidence, evidence_files
from agent.report.html import workspace_sections
from agent.report.link_edits import describe_link_edits
from agent.report.render import RenderOptions
from agent.report.run_identity import approval_facts, format_utc, made_with_facts, run_object, with_run
from agent.report.schema import OutcomeRow
from agent.report.view import is_approvable, workspace_view
from agent.web.approval_form import possible_renames
from agent.web.auth import Session
from agent.web.context import WebContext
from agent.web.form_refusal import refusal_status
from agent.web.page_frame import DOWNLOADS, PageFrame
from agent.web.problems import HttpProblem

__all__ = ["RunPages"]


class RunPages:
    """The pages about one run that decide nothing."""

    def __init__(self, context: WebContext, frame: PageFrame) -> None:
        self._context = context
        self._frame = frame

    async def show_run(self, request: HttpRequest, session: Session) -> Response:
        found = await self._context.find_run(request.path_params["run_id"])
        if isinstance(found, ActiveRun):
            return self._frame.render("ongoing.html", session, run=found)
        return await self.render_run(found, session)

    async def render_run(
        self, run: Run, session: Session, ticked: Sequence[str] | None = None, reason: str = "", refusal: str = ""
    ) -> Response:
        """Return the page of *run*. With *refusal* its form is shown again: with those ticks and that reason."""
        approvals = await self._context.daemon.state.load_run_approvals(run.id)
        identity = run_object(run, approvals)
        planned = parse_workspace(run.document) if run.document is not None else None
        return self._frame.render(
            "run.html",
            session,
            refusal_status(refusal),
            run=run,
            facts=[*approval_facts(identity, planned), *made_with_facts(identity)],
            plan=await self.render_plan(run, approvals),
            edits=await self._describe_link_edits(run),
            why_not=await self._context.find_approval_blocker(run),
            form=await self._context.load_form(run, session.principal, ticked),
            newer=await self._context.find_newer_plan(run),
            renames=possible_renames(planned) if planned is not None and planned["status"] == "planned" else [],
            may_undo=not await self._context.find_undo_blocker(run),
            has_guard_holds=planned is not None and is_approvable(planned),
            reason=reason,
            refusal=refusal,
        )

    async def _describe_link_edits(self, run: Run) -> Sequence[str]:
        edits = await self._context.daemon.state.load_link_edits(run.id) if run.trigger is Trigger.LINKS else ()
        return describe_link_edits(edits, {}, is_done=True)

    async def render_plan(self, run: Run, approvals: Sequence[Approval]) -> Markup | None:
        """Return the plan of *run* with its outcomes, as the report shows it; None for a run without a plan."""
        evidence = await self._load_evidence(run, approvals)
        if evidence is None:
            return None
        lines = evidence.outcomes.get(evidence.workspace["name"])
        view = workspace_view(evidence.workspace, lines, run.user, format_utc(run.finished_at or run.started_at))
        (section,) = workspace_sections([view], with_commands=False)
        return self._frame.render_section(section)

    async def _load_evidence(self, run: Run, approvals: Sequence[Approval]) -> Evidence | None:
        """Return what the journal has of *run*; None for a run without a plan."""
        if run.document is None:
            return None
        records = await self._context.daemon.state.load_changes(run.id)
        planned = with_run(parse_workspace(run.document), run, approvals)
        lines = [
            OutcomeRow(each.seq, each.change.kind, each.change.email, each.outcome, each.detail) for each in records
        ]
        document = plan_document([planned], format_utc(run.finished_at or run.started_at), run.user)
        return Evidence(run, document, {planned["name"]: lines} if lines else {}, approvals, records)

    async def download_report(self, request: HttpRequest, _: Session) -> Response:
        """Return the report of a run as a file, in one of the formats, with nothing left out."""
        found = await self._context.find_run(request.path_params["run_id"])
        name = request.path_params["file"]
        if isinstance(found, ActiveRun) or name not in DOWNLOADS:
            raise HttpProblem(
                404, "not-found", "There is no such report, or its run has not ended.", "Use the links of the run."
            )
        approvals = await self._context.daemon.state.load_run_approvals(found.id)
        evidence = await self._load_evidence(found, approvals)
        if evidence is None:
            raise HttpProblem(404, "not-found", "This run has no plan, so it has no report.", "Open the run.")
        options = RenderOptions(shows_approval=found.trigger is not Trigger.UNDO)
        # A large report takes seconds to render, and other requests must get their answers meanwhile.
        content = (await asyncio.to_thread(evidence_files, evidence, options))[name]
        return Response(
            content,
            media_type=DOWNLOADS[name],
            headers={"Content-Disposition": f'attachment; filename="{found.id}-{name}"'},
        )

    async def show_progress(self, request: HttpRequest, session: Session) -> Response:
        """Return the progress of a run, and 204 once it has ended."""
        found = await self._context.find_run(request.path_params["run_id"])
        if not isinstance(found, ActiveRun):
            return Response(status_code=204)
        return self._frame.render("progress.html", session, run=found)
