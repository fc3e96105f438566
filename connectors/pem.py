"""Read keys and certificates as PEM (RFC 7468) however they were handed on, or report what they are."""

from __future__ import annotations

import base64
import binascii
import re
import textwrap

__all__ = ["has_passphrase", "normalize_pem", "private_key_problem"]

PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.+?)-----END \1-----", re.DOTALL)
ENCRYPTION_HEADERS = re.compile(r"\A\s*(?:[A-Za-z0-9-]+: [^\n]*\n)+\n")
"""What stands before the base64 of a key that OpenSSL sealed in its old way (RFC 1421)."""

LINE_LENGTH = 64
DER_BASE64 = re.compile(r"M[A-Za-z0-9+/=\s]{40,}")
"""Base64 of a key, a certificate or a PKCS#12 file: each is a DER sequence."""


def normalize_pem(value: str) -> str:
    r"""Return *value* with the line breaks that PEM needs.

    Takes what variables, templates and secret stores make of a PEM file: `\n` in two characters, blanks in place of
    line breaks, one long line, the whole file in base64 once more.
    """
    text = value.replace("\\r", "").replace("\\n", "\n") if "-----BEGIN" in value else _decode_base64_pem(value)
    return PEM_BLOCK.sub(
        lambda match: f"-----BEGIN {match[1]}-----\n{_wrapped_body(match[2])}\n-----END {match[1]}-----", text
    )


def _wrapped_body(text: str) -> str:
    headers = ENCRYPTION_HEADERS.match(text)
    if headers is not None:
        return text.strip()
    return textwrap.fill("".join(text.split()), LINE_LENGTH)


def _decode_base64_pem(value: str) -> str:
    """Return the PEM that *value* holds in base64, as Kubernetes manifests and secret stores wrap it; else *value*."""
    try:
        text = base64.b64decode("".join(value.split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return value
    return normalize_pem(text) if "-----BEGIN" in text else value


def has_passphrase(pem: str) -> bool:
    """Return whether a key in *pem* has a passphrase."""
    return "ENCRYPTED PRIVATE KEY-----" in pem or "Proc-Type: 4,ENCRYPTED" in pem


def private_key_problem(pem: str) -> str:
    """Return what stands where a private key should, in words that quote nothing of it; empty for a private key."""
    labels = {match[1] for match in PEM_BLOCK.finditer(pem)}
    if has_passphrase(pem):
        return "a private key with a passphrase"
    if any(label.endswith("PRIVATE KEY") for label in labels):
        return ""
    for label, words in {
        "PUBLIC KEY": "a public key, not the private one",
        "CERTIFICATE REQUEST": "a certificate request, not a private key",
        "CERTIFICATE": "a certificate without its private key",
    }.items():
        if any(each.endswith(label) for each in labels):
            return words
    return _unlabeled_problem(pem.strip())


def _unlabeled_problem(text: str) -> str:
    if text.startswith("{"):
        return "JSON (a JWK?), not PEM"
    if "-----BEGIN" in text:
        return "PEM that was cut off: its line `-----END …-----` is missing or of another kind"
    if text.startswith(("ssh-", "ecdsa-")):
        return "a public key for SSH, not a private key in PEM"
    if DER_BASE64.fullmatch(text):
        return "base64 without the lines `-----BEGIN …-----` and `-----END …-----` (DER or PKCS#12), not PEM"
    return "text that is not PEM"
