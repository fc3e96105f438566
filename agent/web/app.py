"""Combine the page, the API and the health checks into one ASGI application."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from urllib.parse import quote

import httpx
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from agent.daemon.interface import DaemonApi
from agent.errors import PigmentSyncError
from agent.metrics import Metrics
from agent.settings.server import ServerSettings
from agent.web import health, pages, report_pages
from agent.web.api import API_PREFIX, add_api, invalid_request_problem
from agent.web.auth import LoginLimit, Sessions, parse_tokens
from agent.web.context import WebContext
from agent.web.login import LoginRequired
from agent.web.middleware import SecurityMiddleware
from agent.web.oidc import OidcLogin
from agent.web.problems import HttpProblem, problem_from_error, problem_response
from connectors.base import ReadError

__all__ = ["application"]

log = structlog.get_logger()
REMEDIES = {404: "Start at /.", 405: "Use another method."}


def application(
    daemon: DaemonApi,
    metrics: Metrics,
    server: Callable[[], ServerSettings],
    transport: Callable[[], httpx.AsyncBaseTransport],
    now: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """Return the application. *server* returns the active settings, *transport* the HTTP transport.

    *now* is a monotonic clock: this process keeps for some seconds what the state holds of sessions and limits.

    Raises `ConfigError` and `SecretError` when an entry of `server.tokens` can't be read: the start must fail then, not
    the first login.
    """
    parse_tokens(server().tokens)
    context = WebContext(daemon, server, Sessions(daemon.state, now), LoginLimit(daemon.state, now))
    page = pages.Pages(context, OidcLogin(server, daemon.state, transport))
    routes: Sequence[BaseRoute] = [
        *health.routes(daemon, metrics),
        *pages.routes(page),
        *report_pages.routes(page.frame, daemon),
    ]

    async def handle_exception(request: HttpRequest, error: Exception) -> Response:
        if isinstance(error, LoginRequired):
            return RedirectResponse(
                "/login" if error.next_path == "/" else f"/login?next={quote(error.next_path)}", 303
            )
        problem = _problem_from_exception(request, error)
        return problem_response(problem) if request.url.path.startswith("/api/") else page.frame.render_problem(problem)

    handled = (
        HttpProblem,
        LoginRequired,
        PigmentSyncError,
        ReadError,
        RequestValidationError,
        HTTPException,
        Exception,
    )
    app = FastAPI(
        routes=list(routes),
        # FastAPI's own pages load scripts of other hosts.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        exception_handlers=dict.fromkeys(handled, handle_exception),
    )
    add_api(app, context)
    return SecurityMiddleware(app, server)


def _problem_from_exception(request: HttpRequest, error: Exception) -> HttpProblem:
    """Return the problem with which *request* is answered."""
    match error:
        case HttpProblem():
            return error
        case PigmentSyncError() | ReadError():
            return problem_from_error(error)
        case RequestValidationError():
            return invalid_request_problem(error)
        case HTTPException(status_code=400) if request.url.path.startswith(API_PREFIX):
            # Only FastAPI raises it, for a body that is not even text.
            return HttpProblem(400, "body", "body: can't be decoded.", "Send JSON in UTF-8.")
        case HTTPException():
            remedy = REMEDIES.get(error.status_code, "See /api/v1/openapi.json.")
            return HttpProblem(error.status_code, "http", f"{error.detail}.", remedy, error.headers)
        case _:
            log.error("request.crashed", path=request.url.path, error=type(error).__name__, exc_info=error)
            return HttpProblem(
                500, "unexpected", "The server has a bug.", "Report it with the log line `request.crashed`."
            )
