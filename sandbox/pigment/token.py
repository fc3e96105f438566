"""API tokens of a workspace, and its allowed email domains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

__all__ = ["DomainRestriction", "Token", "TokenStore"]

ALWAYS_ALLOWED = frozenset({"support@pigment.com", "support@gopigment.com"})


@dataclass(frozen=True, slots=True)
class Token:
    """One API token. *expires* is exclusive: a token that expires on July 1 is valid until the end of June 30."""

    secret: str
    expires: date | None = None


class TokenStore:
    """The tokens of one workspace: several may be valid at once, so that they can be rotated."""

    def __init__(self, tokens: Iterable[Token | str]) -> None:
        self._tokens = {token.secret: token for token in map(_as_token, tokens)}

    def __iter__(self) -> Iterator[Token]:
        return iter(tuple(self._tokens.values()))

    def add(self, token: Token | str) -> None:
        added = _as_token(token)
        self._tokens[added.secret] = added

    def revoke(self, secret: str) -> None:
        """Refuse the token from the next request on."""
        self._tokens.pop(secret, None)

    def is_valid(self, secret: str, today: date) -> bool:
        token = self._tokens.get(secret)
        return token is not None and (token.expires is None or today < token.expires)


@dataclass(frozen=True, slots=True)
class DomainRestriction:
    """Pigment's domain restriction: bare domains, compared exactly and case-insensitively; no subdomain is implied."""

    on: bool = False
    domains: tuple[str, ...] = ()

    def is_allowed(self, email: str) -> bool:
        """Return whether the restriction, if on, would allow a new invitation to *email*."""
        folded = email.lower()
        return folded in ALWAYS_ALLOWED or folded.rpartition("@")[2] in {domain.lower() for domain in self.domains}


def _as_token(token: Token | str) -> Token:
    return Token(token) if isinstance(token, str) else token
