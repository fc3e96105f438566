"""Get an access token for an API credential, and a new one when it was refused.

OneLogin returns the same token until it expires (10 hours), to every user of the credential: it is never revoked here.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping

import httpx

from connectors.base import CredentialsRefused, IncompleteRead
from connectors.http import (
    RETRYABLE_STATUSES,
    ApiResponse,
    NoResponse,
    RequestLimits,
    RequestNotSent,
    RetryPolicy,
    Timer,
    error_excerpt,
    redact,
    request_id_from_headers,
)
from connectors.http.send import send_request
from connectors.onelogin.rate_limit import reset_delay
from connectors.onelogin.settings import OneLoginSettings

__all__ = ["AccessTokens"]

TOKEN_PATH = "/auth/oauth2/v2/token"  # noqa: S105  (a path)
EXPIRY_MARGIN_SECONDS = 120
MIN_LIFETIME_SECONDS = 60
REFUSAL_STATUSES = frozenset({400, 401, 403})
HEADER_SAFE = re.compile(r"[!-~]+")
"""What an Authorization header can carry."""

SERVER_ERROR = 500
CREDENTIAL_HINT = "Check `client_id` and `client_secret` of an API credential with the scope Read All in OneLogin."
OWNER_HINT = (
    "Check that the administrator who made the API credential still exists: OneLogin answers 500 once they are deleted."
)
LATER_HINT = "Check the connector's address; if it is right, try again later."


class AccessTokens:
    """The access tokens of one API credential, one at a time."""

    def __init__(
        self, who: str, settings: OneLoginSettings, client: httpx.AsyncClient, bounds: RequestLimits, timer: Timer
    ) -> None:
        self._name = who
        self._settings = settings
        self._client = client
        self._limits = bounds
        self._timer = timer
        self._lock = asyncio.Lock()
        self._token = ""
        self._expires_at = 0.0

    async def __call__(self, refused: bool) -> Mapping[str, str]:
        async with self._lock:
            if refused or not self._token or self._timer.now() >= self._expires_at:
                await self._renew()
            return {"Authorization": f"bearer {self._token}"}

    async def _renew(self) -> None:
        asked_at = self._timer.now()
        secret = self._settings.client_secret.reveal()
        # HTTP Basic, the one form that OneLogin's own specification has.
        basic = base64.b64encode(f"{self._settings.client_id}:{secret}".encode()).decode()
        answer = await self._request_token(basic)
        if answer.status != httpx.codes.OK:
            raise _error_from_response(answer, {"Authorization": f"{basic} {secret}"})
        fields = _token_fields(answer.json())
        token, lifetime = fields.get("access_token"), fields.get("expires_in")
        if not isinstance(token, str) or HEADER_SAFE.fullmatch(token) is None:
            raise IncompleteRead(f"{self._name} answered the token request without a token.", LATER_HINT)
        seconds = lifetime if isinstance(lifetime, int) else 0
        self._token = token
        self._expires_at = asked_at + max(seconds - EXPIRY_MARGIN_SECONDS, MIN_LIFETIME_SECONDS)

    async def _request_token(self, basic: str) -> ApiResponse:
        try:
            patience = RetryPolicy(
                self._limits,
                self._timer,
                RETRYABLE_STATUSES,
                retry_delay=lambda answer: reset_delay(answer, self._timer),
            )
            return await patience.attempt(lambda: self._send_token_request(basic))
        except (RequestNotSent, NoResponse) as error:
            raise IncompleteRead(
                f"{self._name} gave no token: no answer from {self._settings.base_url} ({redact(str(error))}).",
                "Check the connector's address, DNS, the proxy, `ca_bundle`, and that this machine may connect to it.",
            ) from error

    async def _send_token_request(self, basic: str) -> ApiResponse:
        headers = {"Authorization": f"Basic {basic}", "Accept": "application/json", "Accept-Encoding": "gzip"}
        url = f"{self._settings.base_url}{TOKEN_PATH}"
        body = {"grant_type": "client_credentials"}
        request = self._client.build_request("POST", url, json=body, headers=headers)
        response, raw = await send_request(self._client, request, self._limits)
        found = request_id_from_headers(response.headers, headers)
        return ApiResponse(response.status_code, response.headers, request.url, raw, self._name, "", "POST", found)


def _token_fields(document: object) -> Mapping[str, object]:
    """Return the token's fields; the first version of the endpoint wraps them in `data`."""
    if isinstance(document, dict) and isinstance(document.get("data"), list) and document["data"]:
        document = document["data"][0]
    return document if isinstance(document, dict) else {}


def _error_from_response(answer: ApiResponse, sent: Mapping[str, str]) -> CredentialsRefused | IncompleteRead:
    """Return the error that a refusal amounts to, without what was *sent* in it."""
    message = (
        f"{answer.server} answered {answer.status} to the token "
        f"request{error_excerpt(answer.body, sent)}{answer.request_label}."
    )
    if answer.status in REFUSAL_STATUSES:
        return CredentialsRefused(message, CREDENTIAL_HINT)
    return IncompleteRead(message, OWNER_HINT if answer.status == SERVER_ERROR else LATER_HINT)
