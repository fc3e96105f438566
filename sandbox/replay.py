"""Serve recorded answers over HTTP: nothing else is known, and nothing can be written."""

from __future__ import annotations

import contextlib
import signal
import threading
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.host import host_apps

__all__ = ["PIGMENT", "RecordedAnswers", "host_replay", "wait_for_stop"]

PIGMENT = "pigment"
TOKEN_SECONDS = 36_000
NOT_RECORDED, NOT_ALLOWED = 501, 405
TENANT_DISCOVERY = "/v2.0/.well-known/openid-configuration"
HIDDEN_ROLE = "Member.Read.Hidden"
Key = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Sequence[tuple[str, str]]
    content_type: str
    packed: bytes


@dataclass(slots=True)
class RecordedAnswers:
    """The answers of all systems, by request. A request that was sent several times gets its answers in turn."""

    _answers: dict[Key, list[_Answer]] = field(default_factory=dict)
    _asked: dict[Key, int] = field(default_factory=dict)

    def add(self, line: Mapping[str, Any]) -> None:
        """Add the line of one answer."""
        is_json = line["content"] == "json"
        body = orjson.dumps(line["body"]) if is_json else b"not JSON" if line["content"] == "text" else b""
        kind = "application/json" if is_json else "text/plain"
        headers = [(name, value) for name, value in line["headers"]]
        answer = _Answer(line["status"], headers, kind, zlib.compress(body))
        parts = urlsplit(line["url"])
        self._answers.setdefault(_key(line["system"], unquote(parts.path), parts.query), []).append(answer)

    def find(self, system: str, path: str, query: str) -> _Answer | None:
        key = _key(system, path, query)
        found = self._answers.get(key)
        if found is None:
            return None
        number = self._asked.get(key, 0)
        self._asked[key] = number + 1
        return found[number % len(found)]


def _key(system: str, path: str, query: str) -> Key:
    return system, path, tuple(sorted(parse_qsl(query, keep_blank_values=True)))


@contextlib.contextmanager
def host_replay(
    answers: RecordedAnswers, connectors: Mapping[str, Mapping[str, Any]], port: int = 0
) -> Iterator[dict[str, str]]:
    """Serve *answers* until the end of the block, and yield the URLs: of each connector, and of `pigment`.

    *connectors* are the recorded connectors by name. Raise `SandboxError` when a port is taken.
    """
    apps: dict[str, ASGIApp] = {name: _ConnectorApp(answers, name, each) for name, each in connectors.items()}
    with host_apps({**apps, PIGMENT: _PigmentApp(answers)}, port) as urls:
        yield urls


@contextlib.contextmanager
def wait_for_stop() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set until the end of the block."""
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class _ConnectorApp:
    """One identity provider. Its token endpoint gives a made-up token."""

    answers: RecordedAnswers
    name: str
    settings: Mapping[str, Any]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = self._token(request) or _respond(request, self.answers, self.name, request.url.path, "")
        await response(scope, receive, send)

    def _token(self, request: Request) -> Response | None:
        path, is_post = request.url.path, request.method == "POST"
        if self.settings["type"] == "entra" and path.endswith(TENANT_DISCOVERY):
            return _json(_discovery(request.url.netloc, path.removesuffix(TENANT_DISCOVERY)))
        if is_post and path.endswith("/token"):
            token = _token(self.settings.get("hidden_members", False))
            return _json({"token_type": "Bearer", "expires_in": TOKEN_SECONDS, "access_token": token, "scope": ""})
        return None


def _discovery(host: str, tenant: str) -> dict[str, object]:
    root = f"https://{host}{tenant}"
    return {
        "issuer": f"{root}/v2.0",
        "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
        "token_endpoint": f"{root}/oauth2/v2.0/token",
        "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
        "jwks_uri": f"{root}/discovery/v2.0/keys",
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def _token(hidden_members: bool | None) -> str:
    """Return a token that shows the permission to read hidden members as the recorded one did."""
    if hidden_members is None:
        return "replayed"
    claims = orjson.dumps({"roles": [HIDDEN_ROLE] if hidden_members else []})
    return f"e30.{urlsafe_b64encode(claims).decode().rstrip('=')}.replayed"


@dataclass(frozen=True, slots=True)
class _PigmentApp:
    """All workspaces: each below `/NAME/scim/v2`."""

    answers: RecordedAnswers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        name, _, rest = request.url.path.removeprefix("/").partition("/")
        path = "/" + rest.removeprefix("scim/v2").removeprefix("/")
        await _respond(request, self.answers, name, path, f"/{name}/scim/v2")(scope, receive, send)


def _respond(request: Request, answers: RecordedAnswers, system: str, path: str, prefix: str) -> Response:
    if request.method != "GET":
        message = f"A replay answers reads only: {request.method} {request.url.path} changes nothing."
        return _json({"error": "read-only", "message": message}, NOT_ALLOWED, {"allow": "GET"})
    found = answers.find(system, unquote(path), request.url.query)
    if found is None:
        message = (
            f"The recording has no answer to GET {request.url.path}?{request.url.query}: it holds only what one plan "
            "asked. Record again with this release, or compare the configurations."
        )
        return _json({"error": "not-recorded", "message": message}, NOT_RECORDED)
    here = f"http://{request.url.netloc}{prefix}"
    made_up = f"https://{system}.example"
    body = zlib.decompress(found.packed).replace(made_up.encode(), here.encode())
    response = Response(body, found.status, media_type=found.content_type)
    for name, value in found.headers:
        response.headers.append(name, value.replace(made_up, here))
    return response


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, dict(headers or {}), "application/json")
