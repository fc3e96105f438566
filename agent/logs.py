"""Configure logging: one event per fact, without secrets, and without emails unless the configuration enables them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog

from agent.report.escape import escape_json
from connectors.secret import revealed_values

__all__ = ["configure", "redact_secrets", "sanitize"]

HIDDEN = "[hidden]"
SECRET_KEY = re.compile(
    r"(?:token|secret|password|passphrase|assertion|authorization|cookie|credential|(?:api|private)[_-]?key)s?\Z",
    re.IGNORECASE,
)
"""Endings of keys whose value is a secret: `next_token`, `accessToken`, `Proxy-Authorization`."""
SECRET_VALUE = re.compile(
    r"(?P<scheme>\b(?:Bearer|SSWS|Basic)\s+)[^\s,;\"'<>]+"
    r"|\beyJ[\w-]{8,}(?:\.[\w-]*)+"  # a JWT
    r"|-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY-----|\Z)"
    r"|(?P<name>(?:token|secret|password|passphrase|assertion|api[_-]?key)[\"']?\s*[:=]\s*[\"']?)[^\s,;&\"'<>]+"
    r"|(?P<user>\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]{0,200}:)[^\s/@]+(?=@)",
    re.IGNORECASE | re.DOTALL,
)
# A local part starts only after a delimiter, so that a long text is scanned once, without backtracking.
EMAIL = re.compile(
    r"""(?:(?<![^\s<>"'()\[\]{}=:,;/?&|])|(?<=%[0-9A-F]{2}))"""
    r"""([^\s<>"'()\[\]{}=:,;/?&|%@])[^\s<>"'()\[\]{}=:,;/?&|%@]*(@|%40)(?=\w)""",
    re.IGNORECASE,
)
MIN_SECRET_LENGTH = 8
"""Minimum length of a revealed secret to redact: a shorter one would match ordinary words."""
QUIET_LOGGERS = ("alembic", "apscheduler", "asyncio", "httpcore", "httpx", "msal", "urllib3", "uvicorn.access")
"""Loggers of libraries that log each request or step below `warning`."""
MAX_DEPTH = 6
Event = MutableMapping[str, Any]

_json = structlog.processors.JSONRenderer(ensure_ascii=False)


def redact_secrets(text: str) -> str:
    """Return *text* without what looks like a token, a key or a password, and without any secret revealed so far."""
    # The longest first: one secret may contain another.
    for secret in sorted(revealed_values(), key=len, reverse=True):
        if len(secret) >= MIN_SECRET_LENGTH:
            text = text.replace(secret, HIDDEN)
    return SECRET_VALUE.sub(lambda found: f"{found['scheme'] or found['name'] or found['user'] or ''}{HIDDEN}", text)


def _mask_emails(text: str) -> str:
    """Return *text* with emails as `a***@acme.com`: enough to find a person, too little to list people."""
    return EMAIL.sub(r"\1***\2", text)


def sanitize(text: str, emails: bool) -> str:
    """Return *text* without secrets, and without emails unless *emails*."""
    return redact_secrets(text) if emails else _mask_emails(redact_secrets(text))


def _sanitize_value(value: object, masks_emails: bool, depth: int = 0) -> object:
    """Return *value* as plain data without secrets, at any depth."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {
            _sanitize_text(key, masks_emails): _sanitize_entry(str(key), each, masks_emails, depth)
            for key, each in value.items()
        }
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_sanitize_value(each, masks_emails, depth + 1) for each in value]
    return _sanitize_text(value, masks_emails)


def _sanitize_entry(key: str, value: object, masks_emails: bool, depth: int) -> object:
    if SECRET_KEY.search(key) and not isinstance(value, bool | int | float | None):
        return HIDDEN
    return _sanitize_value(value, masks_emails, depth + 1)


def _sanitize_text(value: object, masks_emails: bool) -> str:
    text = redact_secrets(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
    return _mask_emails(text) if masks_emails else text


class _RedactionProcessor:
    """Redact each event just before it is written; mask emails too, unless *emails* or at level debug."""

    def __init__(self, emails: bool) -> None:
        self._emails = emails

    def __call__(self, _logger: object, method: str, event: Event) -> Event:
        masks_emails = not self._emails and event.get("level", method) != "debug"
        return {key: _sanitize_entry(key, value, masks_emails, 0) for key, value in event.items()}


def _escape_event(_logger: object, _method: str, event: Event) -> Event:
    """Escape control characters, which could move the cursor of a terminal or change its colours."""
    return {key: _escape_control(value) if isinstance(value, str) else value for key, value in event.items()}


def _escape_control(text: str) -> str:
    return "".join(each if each.isprintable() or each in "\n\t" else f"\\x{ord(each):02x}" for each in text)


def _json_line(logger: object, method: str, event: Event) -> str:
    """Return *event* as a line of JSON. The C1 controls are escaped too, which JSON leaves as they are."""
    return escape_json(str(_json(logger, method, event)))


def _renderers(log_format: Literal["json", "console"], stream: TextIO) -> list[structlog.types.Processor]:
    if log_format == "json":
        return [_json_line]
    # A plain traceback: a pretty one shows local variables, which may hold secrets.
    plain = structlog.dev.plain_traceback
    return [_escape_event, structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]


def configure(level: str, log_format: Literal["json", "console"], emails: bool, stream: TextIO) -> None:
    """Write all logs from *level* up, those of libraries too, to *stream*. Without *emails*, emails are masked."""
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *processors,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*processors, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _RedactionProcessor(emails),
                *_renderers(log_format, stream),
            ],
        )
    )
    # A library's logger with its own level ignores the level of the root.
    handler.setLevel(level.upper())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
