"""Log every request to the pretend systems, for tests to count and people to read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.request_id import request_id_from_scope, request_id_headers

__all__ = ["LoggedRequest", "PortRouter", "RequestLog", "RequestLogMiddleware"]

MAX_REQUESTS = 200_000


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request. *status* is 0 where the connection was lost before an answer; *at* is in seconds since 1970.

    *request_id* is the one that the answer names.
    """

    system: str
    method: str
    path: str
    query: str
    status: int
    at: float
    request_id: str = ""


class RequestLog:
    """The newest requests, oldest first."""

    def __init__(self) -> None:
        self._requests: deque[LoggedRequest] = deque(maxlen=MAX_REQUESTS)

    def add(self, seen: LoggedRequest) -> None:
        self._requests.append(seen)

    def clear(self) -> None:
        self._requests.clear()

    def matching(self, system: str = "", method: str = "") -> list[LoggedRequest]:
        """Return the requests to *system* with *method*; empty: to any, with any."""
        return [each for each in tuple(self._requests) if system in ("", each.system) and method in ("", each.method)]


class RequestLogMiddleware:
    """ASGI middleware that adds each request to *system* to *request_log*, and its id to the answer."""

    def __init__(self, app: ASGIApp, system: str, traffic: RequestLog) -> None:
        self.app = app
        self.system = system
        self.request_log = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        at, answered, ids = time.time(), False, request_id_headers(self.system, scope)

        def log_request(status: int) -> None:
            query = scope["query_string"].decode("latin-1")
            request_id = request_id_from_scope(scope)
            self.request_log.add(
                LoggedRequest(self.system, scope["method"], scope["path"], query, status, at, request_id)
            )

        async def send_logged(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                # Before it is sent: a client that has the response finds its request in the log.
                answered = True
                log_request(message["status"])
                others = [pair for pair in message.get("headers", ()) if pair[0].decode("latin-1").lower() not in ids]
                named = [(name.encode(), value.encode("latin-1")) for name, value in ids.items()]
                message = {**message, "headers": [*others, *named]}
            await send(message)

        try:
            await self.app(scope, receive, send_logged)
        except ClientDisconnect:
            # The client did not wait for the response. That is not an error here.
            return
        finally:
            if not answered:
                log_request(0)


class PortRouter:
    """Route each request to an ASGI application by the port that it came to."""

    def __init__(self, apps: Mapping[int, ASGIApp]) -> None:
        self.apps = dict(apps)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.apps[scope["server"][1]](scope, receive, send)
