"""Authenticate to Graph with access tokens that msal requests from Entra.

msal is synchronous, so it runs in a thread, one request at a time. Each request gets a fresh msal client, because its
cache would return a refused token or a refusal again. The current token is kept here, in memory only.
"""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import replace

import httpx
import orjson

from connectors.base import CredentialsRefused, IncompleteRead
from connectors.entra.certificate import ClientCredential, load_credential
from connectors.entra.msal_transport import MsalTransport
from connectors.entra.settings import EntraSettings
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
)
from connectors.oauth import AccessTokens, IssuedToken, issued_token, oauth_error, token_error

__all__ = ["MsalTokens", "roles_from_token"]

EXPIRY_MARGIN_SECONDS = 300
MANAGED_IDENTITY_TIMEOUT_SECONDS = 5.0
"""The identity endpoint of an Azure machine answers at once. On other machines nothing ever answers."""

JWT_PARTS = 3
NOT_FOUND, GONE = 404, 410
IDENTITY_UPDATE_SECONDS = 80.0
"""Azure restores its identity endpoint within 70 s of an update. Retries last that long, plus one attempt."""

IDENTITY_RETRY_SECONDS = 1.0

TRANSIENT_ERRORS = frozenset({"temporarily_unavailable", "server_error", "service_unavailable"})
AADSTS_MESSAGE = re.compile(r"(?P<code>AADSTS\d+)(?P<sentence>[^.]*)")
"""Entra's code and its first sentence. The ids and times after it are not useful in a message."""

TENANT_HINT = "Check `tenant_id` and `cloud`: there is no such tenant in this cloud."
EXPIRED_HINT = "Make a new client secret in the app registration (Certificates & secrets), and put it into the config."
CERTIFICATE_HINT = "Upload the certificate of the config to the app registration, or use one that is there and valid."
CONSENT_HINT = "Grant admin consent to the app registration's permissions, and check that it is enabled in this tenant."
HINTS = {
    "AADSTS7000215": "Put the secret's value, not its id, into `client_secret`, and check that it is this app's.",
    "AADSTS7000222": EXPIRED_HINT,
    "AADSTS700016": "Check `client_id` and `tenant_id`: the app registration is not in that tenant.",
    "AADSTS7000112": "Enable the app registration's enterprise application in Entra.",
    "AADSTS7000229": CONSENT_HINT,
    "AADSTS90002": TENANT_HINT,
    "AADSTS900023": TENANT_HINT,
    "AADSTS700024": "Set this machine's clock right.",
    "AADSTS700027": CERTIFICATE_HINT,
    "AADSTS700021": CERTIFICATE_HINT,
    "AADSTS53003": "Let the app registration pass in the Conditional Access policies for workload identities.",
}
REFUSED_HINT = "Check `tenant_id`, `client_id`, the secret or certificate, `cloud`, and the app registration in Entra."
MANAGED_IDENTITY_HINT = (
    "Check that this machine has that managed identity (`client_id`: a user-assigned one; without it, its own)."
)
MANAGED_IDENTITY_LATER_HINT = (
    "Try again later: the identity endpoint of this Azure machine may be updating. If it persists, check that the "
    "machine has a managed identity, or set client_secret or certificate instead of managed_identity."
)
UNEXPECTED_HINT = (
    "Check `cloud` and `authority_url`; if they are right, try again later and see Microsoft's status page."
)


