"""What proves who we are to the token endpoint: a client secret, or a certificate with its key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from connectors.base import CredentialsRefused
from connectors.entra.settings import EntraSettings

__all__ = ["Proof", "proof"]

KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
HINT = (
    "Put the RSA private key, without a passphrase, and the certificate that is uploaded to the app registration into "
    "`certificate`, both as PEM, one after the other."
)


@dataclass(frozen=True, slots=True)
class Proof:
    """As msal takes it; *secret* is cut out of whatever is quoted."""

    credential: str | dict[str, str] = field(repr=False)
    secret: str = field(default="", repr=False)


def proof(settings: EntraSettings) -> Proof:
    """Return what the settings hold; it is read anew at each call. Raises `CredentialsRefused`, quoting nothing."""
    if settings.client_secret is not None:
        secret = settings.client_secret.reveal()
        return Proof(secret, secret)
    if settings.certificate is None:
        raise AssertionError("EntraSettings holds a secret, a certificate, or a managed identity that needs neither")
    return Proof(_pair(settings.certificate.reveal()))


def _pair(pem: str) -> dict[str, str]:
    """Return the key, and of all certificates in *pem* the one that is the key's."""
    # Imported here, because cryptography takes time and memory that a client secret does not need.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    key = KEY.search(pem)
    certificates = CERTIFICATE.findall(pem)
    if key is None or not certificates:
        raise CredentialsRefused("The certificate for Entra is not a PEM private key with a certificate.", HINT)
    try:
        private = load_pem_private_key(key[0].encode(), password=None)
        keys = {each: load_pem_x509_certificate(each.encode()).public_key() for each in certificates}
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # From None: what the library says may quote the key.
        raise CredentialsRefused("The private key or the certificate for Entra can't be read.", HINT) from None
    if not isinstance(private, RSAPrivateKey):
        raise CredentialsRefused("The private key for Entra is not an RSA key, and Entra takes no other.", HINT)
    ours = next((each for each, public in keys.items() if public == private.public_key()), None)
    if ours is None:
        raise CredentialsRefused("The private key for Entra is not that of the certificate beside it.", HINT)
    return {"private_key": key[0], "public_certificate": ours}
