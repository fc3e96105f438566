"""The page: how workspaces stand, runs and their plans, and what an operator may ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version

from jinja2 import PackageLoader
from markupsafe import Markup
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from agent.address import is_valid
from agent.desk import Ongoing, Request
from agent.ports import Run, Trigger
from agent.report.page import environment, sections, source
from agent.report.saved import parse_workspace
from agent.report.shape import OutcomeLine
from agent.report.view import view
from agent.settings.token import Role
from agent.web import chart, login
from agent.web.front import Front
from agent.web.oidc import CALLBACK, Oidc
from agent.web.problem import Refusal
from agent.web.standing import ago, card, ran, until
from agent.web.visitor import Session

__all__ = ["Pages", "routes"]

SHOWN_RUNS, CHARTED_RUNS = 25, 200
MOST_REASON = 500
Answering = Callable[[HttpRequest, Session], Awaitable[Response]]
Acting = Callable[[HttpRequest, Session, dict[str, str]], Awaitable[Response]]
THEMES = {"light", "dark"}


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page. Refusals and `login.NotIn` are raised, for the application to answer."""
    return [
        Route("/login", pages.login, methods=["GET", "POST"]),
        Route("/login/oidc", pages.oidc_begin, methods=["GET"]),
        Route(CALLBACK, pages.oidc_finish, methods=["GET"]),
        Route("/logout", pages.logout, methods=["POST"]),
        pages.reading("/", pages.overview),
        pages.reading("/workspaces/{name}", pages.workspace),
        pages.reading("/workspaces/{name}/chart.svg", pages.chart),
        pages.operating("/workspaces/{name}/runs", pages.ask),
        pages.operating("/workspaces/{name}/pause", pages.pause),
        pages.operating("/workspaces/{name}/resume", pages.resume),
        pages.reading("/runs/{run_id}", pages.run),
        pages.reading("/runs/{run_id}/progress", pages.progress),
        pages.operating("/runs/{run_id}/approval", pages.approve),
        pages.reading("/people", pages.person),
        Route("/assets/{file}", pages.asset, methods=["GET"]),
    ]


