"""Sign a service app's client assertion (RFC 7523) with its private key, RSA or EC."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.base import CredentialsRefused

__all__ = ["Assertion"]

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

    def signed(self, pem: str, kid: str | None) -> str:
        """Return the JWT. Raises `CredentialsRefused` for a key that can't sign, without quoting it."""
        # Imported here, because cryptography takes 20 ms and 9 MiB that an API token does not need.
        import jwt
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # From None: what the library says may quote the key.
            raise CredentialsRefused("The private key of the Okta service app can't be read.", HINT) from None
        if isinstance(key, RSAPrivateKey):
            algorithm = "RS256"
        elif isinstance(key, EllipticCurvePrivateKey) and key.curve.name in CURVES:
            algorithm = CURVES[key.curve.name]
        else:
            raise CredentialsRefused(
                "The private key of the Okta service app is of a kind that Okta does not take.", HINT
            )
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
