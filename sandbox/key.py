"""The pretend secrets. They are the same in each sandbox of a seed, so that a configuration outlives a restart."""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

__all__ = ["OktaAppKey", "pretend_secret"]


class OktaAppKey:
    """The key of the service app in the pretend Okta: as PEM, private and public."""

    def __init__(self, seed: int) -> None:
        number = int.from_bytes(sha256(f"sandbox okta {seed}".encode()).digest()[:31], "big") + 1
        key = ec.derive_private_key(number, ec.SECP256R1())
        self.private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        self.public_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def pretend_secret(seed: int, what: str) -> str:
    """Return a secret whose text names its purpose."""
    return f"sandbox-{what}-{sha256(f'sandbox {what} {seed}'.encode()).hexdigest()[:16]}"
