"""Authentication: tokens, browser sessions, and a limit on failed logins."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import orjson
import structlog

from agent.errors import ConfigError, StateError
from agent.model.web_login import (
    FAILED_LOGIN_WINDOW,
    MAX_FAILED_LOGINS,
    MAX_FAILING_ADDRESSES,
    MAX_SESSIONS,
    WebSession,
)
from agent.ports.web_logins import WebLogins
from agent.settings.server import OidcSettings, ServerSettings
from agent.settings.token import HashedToken, Role
from agent.web.problems import HttpProblem
from connectors.secret import Secret, SecretError

__all__ = [
    "SESSION_CACHE_SECONDS",
    "UNCHECKED_SESSION_SECONDS",
    "LoginLimit",
    "LoginRateLimit",
    "MonotonicClock",
    "Principal",
    "Session",
    "Sessions",
    "cookie_hash",
    "find_principal",
    "is_same_secret",
    "parse_tokens",
    "readable_tokens",
]

log = structlog.get_logger()
COOKIE_BYTES, COOKIE_LENGTH = 32, 43
SESSION_CACHE_SECONDS = 5.0
"""How long a process uses a session without asking the state again, and so how long one lives after its logout."""
UNCHECKED_SESSION_SECONDS = 300.0
"""How long a session may still read after its last check, while the state does not answer."""
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


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that logged in. *csrf* goes into each of its forms."""

    principal: Principal
    csrf: str


@dataclass(frozen=True, slots=True)
class _KnownSession:
    """A session as the state returned it. All times are monotonic: *ask_at* is when to ask the state again."""

    stored: WebSession
    checked_at: float
    ask_at: float
    ends_at: float


class Sessions:
    """The sessions of all replicas, which the state keeps. This process remembers those it used for some seconds.

    The state has a hash of each cookie, so no one can take a cookie from it. Each session is sealed with the
    credential that made it, a token's entry or the client of `server.oidc`, which the state does not have: a row that
    anyone else wrote or altered admits no visitor, and a session ends with its credential.
    """

    def __init__(self, state: WebLogins, now: MonotonicClock) -> None:
        self._state = state
        self._now = now
        self._known: OrderedDict[str, _KnownSession] = OrderedDict()

    async def open(self, principal: Principal, server: ServerSettings) -> str:
        """Start a session and return the value of its cookie. Raises `StateError`."""
        cookie = secrets.token_urlsafe(COOKIE_BYTES)
        key, session_id = _principal_key(principal, server), cookie_hash(cookie)

        def seal(began_at: datetime) -> str:
            return _seal(key, session_id, principal.name, principal.role, began_at)

        await self._state.open_web_session(session_id, principal.name, principal.role, seal)
        return cookie

    async def find(self, cookie: str, server: ServerSettings, role: Role = Role.READ) -> Session | None:
        """Return the session of *cookie*, None when it has ended or its credential was removed.

        While the state does not answer, a session that was checked some minutes ago may still read. Raises `StateError`
        otherwise.
        """
        if len(cookie) != COOKIE_LENGTH:
            return None
        session_id = cookie_hash(cookie)
        known = self._known.get(session_id)
        now = self._now()
        is_checked = known is not None and now < min(known.checked_at + SESSION_CACHE_SECONDS, known.ends_at)
        may_wait = known is not None and role is Role.READ and now < known.ask_at
        if not (is_checked or may_wait):
            known = await self._ask(session_id, known, role)
        if known is None or now >= known.ends_at:
            self._known.pop(session_id, None)
            return None
        stored = known.stored
        if not _is_sealed(stored, server):
            self._known.pop(session_id, None)
            await self._state.end_web_session(session_id)
            return None
        return Session(Principal(stored.person, Role(stored.role)), _csrf(cookie))

    async def _ask(self, session_id: str, known: _KnownSession | None, role: Role) -> _KnownSession | None:
        """Return what the state knows of the session. Raises `StateError`, unless *known* may still be used."""
        # Before the call: what changes during it must count as not seen.
        asked_at = self._now()
        try:
            stored = await self._state.use_web_session(session_id)
        except StateError:
            if known is None or role is not Role.READ or asked_at >= known.checked_at + UNCHECKED_SESSION_SECONDS:
                raise
            log.warning("session.unchecked")
            found = replace(known, ask_at=self._now() + SESSION_CACHE_SECONDS)
        else:
            if stored is None:
                return None
            ask_at = asked_at + SESSION_CACHE_SECONDS
            found = _KnownSession(stored, asked_at, ask_at, asked_at + stored.remaining.total_seconds())
        self._known[session_id] = found
        self._known.move_to_end(session_id)
        while len(self._known) > MAX_SESSIONS:
            self._known.popitem(last=False)
        return found

    async def close(self, cookie: str) -> None:
        """End the session. Raises `StateError`: then it has not ended."""
        session_id = cookie_hash(cookie)
        self._known.pop(session_id, None)
        await self._state.end_web_session(session_id)


