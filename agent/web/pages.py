"""The page: the status of each workspace, its runs and their plans, and the actions of an operator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from jinja2 import PackageLoader
from markupsafe import Markup
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from agent.daemon.interface import ActiveRun, ManualRunRequest, RenameDecision, WorkspaceStatus
from agent.engine.planner import BASELINE_WINDOW
from agent.engine.queries import list_person_changes
from agent.model.approval import Approval
from agent.model.codes import NoteCode
from agent.model.email import is_valid
from agent.model.run import Run, Trigger
from agent.plan_parser import parse_workspace
from agent.report.document import plan_document
from agent.report.evidence import Evidence, evidence_files
from agent.report.group_sizes import group_sizes
from agent.report.history import timeline_cells
from agent.report.html import asset_text, template_environment, workspace_sections
from agent.report.link_edits import describe_link_edits
from agent.report.render import RenderOptions
from agent.report.run_identity import approval_facts, format_utc, made_with_facts, run_object, with_run
from agent.report.schema import OutcomeRow, PlannedObject
from agent.report.view import is_approvable, workspace_view
from agent.settings.token import Role
from agent.web import chart, login
from agent.web.approval_form import (
    ApprovalForm,
    guards_in_fields,
    possible_renames,
    wrong_number,
)
from agent.web.auth import Session
from agent.web.context import GivenApproval, WebContext
from agent.web.link_pages import LinkPages
from agent.web.oidc import CALLBACK_PATH, OidcLogin
from agent.web.permissions import permissions, role_holders
from agent.web.problems import HttpProblem
from agent.web.status import (
    fleet_summary,
    format_ago,
    format_until,
    has_earlier_run,
    run_kind,
    status_card,
    trend_points,
    worst_first,
)
from connectors.base import PersonKey

__all__ = ["Pages", "routes"]

RUNS_IN_TABLE, RUNS_IN_CHART = 25, 200
MAX_REASON_LENGTH = 500
MAX_TIMELINE = 200
DRIFT_CODES = {NoteCode.DRIFT, NoteCode.ANOTHER_WRITER}
TICKS_CHANGED = (
    "The ticks have changed, so the numbers have too. Nothing was approved yet. Check the button, then send it."
)
BUTTON_CHANGED = (
    "Another person approved meanwhile, so the button does something else now. Nothing was approved yet. Check the "
    "button, then send it."
)
FORM_CHANGED = {TICKS_CHANGED, BUTTON_CHANGED}
PageHandler = Callable[[HttpRequest, Session], Awaitable[Response]]
FormHandler = Callable[[HttpRequest, Session, dict[str, str]], Awaitable[Response]]
THEMES = {"light", "dark"}
DOWNLOADS = {
    "report.html": "text/html",
    "report.csv": "text/csv",
    "report.json": "application/json",
    "report.md": "text/markdown",
    "report.txt": "text/plain",
}
"""The reports of a run by the names that `report --evidence` gives them, with their media types."""


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page. Problems and `login.LoginRequired` are raised."""
    return [
        Route("/login", pages.log_in, methods=["GET", "POST"]),
        Route("/login/oidc", pages.begin_oidc, methods=["GET"]),
        Route(CALLBACK_PATH, pages.finish_oidc, methods=["GET"]),
        Route("/logout", pages.log_out, methods=["POST"]),
        pages.read_route("/", pages.show_overview),
        pages.read_route("/workspaces/{name}", pages.show_workspace),
        pages.read_route("/workspaces/{name}/chart.svg", pages.show_chart),
        pages.operate_route("/workspaces/{name}/runs", pages.request_run),
        pages.operate_route("/workspaces/{name}/pause", pages.pause),
        pages.operate_route("/workspaces/{name}/resume", pages.resume),
        pages.read_route("/workspaces/{name}/links", pages.links.show_links),
        pages.operate_route("/workspaces/{name}/links", pages.links.correct_link),
        pages.read_route("/runs/{run_id}", pages.show_run),
        pages.read_route("/runs/{run_id}/progress", pages.show_progress),
        pages.operate_route("/runs/{run_id}/undo", pages.plan_undo),
        pages.read_route("/runs/{run_id}/undo/{plan_id}", pages.show_undo),
        pages.operate_route("/runs/{run_id}/undo/{plan_id}", pages.undo),
        pages.read_route("/runs/{run_id}/{file}", pages.download_report),
        pages.operate_route("/runs/{run_id}/approval", pages.approve),
        pages.operate_route("/runs/{run_id}/possible-rename", pages.settle_rename),
        pages.read_route("/people", pages.explain_person),
        Route("/assets/{file}", pages.serve_asset, methods=["GET"]),
    ]


