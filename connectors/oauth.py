"""Get and renew access tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4), kept in memory only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import httpx

from connectors.base import CredentialsRefused, IncompleteRead
from connectors.http import (
    RETRYABLE_STATUSES,
    ApiResponse,
    NoResponse,
    RequestLimits,
    RequestNotSent,
    RetryDelay,
    RetryPolicy,
    Timer,
    redact,
    request_id_from_headers,
)
from connectors.http.send import send_request
from connectors.secret import is_header_safe

__all__ = [
    "AccessTokens",
    "IssuedToken",
    "TokenRequester",
    "issued_token",
    "oauth_error",
    "send_token_request",
    "token_error",
]

MIN_LIFETIME_SECONDS = 60
MAX_LIFETIME_DIGITS = 9
MAX_BYTES = 2**20
"""Maximum size of a response: a token has a few thousand bytes."""

REFUSAL_STATUSES = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as issued. *lifetime_seconds* is 0, and *scope* empty, where the answer names none."""

    text: str
    lifetime_seconds: int
    scope: str = ""


class AccessTokens:
    """The `connectors.http.AuthHeaders` of one credential.

    A token is renewed *expiry_margin_seconds* before it expires, or when it was refused. *now* returns seconds, of any
    clock. A renewal that fails keeps the previous token and its expiry.
    """

    def __init__(
        self,
        request_token: Callable[[], Awaitable[IssuedToken]],
        now: Callable[[], float],
        *,
        expiry_margin_seconds: float = 120,
        scheme: str = "Bearer",
    ) -> None:
        self._request_token = request_token
        self._now = now
        self._expiry_margin_seconds = expiry_margin_seconds
        self._scheme = scheme
        self._lock = asyncio.Lock()
        self._token = ""
        self._expires_at = 0.0
        self._scope = ""

    @property
    def current(self) -> str:
        """Return the token in use, empty before the first one."""
        return self._token

    @property
    def scopes(self) -> frozenset[str]:
        """Return the scopes that the token in use was granted (RFC 6749, section 5.1), none where it names none."""
        return frozenset(self._scope.split())

    async def __call__(self, was_refused: bool) -> Mapping[str, str]:
        async with self._lock:
            if was_refused or not self._token or self._now() >= self._expires_at:
                await self._renew()
            return {"Authorization": f"{self._scheme} {self._token}"}

    async def _renew(self) -> None:
        # The lifetime counts from before the request, so that a slow answer does not prolong it.
        requested_at = self._now()
        issued = await self._request_token()
        lifetime_seconds = max(issued.lifetime_seconds - self._expiry_margin_seconds, MIN_LIFETIME_SECONDS)
        self._token, self._expires_at = issued.text, requested_at + lifetime_seconds
        self._scope = issued.scope


@dataclass(frozen=True, slots=True)
class TokenRequester:
    """Sends token requests, with retries. *name* is the server's name in messages."""

    name: str
    client: httpx.AsyncClient
    limits: RequestLimits
    timer: Timer
    retry_delay: RetryDelay
    unreachable_hint: str

    async def send(self, build_request: Callable[[], httpx.Request], endpoint: str) -> ApiResponse:
        """Return the response, whatever its status. *build_request* is called for each attempt.

        Raises `IncompleteRead` when *endpoint* sends no response.
        """
        policy = RetryPolicy(self.limits, self.timer, RETRYABLE_STATUSES, retry_delay=self.retry_delay)
        try:
            return await policy.attempt(
                lambda: send_token_request(self.name, self.client, build_request(), self.limits)
            )
        except (RequestNotSent, NoResponse) as error:
            raise IncompleteRead(
                f"{self.name} gave no token: no answer from {endpoint} ({redact(str(error))}).", self.unreachable_hint
            ) from error


async def send_token_request(
    name: str, client: httpx.AsyncClient, request: httpx.Request, limits: RequestLimits
) -> ApiResponse:
    """Send *request* once. *name* is the server's name in messages. Raises `RequestNotSent` or `NoResponse`."""
    response, body = await send_request(client, request, replace(limits, max_bytes=MAX_BYTES))
    request_id = request_id_from_headers(response.headers, request.headers)
    return ApiResponse(
        response.status_code, response.headers, request.url, body, name, method=request.method, request_id=request_id
    )


def issued_token(fields: Mapping[str, object]) -> IssuedToken | None:
    """Return the token of a token response, None where it has none that an Authorization header can carry."""
    token = fields.get("access_token")
    if not isinstance(token, str) or not is_header_safe(token):
        return None
    scope = fields.get("scope")
    return IssuedToken(token, _lifetime_seconds(fields.get("expires_in")), scope if isinstance(scope, str) else "")


def _lifetime_seconds(value: object) -> int:
    # Azure's managed identities send it as text.
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_LIFETIME_DIGITS else 0


def oauth_error(response: ApiResponse) -> tuple[str, str]:
    """Return `error` and `error_description` (RFC 6749, section 5.2), each empty where the response has none."""
    fields = response.object_or_empty()
    return str(fields.get("error", "")), str(fields.get("error_description", ""))


def token_error(
    response: ApiResponse, message: str, *, refused_hint: str, other_hint: str, is_transient: bool = False
) -> CredentialsRefused | IncompleteRead:
    """Return the error for a response without a token: `CredentialsRefused` only where trying again can't help."""
    if is_transient or response.status not in REFUSAL_STATUSES:
        return IncompleteRead(message, other_hint)
    return CredentialsRefused(message, refused_hint)
