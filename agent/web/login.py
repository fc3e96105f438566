"""Log in with a token, and out; and what lets a browser's form in."""

from __future__ import annotations

from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response

from agent.settings.server import ServerSettings
from agent.settings.token import Role
from agent.web.auth import SESSION_MAX_SECONDS, Principal, Session, is_same_secret
from agent.web.context import WebContext
from agent.web.problems import HttpProblem

__all__ = ["LoginRequired", "log_in", "log_out", "read_form", "require_session", "safe_redirect_path", "start_session"]

log = structlog.get_logger()
MAX_FORM_FIELDS = 20


class LoginRequired(Exception):
    """The visitor has to log in first; *next_path* is where they wanted to go."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.next_path = to


def require_session(front: WebContext, request: HttpRequest, role: Role = Role.READ) -> Session:
    """Return the browser's session. Raises `LoginRequired`, and `HttpProblem` (403) for a role that it has not."""
    cookie = request.cookies.get(_cookie_name(front.server_settings()), "")
    session = front.sessions.find(cookie, front.server_settings()) if cookie else None
    if session is None:
        raise LoginRequired(request.url.path if request.method == "GET" else "/")
    front.authorize(session.principal, role)
    return session


async def read_form(request: HttpRequest, session: Session | None = None) -> dict[str, str]:
    """Return the fields of a form that our own page sent. Raises `HttpProblem` (403) for any other's."""
    _refuse_cross_site(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HttpProblem(415, "content-type", "This is no form.", "Use the page.")
    try:
        text = (await request.body()).decode()
        fields = dict(
            parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MAX_FORM_FIELDS)
        )
    except ValueError:
        raise HttpProblem(400, "form", "The form can't be read.", "Send it again from the page.") from None
    if session is not None and not is_same_secret(fields.get("csrf", ""), session.csrf):
        raise HttpProblem(403, "csrf", "The form is not from this session.", "Load the page anew and send it again.")
    return fields


def _refuse_cross_site(request: HttpRequest) -> None:
    """Refuse what another site made the browser send. Browsers send Origin with every form."""
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"} or (origin and origin.partition("://")[2] != host):
        raise HttpProblem(403, "csrf", "Another site sent this form.", "Use the page itself.")


async def log_in(front: WebContext, request: HttpRequest) -> Response:
    """Log in with the token of a form. Raises `HttpProblem` (401, 429)."""
    fields = await read_form(request)
    visitor = front.authenticate(request, fields.get("token", "").strip())
    return start_session(front, visitor, RedirectResponse(safe_redirect_path(fields.get("next", "")), 303))


def start_session(front: WebContext, visitor: Principal, response: Response) -> Response:
    """Begin a session with *response*. The cookie is new: what the browser had before means nothing."""
    log.info("login.done", by=visitor.name, role=visitor.role)
    server = front.server_settings()
    response.set_cookie(
        _cookie_name(server),
        front.sessions.open(visitor),
        max_age=SESSION_MAX_SECONDS,
        path="/",
        secure=_is_secure(server),
        httponly=True,
        samesite="strict",
    )
    return response


async def log_out(front: WebContext, request: HttpRequest) -> Response:
    session = require_session(front, request)
    await read_form(request, session)
    name = _cookie_name(front.server_settings())
    front.sessions.close(request.cookies[name])
    response = RedirectResponse("/login", 303)
    response.delete_cookie(name, path="/", secure=_is_secure(front.server_settings()), httponly=True, samesite="strict")
    return response


def safe_redirect_path(path: str) -> str:
    """Return *path* if it is one of ours, else `/`: a login must not lead to another site."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours and "\\" not in path else "/"


def _is_secure(server: ServerSettings) -> bool:
    return server.public_url is not None and server.public_url.startswith("https:")


def _cookie_name(server: ServerSettings) -> str:
    # Browsers take a cookie of this prefix over HTTPS only, and from this host only.
    return "__Host-pigment-sync" if _is_secure(server) else "pigment-sync"
