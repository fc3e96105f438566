"""Issue tokens to applications that authenticate by secret or certificate, and check them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.x509 import load_pem_x509_certificate
from jwt.types import Options

from sandbox.entra.errors import TokenError

__all__ = ["Client", "TokenIssuer"]

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ["PS256", "RS256"]
LIFETIME_SECONDS = 3599
SIGNATURE_ONLY: Options = {"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
"""PyJWT checks the signature; this class checks times, by the tenant's clock."""


@dataclass(frozen=True, slots=True)
class Client:
    """An application that may ask for tokens. *certificate* is PEM. A client with neither is a managed identity's."""

    client_id: str
    secret: str = ""
    certificate: str = ""


class TokenIssuer:
    """The token endpoint of one tenant. *roles* are the application permissions that new tokens carry."""

    def __init__(self, tenant_id: str, clients: Mapping[str, Client], now: Callable[[], float]) -> None:
        self.tenant_id = tenant_id
        self.clients = dict(clients)
        self.roles: frozenset[str] = frozenset()
        self._now = now
        self._key = hashlib.sha256(f"sandbox {tenant_id}".encode()).hexdigest()
        self._revoked_up_to = 0.0
        self._count = 0

    def issue_token(self, form: Mapping[str, str], path: str) -> dict[str, object]:
        """Return the response to a token request at *path*. Raise `TokenError`."""
        if form.get("grant_type") != "client_credentials":
            raise TokenError(400, "unsupported_grant_type", 70003, "The grant type is not supported.")
        client = self.clients.get(form.get("client_id", ""))
        if client is None:
            message = f"Application with identifier '{form.get('client_id')}' was not found in the directory."
            raise TokenError(400, "unauthorized_client", 700016, message)
        scope = form.get("scope", "").split(" ")[0]
        if not scope.endswith("/.default"):
            raise TokenError(400, "invalid_scope", 70011, "The provided value for the input 'scope' is not valid.")
        self._authenticate_client(client, form, path)
        return self.token_response(client.client_id, scope.removesuffix("/.default"))

    def token_response(self, client_id: str, resource: str) -> dict[str, object]:
        """Return a token for *resource* without a credential."""
        now = int(self._now())
        self._count += 1
        claims = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{self.tenant_id}/",
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME_SECONDS,
            "appid": client_id,
            "tid": self.tenant_id,
            "roles": sorted(self.roles),
            "uti": str(self._count),
        }
        token = jwt.encode(claims, self._key, algorithm="HS256")
        return {
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "ext_expires_in": LIFETIME_SECONDS,
            "access_token": token,
        }

    def revoke_all(self) -> None:
        """Revoke all tokens issued so far."""
        self._revoked_up_to = self._count

    def token_roles(self, authorization: str) -> frozenset[str] | None:
        """Return the roles in a bearer token, None when it is not one of ours, expired or revoked."""
        kind, _, token = authorization.partition(" ")
        if kind.casefold() != "bearer":
            return None
        try:
            claims: dict[str, Any] = jwt.decode(token, self._key, algorithms=["HS256"], options=SIGNATURE_ONLY)
        except jwt.PyJWTError:
            return None
        if claims["exp"] <= self._now() or int(claims["uti"]) <= self._revoked_up_to:
            return None
        return frozenset(claims["roles"])

    def _authenticate_client(self, client: Client, form: Mapping[str, str], path: str) -> None:
        if form.get("client_assertion_type") == ASSERTION_TYPE and client.certificate:
            self._check_assertion(client, form.get("client_assertion", ""), path)
        elif not client.secret or form.get("client_secret") != client.secret:
            message = (
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{client.client_id}'."
            )
            raise TokenError(401, "invalid_client", 7000215, message)

    def _check_assertion(self, client: Client, assertion: str, path: str) -> None:
        """Check a signed assertion against the client's certificate, names, audience and time."""
        key = load_pem_x509_certificate(client.certificate.encode()).public_key()
        try:
            claims = jwt.decode(
                assertion,
                key,  # type: ignore[arg-type]  # only RSA certificates can have signed with ALGORITHMS
                algorithms=ALGORITHMS,
                options=SIGNATURE_ONLY,
            )
        except jwt.PyJWTError:
            message = "Client assertion failed signature validation."
            raise TokenError(401, "invalid_client", 700027, message) from None
        if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
            raise TokenError(401, "invalid_client", 700021, "Client assertion application identifier doesn't match.")
        if not str(claims.get("aud", "")).endswith(path):
            raise TokenError(401, "invalid_client", 700023, "Client assertion audience claim doesn't match.")
        if not isinstance(claims.get("exp"), int | float) or claims["exp"] <= self._now():
            raise TokenError(401, "invalid_client", 700024, "Client assertion is not within its valid time range.")
