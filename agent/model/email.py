"""Compare email addresses and names as the design defines it. Pure; what is sent keeps its spelling."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import idna

__all__ = ["domain_of", "is_allowed", "is_same_name", "is_valid", "normalize", "normalize_domain", "normalize_name"]

# RFC 5321, section 4.5.3.1, in octets of UTF-8 (RFC 6531).
MAX_LOCAL_BYTES, MAX_ADDRESS_BYTES = 64, 254
# RFC 5322 atext and, for internationalised addresses, anything beyond ASCII that is not white space or a control.
# By what it is not: a set that names the characters beyond ASCII takes 5 ms to compile.
ATOM = r"""[^\x00-\x20"(),.:;<>@\[\\\]\x7f]+"""
LOCAL_PART = re.compile(rf"{ATOM}(\.{ATOM})*")


def normalize(email: str) -> str:
    """Return the form in which addresses are compared: NFC, simple case folding, the domain as IDNA A-labels."""
    if email.isascii():
        lower = email.lower()
        # The same object where nothing changes: of a hundred thousand addresses a second copy counts.
        return email if lower == email else lower
    local, at, domain = unicodedata.normalize("NFC", email).rpartition("@")
    return _simple_casefold(local) + at + normalize_domain(domain)


def _simple_casefold(text: str) -> str:
    """Fold case letter by letter: `ß` is not `ss`, which is another mailbox (simple folding, Unicode 15, 3.13)."""
    return unicodedata.normalize("NFC", "".join(map(_simple_casefold_letter, unicodedata.normalize("NFC", text))))


def _simple_casefold_letter(letter: str) -> str:
    # Python folds fully only; where that makes several letters of one, the lower-case one is the simple folding.
    return next((each for each in (letter.casefold(), letter.lower()) if len(each) == 1), letter)


@lru_cache(maxsize=4096)
def normalize_domain(domain: str) -> str:
    """Return the domain as lower-case A-labels, or only case-folded where IDNA 2008 (with UTS 46) rejects it."""
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return _simple_casefold(domain)


def domain_of(email: str) -> str:
    """Return the normalized domain, empty when there is no domain."""
    return normalize(email).rpartition("@")[2] if "@" in email else ""


def is_allowed(email: str, domains: frozenset[str]) -> bool:
    """Return whether the address is in one of *domains* (normalized; subdomains not implied; empty allows all)."""
    return not domains or domain_of(email) in domains


@lru_cache(maxsize=4096)
def _is_valid_domain(domain: str) -> bool:
    if "." not in domain:
        return False
    try:
        idna.encode(domain, uts46=True)
    except (idna.IDNAError, UnicodeError):
        return False
    return True


def is_valid(email: str) -> bool:
    """Return whether mail could be sent there: one local part of atoms, and a domain that IDNA accepts.

    Quoted local parts and address literals are refused: no identity provider hands them out as a login.
    """
    local, at, domain = email.rpartition("@")
    if not at or not LOCAL_PART.fullmatch(local) or not _is_valid_domain(domain):
        return False
    if any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"} for letter in local):
        return False
    return len(local.encode()) <= MAX_LOCAL_BYTES and len(email.encode()) <= MAX_ADDRESS_BYTES


def _collapse_whitespace(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).split())


def is_same_name(one: str, other: str) -> bool:
    """Return whether two display names are written alike but for white space and composition; case counts."""
    return one == other or _collapse_whitespace(one) == _collapse_whitespace(other)


def normalize_name(name: str) -> str:
    """Return the form in which names are compared: NFC, casefold, white space collapsed."""
    return unicodedata.normalize("NFC", _collapse_whitespace(name).casefold())
