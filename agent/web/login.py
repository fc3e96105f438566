"""Log in with a token, log out, and check the forms of browsers."""

from __future__ import annotations

from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response

from agent.errors import StateError
from agent.model.web_login import SESSION_LIFETIME
from agent.settings.server import ServerSettings
from agent.settings.token import Role
from agent.web.auth import Principal, Session, is_same_secret
from agent.web.context import WebContext
from agent.web.problems import HttpProblem

__all__ = ["LoginRequired", "log_in", "log_out", "read_form", "require_session", "safe_redirect_path", "start_session"]

log = structlog.get_logger()
MAX_FORM_FIELDS = 20


class LoginRequired(Exception):
    """The visitor must log in first; *next_path* is the page they asked for."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.next_path = to


async def require_session(context: WebContext, request: HttpRequest, role: Role = Role.READ) -> Session:
    """Return the browser's session.

    Raises `LoginRequired`, `HttpProblem` (403) for a missing role, and `StateError` if it can't be checked.
    """
    cookie = request.cookies.get(_cookie_name(context.server_settings()), "")
    session = await context.sessions.find(cookie, context.server_settings(), role) if cookie else None
    if session is None:
        raise LoginRequired(request.url.path if request.method == "GET" else "/")
    context.authorize(session.principal, role)
    return session


async def read_form(request: HttpRequest, session: Session | None = None) -> dict[str, str]:
    """Return the fields of a form of our own page. Raises `HttpProblem` (403) for any other form."""
    _refuse_cross_site(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HttpProblem(415, "content-type", "The request is not a form.", "Use the page.")
    try:
        text = (await request.body()).decode()
        fields = dict(
            parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MAX_FORM_FIELDS)
        )
    except ValueError:
        raise HttpProblem(400, "form", "The form can't be read.", "Send it again from the page.") from None
    if session is not None and not is_same_secret(fields.get("csrf", ""), session.csrf):
        raise HttpProblem(403, "csrf", "The form is not from this session.", "Reload the page and send it again.")
    return fields


def _refuse_cross_site(request: HttpRequest) -> None:
    """Refuse a form that another site made the browser send. Browsers send Origin with every form."""
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"} or (origin and origin.partition("://")[2] != host):
        raise HttpProblem(403, "csrf", "Another site sent this form.", "Use the page itself.")


async def log_in(context: WebContext, request: HttpRequest) -> Response:
    """Log in with the token of a form. Raises `HttpProblem` (401, 429)."""
    fields = await read_form(request)
    principal = await context.authenticate(request, fields.get("token", "").strip())
    return await start_session(context, principal, RedirectResponse(safe_redirect_path(fields.get("next", "")), 303))


async def start_session(context: WebContext, principal: Principal, response: Response) -> Response:
    """Start a session with *response*. The cookie is always new: an old one must not become valid."""
    server = context.server_settings()
    cookie = await context.sessions.open(principal, server)
    log.info("login.done", by=principal.name, role=principal.role)
    response.set_cookie(
        _cookie_name(server),
        cookie,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=_is_secure(server),
        httponly=True,
        samesite="strict",
    )
    return response


async def log_out(context: WebContext, request: HttpRequest) -> Response:
    """End the session for all replicas. Raises `HttpProblem` (503) if that can't be recorded."""
    session = await require_session(context, request)
    await read_form(request, session)
    name = _cookie_name(context.server_settings())
    try:
        await context.sessions.close(request.cookies[name])
    except StateError as error:
        raise HttpProblem(
            503, error.code, f"You are still logged in. {error.message}", "Log out again in a minute."
        ) from error
    response = RedirectResponse("/login", 303)
    response.delete_cookie(
        name, path="/", secure=_is_secure(context.server_settings()), httponly=True, samesite="strict"
    )
    return response


def safe_redirect_path(path: str) -> str:
    """Return *path* if it is a local path, else `/`: a login must not redirect to another site."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours and "\\" not in path else "/"


def _is_secure(server: ServerSettings) -> bool:
    return server.public_url is not None and server.public_url.startswith("https:")


def _cookie_name(server: ServerSettings) -> str:
    # Browsers take a cookie of this prefix over HTTPS only, and from this host only.
    return "__Host-pigment-sync" if _is_secure(server) else "pigment-sync"
