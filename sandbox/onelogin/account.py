"""One pretend OneLogin account: its directory, its credentials, its limit and options."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.company import App, Directory, Group, Person
from sandbox.company.events import EventLog
from sandbox.onelogin.errors import OneLoginError, not_found, token_error
from sandbox.onelogin.event_log import ACCOUNT_ID, AccountEvents
from sandbox.quota import Quota

__all__ = ["Credential", "OneLoginAccount", "OneLoginOptions"]

LIFETIME_SECONDS = 36_000
APP_SCOPES = frozenset({"Read All", "Manage All"})
EVENTS_LIMIT = 5_000


@dataclass(frozen=True, slots=True)
class Credential:
    """An API credential. Applications need the scope `Read All` or `Manage All`."""

    client_id: str
    secret: str
    scope: str = "Read All"


@dataclass(frozen=True, slots=True)
class OneLoginOptions:
    """Behaviour that is documented in two ways, or differs between accounts."""

    end_cursor: str = "absent"
    """The last page has no `After-Cursor`; any other value: the header is there and empty."""
    owner_deleted: bool = False
    """The administrator who created the credential was deleted: every call fails with 500."""
    wraps_token: bool = False
    """The token comes in the older `{"status": …, "data": […]}`."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    text: str
    created_at: float
    scope: str


class OneLoginAccount:
    """An account. *now* returns seconds since 1970. *limit* is the number of requests an hour.

    Requests of version 1 of the API have a limit of their own, which all clients of the account share.
    """

    def __init__(
        self,
        directory: Directory,
        credentials: Iterable[Credential] = (),
        *,
        limit: int = 100_000,
        now: Callable[[], float] = time.time,
        happenings: EventLog | None = None,
    ) -> None:
        self.directory = directory
        self.now = now
        self.events = AccountEvents(directory, happenings or EventLog(now))
        self.credentials = {credential.client_id: credential for credential in credentials}
        self.options = OneLoginOptions()
        self.quota = Quota(limit, 3600, now)
        self.events_quota = Quota(EVENTS_LIMIT, 3600, now)
        self._tokens: dict[str, AccessToken] = {}

    def issue_token(self, client_id: str, secret: str) -> dict[str, object]:
        """Return the token response: the same token until it expires or is revoked."""
        if self.options.owner_deleted:
            raise OneLoginError(500, "Internal server error")
        known = self.credentials.get(client_id)
        if known is None or not secrets.compare_digest(known.secret.encode(), secret.encode()):
            raise token_error(401, "Unauthorized", "Unauthorized Error")
        token = self._tokens.get(client_id)
        if token is None or self._is_expired(token):
            token = AccessToken(secrets.token_hex(32), self.now(), known.scope)
            self._tokens[client_id] = token
        return {
            "access_token": token.text,
            "refresh_token": "deprecated",
            "account_id": ACCOUNT_ID,
            "created_at": f"{datetime.fromtimestamp(token.created_at, UTC):%Y-%m-%dT%H:%M:%S}.000Z",
            "token_type": "bearer",
            "expires_in": int(token.created_at + LIFETIME_SECONDS - self.now()),
        }

    def revoke_all(self) -> None:
        """Revoke every token; clients can get new ones."""
        self._tokens.clear()

    def use_events_quota(self, requests: int) -> None:
        """Count *requests* of another client of the account."""
        for _ in range(requests):
            self.events_quota.count_request()

    def authorize(self, authorization: str, *, apps: bool) -> None:
        """Raise `OneLoginError` when this `Authorization` header may not read; *apps*: a request about applications."""
        if self.options.owner_deleted:
            raise OneLoginError(500, "Internal server error")
        kind, _, text = authorization.partition(" ")
        token = next((each for each in self._tokens.values() if each.text == text), None)
        if kind.casefold() != "bearer" or token is None or self._is_expired(token):
            raise OneLoginError(401, "Unauthorized")
        if apps and token.scope not in APP_SCOPES:
            raise OneLoginError(403, "Insufficient Permissions")

    def app(self, key: str) -> App:
        if key not in self.directory.apps:
            raise not_found()
        return self.directory.apps[key]

    def role(self, key: str) -> Group:
        if key not in self.directory.groups:
            raise not_found()
        return self.directory.groups[key]

    def person(self, key: str) -> Person:
        if key not in self.directory.people:
            raise not_found()
        return self.directory.people[key]

    def _is_expired(self, token: AccessToken) -> bool:
        return token.created_at + LIFETIME_SECONDS <= self.now()
