"""Authentication: tokens, browser sessions, and a limit on failed logins."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from agent.errors import ConfigError
from agent.settings.server import ServerSettings
from agent.settings.token import HashedToken, Role
from connectors.secret import Secret, SecretError

__all__ = [
    "MAX_FAILED_LOGINS",
    "SESSION_MAX_SECONDS",
    "LoginRateLimit",
    "MonotonicClock",
    "Principal",
    "Session",
    "Sessions",
    "find_principal",
    "is_same_secret",
    "parse_tokens",
    "readable_tokens",
]

log = structlog.get_logger()
SESSION_IDLE_SECONDS, SESSION_MAX_SECONDS = 2 * 3600, 12 * 3600
MAX_SESSIONS, MAX_ADDRESSES = 1000, 10_000
MAX_FAILED_LOGINS, FAILED_LOGIN_WINDOW_SECONDS = 10, 300
MonotonicClock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or program that may use the page or the API. *token* is its entry, None after a login by OIDC."""

    name: str
    role: Role
    token: HashedToken | None = None


def parse_tokens(tokens: Sequence[Secret]) -> list[HashedToken]:
    """Return the entries of `server.tokens`. Raises `ConfigError` and `SecretError`."""
    return [HashedToken.parse(each.reveal()) for each in tokens]


def find_principal(tokens: Sequence[Secret], token: str) -> Principal | None:
    """Return the principal of *token*. Entries are read each time, so that one can be revoked without a restart."""
    found = None
    for each in readable_tokens(tokens):
        # All are compared: the time must not reveal which one matched.
        if each.matches(token):
            found = Principal(each.name, each.role, each)
    return found


def readable_tokens(tokens: Sequence[Secret]) -> list[HashedToken]:
    """Return the entries that can be read; one that can't authenticates no one."""
    found = []
    for place, each in enumerate(tokens, 1):
        try:
            found.append(HashedToken.parse(each.reveal()))
        except (ConfigError, SecretError) as error:
            log.warning("token.unreadable", entry=place, error=f"{error.message} {error.hint}")
    return found


@dataclass(slots=True)
class Session:
    """A browser that logged in. *csrf* goes into each of its forms."""

    principal: Principal
    csrf: str
    created_at: float
    last_used_at: float


class Sessions:
    """The sessions of this process; a restart ends them all."""

    def __init__(self, now: MonotonicClock) -> None:
        self._now = now
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def open(self, principal: Principal) -> str:
        """Start a session and return the value of its cookie."""
        while len(self._sessions) >= MAX_SESSIONS:
            self._sessions.popitem(last=False)
        cookie = secrets.token_urlsafe(32)
        now = self._now()
        self._sessions[_cookie_hash(cookie)] = Session(principal, secrets.token_urlsafe(32), now, now)
        return cookie

    def find(self, cookie: str, server: ServerSettings) -> Session | None:
        """Return the session of *cookie*, None when it has ended or its token was removed."""
        key = _cookie_hash(cookie)
        session = self._sessions.get(key)
        if session is None:
            return None
        now = self._now()
        is_over = now - session.last_used_at > SESSION_IDLE_SECONDS or now - session.created_at > SESSION_MAX_SECONDS
        if is_over or not _is_still_allowed(session.principal, server):
            del self._sessions[key]
            return None
        session.last_used_at = now
        return session

    def close(self, cookie: str) -> None:
        self._sessions.pop(_cookie_hash(cookie), None)


def _is_still_allowed(principal: Principal, server: ServerSettings) -> bool:
    return server.oidc is not None if principal.token is None else principal.token in readable_tokens(server.tokens)


def _cookie_hash(cookie: str) -> str:
    # The time of a lookup by the cookie itself would reveal how much of it is right.
    return hashlib.sha256(cookie.encode()).hexdigest()


class LoginRateLimit:
    """At most ten wrong tokens in five minutes from one address; its next ones are refused."""

    def __init__(self, now: MonotonicClock) -> None:
        self._now = now
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_seconds(self, address: str) -> int:
        """Return how long *address* has to wait before the next try, 0 for no wait."""
        failures = self._recent_failures(address)
        return (
            int(failures[0] + FAILED_LOGIN_WINDOW_SECONDS - self._now()) + 1
            if len(failures) >= MAX_FAILED_LOGINS
            else 0
        )

    def record_failure(self, address: str) -> None:
        failures = self._recent_failures(address)
        failures.append(self._now())
        self._failures[address] = failures
        self._failures.move_to_end(address)
        while len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def _recent_failures(self, address: str) -> deque[float]:
        failures = self._failures.get(address, deque(maxlen=MAX_FAILED_LOGINS))
        while failures and failures[0] <= self._now() - FAILED_LOGIN_WINDOW_SECONDS:
            failures.popleft()
        return failures


def is_same_secret(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())
