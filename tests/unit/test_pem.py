"""A key may have many forms of PEM; anything else is reported without any part of its text."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from connectors.okta.auth import signing_key
from connectors.pem import normalize_pem, private_key_problem
from connectors.secret import Secret, SecretInvalid

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
OLD = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
SEALED = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")).decode()
SEALED_OLD = KEY.private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"passphrase")
).decode()
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
DER = base64.b64encode(KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode()

SHAPES = {
    "as it is": PEM,
    "of OpenSSL": OLD,
    "line breaks in two characters": PEM.replace("\n", "\\n"),
    "CR and LF in four": PEM.replace("\n", "\\r\\n"),
    "CRLF": PEM.replace("\n", "\r\n"),
    "blanks for line breaks": PEM.replace("\n", " ").strip(),
    "one line": PEM.replace("\n", ""),
    "indented": "".join(f"    {line}\n" for line in PEM.splitlines()),
    "base64": base64.b64encode(PEM.encode()).decode(),
    "base64 in lines": base64.encodebytes(PEM.encode()).decode(),
    "in quotation marks": f'"{PEM.strip()}"',
    "as an .env file has it": '"' + PEM.strip().replace("\n", "\\n") + '"',
    "after a byte-order mark": f"\ufeff{PEM}",
    "after attributes of a bag": f"Bag Attributes\n    friendlyName: okta\n{PEM}",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_private_key_is_taken_in_every_shape_it_arrives_in(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", SHAPES[shape])
    for secret in (Secret("env", "ACME_KEY"), Secret("value", SHAPES[shape])):
        key, algorithm = signing_key(secret)
        assert (key.private_numbers(), algorithm) == (KEY.private_numbers(), "ES256")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (PUBLIC, "a public key"),
        (PUBLIC.replace("\n", "\\n"), "a public key"),
        (SEALED, "with a passphrase"),
        (SEALED_OLD, "with a passphrase"),
        (SEALED_OLD.replace("\n", "\\n"), "with a passphrase"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "a certificate without"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----", "certificate request"),
        (PEM[:-30], "cut off"),
        (DER, "DER or PKCS#12"),
        ('{"kty": "EC", "d": "s3cret"}', "JWK"),
        ("ssh-rsa AAAAB3 ana@acme.com", "for SSH"),
        ("s3cret", "not PEM"),
    ],
)
def test_what_is_not_a_private_key_is_named_for_what_it_is(text: str, what: str) -> None:
    assert what in private_key_problem(normalize_pem(text))

    with pytest.raises(SecretInvalid) as raised:
        signing_key(Secret("value", text))

    assert what in raised.value.message
    assert "the configuration" in raised.value.message
    assert not any(line in raised.value.message for line in text.split())


def test_sealed_key_keeps_its_headers() -> None:
    opened = load_pem_private_key(normalize_pem(SEALED_OLD).encode(), b"passphrase")
    assert isinstance(opened, ec.EllipticCurvePrivateKey)
    assert opened.private_numbers() == KEY.private_numbers()
