"""Checks of every request (host, body size) and security headers of every response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.settings.server import ServerSettings
from agent.web.problems import HttpProblem, problem_response
from connectors.http import is_loopback

__all__ = ["CONTENT_SECURITY_POLICY", "SecurityMiddleware"]

MAX_BODY_BYTES = 64 * 1024
"""More than any form or JSON of ours."""
BODY_TIMEOUT_SECONDS = 20.0
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
RESPONSE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: then browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
PROBE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Probes of a cluster come by the address of the container."""


class SecurityMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, server: Callable[[], ServerSettings]) -> None:
        self._app = app
        self._server_settings = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in RESPONSE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if scope["path"] not in PROBE_PATHS and not is_allowed_host(headers.get("host", ""), self._server_settings()):
            problem = HttpProblem(
                421,
                "host",
                "The server is not configured for this host name.",
                "Use the address in server.public_url or server.host.",
            )
            await problem_response(problem)(scope, receive, send_with_headers)
            return
        try:
            body = await _read_body(receive, headers)
        except HttpProblem as problem:
            await problem_response(problem)(scope, receive, send_with_headers)
            return
        await self._app(scope, _replaying_receive(body, receive), send_with_headers)


def is_allowed_host(host: str, server: ServerSettings) -> bool:
    """Return whether *host* is ours. A foreign name that resolves to this server must not get a response."""
    try:
        # `raw_host`: `host` would decode an international name, and fail on an invalid one.
        name = httpx.URL(f"http://{host}").raw_host.decode("ascii").lower()
    except httpx.InvalidURL:
        return False
    if is_loopback(name):
        return True
    if server.public_url is not None:
        return name == httpx.URL(server.public_url).raw_host.decode("ascii").lower()
    return not is_loopback(server.host)


async def _read_body(receive: Receive, headers: Headers) -> bytes:
    """Read the whole body. Raises `HttpProblem`."""
    too_large = HttpProblem(413, "too-large", f"The body has more than {MAX_BODY_BYTES:,} bytes.", "Send less.")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > MAX_BODY_BYTES:
        raise too_large
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    # Part of a form may mean something other than the whole.
                    raise HttpProblem(400, "incomplete", "The request broke off.", "Send it again.")
                body += bytes(message.get("body", b""))
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        raise HttpProblem(408, "too-slow", "The request did not arrive in time.", "Send it again.") from None


def _replaying_receive(body: bytes, receive: Receive) -> Receive:
    parts = [body]

    async def replay() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await receive()

    return replay
