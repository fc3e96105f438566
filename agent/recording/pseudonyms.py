"""Replace what identifies people and their company: the same original gets the same replacement everywhere.

In two passes, because ids and addresses must sort as their originals do, and no replacement may hold an original:
`Collector` sees every value, and `Replacements` then has one for each of them.

    kind     kept                                                          replaced
    ──────   ───────────────────────────────────────────────────────────   ──────────────────────────────────────
    id       format (GUID, number, Okta id), order                         all else
    email    case, composition, `+`, what makes it invalid, length limits  local part and domain, as two words
    name     white space, punctuation, case, composition                   each word: `given family` stays that
    cursor   that it is there                                              all of it
    word     that it is not a known word                                   all of it

Pure but for the given randomness.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from random import Random
from typing import Protocol

import idna

from agent.model.email import is_valid, normalize, normalize_domain
from agent.model.policy import SUPPORT_EMAILS
from agent.recording.identifiers import made_up_ids
from agent.recording.spelling import fold_name, made_up_words, spellings, to_nfc
from connectors.http import decode_cursor

__all__ = ["Collector", "Replacements", "Visitor"]

SEPARATOR = re.compile(r"[\s!-/:;?@\[-`{-~\u037e\u1fef]+")
"""White space and ASCII punctuation, but not `<`, `=` and `>`, which a combining mark may change. The last two become
ASCII punctuation in NFC."""

FIRST_TAG, LAST_TAG = "\U000e0000", "\U000e007f"
GREEK_QUESTION_MARK = "\u037e"
ZERO_WIDTH_SPACE = "\u200b"
ALPHANUMERIC = re.compile(r"[^\W_]+")
MIN_KNOWN_LENGTH = 4
MAX_LOCAL_BYTES, MAX_ADDRESS_BYTES = 64, 254
MAX_SHORT, LONG_DOMAIN_BYTES, MAX_LABEL = 40, 100, 60
LONGER_LOCAL_BYTES = 32
"""How much longer a made-up local part may be, so that the address must not become too long."""

ATOM_PUNCTUATION = frozenset("!#$%&'*+/=?^_`{|}~-.")
INVALID_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
EXTERNAL_MARK = "#ext#"
WIDE_DOT = "\u3002"
EXAMPLE = "example"
TOKEN = re.compile(r"\S+")


class Visitor(Protocol):
    """Returns the replacement of a value of each kind. White space around a value stays."""

    def id(self, text: str) -> str: ...
    def email(self, text: str) -> str: ...
    def name(self, text: str) -> str: ...
    def domain(self, text: str) -> str: ...
    def cursor(self, text: str) -> str: ...
    def word(self, text: str) -> str: ...


def _strip(text: str, replace: Callable[[str], str]) -> str:
    core = text.strip()
    if not core:
        return text
    start = text.index(core)
    return text[:start] + replace(core) + text[start + len(core) :]


def _separates(letter: str) -> bool:
    # Tag characters are invisible copies of ASCII: they may spell a name.
    is_control = unicodedata.category(letter) in {"Cc", "Cf"} and not FIRST_TAG <= letter <= LAST_TAG
    return is_control or SEPARATOR.fullmatch(letter) is not None


def _name_parts(text: str) -> list[tuple[bool, str]]:
    """Return the words of a name (True) and what stands between them (False)."""
    return [(is_word, "".join(part)) for is_word, part in groupby(text, lambda letter: not _separates(letter))]


def _external_parts(text: str) -> tuple[str, str, str, str] | None:
    """Return the parts of a login such as `ann_acme.com#EXT#@acme.example`: name, domain, mark, the rest."""
    at = text.lower().find(EXTERNAL_MARK)
    if at < 0 or len(text.lower()) != len(text):
        return None
    name, mark, domain = text[:at].rpartition("_")
    if not (name and mark and domain) or "@" in name or "@" in domain:
        return None
    return name, domain, text[at : at + len(EXTERNAL_MARK)], text[at + len(EXTERNAL_MARK) :]


@dataclass(slots=True)
class Collector:
    """The first pass: keeps every original."""

    ids: set[str] = field(default_factory=set)
    emails: set[str] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    cursors: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)

    def id(self, text: str) -> str:
        self.ids.add(text.strip())
        return ""

    def email(self, text: str) -> str:
        core = text.strip()
        if parts := _external_parts(core):
            name, domain, _, rest = parts
            self.emails.add(f"{name}@{domain}")
            self.email(rest) if not rest.startswith("@") else self.domains.add(rest[1:].strip())
        else:
            self.emails.add(core)
        return ""

    def name(self, text: str) -> str:
        self.names.update(text.split())
        return ""

    def domain(self, text: str) -> str:
        self.domains.add(text.strip())
        return ""

    def cursor(self, text: str) -> str:
        self.cursors.add(decode_cursor(text))
        return ""

    def word(self, text: str) -> str:
        self.words.add(text.strip())
        return ""


@dataclass(frozen=True, slots=True)
class _Email:
    """An address in its parts. *domain* is None where the text has no @."""

    text: str
    local: str
    domain: str | None

    @classmethod
    def parse(cls, text: str) -> _Email:
        local, at, domain = text.rpartition("@")
        return cls(text, local, domain if at else None)


class Replacements:
    """The second pass: has a replacement for everything that *seen* holds. Raises `KeyError` for anything else."""

    def __init__(self, seen: Collector, random: Random) -> None:
        known = frozenset(_known_parts(seen))
        self._ids = made_up_ids(seen.ids - {""}, random, known)
        self._ascii_emails = frozenset(each.lower() for each in seen.emails if each.isascii() and "@" in each)
        spelled = {each for each in seen.names if self._is_email(each)}
        self._emails = {each: _Email.parse(each) for each in seen.emails | spelled if each}
        emails = [each for each in self._emails.values() if not _is_public(each.text)]
        self._too_long = frozenset(normalize(each.text) for each in emails if _is_only_too_long(each))
        locals_ = _group((each.local for each in emails if each.local and each.domain is not None), _local_key)
        bare = _group((each.text for each in emails if each.domain is None), normalize)
        domains = _group([*seen.domains, *(each.domain or "" for each in emails)], _domain_key)
        tokens = seen.names - spelled
        names = _group((part for token in tokens for is_word, part in _name_parts(token) if is_word), fold_name)
        words, cursors = sorted(seen.words - {""}), sorted(seen.cursors - {""})
        count = sum(map(len, (locals_, bare, domains, names, words, cursors)))
        pool = iter(made_up_words(count, random, known))

        def stems(number: int) -> list[str]:
            return sorted(itertools.islice(pool, number))

        # Addresses sort by their local parts first, and `@` comes before any letter.
        keys = sorted([*((f"{key}@", key) for key in locals_), *((key, key) for key in bare)])
        self._locals: dict[str, str] = {}
        self._bare: dict[str, str] = {}
        for (sort_key, key), stem in zip(keys, stems(len(keys)), strict=True):
            if sort_key == key:
                self._bare |= _with_tail(spellings(stem, bare[key]), _external_mark(key))
            else:
                self._locals |= _with_tail(spellings(stem, locals_[key]), _local_tail(key))
        self._domains: dict[str, str] = {"": ""}
        for key, stem in zip(sorted(domains), stems(len(domains)), strict=True):
            self._domains |= _domain_spellings(stem, key, domains[key])
        self._names: dict[str, str] = {}
        for key in sorted(names):
            self._names |= spellings(next(pool), names[key], capitalizes=True, has_sharps=True)
        self._words = {each: f"word-{next(pool)}" for each in words}
        self._cursors = {"": ""} | {each: f"cursor-{next(pool)}" for each in cursors}

    def id(self, text: str) -> str:
        return _strip(text, self._ids.__getitem__)

    def email(self, text: str) -> str:
        return _strip(text, self._email)

    def _email(self, core: str) -> str:
        if parts := _external_parts(core):
            name, domain, mark, rest = parts
            local, _, home = self._address(f"{name}@{domain}").rpartition("@")
            shown = "@" + self.domain(rest[1:]) if rest.startswith("@") else self.email(rest)
            return f"{local}_{home}{mark}{shown}"
        return self._address(core)

    def _address(self, text: str) -> str:
        if _is_public(text):
            return text
        email = self._emails[text]
        if email.domain is None:
            return self._bare[text]
        local = self._locals[email.local] if email.local else ""
        padding = "b" * MAX_ADDRESS_BYTES if normalize(text) in self._too_long else ""
        return f"{local}{padding}@{self._domains[email.domain]}"

    def domain(self, text: str) -> str:
        return _strip(text, self._domains.__getitem__)

    def name(self, text: str) -> str:
        return TOKEN.sub(lambda match: self._name_token(match[0]), text)

    def _name_token(self, token: str) -> str:
        if self._is_email(token):
            return self._address(token)
        return "".join(self._names[part] if is_word else part for is_word, part in _name_parts(token))

    def _is_email(self, token: str) -> bool:
        """Return whether a part of a name is an address that is known as one. Others are replaced word by word."""
        return token.isascii() and token.lower() in self._ascii_emails

    def cursor(self, text: str) -> str:
        return self._cursors[decode_cursor(text)]

    def word(self, text: str) -> str:
        return _strip(text, self._words.__getitem__)


def _known_parts(seen: Collector) -> Iterator[str]:
    """Yield every alphanumeric part of every original, case-folded: no made-up word may hold one."""
    for originals in (seen.ids, seen.emails, seen.domains, seen.names, seen.cursors, seen.words):
        for original in originals:
            for text in {original, to_nfc(original)}:
                for part in ALPHANUMERIC.findall(text.casefold()):
                    if len(part) >= MIN_KNOWN_LENGTH:
                        yield part


def _group(originals: Iterable[str], key: Callable[[str], str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in originals:
        if each:
            found.setdefault(key(each), set()).add(each)
    return found


def _is_public(email: str) -> bool:
    return email.isascii() and email.lower() in SUPPORT_EMAILS


def _is_only_too_long(email: _Email) -> bool:
    """Return whether an address has valid parts and is too long."""
    if email.domain is None or len(email.text) * 4 <= MAX_ADDRESS_BYTES or is_valid(email.text):
        return False
    return is_valid(f"a@{email.domain}") and is_valid(f"{email.local}@a.example")


def _local_key(local: str) -> str:
    return normalize(f"{local}@").removesuffix("@")


def _domain_key(domain: str) -> str:
    return normalize_domain(to_nfc(domain))


def _with_tail(made: Mapping[str, str], tail: str) -> dict[str, str]:
    # The Greek question mark is a letter to a check of addresses, and a semicolon once it is normalized.
    return {
        original: each + (tail.replace(";", GREEK_QUESTION_MARK) if _is_greek_question(original) else tail)
        for original, each in made.items()
    }


def _is_greek_question(original: str) -> bool:
    return GREEK_QUESTION_MARK in original and ";" not in original


def _external_mark(key: str) -> str:
    return EXTERNAL_MARK if EXTERNAL_MARK in key.lower() else ""


def _local_tail(key: str) -> str:
    """Return what makes a local part an address with a tag, invalid, or too long, as that of *key*."""
    invalid = {letter for letter in key if not _is_atom_letter(letter)}
    bad = sorted({letter if letter.isascii() else ZERO_WIDTH_SPACE for letter in invalid})
    tail = ("+tag" if "+" in key else "") + "".join(bad) + _external_mark(key)
    if ".." in key or key.startswith(".") or key.endswith("."):
        tail += ".."
    size = len(key.encode(errors="surrogatepass"))
    if size > MAX_LOCAL_BYTES:
        return tail + "b" * size
    return tail + "b" * max(0, size - MAX_SHORT)


def _is_atom_letter(letter: str) -> bool:
    if letter.isascii():
        return letter.isalnum() or letter in ATOM_PUNCTUATION
    return unicodedata.category(letter) not in INVALID_CATEGORIES


def _domain_spellings(stem: str, key: str, originals: Iterable[str]) -> dict[str, str]:
    """Return a domain for each of *originals*, which all mean *key*, and which is valid where the original is."""
    international = sorted(each for each in originals if not each.isascii())
    plain = sorted(each for each in originals if each.isascii())
    size = len(key.encode(errors="surrogatepass"))
    padding = "".join(
        f".{'b' * min(MAX_LABEL, left)}"
        for left in range(size - len(stem) - len(EXAMPLE) - LONGER_LOCAL_BYTES, 1, -MAX_LABEL - 1)
    )
    padding = padding if size > LONG_DOMAIN_BYTES else ""
    found: dict[str, str] = {}
    if international:
        found = spellings(stem, international)
        # Both forms of an international domain are one domain.
        label = idna.encode(to_nfc(min(found.values(), key=len)), uts46=True).decode().lower()
        plain_forms = spellings(label, plain)
    else:
        plain_forms = spellings(stem, plain)
    return {
        original: made + _external_mark(key) + padding + _suffix(original, key)
        for original, made in (found | plain_forms).items()
    }


def _suffix(original: str, key: str) -> str:
    if is_valid(f"a@{original}"):
        return f".{EXAMPLE}"
    if "." in original:
        return f"..{EXAMPLE}"
    return f"{WIDE_DOT}{EXAMPLE}" if "." in key else ""
