"""Log in with a token, and out; and what lets a browser's form in."""

from __future__ import annotations

from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response

from agent.settings.server import ServerSettings
from agent.settings.token import Role
from agent.web.front import Front
from agent.web.problem import Refusal
from agent.web.visitor import LONGEST_SECONDS, Session, Visitor, is_same

__all__ = ["NotIn", "enter", "form", "leave", "local", "session_of", "welcome"]

log = structlog.get_logger()
MOST_FIELDS = 20


class NotIn(Exception):
    """The visitor has to log in first; *to* is where they wanted to go."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to


def session_of(front: Front, request: HttpRequest, role: Role = Role.READ) -> Session:
    """Return the browser's session. Raises `NotIn`, and `Refusal` (403) for a role that it has not."""
    cookie = request.cookies.get(_cookie(front.server()), "")
    session = front.sessions.of(cookie, front.server()) if cookie else None
    if session is None:
        raise NotIn(request.url.path if request.method == "GET" else "/")
    front.may(session.visitor, role)
    return session


async def form(request: HttpRequest, session: Session | None = None) -> dict[str, str]:
    """Return the fields of a form that our own page sent. Raises `Refusal` (403) for any other's."""
    _refuse_foreign(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Refusal(415, "content-type", "This is no form.", "Use the page.")
    try:
        text = (await request.body()).decode()
        fields = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MOST_FIELDS))
    except ValueError:
        raise Refusal(400, "form", "The form can't be read.", "Send it again from the page.") from None
    if session is not None and not is_same(fields.get("csrf", ""), session.csrf):
        raise Refusal(403, "csrf", "The form is not from this session.", "Load the page anew and send it again.")
    return fields


def _refuse_foreign(request: HttpRequest) -> None:
    """Refuse what another site made the browser send. Browsers send Origin with every form."""
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"} or (origin and origin.partition("://")[2] != host):
        raise Refusal(403, "csrf", "Another site sent this form.", "Use the page itself.")


async def enter(front: Front, request: HttpRequest) -> Response:
    """Log in with the token of a form. Raises `Refusal` (401, 429)."""
    fields = await form(request)
    visitor = front.by_token(request, fields.get("token", "").strip())
    return welcome(front, visitor, RedirectResponse(local(fields.get("next", "")), 303))


def welcome(front: Front, visitor: Visitor, response: Response) -> Response:
    """Begin a session with *response*. The cookie is new: what the browser had before means nothing."""
    log.info("login.done", by=visitor.name, role=visitor.role)
    server = front.server()
    response.set_cookie(
        _cookie(server),
        front.sessions.open(visitor),
        max_age=LONGEST_SECONDS,
        path="/",
        secure=_is_secure(server),
        httponly=True,
        samesite="strict",
    )
    return response


async def leave(front: Front, request: HttpRequest) -> Response:
    session = session_of(front, request)
    await form(request, session)
    name = _cookie(front.server())
    front.sessions.close(request.cookies[name])
    response = RedirectResponse("/login", 303)
    response.delete_cookie(name, path="/", secure=_is_secure(front.server()), httponly=True, samesite="strict")
    return response


def local(path: str) -> str:
    """Return *path* if it is one of ours, else `/`: a login must not lead to another site."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours and "\\" not in path else "/"


def _is_secure(server: ServerSettings) -> bool:
    return server.public_url is not None and server.public_url.startswith("https:")


def _cookie(server: ServerSettings) -> str:
    # Browsers take a cookie of this prefix over HTTPS only, and from this host only.
    return "__Host-pigment-sync" if _is_secure(server) else "pigment-sync"
