"""Sign a service app's client assertion (RFC 7523) with its private key, RSA or EC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.pem import normalize_pem, private_key_problem
from connectors.secret import Secret, SecretInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["ClientAssertion", "signing_key"]

ALGORITHM_BY_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
KEY_HINT = (
    "Put the service app's private key into `private_key` as PEM, RSA or EC (P-256, P-384, P-521), without a "
    "passphrase (in Okta: Applications > the app > Client Credentials > Public Keys > Generate new key > PEM)."
)


@dataclass(frozen=True, slots=True)
class ClientAssertion:
    """What one assertion says. *issued_at* and *expires_at* are whole seconds since 1970; *nonce* is used once."""

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
