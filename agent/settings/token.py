"""Tokens for the page and the API as the configuration has them: hashed, with a name and a role."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from agent.errors import ConfigError, UsageError

__all__ = ["HashedToken", "Role", "hashed_token", "new_token"]

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}")
ENTRY_PATTERN = re.compile(rf"(read|operate):({NAME_PATTERN.pattern}):sha256:([0-9a-f]{{64}})")
PREFIX = "pgs_"
"""Lets people and secret scanners recognise a token."""


class Role(StrEnum):
    READ = "read"
    """See workspaces, runs, plans and people."""
    OPERATE = "operate"
    """Also trigger runs, approve plans, pause and resume."""

    def includes(self, other: Role) -> bool:
        return self is Role.OPERATE or other is Role.READ


@dataclass(frozen=True, slots=True)
class HashedToken:
    """One entry of `server.tokens`: `operate:ana@acme.com:sha256:…`, as `pigment-sync hash-token` prints it.

    A plain SHA-256 is enough, because a token is 256 random bits and never chosen by a person.
    """

    role: Role
    name: str
    digest: str

    @classmethod
    def parse(cls, entry: str) -> HashedToken:
        """Raises `ConfigError`; the message does not repeat the entry, which may be a token by mistake."""
        match = ENTRY_PATTERN.fullmatch(entry.strip())
        if match is None:
            raise ConfigError(
                "server.tokens: an entry is not a hashed token.",
                "Create one with: pigment-sync hash-token --role operate NAME",
            )
        return cls(Role(match[1]), match[2], match[3])

    def matches(self, token: str) -> bool:
        """Return whether *token* matches, in constant time."""
        return hmac.compare_digest(_digest(token), self.digest)

    def __str__(self) -> str:
        return f"{self.role}:{self.name}:sha256:{self.digest}"


def new_token() -> str:
    """Return a new token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hashed_token(token: str, role: Role, name: str) -> HashedToken:
    """Return the entry for *token*. Raises `UsageError` for an invalid name."""
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            "The name may have at most 64 characters: letters, digits and @ . _ + -.",
            "It appears in the journal as `by`.",
        )
    return HashedToken(role, name, _digest(token))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
