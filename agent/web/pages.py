"""The page: logins, the status of each workspace, one-off runs, pauses, and questions about a person."""

from __future__ import annotations

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agent.daemon.interface import ManualRunRequest, WorkspaceStatus
from agent.engine.planner import BASELINE_WINDOW
from agent.engine.queries import list_person_changes
from agent.ladder import load_ladder
from agent.model.codes import NoteCode
from agent.model.email import is_valid
from agent.model.run import RunFilter, Trigger
from agent.plan_parser import parse_workspace
from agent.report.group_sizes import group_sizes
from agent.report.history import timeline_cells
from agent.report.schema import PlannedObject
from agent.web import chart, login
from agent.web.auth import Session
from agent.web.context import WebContext
from agent.web.decision_pages import DecisionPages
from agent.web.link_pages import LinkPages
from agent.web.oidc import CALLBACK_PATH, OidcLogin
from agent.web.page_frame import PageFrame
from agent.web.permissions import permissions, role_holders
from agent.web.problems import HttpProblem
from agent.web.run_pages import RunPages
from agent.web.status import fleet_summary, has_earlier_run, status_card, worst_first

__all__ = ["Pages", "routes"]

RUNS_IN_TABLE, RUNS_IN_CHART = 25, 200
MAX_TIMELINE = 200
DRIFT_CODES = {NoteCode.DRIFT, NoteCode.ANOTHER_WRITER}
THEMES = {"light", "dark"}


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page. Problems and `login.LoginRequired` are raised."""
    frame = pages.frame
    return [
        Route("/login", pages.log_in, methods=["GET", "POST"]),
        Route("/login/oidc", pages.begin_oidc, methods=["GET"]),
        Route(CALLBACK_PATH, pages.finish_oidc, methods=["GET"]),
        Route("/logout", pages.log_out, methods=["POST"]),
        frame.read_route("/", pages.show_overview),
        frame.read_route("/workspaces/{name}", pages.show_workspace),
        frame.read_route("/workspaces/{name}/chart.svg", pages.show_chart),
        frame.operate_route("/workspaces/{name}/runs", pages.request_run),
        frame.operate_route("/workspaces/{name}/pause", pages.pause),
        frame.operate_route("/workspaces/{name}/resume", pages.resume),
        frame.read_route("/workspaces/{name}/links", pages.links.show_links),
        frame.operate_route("/workspaces/{name}/links", pages.links.correct_link),
        frame.read_route("/runs/{run_id}", pages.runs.show_run),
        frame.read_route("/runs/{run_id}/progress", pages.runs.show_progress),
        frame.operate_route("/runs/{run_id}/undo", pages.decisions.plan_undo),
        frame.read_route("/runs/{run_id}/undo/{plan_id}", pages.decisions.show_undo),
        frame.operate_route("/runs/{run_id}/undo/{plan_id}", pages.decisions.undo),
        frame.read_route("/runs/{run_id}/{file}", pages.runs.download_report),
        frame.operate_route("/runs/{run_id}/approval", pages.decisions.approve),
        frame.operate_route("/runs/{run_id}/possible-rename", pages.decisions.settle_rename),
        frame.read_route("/people", pages.explain_person),
        Route("/assets/{file}", frame.serve_asset, methods=["GET"]),
    ]


class Pages:
    """One method for each page; those of runs, decisions and links are classes of their own."""

    def __init__(self, context: WebContext, oidc: OidcLogin) -> None:
        self._context = context
        self._oidc = oidc
        self.frame = PageFrame(context)
        self.runs = RunPages(context, self.frame)
        self.decisions = DecisionPages(context, self.frame, self.runs)
        self.links = LinkPages(context, self.frame)

    async def log_in(self, request: HttpRequest) -> Response:
        wanted = login.safe_redirect_path(request.query_params.get("next", "/"))
        server = self._context.server_settings()
        has_login = {"tokens": bool(server.tokens), "oidc": server.oidc is not None}
        if request.method != "POST":
            return self.frame.render("login.html", None, wanted=wanted, problem=None, **has_login)
        try:
            return await login.log_in(self._context, request)
        except HttpProblem as problem:
            if problem.status not in {401, 429}:
                raise
            response = self.frame.render(
                "login.html", None, problem.status, wanted=wanted, problem=problem, **has_login
            )
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
        return await login.start_session(self._context, principal, self.frame.render("welcome.html", None))

    async def log_out(self, request: HttpRequest) -> Response:
        return await login.log_out(self._context, request)

    async def show_overview(self, _: HttpRequest, session: Session) -> Response:
        daemon = self._context.daemon
        health = await daemon.check_health()
        now = daemon.now()
        cards = [status_card(status, daemon.active_runs, now) for status in await daemon.load_statuses()]
        fleet = fleet_summary(cards, daemon.budget_left())
        return self.frame.render(
            "overview.html",
            session,
            cards=worst_first(cards),
            fleet=fleet,
            health=health,
            replicas=daemon.replicas,
            feeds=daemon.feeds,
            stopped_ticks=daemon.stopped_ticks,
        )

    async def show_workspace(self, request: HttpRequest, session: Session) -> Response:
        daemon = self._context.daemon
        status = await daemon.load_workspace_status(request.path_params["name"])
        runs = await daemon.state.load_runs([status.name], limit=RUNS_IN_TABLE)
        now = daemon.now()
        shown = status_card(status, daemon.active_runs, now)
        planned = await self._load_last_read_plan(status)
        baselines = await daemon.state.load_baselines(status.name, now - BASELINE_WINDOW)
        return self.frame.render(
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
            ladder=await load_ladder(daemon.state, status.name, now, "EXPORT.csv"),
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
        runs = await self._context.daemon.state.load_runs([name], limit=RUNS_IN_CHART, where=RunFilter(is_whole=True))
        return Response(
            chart.render_chart(runs, drawn, theme),
            media_type="image/svg+xml",
            headers={"Content-Security-Policy": chart.CONTENT_SECURITY_POLICY},
        )

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
        return self.frame.render("person.html", session, email=email, is_known=is_known, found=found, rows=rows)