def cookie_hash(cookie: str) -> str:
    """Return the id of what *cookie* stands for: it reveals nothing, and the time of its lookup neither."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def _csrf(cookie: str) -> str:
    """Return the token for the forms of the session, which every replica derives and none has to keep."""
    return hmac.new(cookie.encode(), b"forms", hashlib.sha256).hexdigest()


def _seal(key: bytes, session_id: str, person: str, role: str, began_at: datetime) -> str:
    content = orjson.dumps([session_id, person, role, began_at.isoformat()])
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _is_sealed(stored: WebSession, server: ServerSettings) -> bool:
    """Return whether a credential that the configuration has now sealed the session."""
    keys = [_token_key(each) for each in readable_tokens(server.tokens)]
    if server.oidc is not None and (key := _oidc_key(server.oidc)) is not None:
        keys.append(key)
    seals = [_seal(key, stored.id, stored.person, stored.role, stored.began_at) for key in keys]
    return any(hmac.compare_digest(each, stored.seal) for each in seals)


def _principal_key(principal: Principal, server: ServerSettings) -> bytes:
    if principal.token is not None:
        return _token_key(principal.token)
    key = _oidc_key(server.oidc) if server.oidc is not None else None
    if key is None:
        raise HttpProblem(403, "login", "Login by an identity provider is no longer set up.", "Set server.oidc.")
    return key


def _token_key(token: HashedToken) -> bytes:
    return orjson.dumps(["token", str(token)])


def _oidc_key(oidc: OidcSettings) -> bytes | None:
    """Return what seals the sessions of *oidc*: they end when it, its roles or its secret changes. None: unreadable."""
    try:
        secret = oidc.client_secret.reveal()
    except SecretError as error:
        log.warning("token.unreadable", entry="oidc", error=f"{error.message} {error.hint}")
        return None
    return orjson.dumps(["oidc", oidc.issuer, oidc.client_id, secret, oidc.groups_claim, sorted(oidc.roles.items())])


class LoginLimit:
    """At most ten wrong tokens in five minutes from one address, at all replicas; its next ones are refused.

    While the state does not answer, each process counts for itself.
    """

    def __init__(self, state: WebLogins, now: MonotonicClock) -> None:
        self._state = state
        self._now = now
        self._own = LoginRateLimit(now)
        self._refused_until: OrderedDict[str, float] = OrderedDict()
        self._ask_at = now()

    async def count_failure(self, address: str) -> int:
        """Count a wrong token and return 0. Above the limit, return how many seconds to wait."""
        left = self._refused_until.get(address, 0.0) - self._now()
        wait = max(self._own.wait_seconds(address), int(left) + 1 if left > 0 else 0)
        if wait:
            # What is refused anyway costs the state nothing.
            return wait
        shared = await self._count_shared(address)
        if shared > timedelta(0):
            self._refused_until[address] = self._now() + shared.total_seconds()
            self._refused_until.move_to_end(address)
            while len(self._refused_until) > MAX_FAILING_ADDRESSES:
                self._refused_until.popitem(last=False)
            return int(shared.total_seconds()) + 1
        self._own.record_failure(address)
        return 0

    async def _count_shared(self, address: str) -> timedelta:
        if self._now() < self._ask_at:
            return timedelta(0)
        try:
            return await self._state.count_failed_login(address)
        except StateError as error:
            log.warning("login.not_shared", error=error.message)
            self._ask_at = self._now() + SESSION_CACHE_SECONDS
            return timedelta(0)


class LoginRateLimit:
    """At most ten wrong tokens in five minutes from one address, counted in this process."""

    def __init__(self, now: MonotonicClock) -> None:
        self._now = now
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_seconds(self, address: str) -> int:
        """Return how long *address* has to wait before the next try, 0 for no wait."""
        failures = self._recent_failures(address)
        return (
            int(failures[0] + FAILED_LOGIN_WINDOW.total_seconds() - self._now()) + 1
            if len(failures) >= MAX_FAILED_LOGINS
            else 0
        )

    def record_failure(self, address: str) -> None:
        failures = self._recent_failures(address)
        failures.append(self._now())
        self._failures[address] = failures
        self._failures.move_to_end(address)
        while len(self._failures) > MAX_FAILING_ADDRESSES:
            self._failures.popitem(last=False)

    def _recent_failures(self, address: str) -> deque[float]:
        failures = self._failures.get(address, deque(maxlen=MAX_FAILED_LOGINS))
        while failures and failures[0] <= self._now() - FAILED_LOGIN_WINDOW.total_seconds():
            failures.popleft()
        return failures


def is_same_secret(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())
