"""Check notifications, reports, login and the port of `serve`. Writes nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import httpx

from agent import http_client
from agent.errors import ConfigError
from agent.notifications.delivery import DeliveryError, Destination, carries_files, deliver, parse_destination
from agent.notifications.notice import Notice, Severity
from agent.settings.report_targets import TargetKind, show_url, target_kind, target_problem
from agent.settings.root import Settings
from agent.settings.server import OidcSettings, ServerSettings
from connectors.base import Area, CheckName, Finding
from connectors.http import redact
from connectors.http.proxy import proxies_from_environment
from connectors.secret import Secret, SecretError

__all__ = ["report_finding", "run_preflight", "unsupported_url_finding"]

TIMEOUT_SECONDS = 10.0
LISTEN_HINT = "Stop the other process, or set server.port to a free port and server.host to an address of this machine."
TEST_NOTICE = Notice(
    "pigment-sync: a test notice",
    "pigment-sync check --notify sent this to see whether notices arrive here. There is nothing to do.",
    Severity.INFO,
)
APPRISE_HINT = "See https://github.com/caronc/apprise/wiki for the URL format of the service."


_notify_finding = partial(Finding, area=Area.NOTIFY)
report_finding = partial(Finding, name=CheckName.REPORT_TARGET, area=Area.NOTIFY)


def _server_finding(
    name: CheckName, level: Literal["ok", "warning", "error"], subject: str, message: str, remedy: str = ""
) -> Finding:
    return Finding(level, subject, message, remedy, name=name, area=Area.SERVER)


async def run_preflight(settings: Settings, *, sends_notices: bool = False) -> list[Finding]:
    """Return a finding for each configured feature: notifications, reports, login and port.

    With *sends_notices*, each notification URL gets a test notice.
    """
    found = await asyncio.gather(
        *(_check_notification_url(place, url) for place, url in enumerate(settings.notify.urls)),
        *(
            _send_test_notice(place, url, settings.ca_bundle)
            for place, url in enumerate(settings.notify.urls)
            if sends_notices
        ),
        *(
            _check_report_target(f"reports.{report.name}.to.{place}", url)
            for report in settings.reports
            for place, url in enumerate(report.to)
        ),
        *([_check_oidc(settings.server.oidc, settings)] if settings.server.oidc is not None else []),
        _check_port(settings.server),
    )
    return [finding for finding in found if finding is not None]


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
        return _notify_finding(
            "ok", subject, f"the {target.service} URL is valid; not contacted", name=CheckName.NOTICE_URL
        )
    return await _check_reachable(subject, target, CheckName.NOTICE_URL)


async def _send_test_notice(place: int, secret: Secret, ca_bundle: Path | None) -> Finding | None:
    """Send a test notice. Its delivery is what the service reports: whether a person sees it is for them to look."""
    subject = f"notify.urls.{place}"
    try:
        url = secret.reveal()
    except SecretError:
        # Reported as a missing secret.
        return None
    try:
        await deliver(url, TEST_NOTICE, ca_bundle)
    except DeliveryError as error:
        remedy = "Check the URL, its credentials and the firewall; then: `pigment-sync check --notify`"
        message = f"the test notice was not delivered: {error}"
        return _notify_finding("error", subject, message, remedy, name=CheckName.TEST_NOTICE)
    message = "the test notice was accepted: look whether it arrived"
    return _notify_finding("ok", subject, message, name=CheckName.TEST_NOTICE)


def unsupported_url_finding(subject: str) -> Finding:
    return Finding(
        "error",
        subject,
        "is not a URL that Apprise supports: notifications can't be sent.",
        APPRISE_HINT,
        name=CheckName.NOTICE_URL,
        area=Area.NOTIFY,
    )


async def _check_report_target(subject: str, secret: Secret) -> Finding | None:
    """Check that a report can be delivered there. Nothing is sent or written, and an object store is not contacted."""
    try:
        url = secret.reveal()
    except SecretError:
        # Reported as a missing secret.
        return None
    if wrong := await asyncio.to_thread(target_problem, url):
        return report_finding("error", subject, f"{wrong}.", "Correct the target of the report.")
    match target_kind(url):
        case TargetKind.FOLDER:
            return _check_folder(subject, Path(unquote(urlsplit(url.strip()).path)))
        case TargetKind.MESSAGE:
            return await _check_report_message(subject, url)
        case _:
            return report_finding("ok", subject, f"{show_url(url)} is valid; not contacted")


def _check_folder(subject: str, folder: Path) -> Finding:
    if not folder.is_dir():
        return report_finding("error", subject, f"the folder {folder} does not exist.", "Create it, or mount it.")
    if not os.access(folder, os.W_OK | os.X_OK):
        return report_finding(
            "error",
            subject,
            f"the folder {folder} can't be written.",
            "Give the user that runs pigment-sync the right.",
        )
    return report_finding("ok", subject, f"the folder {folder} can be written")


async def _check_report_message(subject: str, url: str) -> Finding:
    target = await asyncio.to_thread(parse_destination, url)
    if target is None:
        return report_finding(
            "error", subject, "is not a URL that Apprise supports: no report can be sent.", APPRISE_HINT
        )
    if not await asyncio.to_thread(carries_files, url):
        return report_finding(
            "warning",
            subject,
            f"{target.service} takes no files: it gets what is new as text, without the report.",
            "Add a mail address, a folder or an object store to the report.",
        )
    if not target.host:
        return report_finding("ok", subject, f"the {target.service} URL is valid; not contacted")
    return await _check_reachable(subject, target, CheckName.REPORT_TARGET)


async def _check_reachable(subject: str, target: Destination, name: CheckName) -> Finding:
    where = f"{target.host}:{target.port}"
    if (
        target.is_web
        and proxies_from_environment(os.environ).proxy_for(httpx.URL(f"https://{target.host}")) is not None
    ):
        return _notify_finding(
            "ok", subject, f"the {target.service} URL for {where} is valid and uses the proxy; not contacted", name=name
        )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(target.host, target.port)
    except (OSError, TimeoutError) as error:
        why = redact(getattr(error, "strerror", None) or str(error) or "no connection in time")
        return _notify_finding(
            "warning",
            subject,
            f"{target.service} at {where} can't be reached from here ({why}).",
            "Check the address, DNS and firewall.",
            name=name,
        )
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return _notify_finding("ok", subject, f"{target.service} at {where} is reachable; nothing was sent", name=name)


async def _check_oidc(oidc: OidcSettings, settings: Settings) -> Finding:
    subject, url = "server.oidc", f"{oidc.issuer}/.well-known/openid-configuration"
    hint = "Check server.oidc.issuer, DNS, the proxy and ca_bundle."
    try:
        async with http_client.create_client(settings.ca_bundle, TIMEOUT_SECONDS) as client:
            response = await client.get(url)
        document = response.json()
    except ConfigError as error:
        return _server_finding(CheckName.LOGIN, "error", subject, error.message, error.hint)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        why = redact(str(error) or type(error).__name__)
        return _server_finding(
            CheckName.LOGIN, "error", subject, f"{url} returned no metadata ({why}): login will fail.", hint
        )
    if response.status_code != httpx.codes.OK or not isinstance(document, dict):
        return _server_finding(
            CheckName.LOGIN, "error", subject, f"{url} returned status {response.status_code} without metadata.", hint
        )
    if str(document.get("issuer", "")).rstrip("/") != oidc.issuer.rstrip("/"):
        issuer = redact(str(document.get("issuer", "")))
        return _server_finding(
            CheckName.LOGIN,
            "error",
            subject,
            f"The metadata has a different issuer: {issuer}.",
            "Correct server.oidc.issuer.",
        )
    return _server_finding(CheckName.LOGIN, "ok", subject, f"{oidc.issuer} is reachable and returns its metadata")


async def _check_port(server: ServerSettings) -> Finding | None:
    """Check whether `serve` could listen. Never an error: commands need no port."""
    if server.port == 0:
        return None
    where = f"{server.host}:{server.port}"
    error = await asyncio.to_thread(_listen_error, server)
    if error is None:
        return _server_finding(CheckName.PORT, "ok", "server", f"{where} is available for serve")
    if await _is_own_server(server):
        return _server_finding(CheckName.PORT, "ok", "server", f"{where} is in use by pigment-sync serve")
    return _server_finding(
        CheckName.PORT,
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
