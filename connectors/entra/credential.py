"""Prove to Graph who we are, with access tokens that msal asks Entra for.

msal is synchronous: it works in a thread, one request at a time. It is made anew for each request, because its memory
would give a refused token, or a refusal, once more; the token in use is kept here, and in memory alone.
"""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import orjson

from connectors.base import CredentialsRefused, IncompleteRead
from connectors.entra.proof import Proof, proof
from connectors.entra.refusal import refusal
from connectors.entra.settings import EntraSettings
from connectors.entra.wire import Wire
from connectors.rest import HEALING, Answer, Bounds, NoAnswer, NotSent, Patience, Timer, harmless_quote, request_id

__all__ = ["Tokens"]

EARLY_SECONDS = 300
SHORTEST_SECONDS = 60
MACHINE_SECONDS = 5.0
"""The identity endpoint of an Azure machine answers at once, or is not there: then nothing answers at all."""

JWT_PARTS = 3
NOT_FOUND, GONE = 404, 410
UPDATING_SECONDS = 80.0
"""Azure has its identity endpoint back within 70 s of an update: so long it is asked, and once after."""

AGAIN_SECONDS = 1.0

SENDABLE = re.compile(r"[!-~]+")
"""What an Authorization header can carry."""


class Tokens:
    """The access tokens of one app registration or managed identity. *wall* tells seconds since 1970."""

    def __init__(
        self,
        who: str,
        settings: EntraSettings,
        ca_bundle: Path | None,
        bounds: Bounds,
        timer: Timer,
        wall: Callable[[], float],
    ) -> None:
        self._who = who
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._bounds = bounds
        self._timer = timer
        self._wall = wall
        self._asking = asyncio.Lock()
        self._said: Mapping[str, object] = {}
        self._token = ""
        self._good_until = 0.0

    async def __call__(self, refused: bool) -> Mapping[str, str]:
        async with self._asking:
            if refused or not self._token or self._wall() >= self._good_until:
                await self._renew()
            return {"Authorization": f"Bearer {self._token}"}

    def roles(self) -> frozenset[str] | None:
        """Return the permissions that the token in use shows, None when it shows none: not every token can be read."""
        return _roles(self._token)

    async def _renew(self) -> None:
        asked_at = self._wall()
        shown = Proof("") if self._settings.managed_identity else proof(self._settings)
        answer = await self._answer(shown)
        token = self._said.get("access_token")
        if not isinstance(token, str) or SENDABLE.fullmatch(token) is None:
            raise refusal(answer, self._settings, shown.secret)
        self._token = token
        self._good_until = asked_at + max(_seconds(self._said.get("expires_in")) - EARLY_SECONDS, SHORTEST_SECONDS)

    async def _answer(self, shown: Proof) -> Answer:
        try:
            if self._settings.managed_identity:
                return await self._machine_answer(shown)
            return await Patience(self._bounds, self._timer, HEALING).attempt(lambda: self._ask(shown))
        except (NotSent, NoAnswer) as error:
            is_ours = self._settings.managed_identity
            where = "the managed identity of this machine" if is_ours else self._settings.authority
            hint = (
                "Check `cloud`, `authority_url`, DNS, the proxy, `ca_bundle`, and that this machine may connect to it."
            )
            if is_ours:
                hint = "Run it on an Azure machine with a managed identity, or set client_secret or certificate."
            raise IncompleteRead(
                f"{self._who} got no token: no answer from {where} ({harmless_quote(str(error))}).", hint
            ) from error

    async def _machine_answer(self, shown: Proof) -> Answer:
        """Ask the identity endpoint, which while it is updated is not found, or gone for as long as Azure documents."""

        async def answer() -> Answer:
            return await Patience(self._bounds, self._timer, HEALING | {NOT_FOUND}).attempt(lambda: self._ask(shown))

        updating = replace(self._bounds, max_wait_seconds=min(UPDATING_SECONDS, self._bounds.max_wait_seconds))
        return await Patience(updating, self._timer, frozenset({GONE}), (), lambda _: AGAIN_SECONDS).attempt(answer)

    async def _ask(self, shown: Proof) -> Answer:
        self._said, answer = await asyncio.to_thread(self._asked, shown)
        return answer

    def _asked(self, shown: Proof) -> tuple[Mapping[str, object], Answer]:
        """Return what msal made of the answers, and the last of them."""
        wire, why = self._wire(), ""
        try:
            said = _said(self._settings, shown, wire)
        except ValueError as error:
            said, why = {}, harmless_quote(str(error))
        finally:
            wire.close()
        if wire.last is None:
            raise CredentialsRefused(
                f"{self._who} can't be asked for a token ({why}).",
                "Check `tenant_id`, `client_id` and the kind of credential in the config.",
            )
        reply = wire.last
        headers = httpx.Headers(reply.headers)
        found = request_id(headers, {})
        body = reply.text.encode()
        return said, Answer(reply.status_code, headers, reply.url, body, self._who, "", reply.method, found)

    def _wire(self) -> Wire:
        now, authority = self._timer.now, self._settings.authority
        if self._settings.managed_identity:
            short = replace(self._bounds, timeout_seconds=min(self._bounds.timeout_seconds, MACHINE_SECONDS))
            # A proxy can't reach this machine's own address.
            return Wire(self._ca_bundle, short, now, trusts_environment=False)
        return Wire(self._ca_bundle, self._bounds, now, plain=authority if authority.startswith("http:") else "")


def _said(settings: EntraSettings, shown: Proof, wire: Wire) -> Mapping[str, object]:
    """Let msal ask. Raises `NoAnswer`, or `ValueError` for what it could make nothing of."""
    # It takes 90 ms and 30 MiB, and only companies on Entra need it.
    import msal

    try:
        if settings.managed_identity:
            identity = (
                msal.UserAssignedManagedIdentity(client_id=settings.client_id)
                if settings.client_id
                else msal.SystemAssignedManagedIdentity()
            )
            machine = msal.ManagedIdentityClient(identity, http_client=wire)
            found = machine.acquire_token_for_client(resource=settings.resource)
        else:
            app = msal.ConfidentialClientApplication(
                settings.client_id,
                client_credential=shown.credential,
                authority=f"{settings.authority.replace('http://', 'https://', 1)}/{settings.tenant_id}",
                http_client=wire,
                # Else a host that Microsoft does not know, or a refusal, would be told to login.microsoftonline.com.
                instance_discovery=False,
            )
            found = app.acquire_token_for_client(scopes=[f"{settings.resource}/.default"])
    except (msal.exceptions.MsalError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return found if isinstance(found, dict) else {}


def _roles(token: str) -> frozenset[str] | None:
    """Return the `roles` of a JWT (RFC 7519), without checking its signature: that is up to Graph."""
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


def _seconds(value: object) -> int:
    """Return a lifetime; managed identities tell it as text."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
