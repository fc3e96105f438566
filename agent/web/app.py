"""Puts page, API and health together into one ASGI application."""

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
from agent.web import health, pages
from agent.web.api import API_PREFIX, add_api, invalid_request_problem
from agent.web.auth import LoginRateLimit, Sessions, parse_tokens
from agent.web.context import WebContext
from agent.web.login import LoginRequired
from agent.web.middleware import SecurityMiddleware
from agent.web.oidc import OidcLogin
from agent.web.problems import HttpProblem, problem_from_error, problem_response
from connectors.base import ReadError

__all__ = ["application"]

log = structlog.get_logger()
REMEDIES = {404: "Look at / for what there is.", 405: "Use another method."}


def application(
    desk: DaemonApi,
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
    parse_tokens(server().tokens)
    front = WebContext(desk, server, Sessions(now), LoginRateLimit(now))
    shown = pages.Pages(front, OidcLogin(server, now, transport))
    routes: Sequence[BaseRoute] = [*health.routes(desk, metrics), *pages.routes(shown)]

    async def answered(request: HttpRequest, error: Exception) -> Response:
        if isinstance(error, LoginRequired):
            return RedirectResponse(
                "/login" if error.next_path == "/" else f"/login?next={quote(error.next_path)}", 303
            )
        refusal = _problem_from_exception(request, error)
        return problem_response(refusal) if request.url.path.startswith("/api/") else shown.render_problem(refusal)

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
        # The API serves its own description; pages of third parties' scripts have no place here.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        exception_handlers=dict.fromkeys(handled, answered),
    )
    add_api(app, front)
    return SecurityMiddleware(app, server)


def _problem_from_exception(request: HttpRequest, error: Exception) -> HttpProblem:
    """Return what the sender of *request* is told of *error*."""
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
            return HttpProblem(500, "unexpected", "This should not happen.", "Report it with what the log says.")
