"""Authenticate to Okta with an API token, or with access tokens for a service app's key.

Okta grants its scopes to `private_key_jwt` only. An access token is valid for an hour and kept in memory only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx

from connectors.base import CredentialsRefused, IncompleteRead
from connectors.directory import as_object
from connectors.http import ApiResponse, RequestLimits, Timer, error_excerpt
from connectors.oauth import AccessTokens, IssuedToken, TokenRequester, issued_token, oauth_error, token_error
from connectors.okta.dpop import DpopProofs, proof_hint, wants_nonce
from connectors.okta.rate_limit import reset_delay
from connectors.pem import normalize_pem, private_key_problem
from connectors.secret import Secret, SecretInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["HINTS", "SCOPES", "ApiTokenAuth", "ServiceApp", "access_tokens", "signing_key"]

SCOPES = "okta.apps.read okta.groups.read okta.users.read"
TOKEN_PATH = "/oauth2/v1/token"  # noqa: S105  (a path)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 300
"""Okta accepts up to an hour. A short life limits theft and still tolerates clocks that differ."""

DPOP_CHECKBOX = "`Require Demonstrating Proof of Possession (DPoP) header in token requests`"
"""What Okta calls it, in the general settings of a service app."""
DPOP_ERRORS = frozenset({"invalid_dpop_proof", "use_dpop_nonce"})
GRANT_HINT = "Grant the service app these scopes in Okta (Okta API Scopes): {}."
HINTS = {
    "invalid_scope": GRANT_HINT.format(SCOPES),
    "invalid_client": "Check `client_id`, that the public half of `private_key` is among the service app's keys in "
    "Okta (name it with `kid` if there are several), that the app is active, and that this machine's clock is right.",
}
REFUSED_HINT = "Check `client_id`, `private_key` and the service app in Okta."
UNEXPECTED_HINT = "Check that `org_url` is the root of the Okta org; if it is, try again later."
UNREACHABLE_HINT = "Check `org_url`, DNS, the proxy, `ca_bundle`, and that this machine may connect to it."
ALGORITHM_BY_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
KEY_HINT = (
    "Put the service app's private key into `private_key` as PEM, RSA or EC (P-256, P-384, P-521), without a "
    "passphrase (in Okta: Applications > the app > Client Credentials > Public Keys > Generate new key > PEM)."
)


class ApiTokenAuth:
    """An API token, read at each use, so that a rotated one is picked up."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    async def __call__(self, refused: bool) -> Mapping[str, str]:  # noqa: ARG002  (there is no other token)
        token = self._token.reveal_token()
        return {"Authorization": f"SSWS {token}"}


@dataclass(frozen=True, slots=True)
class ServiceApp:
    """An OAuth 2.0 service app of one org. *connector* is our name for the org in the configuration."""

    connector: str
    org_url: str
    client_id: str
    private_key: Secret
    kid: str | None
    scopes: str = SCOPES

    @property
    def token_url(self) -> str:
        return self.org_url + TOKEN_PATH

    def token_request_form(self, now: float) -> dict[str, str]:
        """Return the form of one request: Okta accepts no assertion twice, not even one that it refused."""
        issued = int(now)
        assertion = ClientAssertion(self.client_id, self.token_url, issued, issued + ASSERTION_SECONDS, uuid4().hex)
        return {
            "grant_type": "client_credentials",
            "scope": self.scopes,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion.sign(self.private_key, self.kid),
        }


def access_tokens(  # noqa: PLR0913  (the wiring of one credential, each part by name)
    name: str,
    app: ServiceApp,
    client: httpx.AsyncClient,
    limits: RequestLimits,
    timer: Timer,
    wall: Callable[[], float],
    proofs: DpopProofs | None = None,
) -> AccessTokens:
    """Return the access tokens of *app*. *wall* returns seconds since 1970. With *proofs* they are bound to its key."""
    # Token requests have a rate limit of their own, with the same headers.
    requester = TokenRequester(
        name, client, limits, timer, lambda response: reset_delay(response, wall), UNREACHABLE_HINT
    )

    def build_request() -> httpx.Request:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if proofs is not None:
            headers["DPoP"] = proofs.token_proof(app.token_url)
        return client.build_request("POST", app.token_url, data=app.token_request_form(wall()), headers=headers)

    async def request_token() -> IssuedToken:
        response = await requester.send(build_request, app.token_url)
        if proofs is None:
            return _token_from_response(response, app)
        proofs.note_token_response(response)
        if wants_nonce(response, oauth_error(response)[0]):
            response = await requester.send(build_request, app.token_url)
            proofs.note_token_response(response)
        return _bound_token_from_response(response, app, wall)

    return AccessTokens(request_token, timer.now, scheme="Bearer" if proofs is None else "DPoP")


