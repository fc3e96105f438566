"""Send one notice to one Apprise URL."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.notifications.notice import Notice

__all__ = ["DeliveryError", "Destination", "carries_files", "deliver", "deliver_files", "parse_destination"]

TIMEOUT_SECONDS = 60.0
DEFAULT_PORTS = {"http": 80, "https": 443}
SELF_HOSTED_SERVICES = frozenset(
    {"json", "jsons", "xml", "xmls", "form", "forms", "apprise", "apprises", "workflows", "workflow"}
)
"""Services with the server of the user in their URL."""


SIZE_REFUSAL = re.compile(
    r"\b(?:552|413)\b|5\.3\.4|too (?:large|big)|(?:size|limit).{0,40}exceed|exceed.{0,40}(?:size|limit)", re.I
)
"""What a service answers that refuses a message for its size: statuses of SMTP and HTTP, and words."""


class DeliveryError(Exception):
    """A notice was not delivered. The message has the reason, without the URL, which may hold a password.

    *is_too_large*: the service refused it for its size.
    """

    def __init__(self, message: str, *, is_too_large: bool = False) -> None:
        super().__init__(message)
        self.is_too_large = is_too_large


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


def carries_files(url: str) -> bool:
    """Return whether the service of *url* takes attachments. One that does not gets the text alone."""
    import apprise

    asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY)
    service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    return bool(getattr(service, "attachment_support", False))


async def deliver(url: str, notice: Notice, ca_bundle: Path | None) -> None:
    """Send *notice* to *url*. Raises `DeliveryError` unless the service has accepted it.

    HTTPS trusts *ca_bundle*; mail does not use it.
    """
    await deliver_files(url, notice, {}, ca_bundle)


async def deliver_files(url: str, notice: Notice, files: Mapping[str, bytes], ca_bundle: Path | None) -> None:
    """Send *notice* with *files* attached, as `deliver` does. A service that takes no files gets the text alone."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            is_sent = await asyncio.to_thread(_send_with_apprise, url, notice, files, ca_bundle)
    except TimeoutError:
        raise DeliveryError(f"No response within {TIMEOUT_SECONDS:g} s.") from None
    if not is_sent:
        raise DeliveryError("The service can't be reached, or did not accept the notice.")


class _SizeRefusals(logging.Handler):
    """Notices a refusal for size in the log of Apprise, of one message only. Nothing of the log is kept.

    Apprise sends in threads of its own, which have the context of the caller.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.is_found = False

    def emit(self, record: logging.LogRecord) -> None:
        if current_refusals.get() is self and SIZE_REFUSAL.search(record.getMessage()):
            self.is_found = True


current_refusals: ContextVar[_SizeRefusals | None] = ContextVar("current_refusals", default=None)


def _send_with_apprise(url: str, notice: Notice, files: Mapping[str, bytes], ca_bundle: Path | None) -> bool:
    # Importing it is slow (more than a hundred services), and most commands send no notice.
    import apprise
    from apprise.attachment.memory import AttachMemory

    # Its log quotes addresses and responses of unknown services, so none of it reaches ours.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.DEBUG if files else logging.CRITICAL + 1)
    refusals = _SizeRefusals()
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
    attached = [
        AttachMemory(content, name=name, mimetype=_media_type(name))  # type: ignore[no-untyped-call]  # it has none
        for name, content in files.items()
    ]
    # The context of this call ends with its thread.
    current_refusals.set(refusals)
    logger.addHandler(refusals)
    try:
        is_sent = target.notify(
            body=notice.body, title=notice.title, notify_type=kind, body_format=text, attach=attached or None
        )
    except Exception as error:  # noqa: BLE001  (a hundred plugins, each with libraries and errors of its own)
        # A plugin's failure does not change the result of the run.
        raise DeliveryError(f"Apprise failed ({type(error).__name__}).") from None
    finally:
        logger.removeHandler(refusals)
    if not is_sent and refusals.is_found:
        raise DeliveryError("The service refused the message because of its size.", is_too_large=True)
    return bool(is_sent)


def _media_type(name: str) -> str:
    known = {
        "md": "text/markdown",
        "csv": "text/csv",
        "html": "text/html",
        "json": "application/json",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    }
    return known.get(name.rpartition(".")[2], "text/plain")
