"""Make up words, and spell each as its original was: the same letter cases, and composed or decomposed accents.

Two spellings of a made-up word are equal in every comparison of the planner where the two originals are. Pure but for
the given randomness.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from random import Random

__all__ = ["fold_name", "made_up_words", "spellings", "to_nfc"]

CONSONANTS, VOWELS = "bdfgjklmnprtvz", "aeiou"
SYLLABLES = tuple(sorted(consonant + vowel for consonant in CONSONANTS for vowel in VOWELS))
WORD_SYLLABLES = 4
MIN_KNOWN_LENGTH = 4
"""A made-up word holds no original of at least this length."""

MAX_ATTEMPTS = 200
ACUTE, ACUTE_UPPER = "\u00e9", "\u00c9"
SHARP, SHARP_UPPER = "\u00df", "\u1e9e"


def to_nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def fold_name(word: str) -> str:
    """Return the form in which the words of names are compared, as `agent.model.email.normalize_name`."""
    return to_nfc(to_nfc(word).casefold())


def made_up_words(count: int, random: Random, originals: Collection[str]) -> list[str]:
    """Return *count* distinct words of one length, in random order. None holds one of *originals* (case-folded)."""
    found: dict[str, None] = {}
    attempts = 0
    while len(found) < count:
        attempts += 1
        if attempts > MAX_ATTEMPTS * (count + 1):
            raise ValueError("the originals leave no made-up words")
        word = "".join(random.choice(SYLLABLES) for _ in range(WORD_SYLLABLES))
        if not any(part in originals for part in _parts(word)):
            found[word] = None
    return list(found)


def _parts(word: str) -> Iterator[str]:
    length = len(word)
    for start in range(length - MIN_KNOWN_LENGTH + 1):
        for end in range(start + MIN_KNOWN_LENGTH, length + 1):
            yield word[start:end]


def spellings(
    stem: str, originals: Iterable[str], *, capitalizes: bool = False, has_sharps: bool = False
) -> dict[str, str]:
    """Return a spelling of *stem* for each of *originals*, which are all equal when case and composition are ignored.

    Two spellings are equal in NFC where the originals are. *capitalizes* chooses the case of what has no case. With
    *has_sharps* a sharp s and `ss` are equal in the comparison.
    """
    forms: dict[str, list[str]] = {}
    for original in sorted(originals):
        forms.setdefault(to_nfc(original), []).append(original)
    if not forms:
        return {}
    decomposed = max(sum(each != form for each in spelled) for form, spelled in forms.items())
    has_accents = any(not form.isascii() for form in forms) or decomposed > 0
    accents = max(1, decomposed.bit_length()) if has_accents else 0
    has_sharp = has_sharps and any(SHARP in form or SHARP_UPPER in form for form in forms)
    while 2 ** len(stem) < 4 * len(forms) + 4:
        stem += "bo"
    found: dict[str, str] = {}
    used: set[str] = set()
    # What has the case of a common word first: a mixed case must not take its spelling.
    for form, spelled in sorted(forms.items(), key=lambda each: (_case_rank(each[0]), each[0])):
        # An `x` keeps the marks apart from the word: together they might spell a short original.
        sharp = (
            ("x" if has_accents or has_sharp else "")
            + ("" if not has_sharp else SHARP if SHARP in form or SHARP_UPPER in form else "ss")
            + ACUTE * accents
        )
        chosen = next(each for each in _case_patterns(stem + sharp, len(stem), form, capitalizes) if each not in used)
        used.add(chosen)
        variants = _decomposed(chosen, accents)
        for original in spelled:
            found[original] = chosen if original == form else next(variants)
    return found


def _case_rank(form: str) -> int:
    if form.islower():
        return 0
    if form[:1].isupper() and form[1:].lower() == form[1:]:
        return 1
    return 2 if form.isupper() or form.lower() == form.upper() else 3


def _case_patterns(word: str, letters: int, form: str, capitalizes: bool) -> Iterator[str]:
    """Yield *word* in the case of *form*, then in every case of its first *letters* letters."""
    if form.islower():
        yield word
    elif form.isupper() and len(form) > 1:
        yield word.upper() if SHARP not in word else word.replace(SHARP, SHARP_UPPER).upper()
    elif form[:1].isupper() and form[1:].lower() == form[1:]:
        yield word[0].upper() + word[1:]
    elif form.lower() == form.upper():
        yield word[0].upper() + word[1:] if capitalizes else word
    patterns = itertools.product((False, True), repeat=letters)
    unchanged = next(patterns)
    for upper in itertools.chain(patterns, [unchanged]):
        changed = (letter.upper() if flag else letter for letter, flag in zip(word, upper, strict=False))
        yield "".join(changed) + word[letters:]


def _decomposed(word: str, accents: int) -> Iterator[str]:
    """Yield *word* with one or more of its *accents*, at its end, written as letter and combining mark."""
    front, tail = word[: len(word) - accents], word[len(word) - accents :]
    for flags in itertools.product((False, True), repeat=accents):
        if any(flags):
            yield front + "".join(
                unicodedata.normalize("NFD", letter) if flag else letter
                for letter, flag in zip(tail, flags, strict=True)
            )
