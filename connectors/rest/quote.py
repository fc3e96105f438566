"""Quote what a server sent so that it can stand in a message: short, on one line, without anything like a secret."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Mapping

import orjson

__all__ = ["harmless_quote", "quoted"]

LONGEST = 200
READ = 2048
"""Bytes of a body that are looked at: an error says what it has to say at its start."""

SECRETS = re.compile(
    r"(?i)\b(?:bearer|ssws|basic)\s+(?!token\b|auth)[^\s\"',;<>]+"
    r"|(?:token|secret|password|assertion|api.?key)[\"']?\s*[:=]\s*[\"']?[^\s\"',;<>]+"
    r"|\beyJ[\w-]+(?:\.[\w-]*)*"  # a JWT
    r"|[A-Za-z0-9_~+/=-]{32,}"  # anything long enough to be a key
)
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
TAGS = re.compile(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>")
SAYINGS = ("detail", "errorSummary", "error_description", "message", "error")
"""Where SCIM, Okta, Entra's token endpoint, Graph and OneLogin say what is wrong."""


def harmless_quote(text: str, secrets: tuple[str, ...] = ()) -> str:
    r"""Return *text* with white space folded, secrets cut out, controls as `\x1b`, at most 200 characters."""
    for secret in secrets:
        text = text.replace(secret, "…")
    text = SECRETS.sub("…", " ".join(text.split()))
    text = UNPRINTABLE.sub(lambda match: f"\\x{ord(match.group()):02x}", text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def quoted(body: bytes, headers: Mapping[str, str]) -> str:
    """Return what an answer says, in quotation marks after a colon, or nothing when it says nothing.

    *headers* are those that were sent: their credentials never come back out.
    """
    secrets = tuple(
        part for name, value in headers.items() if name.lower() == "authorization" for part in value.split()
    )
    text = harmless_quote(_saying(body), tuple(secret for secret in secrets if len(secret) > len("Bearer")))
    return f': "{text}"' if text else ""


def _saying(body: bytes) -> str:
    body = body.removeprefix(BOM_UTF8)
    try:
        document = orjson.loads(body) if len(body) <= READ else None
    except orjson.JSONDecodeError:
        document = None
    for _ in range(2):
        if not isinstance(document, dict):
            break
        document = next((document[name] for name in SAYINGS if document.get(name)), None)
    if isinstance(document, str):
        return document
    return TAGS.sub(" ", body[:READ].decode("utf-8", "replace"))
