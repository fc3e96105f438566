"""Authenticate to OneLogin with access tokens for an API credential.

OneLogin returns the same token to every user of the credential until it expires (10 hours), so it is never revoked.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

import httpx

from connectors.base import IncompleteRead
from connectors.directory import as_object
from connectors.http import ApiResponse, RequestLimits, Timer, error_excerpt
from connectors.oauth import AccessTokens, IssuedToken, TokenRequester, issued_token, token_error
from connectors.onelogin.rate_limit import reset_delay
from connectors.onelogin.settings import OneLoginSettings

__all__ = ["access_tokens"]

TOKEN_PATH = "/auth/oauth2/v2/token"  # noqa: S105  (a path)
SERVER_ERROR = 500
CREDENTIAL_HINT = "Check `client_id` and `client_secret` of an API credential with the scope Read All in OneLogin."
OWNER_HINT = (
    "Check that the administrator who made the API credential still exists: OneLogin answers 500 once they are deleted."
)
UNREACHABLE_HINT = (
    "Check the connector's address, DNS, the proxy, `ca_bundle`, and that this machine may connect to it."
)
LATER_HINT = "Check the connector's address; if it is right, try again later."


def access_tokens(
    name: str, settings: OneLoginSettings, client: httpx.AsyncClient, limits: RequestLimits, timer: Timer
) -> AccessTokens:
    """Return the access tokens of the API credential."""
    requester = TokenRequester(
        name, client, limits, timer, lambda response: reset_delay(response, timer), UNREACHABLE_HINT
    )

    async def request_token() -> IssuedToken:
        secret = settings.client_secret.reveal()
        # HTTP Basic, the one form that OneLogin's own specification has.
        basic = base64.b64encode(f"{settings.client_id}:{secret}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Accept": "application/json", "Accept-Encoding": "gzip"}
        body = {"grant_type": "client_credentials"}
        response = await requester.send(
            lambda: client.build_request("POST", f"{settings.base_url}{TOKEN_PATH}", json=body, headers=headers),
            settings.base_url,
        )
        return _token_from_response(response, {"Authorization": f"{basic} {secret}"})

    return AccessTokens(request_token, timer.now, scheme="bearer")


def _token_from_response(response: ApiResponse, sent: Mapping[str, str]) -> IssuedToken:
    """Return the token. Raises the error of a response without one, with nothing of what was *sent* in it."""
    if response.status != httpx.codes.OK:
        excerpt = error_excerpt(response.body, sent)
        raise token_error(
            response,
            f"{response.server} answered {response.status} to the token request{excerpt}{response.request_label}.",
            refused_hint=CREDENTIAL_HINT,
            other_hint=OWNER_HINT if response.status == SERVER_ERROR else LATER_HINT,
        )
    token = issued_token(_token_fields(response.json()))
    if token is None:
        raise IncompleteRead(
            f"{response.server} answered the token request without a token{response.request_label}.", LATER_HINT
        )
    return token


def _token_fields(document: object) -> Mapping[str, object]:
    """Return the token's fields; the first version of the endpoint wraps them in `data`."""
    data = as_object(document).get("data")
    return as_object(data[0] if isinstance(data, list) and data else document)
