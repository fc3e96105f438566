"""Send one notice to one Apprise URL."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.notifications.notice import Notice

__all__ = ["DeliveryError", "Destination", "deliver", "parse_destination"]

TIMEOUT_SECONDS = 60.0
DEFAULT_PORTS = {"http": 80, "https": 443}
SELF_HOSTED_SERVICES = frozenset(
    {"json", "jsons", "xml", "xmls", "form", "forms", "apprise", "apprises", "workflows", "workflow"}
)
"""Services with the server of the user in their URL."""


class DeliveryError(Exception):
    """A notice was not delivered. The message has the reason, without the URL, which may hold a password."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The target of an Apprise URL: the *service*, and its server where the URL or the service names one."""

    service: str
    host: str = ""
    port: int = 0
    is_web: bool = False


def parse_destination(url: str) -> Destination | None:
    """Return the target of *url*, None when Apprise does not support it. Sends nothing.

    For many services the host in the URL is a token: it is used only where it certainly is a server.
    """
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY)
    service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is None:
        return None
    name = str(getattr(service, "service_name", None) or type(service).__name__)
    server = getattr(service, "notify_url", None)
    if isinstance(server, str) and server.startswith(("https://", "http://")):
        parts = urlsplit(server)
        return Destination(name, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme], is_web=True)
    schema = url.partition(":")[0].strip().lower()
    host = getattr(service, "smtp_host", None) or (service.host if schema in SELF_HOSTED_SERVICES else None)
    if not isinstance(host, str):
        return Destination(name)
    default = getattr(service, "default_port", None) or DEFAULT_PORTS["https" if service.secure else "http"]
    return Destination(name, host, int(service.port or default), is_web=schema in SELF_HOSTED_SERVICES)


async def deliver(url: str, notice: Notice, ca_bundle: Path | None) -> None:
    """Send *notice* to *url*. Raises `DeliveryError` unless the service has accepted it.

    HTTPS trusts *ca_bundle*; mail does not use it.
    """
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            is_sent = await asyncio.to_thread(_send_with_apprise, url, notice, ca_bundle)
    except TimeoutError:
        raise DeliveryError(f"No response within {TIMEOUT_SECONDS:g} s.") from None
    if not is_sent:
        raise DeliveryError("The service can't be reached, or did not accept the notice.")


def _send_with_apprise(url: str, notice: Notice, ca_bundle: Path | None) -> bool:
    # Importing it is slow (more than a hundred services), and most commands send no notice.
    import apprise

    # Its log quotes addresses and responses of unknown services.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    # In this thread, and without a cache on disk.
    asset = apprise.AppriseAsset(
        async_mode=False, storage_mode=apprise.PersistentStoreMode.MEMORY, app_id="pigment-sync"
    )
    target = apprise.Apprise(asset=asset)
    if not target.add(url):
        raise DeliveryError("Not a URL that Apprise supports: see https://github.com/caronc/apprise/wiki.")
    for service in target:
        if ca_bundle is not None and service.verify_certificate is True:
            # Passed on to requests as it is, which accepts a path as well.
            service.verify_certificate = str(ca_bundle)  # type: ignore[assignment]
    kind = apprise.NotifyType(notice.severity.value)
    text = apprise.NotifyFormat.TEXT
    try:
        return bool(target.notify(body=notice.body, title=notice.title, notify_type=kind, body_format=text))
    except Exception as error:  # noqa: BLE001  (a hundred plugins, each with libraries and errors of its own)
        # A plugin's failure does not change the result of the run.
        raise DeliveryError(f"Apprise failed ({type(error).__name__}).") from None
