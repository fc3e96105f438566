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
from connectors.onelogin.pace import reset_promise
from connectors.onelogin.settings import OneLoginSettings
from connectors.rest import (
    HEALING,
    Answer,
    Bounds,
    NoAnswer,
    NotSent,
    Patience,
    Timer,
    harmless_quote,
    quoted,
    request_id,
)
from connectors.rest.transfer import transfer

__all__ = ["Tokens"]

TOKEN_PATH = "/auth/oauth2/v2/token"  # noqa: S105  (a path)
EARLY_SECONDS = 120
SHORTEST_SECONDS = 60
REFUSING = frozenset({400, 401, 403})
SENDABLE = re.compile(r"[!-~]+")
"""What an Authorization header can carry."""

SERVER_ERROR = 500
CREDENTIAL_HINT = "Check `client_id` and `client_secret` of an API credential with the scope Read All in OneLogin."
OWNER_HINT = (
    "Check that the administrator who made the API credential still exists: OneLogin answers 500 once they are deleted."
)
LATER_HINT = "Check the connector's address; if it is right, try again later."


class Tokens:
    """The access tokens of one API credential, one at a time."""

    def __init__(
        self, who: str, settings: OneLoginSettings, client: httpx.AsyncClient, bounds: Bounds, timer: Timer
    ) -> None:
        self._who = who
        self._settings = settings
        self._client = client
        self._bounds = bounds
        self._timer = timer
        self._asking = asyncio.Lock()
        self._token = ""
        self._good_until = 0.0

    async def __call__(self, refused: bool) -> Mapping[str, str]:
        async with self._asking:
            if refused or not self._token or self._timer.now() >= self._good_until:
                await self._renew()
            return {"Authorization": f"bearer {self._token}"}

    async def _renew(self) -> None:
        asked_at = self._timer.now()
        secret = self._settings.client_secret.reveal()
        # HTTP Basic, the one form that OneLogin's own specification has.
        basic = base64.b64encode(f"{self._settings.client_id}:{secret}".encode()).decode()
        answer = await self._answer(basic)
        if answer.status != httpx.codes.OK:
            raise _refusal(answer, {"Authorization": f"{basic} {secret}"})
        fields = _fields(answer.json())
        token, lifetime = fields.get("access_token"), fields.get("expires_in")
        if not isinstance(token, str) or SENDABLE.fullmatch(token) is None:
            raise IncompleteRead(f"{self._who} answered the token request without a token.", LATER_HINT)
        seconds = lifetime if isinstance(lifetime, int) else 0
        self._token = token
        self._good_until = asked_at + max(seconds - EARLY_SECONDS, SHORTEST_SECONDS)

    async def _answer(self, basic: str) -> Answer:
        try:
            patience = Patience(
                self._bounds, self._timer, HEALING, promise=lambda answer: reset_promise(answer, self._timer)
            )
            return await patience.attempt(lambda: self._ask(basic))
        except (NotSent, NoAnswer) as error:
            raise IncompleteRead(
                f"{self._who} gave no token: no answer from {self._settings.base_url} ({harmless_quote(str(error))}).",
                "Check the connector's address, DNS, the proxy, `ca_bundle`, and that this machine may connect to it.",
            ) from error

    async def _ask(self, basic: str) -> Answer:
        headers = {"Authorization": f"Basic {basic}", "Accept": "application/json", "Accept-Encoding": "gzip"}
        url = f"{self._settings.base_url}{TOKEN_PATH}"
        body = {"grant_type": "client_credentials"}
        request = self._client.build_request("POST", url, json=body, headers=headers)
        response, raw = await transfer(self._client, request, self._bounds)
        found = request_id(response.headers, headers)
        return Answer(response.status_code, response.headers, request.url, raw, self._who, "", "POST", found)


def _fields(document: object) -> Mapping[str, object]:
    """Return the token's fields; the first version of the endpoint wraps them in `data`."""
    if isinstance(document, dict) and isinstance(document.get("data"), list) and document["data"]:
        document = document["data"][0]
    return document if isinstance(document, dict) else {}


def _refusal(answer: Answer, sent: Mapping[str, str]) -> CredentialsRefused | IncompleteRead:
    """Return the error that a refusal amounts to, without what was *sent* in it."""
    message = f"{answer.who} answered {answer.status} to the token request{quoted(answer.body, sent)}{answer.trace}."
    if answer.status in REFUSING:
        return CredentialsRefused(message, CREDENTIAL_HINT)
    return IncompleteRead(message, OWNER_HINT if answer.status == SERVER_ERROR else LATER_HINT)
