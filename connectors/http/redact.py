"""Quote the text of a server in messages: short, on one line, without anything like a secret."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping

import httpx
import orjson

from connectors.secret import revealed_values

__all__ = ["error_excerpt", "escape_control", "redact", "request_id_from_headers"]

MAX_CHARS = 200
MAX_TEXT_BYTES = 2048
"""Bytes of text that are read: an error has its reason at its start."""

MAX_JSON_BYTES = 2**16
MAX_CAUSES = 3

SECRET_PATTERN = re.compile(
    r"(?i)\b(?:bearer|ssws|basic)\s+(?!token\b|auth)[^\s\"',;<>]+"
    r"|(?:token|secret|password|assertion|api.?key)[\"']?\s*[:=]\s*[\"']?[^\s\"',;<>]+"
    r"|\beyJ[\w-]+(?:\.[\w-]*)*"  # a JWT
    r"|[A-Za-z0-9_~+/=-]{32,}"  # anything long enough to be a key
)
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
HTML_TAGS = re.compile(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>")
MESSAGE_FIELDS = ("detail", "errorSummary", "error_description", "description", "message", "title")
"""Fields with the sentence of SCIM, Okta, OAuth, OneLogin and Graph. The longest explains most."""

CODE_FIELDS = ("errorCode", "code", "error")
"""Fields with the code, which documentation and support ask for."""

CODE_PATTERN = re.compile(r"[A-Za-z][\w.-]{1,60}")
REQUEST_ID_HEADERS = (
    "x-okta-request-id",
    "request-id",
    "x-ms-request-id",
    "x-request-id",
    "x-correlation-id",
    "cf-ray",
)
"""Headers with the id of a request, the vendors' own first: Okta, Graph, Entra's login, OneLogin, gateways."""

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._:+/=-]{4,100}")
MIN_SECRET_LENGTH = 8
"""Minimum length of a secret that an id must not have in it: a shorter one would match by chance."""


def escape_control(text: str) -> str:
    r"""Return *text* with white space folded, controls as `\x1b`, at most 200 characters.

    For our own names, ids and paths: nothing counts as a secret. Text of a server needs `redact`.
    """
    text = UNPRINTABLE.sub(lambda match: f"\\x{ord(match.group()):02x}", " ".join(text.split()))
    return text if len(text) <= MAX_CHARS else f"{text[: MAX_CHARS - 1]}…"


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    r"""Return *text* with white space folded, secrets cut out, controls as `\x1b`, at most 200 characters."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return escape_control(SECRET_PATTERN.sub("…", " ".join(text.split())))


def request_id_from_headers(headers: httpx.Headers, sent: Mapping[str, str]) -> str:
    """Return the id that the vendor's support needs to find the request, empty where it is missing.

    *sent* are the headers of the request. A server chooses the id freely: one with other characters, with a secret or
    with these credentials is ignored.
    """
    secrets = (*_sent_credentials(sent), *(each for each in revealed_values() if len(each) >= MIN_SECRET_LENGTH))
    # Gateways repeat headers.
    found = (text for name in REQUEST_ID_HEADERS for text in headers.get_list(name, split_commas=True))
    return next((text for text in found if REQUEST_ID_PATTERN.fullmatch(text) and not _repeats(text, secrets)), "")


def _repeats(text: str, secrets: tuple[str, ...]) -> bool:
    """Return whether *text* contains a secret, or is a large part of one."""
    return any(each in text or (len(text) >= MIN_SECRET_LENGTH and text in each) for each in secrets)


def error_excerpt(body: bytes, headers: Mapping[str, str]) -> str:
    """Return the message of a response in quotation marks after a colon, with its code, or an empty text.

    *headers* are those that were sent: their credentials are never quoted.
    """
    text, code = (redact(each, _sent_credentials(headers)) for each in _message_and_code(body))
    return (f': "{text}"' if text else "") + (f" ({code})" if text and code else "")


def _sent_credentials(sent: Mapping[str, str]) -> tuple[str, ...]:
    parts = (part for name, value in sent.items() if name.lower() == "authorization" for part in value.split())
    return tuple(part for part in parts if len(part) > len("Bearer"))


def _message_and_code(body: bytes) -> tuple[str, str]:
    """Return the sentence of an error and its code, each empty where it has none."""
    body = body.removeprefix(BOM_UTF8)
    try:
        document = orjson.loads(body) if len(body) <= MAX_JSON_BYTES else None
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict):
        # Graph wraps its error in `error`, OneLogin's older API in `status`.
        inner = next((document[name] for name in ("error", "status") if isinstance(document.get(name), dict)), document)
        text = max((inner[name] for name in MESSAGE_FIELDS if isinstance(inner.get(name), str)), key=len, default="")
        words = (inner[name] for name in CODE_FIELDS if isinstance(inner.get(name), str))
        code = next((word for word in words if CODE_PATTERN.fullmatch(word)), "")
        if text or code:
            causes = [each for each in dict.fromkeys(_error_causes(inner)) if each not in text][:MAX_CAUSES]
            return (text or code) + (f" ({'; '.join(causes)})" if causes else ""), code if text else ""
    if isinstance(document, str):
        return document, ""
    return HTML_TAGS.sub(" ", body[:MAX_TEXT_BYTES].decode("utf-8", "replace")), ""


def _error_causes(error: Mapping[str, object]) -> Iterator[str]:
    """Yield the causes of an error: Okta's `errorCauses`, Graph's `details` and `innerError`, other `errors`."""
    for name in ("errorCauses", "details", "errors", "innerError"):
        found = error.get(name)
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, str):
                yield each
            elif isinstance(each, dict):
                yield from (each[key] for key in MESSAGE_FIELDS if isinstance(each.get(key), str) and each[key])