class MsalTokens:
    """The access tokens of one app registration or managed identity. *wall* returns seconds since 1970."""

    def __init__(
        self,
        name: str,
        settings: EntraSettings,
        client: httpx.AsyncClient,
        limits: RequestLimits,
        timer: Timer,
        wall: Callable[[], float],
    ) -> None:
        self._name = name
        self._settings = settings
        self._client = client
        self._limits = limits
        self._timer = timer
        self._token_fields: Mapping[str, object] = {}
        # By the wall clock, which does not stop while the machine is suspended.
        self.auth_headers = AccessTokens(self._issue_token, wall, expiry_margin_seconds=EXPIRY_MARGIN_SECONDS)

    def token_roles(self) -> frozenset[str] | None:
        """Return the permissions that the token in use shows, None when it shows none: not every token can be read."""
        return roles_from_token(self.auth_headers.current)

    async def _issue_token(self) -> IssuedToken:
        credential = ClientCredential("") if self._settings.managed_identity else load_credential(self._settings)
        response = await self._request_token(credential)
        token = issued_token(self._token_fields)
        if token is None:
            raise _error_from_response(response, self._settings, credential.secret)
        return token

    async def _request_token(self, credential: ClientCredential) -> ApiResponse:
        try:
            if self._settings.managed_identity:
                return await self._request_managed_identity_token(credential)
            return await RetryPolicy(self._limits, self._timer, RETRYABLE_STATUSES).attempt(
                lambda: self._send_token_request(credential)
            )
        except (RequestNotSent, NoResponse) as error:
            is_ours = self._settings.managed_identity
            where = "the managed identity of this machine" if is_ours else self._settings.authority_root
            hint = (
                "Check `cloud`, `authority_url`, DNS, the proxy, `ca_bundle`, and that this machine may connect to it."
            )
            if is_ours:
                hint = "Run it on an Azure machine with a managed identity, or set client_secret or certificate."
            raise IncompleteRead(
                f"{self._name} got no token: no answer from {where} ({redact(str(error))}).", hint
            ) from error

    async def _request_managed_identity_token(self, credential: ClientCredential) -> ApiResponse:
        """Request a token of the machine. While Azure updates its identity endpoint, that answers 404 or 410."""

        async def send() -> ApiResponse:
            return await RetryPolicy(self._limits, self._timer, RETRYABLE_STATUSES | {NOT_FOUND}).attempt(
                lambda: self._send_token_request(credential)
            )

        updating = replace(self._limits, max_wait_seconds=min(IDENTITY_UPDATE_SECONDS, self._limits.max_wait_seconds))
        return await RetryPolicy(
            updating, self._timer, frozenset({GONE}), (), lambda _: IDENTITY_RETRY_SECONDS
        ).attempt(send)

    async def _send_token_request(self, credential: ClientCredential) -> ApiResponse:
        transport = self._create_transport(asyncio.get_running_loop())
        self._token_fields, response = await asyncio.to_thread(self._acquire_token, credential, transport)
        return response

    def _acquire_token(
        self, credential: ClientCredential, transport: MsalTransport
    ) -> tuple[Mapping[str, object], ApiResponse]:
        """Return the fields that msal read from the responses, and the last response."""
        fields: Mapping[str, object] = {}
        reason = ""
        try:
            fields = _acquire_with_msal(self._settings, credential, transport)
        except ValueError as error:
            reason = redact(str(error))
        if transport.last_response is None:
            raise CredentialsRefused(
                f"{self._name} can't request a token ({reason}).",
                "Check `tenant_id`, `client_id` and the kind of credential in the config.",
            )
        return fields, transport.last_response

    def _create_transport(self, loop: asyncio.AbstractEventLoop) -> MsalTransport:
        if self._settings.managed_identity:
            short = replace(
                self._limits, timeout_seconds=min(self._limits.timeout_seconds, MANAGED_IDENTITY_TIMEOUT_SECONDS)
            )
            # A proxy can't reach the link-local address of this machine.
            return MsalTransport(self._name, self._client, short, loop, is_direct=True)
        authority = self._settings.authority_root
        plain = authority if authority.startswith("http:") else ""
        return MsalTransport(self._name, self._client, self._limits, loop, plain=plain)


def _acquire_with_msal(
    settings: EntraSettings, credential: ClientCredential, transport: MsalTransport
) -> Mapping[str, object]:
    """Request a token with msal. Raises `NoResponse`, or `ValueError` for a response that msal can't read."""
    # Imported here: it takes 90 ms and 30 MiB, and only Entra needs it.
    import msal

    try:
        if settings.managed_identity:
            identity = (
                msal.UserAssignedManagedIdentity(client_id=settings.client_id)
                if settings.client_id
                else msal.SystemAssignedManagedIdentity()
            )
            client = msal.ManagedIdentityClient(identity, http_client=transport)
            result = client.acquire_token_for_client(resource=settings.token_resource)
        else:
            app = msal.ConfidentialClientApplication(
                settings.client_id,
                client_credential=credential.credential,
                authority=f"{settings.authority_root.replace('http://', 'https://', 1)}/{settings.tenant_id}",
                http_client=transport,
                # Otherwise msal would send a host unknown to Microsoft, or a refusal, to login.microsoftonline.com.
                instance_discovery=False,
            )
            result = app.acquire_token_for_client(scopes=[f"{settings.token_resource}/.default"])
    except (msal.exceptions.MsalError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return result if isinstance(result, dict) else {}


def roles_from_token(token: str) -> frozenset[str] | None:
    """Return the `roles` of a JWT (RFC 7519), without checking its signature, which Graph does."""
    parts = token.split(".")
    if len(parts) != JWT_PARTS:
        return None
    try:
        claims = orjson.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    if not isinstance(claims, dict):
        return None
    roles = claims.get("roles", [])
    return frozenset(each for each in roles if isinstance(each, str)) if isinstance(roles, list) else None


def _error_from_response(
    response: ApiResponse, settings: EntraSettings, secret: str
) -> CredentialsRefused | IncompleteRead:
    """Return the error of a response without a token. *secret* never comes back out."""
    error, description = oauth_error(response)
    aadsts = AADSTS_MESSAGE.search(description)
    reason = (
        f' {redact(error)}: "{redact(aadsts[0], (secret,) if secret else ())}"'
        if aadsts
        else _redacted_excerpt(response, secret)
    )
    is_managed = settings.managed_identity
    return token_error(
        response,
        f"{response.server} got no token: {response.status}{reason}{response.request_label}.",
        refused_hint=MANAGED_IDENTITY_HINT if is_managed else HINTS.get(aadsts["code"] if aadsts else "", REFUSED_HINT),
        other_hint=MANAGED_IDENTITY_LATER_HINT if is_managed else UNEXPECTED_HINT,
        is_transient=error in TRANSIENT_ERRORS,
    )


def _redacted_excerpt(response: ApiResponse, secret: str) -> str:
    """Quote a response that is not Entra's. One that may hold a token is never quoted."""
    return "" if response.is_success else error_excerpt(response.body, {"Authorization": secret})
