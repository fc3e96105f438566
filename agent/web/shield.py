"""What every request passes and every answer carries: the host it is for, a bound on its body, headers for browsers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.settings.server import ServerSettings
from agent.web.problem import Refusal, problem
from connectors.rest import is_loopback

__all__ = ["POLICY", "Shield"]

MOST_BYTES = 64 * 1024
"""More than any form or JSON of ours."""
PATIENCE_SECONDS = 20.0
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: then browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Probes of a cluster come by the address of the container."""


class Shield:
    """Wraps the application (ASGI)."""

    def __init__(self, app: ASGIApp, server: Callable[[], ServerSettings]) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def covered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if scope["path"] not in PROBES and not is_ours(headers.get("host", ""), self._server()):
            refusal = Refusal(421, "host", "This is not the host that you asked for.", "Use the address in server.*.")
            await problem(refusal)(scope, receive, covered)
            return
        try:
            body = await _body(receive, headers)
        except Refusal as refusal:
            await problem(refusal)(scope, receive, covered)
            return
        await self._app(scope, _replayed(body, receive), covered)


def is_ours(host: str, server: ServerSettings) -> bool:
    """Tell whether a request for *host* is for us. A name that somebody made point at us must not get an answer."""
    try:
        # `raw_host`: `host` would decode an international name, and trip over what is none.
        name = httpx.URL(f"http://{host}").raw_host.decode("ascii").lower()
    except httpx.InvalidURL:
        return False
    if is_loopback(name):
        return True
    if server.public_url is not None:
        return name == httpx.URL(server.public_url).raw_host.decode("ascii").lower()
    return not is_loopback(server.host)


async def _body(receive: Receive, headers: Headers) -> bytes:
    """Read the whole body. Raises `Refusal`."""
    too_large = Refusal(413, "too-large", f"A request has at most {MOST_BYTES:,} bytes.", "Send less.")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > MOST_BYTES:
        raise too_large
    body = b""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    # What has arrived is a part, and half a form may say something else than the whole.
                    raise Refusal(400, "incomplete", "The request broke off.", "Send it again.")
                body += bytes(message.get("body", b""))
                if len(body) > MOST_BYTES:
                    raise too_large
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        raise Refusal(408, "too-slow", "The request did not arrive in time.", "Send it again.") from None


def _replayed(body: bytes, receive: Receive) -> Receive:
    parts = [body]

    async def replay() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await receive()

    return replay
