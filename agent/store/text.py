"""Text as both databases can hold it: PostgreSQL refuses NUL, and neither takes half a pair of UTF-16.

A hostile name must not end a run, and an id that was changed on the way would be somebody else's.
"""

from __future__ import annotations

import hashlib
import re

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator

from agent.address import folded

__all__ = ["Words", "address_key", "escaped", "unescaped"]

UNSAFE = re.compile("[\\\\\0\ud800-\udfff]")
ESCAPED = re.compile(r"\\(\\|u[0-9a-f]{4})")
# PostgreSQL refuses index entries of more than 2704 bytes; no real address comes near (RFC 5321: 254 octets).
LONGEST_KEY = 500


def escaped(text: str) -> str:
    return UNSAFE.sub(lambda found: "\\\\" if found[0] == "\\" else f"\\u{ord(found[0]):04x}", text)


def unescaped(text: str) -> str:
    return ESCAPED.sub(lambda found: "\\" if found[1] == "\\" else chr(int(found[1][1:], 16)), text)


class Words(TypeDecorator[str]):
    """A column of text that comes back as it went in, whatever it holds."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (SQLAlchemy's signature)
        return None if value is None else escaped(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (SQLAlchemy's signature)
        return unescaped(value) if value is not None and "\\" in value else value


def address_key(email: str) -> str:
    """Return what an address is found by: folded, or a digest of that where it is too long for an index."""
    key = folded(email)
    return (
        key
        if len(key.encode(errors="surrogatepass")) <= LONGEST_KEY
        else hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    )
