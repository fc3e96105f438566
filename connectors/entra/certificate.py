"""Load the credential for the token endpoint: a client secret, or a certificate with its key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from connectors.entra.settings import EntraSettings
from connectors.pem import normalize_pem, private_key_problem
from connectors.secret import Secret, SecretInvalid

__all__ = ["ClientCredential", "load_credential"]

PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
PEM_HINT = (
    "Put the RSA private key, without a passphrase, and the certificate that is uploaded to the app registration into "
    "`certificate`, both as PEM, one after the other."
)


@dataclass(frozen=True, slots=True)
class ClientCredential:
    """A credential in the form that msal takes. *secret* is redacted from quotes."""

    credential: str | dict[str, str] = field(repr=False)
    secret: str = field(default="", repr=False)


def load_credential(settings: EntraSettings) -> ClientCredential:
    """Return the credential of the settings, read again at each call. Raises `SecretError` without a quote."""
    if settings.client_secret is not None:
        secret = settings.client_secret.reveal()
        return ClientCredential(secret, secret)
    if settings.certificate is None:
        raise AssertionError("EntraSettings holds a secret, a certificate, or a managed identity that needs neither")
    return ClientCredential(_load_certificate(settings.certificate))


def _load_certificate(certificate: Secret) -> dict[str, str]:
    """Return the key and its certificate, chosen from all certificates in the PEM."""
    # Imported here, because cryptography takes time and memory that a client secret does not need.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    pem = normalize_pem(certificate.reveal())
    what = f"The certificate for Entra, in {certificate.location},"
    key = PRIVATE_KEY.search(pem)
    certificates = CERTIFICATE.findall(pem)
    if instead := private_key_problem(pem):
        raise SecretInvalid(f"{what} is not a PEM private key with a certificate: it is {instead}.", PEM_HINT)
    if key is None or not certificates:
        raise SecretInvalid(
            f"{what} is not a PEM private key with a certificate: the certificate is missing.", PEM_HINT
        )
    try:
        private = load_pem_private_key(key[0].encode(), password=None)
        keys = {each: load_pem_x509_certificate(each.encode()).public_key() for each in certificates}
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # From None: what the library reports may quote the key.
        raise SecretInvalid(f"{what} can't be read: the key or a certificate is damaged.", PEM_HINT) from None
    if not isinstance(private, RSAPrivateKey):
        raise SecretInvalid(f"{what} is not an RSA key, and Entra accepts no other.", PEM_HINT)
    ours = next((each for each, public in keys.items() if public == private.public_key()), None)
    if ours is None:
        raise SecretInvalid(f"{what} holds a private key that does not match the certificate beside it.", PEM_HINT)
    return {"private_key": key[0], "public_certificate": ours}