class Pages:
    """One method for each page."""

    def __init__(self, context: WebContext, oidc: OidcLogin) -> None:
        self._context = context
        self._oidc = oidc
        self.links = LinkPages(context, self.render)
        self._environment = template_environment(PackageLoader("agent.web", "templates"))
        self._environment.globals.update(
            ago=format_ago,
            until=format_until,
            ran=run_kind,
            trend=trend_points,
            downloads=tuple(DOWNLOADS),
            version=version("pigment-sync"),
        )
        files = PackageLoader("agent.web", "assets")
        own = {name: files.get_source(self._environment, name)[0] for name in ("app.css", "progress.js")}
        self._assets = {
            "page.css": ("text/css", asset_text("page.css") + own["app.css"]),
            "tables.js": ("text/javascript", asset_text("page.js")),
            "progress.js": ("text/javascript", own["progress.js"]),
        }

    def read_route(self, path: str, handler: PageHandler) -> Route:
        async def handle(request: HttpRequest) -> Response:
            return await handler(request, login.require_session(self._context, request))

        return Route(path, handle, methods=["GET"])

    def operate_route(self, path: str, handler: FormHandler) -> Route:
        async def handle(request: HttpRequest) -> Response:
            session = login.require_session(self._context, request, Role.OPERATE)
            fields = await login.read_form(request, session)
            if len(fields.get("reason", "")) > MAX_REASON_LENGTH:
                raise HttpProblem(
                    422, "form", f"The reason has more than {MAX_REASON_LENGTH} characters.", "Shorten it."
                )
            return await handler(request, session, fields)

        return Route(path, handle, methods=["POST"])

    def render(self, name: str, session: Session | None, status: int = 200, **values: object) -> Response:
        """Return the page of the template *name*."""
        template = self._environment.get_template(name)
        may_operate = session is not None and session.principal.role.includes(Role.OPERATE)
        text = template.render(session=session, may_operate=may_operate, now=datetime.now(UTC), **values)
        return HTMLResponse(text, status)

    def render_problem(self, problem: HttpProblem) -> Response:
        """Return the page that explains why a request was refused."""
        response = self.render("problem.html", None, problem.status, problem=problem)
        response.headers.update(problem.headers)
        return response

    async def log_in(self, request: HttpRequest) -> Response:
        wanted = login.safe_redirect_path(request.query_params.get("next", "/"))
        server = self._context.server_settings()
        has_login = {"tokens": bool(server.tokens), "oidc": server.oidc is not None}
        if request.method != "POST":
            return self.render("login.html", None, wanted=wanted, problem=None, **has_login)
        try:
            return await login.log_in(self._context, request)
        except HttpProblem as problem:
            if problem.status not in {401, 429}:
                raise
            response = self.render("login.html", None, problem.status, wanted=wanted, problem=problem, **has_login)
            response.headers.update({name: value for name, value in problem.headers.items() if name == "Retry-After"})
            return response

    async def begin_oidc(self, request: HttpRequest) -> Response:
        return await self._oidc.begin(request)

    async def finish_oidc(self, request: HttpRequest) -> Response:
        """Log in a visitor who returns from the identity provider.

        The page reloads itself. A redirect would not do: browsers send no Strict cookie with a navigation that another
        site began.
        """
        principal = await self._oidc.finish(request)
        return login.start_session(self._context, principal, self.render("welcome.html", None))

    async def log_out(self, request: HttpRequest) -> Response:
        return await login.log_out(self._context, request)

    async def show_overview(self, _: HttpRequest, session: Session) -> Response:
        daemon = self._context.daemon
        health = await daemon.check_health()
        now = datetime.now(UTC)
        cards = [
            status_card(await daemon.load_workspace_status(name), daemon.active_runs, now)
            for name in daemon.workspace_names
        ]
        fleet = fleet_summary(cards, daemon.budget_left())
        return self.render(
            "overview.html", session, cards=worst_first(cards), fleet=fleet, health=health, others=daemon.other_daemons
        )

    async def show_workspace(self, request: HttpRequest, session: Session) -> Response:
        daemon = self._context.daemon
        status = await daemon.load_workspace_status(request.path_params["name"])
        runs = await daemon.state.load_runs([status.name], limit=RUNS_IN_TABLE)
        now = datetime.now(UTC)
        shown = status_card(status, daemon.active_runs, now)
        planned = await self._load_last_read_plan(status)
        baselines = await daemon.state.load_baselines(status.name, now - BASELINE_WINDOW)
        return self.render(
            "workspace.html",
            session,
            card=shown,
            runs=runs,
            planned=planned,
            groups=group_sizes(planned, baselines) if planned is not None else (),
            drift=[note for note in planned["notes"] if note["code"] in DRIFT_CODES] if planned is not None else (),
            is_drift_known=has_earlier_run(status),
            permissions=permissions(session.principal.role, status, daemon.approval_policy),
            holders=role_holders(self._context.server_settings()),
        )

    async def _load_last_read_plan(self, status: WorkspaceStatus) -> PlannedObject | None:
        """Return the plan of the newest complete read; None without one."""
        state = self._context.daemon.state
        run = await state.load_run(status.last_read.id) if status.last_read is not None else None
        planned = parse_workspace(run.document) if run is not None and run.document is not None else None
        return planned if planned is not None and planned["status"] == "planned" else None

    async def show_chart(self, request: HttpRequest, _: Session) -> Response:
        name, theme = request.path_params["name"], request.query_params.get("theme", "light")
        await self._context.daemon.load_workspace_status(name)
        drawn = request.query_params.get("chart", chart.CHARTS[0])
        if drawn not in chart.CHARTS:
            raise HttpProblem(400, "query", f"chart: must be {' or '.join(chart.CHARTS)}.", "Leave it out for members.")
        if theme not in THEMES:
            raise HttpProblem(400, "query", "theme: must be light or dark.", "Leave it out for light.")
        runs = [run for run in await self._context.daemon.state.load_runs([name], limit=RUNS_IN_CHART) if not run.user]
        return Response(
            chart.render_chart(runs, drawn, theme),
            media_type="image/svg+xml",
            headers={"Content-Security-Policy": chart.CONTENT_SECURITY_POLICY},
        )

    async def show_run(self, request: HttpRequest, session: Session) -> Response:
        found = await self._context.find_run(request.path_params["run_id"])
        if isinstance(found, ActiveRun):
            return self.render("ongoing.html", session, run=found)
        return await self._render_run(found, session)

    async def _render_run(
        self, run: Run, session: Session, ticked: Sequence[str] | None = None, reason: str = "", refusal: str = ""
    ) -> Response:
        """Return the page of *run*. With *refusal* its form is shown again: with those ticks and that reason."""
        approvals = await self._context.daemon.state.load_run_approvals(run.id)
        identity = run_object(run, approvals)
        planned = parse_workspace(run.document) if run.document is not None else None
        return self.render(
            "run.html",
            session,
            # Other ticks or another approval are no mistake: the form comes back once with their numbers.
            422 if refusal and refusal not in FORM_CHANGED else 200,
            run=run,
            facts=[*approval_facts(identity, planned), *made_with_facts(identity)],
            plan=await self._render_plan(run, approvals),
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

    async def _render_plan(self, run: Run, approvals: Sequence[Approval]) -> Markup | None:
        """Return the plan of *run* with its outcomes, as the report shows it; None for a run without a plan."""
        evidence = await self._load_evidence(run, approvals)
        if evidence is None:
            return None
        lines = evidence.outcomes.get(evidence.workspace["name"])
        view = workspace_view(evidence.workspace, lines, run.user, format_utc(run.finished_at or run.started_at))
        (section,) = workspace_sections([view], with_commands=False)
        # Rendered by a template that escapes.
        return Markup(self._environment.get_template("section.html").render(section=section))  # noqa: S704

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
        return self.render("progress.html", session, run=found)

    async def request_run(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        mode, user = fields.get("mode", ""), fields.get("user", "").strip()
        if mode not in {"plan", "sync"} or (user and not is_valid(user)):
            raise HttpProblem(
                422, "form", "mode must be plan or sync, and user an email address.", "Send the form again."
            )
        run_id = await self._context.daemon.request_run(
            ManualRunRequest(
                request.path_params["name"],
                mode == "plan",
                Trigger.PAGE,
                session.principal.name,
                fields.get("reason", ""),
                user,
            )
        )
        return RedirectResponse(f"/runs/{run_id}", 303)

    async def approve(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        found = await self._context.find_run(request.path_params["run_id"])
        if isinstance(found, ActiveRun):
            raise HttpProblem(409, "not-approvable", "The run has not ended.", "Wait until it ends.")
        await self._context.refuse_old_plan(found)
        ticked, reason = guards_in_fields(fields), fields.get("reason", "")
        form = await self._context.load_form(found, session.principal, ticked)
        # Without a form no approval can be given: `approve` raises the reason for that.
        if form is not None and (refusal := _form_refusal(form, fields, ticked)):
            return await self._render_run(found, session, ticked, reason, refusal)
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
            return self.render("ongoing.html", session, run=found)
        return await self._render_undo(run, found, session)

    async def _render_undo(
        self, run: Run, plan: Run, session: Session, reason: str = "", refusal: str = ""
    ) -> Response:
        return self.render(
            "undo.html",
            session,
            422 if refusal and refusal not in FORM_CHANGED else 200,
            run=run,
            planned=plan,
            plan=await self._render_plan(plan, ()),
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
        if form is not None and (refusal := _button_refusal(form, fields)):
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

    async def pause(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        name = request.path_params["name"]
        await self._context.daemon.pause(name, session.principal.name, fields.get("reason", ""))
        return RedirectResponse(f"/workspaces/{name}", 303)

    async def resume(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        name = request.path_params["name"]
        await self._context.daemon.resume(name, session.principal.name, fields.get("reason", ""))
        return RedirectResponse(f"/workspaces/{name}", 303)

    async def explain_person(self, request: HttpRequest, session: Session) -> Response:
        email = request.query_params.get("email", "").strip()
        daemon, is_known = self._context.daemon, is_valid(email)
        changes = await list_person_changes(daemon.state, (), email, None, MAX_TIMELINE) if is_known else []
        wants_explanation = request.query_params.get("view", "") != "timeline"
        found = await daemon.explain_person(email) if is_known and wants_explanation else None
        rows = [timeline_cells(record, run) for record, run in changes]
        return self.render("person.html", session, email=email, is_known=is_known, found=found, rows=rows)

    async def serve_asset(self, request: HttpRequest) -> Response:
        asset = self._assets.get(request.path_params["file"])
        if asset is None:
            raise HttpProblem(404, "not-found", "There is no such file.", "Use the links of the page.")
        media_type, text = asset
        return Response(text, media_type=media_type, headers={"Cache-Control": "no-cache"})


def _form_refusal(form: ApprovalForm, fields: Mapping[str, str], ticked: Sequence[str]) -> str:
    """Return why the form must be sent again; empty if what it asks for is what its button showed."""
    if not ticked:
        return "No guard is ticked. Nothing was approved. Tick what you approve."
    if set(ticked) - {box.code for box in form.boxes}:
        # `approve` explains it.
        return ""
    if form.shown_guards != fields.get("shown", ""):
        return TICKS_CHANGED
    return _button_refusal(form, fields)


def _button_refusal(form: ApprovalForm, fields: Mapping[str, str]) -> str:
    """Return why the button that was pressed does not do what it showed; also why its number is not confirmed."""
    if fields.get("button", form.button) != form.button:
        return BUTTON_CHANGED
    typed = fields.get("confirm", "").strip().replace(",", "")
    if form.confirm and typed != str(form.deactivations):
        return wrong_number(form)
    return ""
