"""Write logs to stderr: one event per fact, no secret in any of them, and no email unless the config asks for it."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

__all__ = ["configure", "redacted"]

HIDDEN = "[hidden]"
SECRET_KEYS = re.compile(r"token|secret|password|authorization|private_key|api_key|cookie|assertion", re.IGNORECASE)
SECRET_VALUES = re.compile(
    r"(?P<scheme>\b(?:Bearer|SSWS|Basic)\s+)[^\s,;\"']+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?P<key>\b(?:client_secret|client_assertion|access_token|refresh_token|api_token|password)\b[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s,;&\"']+",
    re.IGNORECASE | re.DOTALL,
)
EMAIL = re.compile(r"(?<![^\s<\"'(=:,;])([^\s@<\"'(=:,;])[^\s@<\"'(=:,;]*@([^\s@>\"'),;]+)")
# Libraries that log each request, headers and all, below this level.
NOISY = ("httpx", "httpcore", "msal", "urllib3", "alembic", "apscheduler", "asyncio")
Event = MutableMapping[str, Any]


def redacted(text: str) -> str:
    """Return *text* without what looks like a token, a key or a credential."""
    return SECRET_VALUES.sub(lambda found: f"{found['scheme'] or found['key'] or ''}{HIDDEN}", text)


def _masked(text: str) -> str:
    """Return *text* with emails as `a***@acme.com`: enough to find somebody by, too little for a list of people."""
    return EMAIL.sub(r"\1***@\2", text)


def _hide_secrets(_logger: object, _method: str, event: Event) -> Event:
    for key, value in event.items():
        if SECRET_KEYS.search(key) and not isinstance(value, int | float | bool | None):
            event[key] = HIDDEN
        elif isinstance(value, str):
            event[key] = redacted(value)
    return event


def _hide_emails(_logger: object, method: str, event: Event) -> Event:
    if method != "debug":
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = _masked(value)
    return event


def configure(level: str, form: Literal["json", "console"], emails: bool, stream: TextIO) -> None:
    """Send all logs, those of libraries too, to *stream* as *form* from *level* on. Emails only if *emails* says so."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        _hide_secrets,
    ]
    if not emails:
        shared.append(_hide_emails)
    last: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