class Pages:
    """One method to a page."""

    def __init__(self, front: Front, oidc: Oidc) -> None:
        self._front = front
        self._oidc = oidc
        self._environment = environment(PackageLoader("agent.web", "templates"))
        self._environment.globals.update(ago=ago, until=until, ran=ran, version=version("pigment-sync"))
        files = PackageLoader("agent.web", "assets")
        own = {name: files.get_source(self._environment, name)[0] for name in ("app.css", "progress.js")}
        self._assets = {
            "page.css": ("text/css", source("page.css") + own["app.css"]),
            "tables.js": ("text/javascript", source("page.js")),
            "progress.js": ("text/javascript", own["progress.js"]),
        }

    def reading(self, path: str, answering: Answering) -> Route:
        async def answer(request: HttpRequest) -> Response:
            return await answering(request, login.session_of(self._front, request))

        return Route(path, answer, methods=["GET"])

    def operating(self, path: str, acting: Acting) -> Route:
        async def answer(request: HttpRequest) -> Response:
            session = login.session_of(self._front, request, Role.OPERATE)
            fields = await login.form(request, session)
            if len(fields.get("reason", "")) > MOST_REASON:
                raise Refusal(422, "form", f"The reason has more than {MOST_REASON} letters.", "Say it in less.")
            return await acting(request, session, fields)

        return Route(path, answer, methods=["POST"])

    def shown(self, name: str, session: Session | None, status: int = 200, **values: object) -> Response:
        """Return the page that the template *name* makes."""
        template = self._environment.get_template(name)
        may_operate = session is not None and session.visitor.role.includes(Role.OPERATE)
        text = template.render(session=session, may_operate=may_operate, now=datetime.now(UTC), **values)
        return HTMLResponse(text, status)

    def refused(self, refusal: Refusal) -> Response:
        """Return the page that says why a request is not done."""
        response = self.shown("refused.html", None, refusal.status, refusal=refusal)
        response.headers.update(refusal.headers)
        return response

    async def login(self, request: HttpRequest) -> Response:
        wanted = login.local(request.query_params.get("next", "/"))
        server = self._front.server()
        has_login = {"tokens": bool(server.tokens), "oidc": server.oidc is not None}
        if request.method != "POST":
            return self.shown("login.html", None, wanted=wanted, refusal=None, **has_login)
        try:
            return await login.enter(self._front, request)
        except Refusal as refusal:
            if refusal.status not in {401, 429}:
                raise
            response = self.shown("login.html", None, refusal.status, wanted=wanted, refusal=refusal, **has_login)
            response.headers.update({name: value for name, value in refusal.headers.items() if name == "Retry-After"})
            return response

    async def oidc_begin(self, request: HttpRequest) -> Response:
        return await self._oidc.begin(request)

    async def oidc_finish(self, request: HttpRequest) -> Response:
        """Let in who comes back. A redirect would not do: the browser comes from another site, and Strict cookies
        are sent with nothing that another site began. The page goes on by itself."""
        visitor = await self._oidc.finish(request)
        return login.welcome(self._front, visitor, self.shown("welcome.html", None))

    async def logout(self, request: HttpRequest) -> Response:
        return await login.leave(self._front, request)

    async def overview(self, _: HttpRequest, session: Session) -> Response:
        desk = self._front.desk
        health = await desk.health()
        now = datetime.now(UTC)
        cards = [card(await desk.standing(name), desk.ongoing, now, health.started_at) for name in desk.names]
        return self.shown("overview.html", session, cards=cards, health=health)

    async def workspace(self, request: HttpRequest, session: Session) -> Response:
        desk = self._front.desk
        standing = await desk.standing(request.path_params["name"])
        health = await desk.health()
        runs = await desk.state.runs([standing.name], limit=SHOWN_RUNS)
        shown = card(standing, desk.ongoing, datetime.now(UTC), health.started_at)
        return self.shown("workspace.html", session, card=shown, runs=runs)

    async def chart(self, request: HttpRequest, _: Session) -> Response:
        name, theme = request.path_params["name"], request.query_params.get("theme", "light")
        await self._front.desk.standing(name)
        if theme not in THEMES:
            raise Refusal(400, "query", "theme: must be light or dark.", "Leave it out for light.")
        runs = [run for run in await self._front.desk.state.runs([name], limit=CHARTED_RUNS) if not run.user]
        return Response(
            chart.chart(runs, theme), media_type="image/svg+xml", headers={"Content-Security-Policy": chart.POLICY}
        )

    async def run(self, request: HttpRequest, session: Session) -> Response:
        found = await self._front.run(request.path_params["run_id"])
        if isinstance(found, Ongoing):
            return self.shown("ongoing.html", session, run=found)
        why_not = await self._front.why_not(found)
        plan = await self._plan(found)
        return self.shown("run.html", session, run=found, plan=plan, why_not=why_not)

    async def _plan(self, run: Run) -> Markup | None:
        """Return the plan of *run* with its outcomes, as the report shows it; None where there is none."""
        if run.document is None:
            return None
        records = await self._front.desk.state.changes(run.id)
        lines = [
            OutcomeLine(each.seq, each.change.kind, each.change.email, each.outcome, each.detail) for each in records
        ]
        (section,) = sections([view(parse_workspace(run.document), lines or None, run.user)], with_commands=False)
        # Rendered by a template that escapes.
        return Markup(self._environment.get_template("section.html").render(section=section))  # noqa: S704

    async def progress(self, request: HttpRequest, session: Session) -> Response:
        """Answer with how far the run is, and 204 once it has ended."""
        found = await self._front.run(request.path_params["run_id"])
        if not isinstance(found, Ongoing):
            return Response(status_code=204)
        return self.shown("progress.html", session, run=found)

    async def ask(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        mode, user = fields.get("mode", ""), fields.get("user", "").strip()
        if mode not in {"plan", "sync"} or (user and not is_valid(user)):
            raise Refusal(422, "form", "Say plan or sync, and for whom an email address.", "Send the form again.")
        run_id = await self._front.desk.ask(
            Request(
                request.path_params["name"],
                mode == "plan",
                Trigger.PAGE,
                session.visitor.name,
                fields.get("reason", ""),
                user,
            )
        )
        return RedirectResponse(f"/runs/{run_id}", 303)

    async def approve(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        found = await self._front.run(request.path_params["run_id"])
        if isinstance(found, Ongoing):
            raise Refusal(409, "not-approvable", "The run has not ended.", "Wait for its end.")
        run_id = await self._front.approve(
            found, fields.get("digest", ""), session.visitor, fields.get("reason", ""), Trigger.PAGE
        )
        return RedirectResponse(f"/runs/{run_id}", 303)

    async def pause(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        name = request.path_params["name"]
        await self._front.desk.pause(name, session.visitor.name, fields.get("reason", ""))
        return RedirectResponse(f"/workspaces/{name}", 303)

    async def resume(self, request: HttpRequest, session: Session, fields: dict[str, str]) -> Response:
        name = request.path_params["name"]
        await self._front.desk.resume(name, session.visitor.name, fields.get("reason", ""))
        return RedirectResponse(f"/workspaces/{name}", 303)

    async def person(self, request: HttpRequest, session: Session) -> Response:
        email = request.query_params.get("email", "").strip()
        found = await self._front.desk.explain(email) if is_valid(email) else None
        return self.shown("person.html", session, email=email, found=found)

    async def asset(self, request: HttpRequest) -> Response:
        asset = self._assets.get(request.path_params["file"])
        if asset is None:
            raise Refusal(404, "not-found", "There is no such file.", "Use the page.")
        media_type, text = asset
        return Response(text, media_type=media_type, headers={"Cache-Control": "no-cache"})
