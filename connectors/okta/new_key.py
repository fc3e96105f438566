"""Make a key pair for a service app: the private key as PEM for us, the public one as a JWK for Okta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from connectors.okta.jwk import public_jwk, thumbprint

__all__ = ["KeyAlgorithm", "NewKey", "create_key"]

RSA_BITS = 3072


class KeyAlgorithm(StrEnum):
    """The algorithm of the client assertions that the key signs."""

    RS256 = "RS256"
    ES256 = "ES256"


@dataclass(frozen=True, slots=True)
class NewKey:
    """*private_pem* is a secret. *jwk* is the public half, with the key id that Okta keeps it under."""

    private_pem: bytes
    jwk: Mapping[str, str]

    def __repr__(self) -> str:
        return f"NewKey(kid={self.jwk['kid']!r})"


def create_key(algorithm: KeyAlgorithm, kid: str = "") -> NewKey:
    """Return a new key pair. Without *kid* its id is the thumbprint of the key (RFC 7638)."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if algorithm is KeyAlgorithm.RS256:
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    required = public_jwk(key)
    jwk = {"kid": kid or thumbprint(required), "use": "sig", "alg": algorithm.value, **required}
    return NewKey(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), jwk)
