"""Text as both databases can hold it: PostgreSQL refuses NUL, and neither takes half a pair of UTF-16.

A hostile name must not end a run, and an id that is stored differently could be the id of another person.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from sqlalchemy import CTE, Dialect, Text, column, values
from sqlalchemy.types import TypeDecorator

from agent.model.email import normalize

__all__ = ["EscapedText", "address_key", "escape", "names_table", "unescape"]

UNSAFE_PATTERN = re.compile("[\\\\\0\ud800-\udfff]")
ESCAPED_PATTERN = re.compile(r"\\(\\|u[0-9a-f]{4})")
# PostgreSQL refuses index entries of more than 2704 bytes; no real address comes near (RFC 5321: 254 octets).
MAX_KEY_BYTES = 500


def escape(text: str) -> str:
    return UNSAFE_PATTERN.sub(lambda found: "\\\\" if found[0] == "\\" else f"\\u{ord(found[0]):04x}", text)


def unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return ESCAPED_PATTERN.sub(lambda found: "\\" if found[1] == "\\" else chr(int(found[1][1:], 16)), text)


class EscapedText(TypeDecorator[str]):
    """A text column that returns every value exactly as it was written."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (SQLAlchemy's signature)
        return None if value is None else escape(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (SQLAlchemy's signature)
        return unescape(value) if value is not None and "\\" in value else value


def address_key(email: str) -> str:
    """Return the lookup key of an email: normalized, or a digest of that where it is too long for an index."""
    key = normalize(email)
    return (
        key
        if len(key.encode(errors="surrogatepass")) <= MAX_KEY_BYTES
        else hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    )


def names_table(names: Sequence[str]) -> CTE:
    """Return *names* as the table `wanted` with a column `name`, for a query that reads a few rows of each."""
    return values(column("name", EscapedText), name="wanted").data([(name,) for name in names]).cte()
