"""Try what is neither a provider nor a workspace: notices, login, the port of `serve`, pauses. Writes nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress

import httpx

from agent import http_client
from agent.errors import ConfigError
from agent.notifications.delivery import Destination, parse_destination
from agent.ports.state import State
from agent.settings.root import Settings
from agent.settings.server import OidcSettings, ServerSettings
from connectors.base import Finding
from connectors.http import redact
from connectors.http.proxy import proxies_from_environment
from connectors.secret import Secret, SecretError

__all__ = ["run_preflight"]

TIMEOUT_SECONDS = 10.0
APPRISE_HINT = "Write it as https://github.com/caronc/apprise/wiki describes the service."


async def run_preflight(settings: Settings, state: State, names: Sequence[str]) -> list[Finding]:
    """Return a finding for each part that is set up, and one for each of *names* that is paused."""
    found = await asyncio.gather(
        *(_check_notification_url(place, url) for place, url in enumerate(settings.notify.urls)),
        *([_check_oidc(settings.server.oidc, settings)] if settings.server.oidc is not None else []),
        _check_port(settings.server),
        *(_check_pause(state, name) for name in names),
    )
    return [finding for finding in found if finding is not None]


async def _check_pause(state: State, name: str) -> Finding | None:
    pause = await state.load_pause(name)
    if pause is None:
        return None
    why = f": {pause.reason}" if pause.reason else ""
    return Finding(
        "warning",
        f"workspace {name}",
        f"is paused by {pause.by} since {pause.since:%Y-%m-%d %H:%M} UTC{why}. Nothing is written to it.",
        f"To go on: pigment-sync resume {name}",
    )


async def _check_notification_url(place: int, secret: Secret) -> Finding | None:
    """Check that Apprise knows the URL and its server is reachable; only service and host of the URL are shown."""
    subject = f"notify.urls.{place}"
    try:
        url = secret.reveal()
    except SecretError:
        # Reported with the other secrets.
        return None
    target = await asyncio.to_thread(parse_destination, url)
    if target is None:
        return Finding("error", subject, "is not a URL that Apprise knows: no notice could be sent.", APPRISE_HINT)
    if not target.host:
        return Finding("ok", subject, f"{target.service} is known; nothing was sent, and its server was not tried")
    return await _check_reachable(subject, target)


async def _check_reachable(subject: str, target: Destination) -> Finding:
    where = f"{target.host}:{target.port}"
    if (
        target.is_web
        and proxies_from_environment(os.environ).proxy_for(httpx.URL(f"https://{target.host}")) is not None
    ):
        return Finding("ok", subject, f"{target.service} at {where} is known, and reached through the proxy; not tried")
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(target.host, target.port)
    except (OSError, TimeoutError) as error:
        why = redact(getattr(error, "strerror", None) or str(error) or "no connection in time")
        return Finding(
            "warning",
            subject,
            f"{target.service} at {where} can't be reached from here ({why}).",
            "Check the address, DNS and the firewall.",
        )
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return Finding("ok", subject, f"{target.service} at {where} is within reach; nothing was sent")


async def _check_oidc(oidc: OidcSettings, settings: Settings) -> Finding:
    subject, url = "server.oidc", f"{oidc.issuer}/.well-known/openid-configuration"
    hint = "Check server.oidc.issuer, DNS, the proxy and ca_bundle."
    try:
        async with http_client.create_client(settings.ca_bundle, TIMEOUT_SECONDS) as client:
            answer = await client.get(url)
        document = answer.json()
    except ConfigError as error:
        return Finding("error", subject, error.message, error.hint)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        why = redact(str(error) or type(error).__name__)
        return Finding("error", subject, f"{url} gave no metadata ({why}): login by it fails.", hint)
    if answer.status_code != httpx.codes.OK or not isinstance(document, dict):
        return Finding("error", subject, f"{url} answered {answer.status_code} without metadata.", hint)
    if str(document.get("issuer", "")).rstrip("/") != oidc.issuer.rstrip("/"):
        issuer = redact(str(document.get("issuer", "")))
        return Finding("error", subject, f"The metadata names another issuer, {issuer}.", "Correct server.oidc.issuer.")
    return Finding("ok", subject, f"{oidc.issuer} answers with its metadata")


async def _check_port(server: ServerSettings) -> Finding | None:
    """Check whether `serve` could listen. A workspace that only commands write to needs no port: never an error."""
    if server.port == 0:
        return None
    where = f"{server.host}:{server.port}"
    trouble = await asyncio.to_thread(_listen_error, server)
    if not trouble:
        return Finding("ok", "server", f"{where} is free for serve")
    if await _is_own_server(server):
        return Finding("ok", "server", f"{where} is used by a pigment-sync that serves")
    return Finding(
        "warning",
        "server",
        f"{where} can't be used ({trouble}): serve would not start here.",
        "Set server.host to an address of this machine, and server.port to a free port.",
    )


def _listen_error(server: ServerSettings) -> str:
    try:
        info = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        socket.create_server(info[4][:2], family=info[0]).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


async def _is_own_server(server: ServerSettings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104  (what it listens on)
    url = f"http://[{host}]:{server.port}/metrics" if ":" in host else f"http://{host}:{server.port}/metrics"
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            return b"pigment_sync_" in await anext(answer.aiter_bytes(2**16), b"")
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
