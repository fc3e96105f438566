"""Puts page, API and health together into one ASGI application."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from urllib.parse import quote

import httpx
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from agent.desk import Desk
from agent.errors import PigmentSyncError
from agent.metrics import Metrics
from agent.settings.server import ServerSettings
from agent.web import api, health, pages
from agent.web.front import Front
from agent.web.login import NotIn
from agent.web.oidc import Oidc
from agent.web.problem import Refusal, problem, refusal_of
from agent.web.shield import Shield
from agent.web.visitor import LoginLimit, Sessions, entries
from connectors.base import ReadError

__all__ = ["application"]

log = structlog.get_logger()
REMEDIES = {404: "Look at / for what there is.", 405: "Use another method."}


def application(
    desk: Desk,
    metrics: Metrics,
    server: Callable[[], ServerSettings],
    transport: Callable[[], httpx.AsyncBaseTransport],
    now: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """Return the application. *server* gives the settings in force, *transport* what sends requests.

    *now* gives seconds for sessions and limits.

    Raises `ConfigError` and `SecretError` when an entry of `server.tokens` can't be read: who starts the daemon is to
    hear of it, not who tries to log in.
    """
    entries(server().tokens)
    front = Front(desk, server, Sessions(now), LoginLimit(now))
    shown = pages.Pages(front, Oidc(server, now, transport))
    routes: Sequence[BaseRoute] = [
        *health.routes(desk, metrics),
        *api.routes(front),
        *pages.routes(shown),
    ]

    async def answered(request: HttpRequest, error: Exception) -> Response:
        if isinstance(error, NotIn):
            return RedirectResponse("/login" if error.to == "/" else f"/login?next={quote(error.to)}", 303)
        refusal = _refusal(request, error)
        return problem(refusal) if request.url.path.startswith("/api/") else shown.refused(refusal)

    app = Starlette(
        routes=routes,
        exception_handlers=dict.fromkeys(
            (Refusal, NotIn, PigmentSyncError, ReadError, HTTPException, Exception), answered
        ),
    )
    return Shield(app, server)


def _refusal(request: HttpRequest, error: Exception) -> Refusal:
    """Return what the sender of *request* is told of *error*."""
    match error:
        case Refusal():
            return error
        case PigmentSyncError() | ReadError():
            return refusal_of(error)
        case HTTPException():
            remedy = REMEDIES.get(error.status_code, "See /api/v1/openapi.json.")
            return Refusal(error.status_code, "http", f"{error.detail}.", remedy, error.headers)
        case _:
            log.error("request.crashed", path=request.url.path, error=type(error).__name__, exc_info=error)
            return Refusal(500, "unexpected", "This should not happen.", "Report it with what the log says.")
