"""Quote what a server sent so that it can stand in a message: short, on one line, without anything like a secret."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping

import httpx
import orjson

__all__ = ["harmless_quote", "legible", "quoted", "request_id"]

LONGEST = 200
READ = 2048
"""Bytes of text that are examined: an error has its reason at its start."""

LONGEST_DOCUMENT = 2**16
CAUSES = 3

SECRETS = re.compile(
    r"(?i)\b(?:bearer|ssws|basic)\s+(?!token\b|auth)[^\s\"',;<>]+"
    r"|(?:token|secret|password|assertion|api.?key)[\"']?\s*[:=]\s*[\"']?[^\s\"',;<>]+"
    r"|\beyJ[\w-]+(?:\.[\w-]*)*"  # a JWT
    r"|[A-Za-z0-9_~+/=-]{32,}"  # anything long enough to be a key
)
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
TAGS = re.compile(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>")
SAYINGS = ("detail", "errorSummary", "error_description", "description", "message", "title")
"""Where SCIM, Okta, OAuth, OneLogin and Graph put their sentence; the longest is the one that explains most."""

CODES = ("errorCode", "code", "error")
"""Where they put their word for it, which documentation and support ask for."""

CODE = re.compile(r"[A-Za-z][\w.-]{1,60}")
REQUEST_IDS = ("x-okta-request-id", "request-id", "x-ms-request-id", "x-request-id")
REQUEST_ID = re.compile(r"[\w.:@-]{4,80}")


def legible(text: str) -> str:
    r"""Return *text* with white space folded, controls as `\x1b`, at most 200 characters.

    For names, ids and paths that we asked for: nothing is taken for a secret. What a server wrote is for
    `harmless_quote`.
    """
    text = UNPRINTABLE.sub(lambda match: f"\\x{ord(match.group()):02x}", " ".join(text.split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def harmless_quote(text: str, secrets: tuple[str, ...] = ()) -> str:
    r"""Return *text* with white space folded, secrets cut out, controls as `\x1b`, at most 200 characters."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return legible(SECRETS.sub("…", " ".join(text.split())))


def request_id(headers: httpx.Headers, sent: Mapping[str, str]) -> str:
    """Return the id under which the vendor's support finds the request, empty where the answer has none.

    *sent* are the headers of the request: a server that answers with its credentials is not quoted.
    """
    found = (headers.get(name, "").strip() for name in REQUEST_IDS)
    return next((text for text in found if REQUEST_ID.fullmatch(text) and text not in _credentials(sent)), "")


def quoted(body: bytes, headers: Mapping[str, str]) -> str:
    """Return the words of an answer in quotation marks after a colon, with its code after it, or nothing.

    *headers* are those that were sent: their credentials never come back out.
    """
    text, code = (harmless_quote(each, _credentials(headers)) for each in _saying(body))
    return (f': "{text}"' if text else "") + (f" ({code})" if text and code else "")


def _credentials(sent: Mapping[str, str]) -> tuple[str, ...]:
    parts = (part for name, value in sent.items() if name.lower() == "authorization" for part in value.split())
    return tuple(part for part in parts if len(part) > len("Bearer"))


def _saying(body: bytes) -> tuple[str, str]:
    """Return the sentence of an error and its code, each empty where it has none."""
    body = body.removeprefix(BOM_UTF8)
    try:
        document = orjson.loads(body) if len(body) <= LONGEST_DOCUMENT else None
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict):
        # Graph wraps its error in `error`, OneLogin's older API in `status`.
        inner = next((document[name] for name in ("error", "status") if isinstance(document.get(name), dict)), document)
        text = max((inner[name] for name in SAYINGS if isinstance(inner.get(name), str)), key=len, default="")
        words = (inner[name] for name in CODES if isinstance(inner.get(name), str))
        code = next((word for word in words if CODE.fullmatch(word)), "")
        if text or code:
            causes = [each for each in dict.fromkeys(_causes(inner)) if each not in text][:CAUSES]
            return (text or code) + (f" ({'; '.join(causes)})" if causes else ""), code if text else ""
    if isinstance(document, str):
        return document, ""
    return TAGS.sub(" ", body[:READ].decode("utf-8", "replace")), ""


def _causes(error: Mapping[str, object]) -> Iterator[str]:
    """Yield what stands behind an error: Okta's `errorCauses`, Graph's `details` and `innerError`, other `errors`."""
    for name in ("errorCauses", "details", "errors", "innerError"):
        found = error.get(name)
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, str):
                yield each
            elif isinstance(each, dict):
                yield from (each[key] for key in SAYINGS if isinstance(each.get(key), str) and each[key])
