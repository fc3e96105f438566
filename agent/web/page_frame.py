"""What all pages share: templates, sessions and forms of the browser, and the files of the style and scripts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from importlib.metadata import version

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from agent.report.html import Section, asset_text, template_environment
from agent.settings.token import Role
from agent.web import login
from agent.web.auth import Session
from agent.web.context import WebContext
from agent.web.problems import HttpProblem
from agent.web.status import format_ago, format_span, format_until, run_kind, trend_points

__all__ = ["DOWNLOADS", "PageFrame", "page_templates"]

MAX_REASON_LENGTH = 500
PageHandler = Callable[[HttpRequest, Session], Awaitable[Response]]
FormHandler = Callable[[HttpRequest, Session, dict[str, str]], Awaitable[Response]]
DOWNLOADS = {
    "report.html": "text/html",
    "report.csv": "text/csv",
    "report.json": "application/json",
    "report.md": "text/markdown",
    "report.txt": "text/plain",
}
"""The reports of a run by the names that `report --evidence` gives them, with their media types."""


@cache
def page_templates() -> Environment:
    """Return the environment of all pages, which keeps each template that it has compiled."""
    made = template_environment(PackageLoader("agent.web", "templates"))
    made.globals.update(
        ago=format_ago,
        span=format_span,
        until=format_until,
        ran=run_kind,
        trend=trend_points,
        downloads=tuple(DOWNLOADS),
        version=version("pigment-sync"),
    )
    return made


class PageFrame:
    """Renders templates, and checks the session and the form before a handler is called."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._environment = page_templates()
        files = PackageLoader("agent.web", "assets")
        own = {name: files.get_source(self._environment, name)[0] for name in ("app.css", "progress.js")}
        self._assets = {
            "page.css": ("text/css", asset_text("page.css") + own["app.css"]),
            "tables.js": ("text/javascript", asset_text("page.js")),
            "progress.js": ("text/javascript", own["progress.js"]),
        }

    def read_route(self, path: str, handler: PageHandler) -> Route:
        async def handle(request: HttpRequest) -> Response:
            return await handler(request, await login.require_session(self._context, request))

        return Route(path, handle, methods=["GET"])

    def operate_route(self, path: str, handler: FormHandler) -> Route:
        async def handle(request: HttpRequest) -> Response:
            session = await login.require_session(self._context, request, Role.OPERATE)
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
        text = template.render(session=session, may_operate=may_operate, now=self._context.daemon.now(), **values)
        return HTMLResponse(text, status)

    def render_problem(self, problem: HttpProblem) -> Response:
        """Return the page that explains why a request was refused."""
        response = self.render("problem.html", None, problem.status, problem=problem)
        response.headers.update(problem.headers)
        return response

    def render_section(self, section: Section) -> Markup:
        """Return one workspace of a report."""
        # Rendered by a template that escapes.
        return Markup(self._environment.get_template("section.html").render(section=section))  # noqa: S704

    async def serve_asset(self, request: HttpRequest) -> Response:
        asset = self._assets.get(request.path_params["file"])
        if asset is None:
            raise HttpProblem(404, "not-found", "There is no such file.", "Use the links of the page.")
        media_type, text = asset
        return Response(text, media_type=media_type, headers={"Cache-Control": "no-cache"})
