"""Okta's token endpoint: access tokens for service apps that authenticate with a signed assertion.

Source: RFC 7523, and Okta's guide on `private_key_jwt` for service apps.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

__all__ = ["LIFETIME_SECONDS", "LOG_SCOPE", "READ_SCOPES", "ServiceApp", "TokenError", "TokenIssuer"]

LIFETIME_SECONDS = 3600
READ_SCOPES = frozenset({"okta.apps.read", "okta.groups.read", "okta.users.read"})
LOG_SCOPE = "okta.logs.read"
ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CLOCK_SKEW_SECONDS = 60
CLAIMS = ("iss", "sub", "aud", "exp", "jti")


class TokenError(Exception):
    """The token request is refused: *error* is OAuth's code (RFC 6749, 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


@dataclass(slots=True)
class ServiceApp:
    """A service app: its public *keys* as PEM by key id, the *scopes* that an administrator granted to it.

    *requires_dpop*: a token request without a proof is refused. *ignores_dpop*: a proof is ignored, and the token is a
    bearer token, as from a server that does not know DPoP.
    """

    client_id: str
    keys: dict[str, str]
    scopes: frozenset[str] = READ_SCOPES
    requires_dpop: bool = False
    ignores_dpop: bool = False


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """*thumbprint* is that of the key to which the token is bound (`cnf.jkt`), None for a bearer token."""

    scopes: frozenset[str]
    expires_at: float
    thumbprint: str | None = None


@dataclass(slots=True)
class TokenIssuer:
    """The clients and the issued access tokens. *now* is in seconds since 1970."""

    now: Callable[[], float]
    clients: dict[str, ServiceApp] = field(default_factory=dict)
    _issued: dict[str, IssuedToken] = field(default_factory=dict)
    _used_assertions: set[str] = field(default_factory=set)

    def add(self, client: ServiceApp) -> None:
        self.clients[client.client_id] = client

    def revoke_all(self) -> None:
        """Revoke every access token; clients can get new ones."""
        self._issued.clear()

    def find_token(self, token: str) -> IssuedToken | None:
        """Return what *token* grants, None when it is unknown, revoked or expired."""
        grant = self._issued.get(token)
        return grant if grant is not None and grant.expires_at > self.now() else None

    def issue_token(
        self, form: Mapping[str, str], audience: str, verify_proof: Callable[[], str] | None
    ) -> dict[str, object]:
        """Return the token response; raise `TokenError`, or `ProofError` from *verify_proof*.

        *verify_proof* returns the thumbprint of the key of the request's proof; None: the request has no proof.
        """
        if form.get("grant_type") != "client_credentials":
            raise TokenError("unsupported_grant_type", "The authorization grant type is not supported.")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise TokenError("invalid_client", "The client must authenticate with private_key_jwt.", 401)
        client = self._authenticate_client(form.get("client_assertion", ""), audience)
        if client.requires_dpop and verify_proof is None:
            raise TokenError("invalid_dpop_proof", "The DPoP proof JWT header is missing.")
        thumbprint = None if verify_proof is None or client.ignores_dpop else verify_proof()
        scopes = form.get("scope", "").split()
        self._require_granted(client, scopes)
        token = f"eyJ{secrets.token_urlsafe(48)}"
        self._issued[token] = IssuedToken(frozenset(scopes), self.now() + LIFETIME_SECONDS, thumbprint)
        kind = "Bearer" if thumbprint is None else "DPoP"
        response = {"token_type": kind, "expires_in": LIFETIME_SECONDS, "access_token": token}
        return response | {"scope": " ".join(scopes)}

    def _require_granted(self, client: ServiceApp, scopes: Iterable[str]) -> None:
        requested = list(scopes)
        if not requested:
            raise TokenError("invalid_scope", "The authorization server resource does not have any scopes.")
        refused = [scope for scope in requested if scope not in client.scopes]
        if refused:
            raise TokenError(
                "invalid_scope",
                "One or more scopes are not configured for the authorization server resource: " + ", ".join(refused),
            )

    def _authenticate_client(self, assertion: str, audience: str) -> ServiceApp:
        """Return the client that signed *assertion*."""
        try:
            header = jwt.get_unverified_header(assertion)
            unverified = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise _invalid_client("The client_assertion is not a JWT.") from None
        client = self.clients.get(str(unverified.get("iss")))
        if client is None or unverified.get("sub") != client.client_id:
            raise _invalid_client("The issuer and subject of client_assertion must be the client id of a known client.")
        claims = _verify_assertion(assertion, header, client, audience)
        self._check_times(claims)
        return client

    def _check_times(self, claims: Mapping[str, object]) -> None:
        expires, used = claims["exp"], str(claims["jti"])
        if used in self._used_assertions:
            raise _invalid_client("The client_assertion token has already been used.")
        self._used_assertions.add(used)
        if not isinstance(expires, int | float) or expires <= self.now() - CLOCK_SKEW_SECONDS:
            raise _invalid_client("The client_assertion token is expired.")
        if expires > self.now() + LIFETIME_SECONDS + CLOCK_SKEW_SECONDS:
            raise _invalid_client("The client_assertion token has an expiration that is too far into the future.")


def _verify_assertion(
    assertion: str, header: Mapping[str, object], client: ServiceApp, audience: str
) -> Mapping[str, object]:
    """Return the claims. The caller checks their times by the org's clock."""
    options = {"require": list(CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    kid = header.get("kid")
    if kid is not None and kid not in client.keys:
        raise _invalid_client("The client_assertion was signed with a key that is not registered.")
    pems = [client.keys[str(kid)]] if kid is not None else list(client.keys.values())
    for pem in pems:
        try:
            key = load_pem_public_key(pem.encode())
            claims: Mapping[str, object] = jwt.decode(
                assertion,
                key,  # type: ignore[arg-type]  # a key of another kind ends in InvalidKeyError
                ALGORITHMS,
                audience=audience,
                options=options,  # type: ignore[arg-type]  # PyJWT's own TypedDict
            )
        except (jwt.InvalidSignatureError, jwt.InvalidKeyError, jwt.InvalidAlgorithmError, TypeError):
            continue
        except jwt.InvalidAudienceError:
            raise _invalid_client(
                f"The audience claim for client_assertion must be the endpoint: {audience}."
            ) from None
        except jwt.InvalidTokenError:
            raise _invalid_client(f"The client_assertion must have the claims {', '.join(CLAIMS)}.") from None
        return claims
    raise _invalid_client("The client_assertion signature is invalid.")


def _invalid_client(description: str) -> TokenError:
    return TokenError("invalid_client", description, 401)
