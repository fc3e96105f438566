"""The page of scheduled reports: when each was delivered, what failed, and a button that sends one now."""

from __future__ import annotations

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agent.daemon.interface import DaemonApi
from agent.delivery.rows import report_row
from agent.web.auth import Session
from agent.web.page_frame import PageFrame

__all__ = ["routes"]


def routes(frame: PageFrame, daemon: DaemonApi) -> list[Route]:
    """Return the routes of the page. Sending needs the role `operate`."""

    async def show_reports(_: HttpRequest, session: Session) -> Response:
        now = daemon.now()
        rows = [report_row(each, now) for each in await daemon.load_reports()]
        return frame.render("reports.html", session, reports=rows)

    async def send_report(request: HttpRequest, session: Session, _: dict[str, str]) -> Response:
        daemon.send_report(request.path_params["name"], session.principal.name)
        return RedirectResponse("/reports", 303)

    return [
        frame.read_route("/reports", show_reports),
        frame.operate_route("/reports/{name}/send", send_report),
    ]
