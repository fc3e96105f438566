"""Get access tokens for Graph through msal, which is synchronous: one at a time, in a thread."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import httpx

from connectors.base import CredentialsRefused, IncompleteRead, ReadError
from connectors.entra.settings import EntraSettings
from connectors.entra.wire import Wire
from connectors.rest import Bounds, Timer, harmless_quote

__all__ = ["Tokens"]

# msal answers from memory for so long after a 429 or 5xx: asking sooner reaches nobody.
PAUSE_SECONDS = 6.0
TRANSIENT = frozenset({"temporarily_unavailable", "server_error", "service_unavailable"})
KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
CODE = re.compile(r"AADSTS\d+")
SYSTEM = "system"
HINTS = {
    "AADSTS7000215": "Write the secret's value, not its id, into `client_secret`.",
    "AADSTS7000222": "The client secret has expired: make a new one and put it into `client_secret`.",
    "AADSTS700016": "Check `client_id` and `tenant_id`: the app registration is not in that tenant.",
    "AADSTS90002": "Check `tenant_id`: there is no such tenant in this cloud.",
    "AADSTS700027": "Upload the certificate to the app registration, or use the one that is there.",
}
REFUSED_HINT = "Check `tenant_id`, `client_id`, the secret or certificate, and `cloud`, and the app registration."


class TokenSource(Protocol):
    """What msal's two kinds of clients come to here."""

    def token(self) -> Mapping[str, Any]: ...


class Tokens:
    """The access tokens of one app registration or managed identity."""

    def __init__(self, who: str, settings: EntraSettings, ca_bundle: Path | None, bounds: Bounds, timer: Timer) -> None:
        self._who = who
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._bounds = bounds
        self._timer = timer
        self._asking = asyncio.Lock()
        self._token = ""
        self._good_until = 0.0

    async def __call__(self, refused: bool) -> Mapping[str, str]:
        async with self._asking:
            if refused or not self._token or self._timer.now() >= self._good_until:
                await self._renew()
            return {"Authorization": f"Bearer {self._token}"}

    async def _renew(self) -> None:
        for attempt in range(self._bounds.retries + 1):
            asked_at = self._timer.now()
            try:
                answer = await asyncio.to_thread(self._ask)
            except httpx.HTTPError as error:
                failure: ReadError = self._unreachable(error)
            else:
                if "access_token" in answer:
                    self._token = str(answer["access_token"])
                    lifetime = int(answer.get("expires_in", 0))
                    self._good_until = asked_at + max(lifetime - 300, 60)
                    return
                failure = self._refusal(answer)
                if isinstance(failure, CredentialsRefused):
                    raise failure
            if attempt < self._bounds.retries:
                await self._timer.sleep(PAUSE_SECONDS)
        raise failure

    def _ask(self) -> Mapping[str, Any]:
        """Ask msal, anew each time: its memory would give the refused token again. Raises `httpx.HTTPError`."""
        # It is heavy to import, and only companies on Entra need it.
        import msal

        settings = self._settings
        is_plain = settings.authority.startswith("http://")
        wire = Wire(self._ca_bundle, self._bounds.timeout_seconds, settings.authority if is_plain else "")
        try:
            if settings.managed_identity:
                is_system = settings.client_id == SYSTEM
                identity = (
                    msal.SystemAssignedManagedIdentity()
                    if is_system
                    else msal.UserAssignedManagedIdentity(client_id=settings.client_id)
                )
                client = msal.ManagedIdentityClient(identity, http_client=wire)
                return cast("Mapping[str, Any]", client.acquire_token_for_client(resource=settings.resource))
            app = msal.ConfidentialClientApplication(
                settings.client_id,
                client_credential=self._credential(),
                authority=f"{settings.authority.replace('http://', 'https://', 1)}/{settings.tenant_id}",
                http_client=wire,
                instance_discovery=False,
            )
            return cast("Mapping[str, Any]", app.acquire_token_for_client(scopes=[f"{settings.resource}/.default"]))
        except (ValueError, RuntimeError) as error:
            # msal raises these for an authority that does not answer as one (it may answer 5xx, or HTML).
            return {"error": "server_error", "error_description": str(error)}
        except msal.MsalServiceError as error:
            return {"error": "server_error", "error_description": str(error)}
        finally:
            wire.close()

    def _credential(self) -> str | dict[str, str]:
        if self._settings.client_secret is not None:
            return self._settings.client_secret.reveal()
        pem = self._settings.certificate.reveal() if self._settings.certificate else ""
        key, certificate = KEY.search(pem), CERTIFICATE.search(pem)
        if key is None or certificate is None:
            raise CredentialsRefused(
                f"{self._who}: `certificate` holds no PEM private key and certificate.",
                "Write both into the one file that `certificate` names, the key first.",
            )
        return {"private_key": key[0], "public_certificate": certificate[0]}

    def _refusal(self, answer: Mapping[str, Any]) -> ReadError:
        error, description = str(answer.get("error", "")), str(answer.get("error_description", ""))
        code = CODE.search(description)
        why = harmless_quote(code[0] if code else description) or error
        if error in TRANSIENT:
            return IncompleteRead(
                f"{self._who} gave no token: {self._settings.authority} answered {harmless_quote(error)} ({why}).",
                "Try again later; if it stays, check `tenant_id`, `authority_url` and Microsoft's status page.",
            )
        hint = HINTS.get(code[0], REFUSED_HINT) if code else REFUSED_HINT
        return CredentialsRefused(f"{self._who} refused the credentials: {harmless_quote(error)} ({why}).", hint)

    def _unreachable(self, error: httpx.HTTPError) -> IncompleteRead:
        where = "the managed identity endpoint" if self._settings.managed_identity else self._settings.authority
        why = harmless_quote(str(error) or type(error).__name__)
        return IncompleteRead(
            f"{self._who} gave no token: no answer from {where} ({why}).",
            "Check DNS, the proxy, `ca_bundle`, and that this machine may connect to it.",
        )
