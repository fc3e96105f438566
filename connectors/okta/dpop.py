"""Prove with each request that a token is ours: Demonstrating Proof of Possession (DPoP, RFC 9449).

A token is bound to a key that is made for one command or tick, kept in memory and never sent. Without it a stolen token
is useless.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx

from connectors.base import CredentialsRefused, IncompleteRead
from connectors.http import ApiResponse, redact, server_time
from connectors.okta.jwk import base64url, public_jwk

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["DpopProofs", "proof_hint", "wants_nonce"]

NONCE_HEADER = "dpop-nonce"
CHALLENGE_STATUSES = frozenset({400, 401})
"""RFC 9449 answers a resource request with 401; Okta was seen to answer 400."""

CHALLENGE_PARAMETER = re.compile(r'\b(error|error_description)="([^"]*)"')
INVALID_PROOF, USE_NONCE = "invalid_dpop_proof", "use_dpop_nonce"
MAX_NONCE_CHARS = 2048
CLOCK_TOLERANCE_SECONDS = 5


class DpopProofs:
    """The proofs of one credential, for token requests and as a `connectors.http.RequestSigner`.

    *wall* returns seconds since 1970. The token endpoint and the API each give nonces of
    their own (RFC 9449, section 8.2), and each answer may bring a new one.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._key: EllipticCurvePrivateKey | None = None
        self._jwk: Mapping[str, str] = {}
        self._token_nonce = ""
        self._api_nonce = ""

    def token_proof(self, url: str) -> str:
        """Return the proof of one token request. None is valid twice."""
        return self._sign("POST", httpx.URL(url), self._token_nonce, {})

    def note_token_response(self, response: ApiResponse) -> None:
        """Keep the nonce of a response of the token endpoint, if it has one."""
        self._token_nonce = _nonce(response) or self._token_nonce

    def sign(self, method: str, url: httpx.URL, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the `DPoP` header of one request with the token in *headers*."""
        token = headers["Authorization"].partition(" ")[2]
        return {"DPoP": self._sign(method, url, self._api_nonce, {"ath": base64url(sha256(token.encode()).digest())})}

    def allows_repeat(self, response: ApiResponse) -> bool:
        """Keep the nonce of *response*. Return whether the request was refused for want of one."""
        nonce = _nonce(response)
        self._api_nonce = nonce or self._api_nonce
        return bool(nonce) and wants_nonce(response, _challenge(response).get("error", ""))

    def refuse(self, response: ApiResponse) -> None:
        """Raise the error of a response that refuses a proof; return for any other."""
        challenge = _challenge(response)
        error, description = challenge.get("error", ""), redact(challenge.get("error_description", ""))
        excerpt = f': "{description}"' if description else ""
        if wants_nonce(response, error):
            raise IncompleteRead(
                f"{response.server} asked for a DPoP nonce, and accepts none that it gave{excerpt}"
                f"{response.request_label}.",
                "Try again later; if it persists, report it to Okta's support with this message.",
            )
        if response.status in CHALLENGE_STATUSES and error == INVALID_PROOF:
            raise CredentialsRefused(
                f"{response.server} refused a DPoP proof{excerpt}{response.request_label}.",
                proof_hint(response, description, self._wall),
                response.status,
            )

    def _sign(self, method: str, url: httpx.URL, nonce: str, more: Mapping[str, str]) -> str:
        # Imported here, because cryptography takes 20 ms and 9 MiB that an API token does not need.
        import jwt

        key, jwk = self._signing_key()
        claims: dict[str, object] = {
            "jti": uuid4().hex,
            "htm": method,
            "htu": str(url.copy_with(query=None, fragment=None)),
            "iat": int(self._wall()),
            **more,
            **({"nonce": nonce} if nonce else {}),
        }
        return jwt.encode(claims, key, "ES256", headers={"typ": "dpop+jwt", "jwk": dict(jwk)})

    def _signing_key(self) -> tuple[EllipticCurvePrivateKey, Mapping[str, str]]:
        if self._key is None:
            from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

            self._key = generate_private_key(SECP256R1())
            self._jwk = public_jwk(self._key)
        return self._key, self._jwk


def proof_hint(response: ApiResponse, description: str, wall: Callable[[], float]) -> str:
    """Return the next step after a refused proof. *description* is Okta's."""
    sent_at = server_time(response.headers)
    ahead = 0.0 if sent_at is None else wall() - sent_at
    if abs(ahead) > CLOCK_TOLERANCE_SECONDS:
        side = "ahead of" if ahead > 0 else "behind"
        return f"This machine's clock is {abs(ahead):,.0f} s {side} Okta's: synchronize it (NTP)."
    if "iat" in description:
        return "A proof is dated by this machine's clock: synchronize it (NTP)."
    if "htu" in description:
        return (
            "A proof names the URL as we send it, and Okta compares it with its own. Set `org_url` to the address by "
            "which Okta knows itself; a proxy must not change host, port or path."
        )
    return "Run the command again; if it persists, report it with this message."


def wants_nonce(response: ApiResponse, error: str) -> bool:
    return response.status in CHALLENGE_STATUSES and error == USE_NONCE


def _challenge(response: ApiResponse) -> Mapping[str, str]:
    """Return `error` and `error_description` of a DPoP challenge (RFC 9449, section 7.1), empty without one."""
    for line in response.headers.get_list("www-authenticate"):
        if line.lower().startswith("dpop"):
            return dict(CHALLENGE_PARAMETER.findall(line))
    return {}


def _nonce(response: ApiResponse) -> str:
    nonce = response.headers.get(NONCE_HEADER, "").strip()
    return nonce if nonce.isascii() and nonce.isprintable() and len(nonce) <= MAX_NONCE_CHARS else ""
