"""Check proofs of possession as RFC 9449, section 4.3, lists it, and hand out the nonces of section 8.

The signatures are checked with jwcrypto, which no client of the sandbox signs with.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

__all__ = ["ALGORITHMS", "ProofError", "ProofRequest", "ProofVerifier"]

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""As Okta's challenge lists them."""

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
MAX_AGE_SECONDS = 60
"""How far `iat` may be from our clock, on both sides."""


class ProofError(Exception):
    """A proof is refused: *error* is `invalid_dpop_proof` or `use_dpop_nonce`."""

    def __init__(self, description: str, error: str = "invalid_dpop_proof") -> None:
        super().__init__(description)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class ProofRequest:
    """A request and its `DPoP` headers. *url* is the server's own, with or without query."""

    method: str
    url: str
    proofs: Sequence[str]


@dataclass(slots=True)
class ProofVerifier:
    """One of Okta's two servers, the one for tokens or the one of the API; each has nonces of its own.

    *requires_nonce*: a proof needs the current nonce, or one of the *kept_nonces* before it. *rotates*: each accepted
    proof makes a new one. *now* is in seconds since 1970.
    """

    now: Callable[[], float]
    requires_nonce: bool
    rotates: bool = False
    kept_nonces: int = 1
    accepted: int = 0
    _nonces: list[str] = field(default_factory=lambda: [secrets.token_urlsafe(24)])
    _seen: set[str] = field(default_factory=set)

    @property
    def nonce(self) -> str:
        return self._nonces[-1]

    def rotate_nonce(self) -> None:
        """Make a new nonce."""
        self._nonces.append(secrets.token_urlsafe(24))

    def verify(self, request: ProofRequest, token: str | None = None, thumbprint: str | None = None) -> str:
        """Return the thumbprint of the proof's key. Raise `ProofError`.

        With *token* the proof must be for it, and made with the key of *thumbprint*.
        """
        claims, found = _open_proof(request.proofs)
        self._check_claims(claims, request)
        if token is not None and claims.get("ath") != _base64url(sha256(token.encode()).digest()):
            raise ProofError("The 'ath' claim in the DPoP proof JWT is invalid.")
        if thumbprint is not None and found != thumbprint:
            raise ProofError("The public key in the DPoP proof JWT is not the one of the access token.")
        self._check_nonce(claims)
        self._check_replay(str(claims["jti"]))
        self.accepted += 1
        if self.rotates:
            self.rotate_nonce()
        return found

    def _check_claims(self, claims: Mapping[str, object], request: ProofRequest) -> None:
        if claims.get("htm") != request.method:
            raise ProofError("'htm' claim in the DPoP proof JWT is invalid.")
        if claims.get("htu") != request.url.partition("#")[0].partition("?")[0]:
            raise ProofError("'htu' claim in the DPoP proof JWT is invalid.")
        issued = claims.get("iat")
        if not isinstance(issued, int) or abs(self.now() - issued) > MAX_AGE_SECONDS:
            raise ProofError("The 'iat' claim in the DPoP proof JWT is too far from the current time.")
        if not isinstance(claims.get("jti"), str) or not claims["jti"]:
            raise ProofError("The 'jti' claim in the DPoP proof JWT is missing.")

    def _check_nonce(self, claims: Mapping[str, object]) -> None:
        if not self.requires_nonce:
            return
        valid = self._nonces[-1 - self.kept_nonces :]
        if claims.get("nonce") not in valid:
            raise ProofError("Authorization server requires nonce in DPoP proof.", "use_dpop_nonce")

    def _check_replay(self, proof_id: str) -> None:
        if proof_id in self._seen:
            raise ProofError("The DPoP proof JWT has already been used.")
        self._seen.add(proof_id)


def _open_proof(proofs: Sequence[str]) -> tuple[Mapping[str, object], str]:
    """Return the claims of the one proof, whose signature is valid, and the thumbprint of its key."""
    # Imported here, because most sandboxes see no proof.
    from jwcrypto.common import JWException
    from jwcrypto.jwk import JWK
    from jwcrypto.jws import JWS

    if not proofs:
        raise ProofError("The DPoP proof JWT header is missing.")
    if len(proofs) > 1 or proofs[0].count(".") != 2:
        raise ProofError("There must be one DPoP header with one JWT.")
    try:
        signed = JWS()
        signed.allowed_algs = list(ALGORITHMS)
        signed.deserialize(proofs[0])
        header = signed.jose_header
        jwk = header.get("jwk")
        if header.get("typ") != "dpop+jwt" or header.get("alg") not in ALGORITHMS or not isinstance(jwk, dict):
            raise ProofError("The header of the DPoP proof JWT needs typ dpop+jwt, an asymmetric alg, and jwk.")
        if PRIVATE_MEMBERS & jwk.keys():
            raise ProofError("The 'jwk' header of the DPoP proof JWT contains a private key.")
        key = JWK(**jwk)
        signed.verify(key, header["alg"])
        claims = json.loads(signed.payload)
    except (JWException, ValueError, TypeError) as error:
        raise ProofError("The signature of the DPoP proof JWT is invalid.") from error
    if not isinstance(claims, dict):
        raise ProofError("The DPoP proof JWT has no claims.")
    return claims, str(key.thumbprint())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
