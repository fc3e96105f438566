"""Check notifications, login, the port of `serve` and pauses. Writes nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from agent import http_client
from agent.errors import ConfigError
from agent.notifications.delivery import Destination, carries_files, parse_destination
from agent.ports.state import State
from agent.settings.report_targets import TargetKind, show_url, target_kind, target_problem
from agent.settings.root import Settings
from agent.settings.server import OidcSettings, ServerSettings
from connectors.base import Finding
from connectors.http import redact
from connectors.http.proxy import proxies_from_environment
from connectors.secret import Secret, SecretError

__all__ = ["run_preflight", "unsupported_url_finding"]

TIMEOUT_SECONDS = 10.0
LISTEN_HINT = "Stop the other process, or set server.port to a free port and server.host to an address of this machine."
APPRISE_HINT = "See https://github.com/caronc/apprise/wiki for the URL format of the service."


async def run_preflight(settings: Settings, state: State, names: Sequence[str]) -> list[Finding]:
    """Return a finding for each configured feature, and one for each paused workspace of *names*."""
    found = await asyncio.gather(
        *(_check_notification_url(place, url) for place, url in enumerate(settings.notify.urls)),
        *(
            _check_report_target(f"reports.{report.name}.to.{place}", url)
            for report in settings.reports
            for place, url in enumerate(report.to)
        ),
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
        f"To resume: pigment-sync resume {name}",
    )


async def _check_notification_url(place: int, secret: Secret) -> Finding | None:
    """Check that Apprise supports the URL and its server is reachable. Findings show only its service and host."""
    subject = f"notify.urls.{place}"
    try:
        url = secret.reveal()
    except SecretError:
        # Reported as a missing secret.
        return None
    target = await asyncio.to_thread(parse_destination, url)
    if target is None:
        return unsupported_url_finding(subject)
    if not target.host:
        return Finding("ok", subject, f"the {target.service} URL is valid; not contacted")
    return await _check_reachable(subject, target)


def unsupported_url_finding(subject: str) -> Finding:
    return Finding("error", subject, "is not a URL that Apprise supports: notifications can't be sent.", APPRISE_HINT)


async def _check_report_target(subject: str, secret: Secret) -> Finding | None:
    """Check that a report can be delivered there. Nothing is sent or written, and an object store is not contacted."""
    try:
        url = secret.reveal()
    except SecretError:
        # Reported as a missing secret.
        return None
    if wrong := await asyncio.to_thread(target_problem, url):
        return Finding("error", subject, f"{wrong}.", "Correct the target of the report.")
    match target_kind(url):
        case TargetKind.FOLDER:
            return _check_folder(subject, Path(unquote(urlsplit(url.strip()).path)))
        case TargetKind.MESSAGE:
            return await _check_report_message(subject, url)
        case _:
            return Finding("ok", subject, f"{show_url(url)} is valid; not contacted")


def _check_folder(subject: str, folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding("error", subject, f"the folder {folder} does not exist.", "Create it, or mount it.")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "error",
            subject,
            f"the folder {folder} can't be written.",
            "Give the user that runs pigment-sync the right.",
        )
    return Finding("ok", subject, f"the folder {folder} can be written")


async def _check_report_message(subject: str, url: str) -> Finding:
    target = await asyncio.to_thread(parse_destination, url)
    if target is None:
        return Finding("error", subject, "is not a URL that Apprise supports: no report can be sent.", APPRISE_HINT)
    if not await asyncio.to_thread(carries_files, url):
        return Finding(
            "warning",
            subject,
            f"{target.service} takes no files: it gets what is new as text, without the report.",
            "Add a mail address, a folder or an object store to the report.",
        )
    if not target.host:
        return Finding("ok", subject, f"the {target.service} URL is valid; not contacted")
    return await _check_reachable(subject, target)


async def _check_reachable(subject: str, target: Destination) -> Finding:
    where = f"{target.host}:{target.port}"
    if (
        target.is_web
        and proxies_from_environment(os.environ).proxy_for(httpx.URL(f"https://{target.host}")) is not None
    ):
        return Finding(
            "ok", subject, f"the {target.service} URL for {where} is valid and uses the proxy; not contacted"
        )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(target.host, target.port)
    except (OSError, TimeoutError) as error:
        why = redact(getattr(error, "strerror", None) or str(error) or "no connection in time")
        return Finding(
            "warning",
            subject,
            f"{target.service} at {where} can't be reached from here ({why}).",
            "Check the address, DNS and firewall.",
        )
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return Finding("ok", subject, f"{target.service} at {where} is reachable; nothing was sent")


async def _check_oidc(oidc: OidcSettings, settings: Settings) -> Finding:
    subject, url = "server.oidc", f"{oidc.issuer}/.well-known/openid-configuration"
    hint = "Check server.oidc.issuer, DNS, the proxy and ca_bundle."
    try:
        async with http_client.create_client(settings.ca_bundle, TIMEOUT_SECONDS) as client:
            response = await client.get(url)
        document = response.json()
    except ConfigError as error:
        return Finding("error", subject, error.message, error.hint)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        why = redact(str(error) or type(error).__name__)
        return Finding("error", subject, f"{url} returned no metadata ({why}): login will fail.", hint)
    if response.status_code != httpx.codes.OK or not isinstance(document, dict):
        return Finding("error", subject, f"{url} returned status {response.status_code} without metadata.", hint)
    if str(document.get("issuer", "")).rstrip("/") != oidc.issuer.rstrip("/"):
        issuer = redact(str(document.get("issuer", "")))
        return Finding(
            "error", subject, f"The metadata has a different issuer: {issuer}.", "Correct server.oidc.issuer."
        )
    return Finding("ok", subject, f"{oidc.issuer} is reachable and returns its metadata")


async def _check_port(server: ServerSettings) -> Finding | None:
    """Check whether `serve` could listen. Never an error: commands need no port."""
    if server.port == 0:
        return None
    where = f"{server.host}:{server.port}"
    error = await asyncio.to_thread(_listen_error, server)
    if error is None:
        return Finding("ok", "server", f"{where} is available for serve")
    if await _is_own_server(server):
        return Finding("ok", "server", f"{where} is in use by pigment-sync serve")
    return Finding(
        "warning",
        "server",
        f"{_listen_error_message(server, error)}: serve would not start.",
        LISTEN_HINT,
    )


def _listen_error_message(server: ServerSettings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {server.port} of {server.host} is in use, possibly by another `serve`"
    return f"{server.host}:{server.port} can't be used ({error.strerror or error})"


def _listen_error(server: ServerSettings) -> OSError | None:
    try:
        info = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        socket.create_server(info[4][:2], family=info[0]).close()
    except OSError as error:
        return error
    return None


async def _is_own_server(server: ServerSettings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104  (compared, not bound)
    url = f"http://[{host}]:{server.port}/metrics" if ":" in host else f"http://{host}:{server.port}/metrics"
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client,
            client.stream("GET", url) as response,
        ):
            return b"pigment_sync_" in await anext(response.aiter_bytes(2**16), b"")
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
