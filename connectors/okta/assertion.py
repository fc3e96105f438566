"""Sign a service app's client assertion (RFC 7523) with its private key, RSA or EC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.pem import instead_of_key, pem_text
from connectors.secret import Secret, SecretInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["Assertion", "signing_key"]

CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
HINT = (
    "Put the service app's private key into `private_key` as PEM, RSA or EC (P-256, P-384, P-521), without a "
    "passphrase (in Okta: Applications > the app > Client Credentials > Public Keys > Generate new key > PEM)."
)


@dataclass(frozen=True, slots=True)
class Assertion:
    """What one assertion says. *issued* and *expires* are whole seconds since 1970; *nonce* is used once."""

    client_id: str
    audience: str
    issued: int
    expires: int
    nonce: str

    def signed(self, private_key: Secret, kid: str | None) -> str:
        """Return the JWT. Raises `SecretError` for a key that can't sign, without quoting it."""
        import jwt

        key, algorithm = signing_key(private_key)
        return jwt.encode(self._claims(), key, algorithm, headers={"kid": kid} if kid else None)

    def _claims(self) -> dict[str, str | int]:
        return {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "iat": self.issued,
            "exp": self.expires,
            "jti": self.nonce,
        }


def signing_key(private_key: Secret) -> tuple[RSAPrivateKey | EllipticCurvePrivateKey, str]:
    """Return the key and the algorithm it signs with. Raises `SecretError`, quoting nothing."""
    # Imported here, because cryptography takes 20 ms and 9 MiB that an API token does not need.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = pem_text(private_key.reveal())
    what = f"The private key of the Okta service app, in {private_key.where},"
    if instead := instead_of_key(pem):
        raise SecretInvalid(f"{what} can't be read: it is {instead}.", HINT)
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # From None: what the library reports may quote the key.
        raise SecretInvalid(f"{what} can't be read: it is damaged or of an unknown kind.", HINT) from None
    if isinstance(key, RSAPrivateKey):
        return key, "RS256"
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return key, CURVES[key.curve.name]
    raise SecretInvalid(f"{what} is of a kind that Okta does not accept.", HINT)