def _refusal_hint(error: str, app: ServiceApp) -> str:
    if error == "invalid_scope":
        return GRANT_HINT.format(app.scopes)
    return HINTS.get(error, REFUSED_HINT)


def _token_from_response(response: ApiResponse, app: ServiceApp) -> IssuedToken:
    """Return the bearer token. Raises the error of a response without one."""
    turn_on = f"The service app requires DPoP: set `connectors.{app.connector}.dpop: true`."
    if response.status != httpx.codes.OK:
        error, _ = oauth_error(response)
        raise _error_from_response(response, turn_on if error in DPOP_ERRORS else _refusal_hint(error, app))
    fields = as_object(response.json())
    if _token_type(fields) == "dpop":
        raise CredentialsRefused(f"{response.server} gave a token that requires DPoP.", turn_on)
    return _token_from_fields(fields, response)


def _bound_token_from_response(response: ApiResponse, app: ServiceApp, wall: Callable[[], float]) -> IssuedToken:
    """Return the token that is bound to our key. Raises the error of a response without one."""
    if response.status != httpx.codes.OK:
        error, description = oauth_error(response)
        hint = proof_hint(response, description, wall) if error in DPOP_ERRORS else _refusal_hint(error, app)
        raise _error_from_response(response, hint)
    fields = as_object(response.json())
    if _token_type(fields) != "dpop":
        # RFC 9449, section 5: a client that relies on the binding must discard such a token.
        raise CredentialsRefused(
            f"{response.server} gave a token that is not bound to our key, although `dpop` is on.",
            f"Tick {DPOP_CHECKBOX} in the service app's general settings in Okta, or set "
            f"`connectors.{app.connector}.dpop: false`.",
        )
    return _token_from_fields(fields, response)


def _token_type(fields: Mapping[str, object]) -> str:
    return str(fields.get("token_type")).lower()


def _token_from_fields(fields: Mapping[str, object], response: ApiResponse) -> IssuedToken:
    token = issued_token(fields)
    if token is None:
        raise IncompleteRead(f"{response.server} answered the token request without a token.", UNEXPECTED_HINT)
    return token


def _error_from_response(response: ApiResponse, refused_hint: str) -> CredentialsRefused | IncompleteRead:
    excerpt = error_excerpt(response.body, {})
    message = f"{response.server} gave no token: {response.status}{excerpt}{response.request_label}."
    return token_error(response, message, refused_hint=refused_hint, other_hint=UNEXPECTED_HINT)


@dataclass(frozen=True, slots=True)
class ClientAssertion:
    """The claims of one assertion. *issued_at* and *expires_at* are whole seconds since 1970; *nonce* is used once."""

    client_id: str
    audience: str
    issued_at: int
    expires_at: int
    nonce: str

    def sign(self, private_key: Secret, kid: str | None) -> str:
        """Return the JWT. Raises `SecretError` for a key that can't sign, without quoting it."""
        import jwt

        key, algorithm = signing_key(private_key)
        return jwt.encode(self._claims(), key, algorithm, headers={"kid": kid} if kid else None)

    def _claims(self) -> dict[str, str | int]:
        return {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "iat": self.issued_at,
            "exp": self.expires_at,
            "jti": self.nonce,
        }


def signing_key(private_key: Secret) -> tuple[RSAPrivateKey | EllipticCurvePrivateKey, str]:
    """Return the key and the algorithm it signs with. Raises `SecretError`, quoting nothing."""
    # Imported here, because cryptography takes 20 ms and 9 MiB that an API token does not need.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = normalize_pem(private_key.reveal())
    what = f"The private key of the Okta service app, in {private_key.location},"
    if instead := private_key_problem(pem):
        raise SecretInvalid(f"{what} can't be read: it is {instead}.", KEY_HINT)
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # From None: what the library reports may quote the key.
        raise SecretInvalid(f"{what} can't be read: it is damaged or of an unknown kind.", KEY_HINT) from None
    if isinstance(key, RSAPrivateKey):
        return key, "RS256"
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in ALGORITHM_BY_CURVE:
        return key, ALGORITHM_BY_CURVE[key.curve.name]
    raise SecretInvalid(f"{what} is of a kind that Okta does not accept.", KEY_HINT)
