"""Public keys as JSON Web Keys (RFC 7517), and their thumbprints (RFC 7638). Nothing private comes out of here."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["base64url", "public_jwk", "thumbprint"]

JWK_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def public_jwk(key: RSAPrivateKey | EllipticCurvePrivateKey) -> dict[str, str]:
    """Return the public half of *key* as a JWK with its required members only, which are what a thumbprint covers."""
    # Imported here, because cryptography takes 20 ms and 9 MiB that an API token does not need.
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        n, e = (base64url(each.to_bytes((each.bit_length() + 7) // 8)) for each in (numbers.n, numbers.e))
        return {"kty": "RSA", "n": n, "e": e}
    point = key.public_key().public_numbers()
    # Coordinates have the full length of the curve (RFC 7518, section 6.2.1.2), leading zeros included.
    size = (key.curve.key_size + 7) // 8
    x, y = (base64url(each.to_bytes(size)) for each in (point.x, point.y))
    return {"kty": "EC", "crv": JWK_CURVES[key.curve.name], "x": x, "y": y}


def thumbprint(jwk: Mapping[str, str]) -> str:
    """Return the thumbprint of a JWK that has its required members only."""
    return base64url(sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest())


def base64url(data: bytes) -> str:
    """Return *data* in base64url without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()
