"""Make up identifiers in the format of the originals, so that every validation accepts them as it accepted those."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from random import Random

__all__ = ["made_up_ids"]

GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
INTEGER = re.compile(r"(?P<sign>-?)(0|[1-9][0-9]*)")
DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")
OKTA_ID = re.compile(r"(?P<prefix>0(0[a-z]|oa))[A-Za-z0-9]{17}")
PATH_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
MAX_PATH_CHARS = 100
PLAIN = frozenset({"true", "false"})
"""Ids that only an odd server has, and that name no one."""

DIGITS = "0123456789bcdfghjkmnpqrstvwxz"
"""Digits of opaque ids, in their order. Without vowels they spell no name by chance."""

FIRST_INTEGER, LAST_INTEGER = 100_000_000, 1_000_000_000
OPAQUE_CHARS = 17
MIN_KNOWN_LENGTH = 4
MAX_ATTEMPTS = 200

Render = Callable[[int], str]


def made_up_ids(originals: Iterable[str], random: Random, known: Collection[str]) -> dict[str, str]:
    """Return a made-up id for each of *originals*.

    Ids of one format sort as their originals do. GUIDs that differ only in case still do. No alphanumeric part of an
    id is one of *known* (case-folded).
    """
    found: dict[str, str] = {}
    by_format: dict[str, list[str]] = {}
    for original in sorted(originals):
        if original in PLAIN:
            found[original] = original
        else:
            by_format.setdefault(_format_of(original), []).append(original)
    for name in sorted(by_format):
        found |= _of_one_format(name, by_format[name], random, known)
    return found


def _format_of(original: str) -> str:
    if GUID.fullmatch(original):
        return "guid"
    if integer := INTEGER.fullmatch(original):
        return f"integer {integer['sign']}"
    if DECIMAL.fullmatch(original):
        return "decimal"
    if okta := OKTA_ID.fullmatch(original):
        return f"okta {okta['prefix']}"
    return "path" if PATH_ID.fullmatch(original) else "other"


def _of_one_format(name: str, originals: list[str], random: Random, known: Collection[str]) -> dict[str, str]:
    kind, _, detail = name.partition(" ")
    if kind == "guid":
        keys = sorted({each.lower() for each in originals})
        bases = dict(zip(keys, _sorted_sample(len(keys), 16**12, random, _guid(random, known), known), strict=True))
        return _guid_cases(originals, bases)
    ranges = (FIRST_INTEGER, LAST_INTEGER) if kind in {"integer", "decimal"} else (0, len(DIGITS) ** OPAQUE_CHARS)
    render: dict[str, Render] = {
        "integer": lambda number: f"{detail}{number}",
        "decimal": lambda number: f"{number}.5",
        "okta": lambda number: detail + _opaque(number),
        "path": lambda number: "x" + _opaque(number),
        "other": lambda number: "y" + _opaque(number),
    }
    made = _sorted_sample(len(originals), ranges[1] - ranges[0], random, render[kind], known, ranges[0])
    if detail == "-":
        made.sort()
    if kind == "other":
        made = [each + _oddness(original) for each, original in zip(made, originals, strict=True)]
    return dict(zip(originals, made, strict=True))


def _sorted_sample(
    count: int, size: int, random: Random, render: Render, known: Collection[str], start: int = 0
) -> list[str]:
    """Return *count* rendered numbers from *start* on, below *start* plus *size*, by number."""
    numbers: set[int] = set()
    attempts = 0
    while len(numbers) < count:
        attempts += 1
        number = start + random.randrange(size)
        # An original that every id of a format would hold identifies no one.
        if attempts > MAX_ATTEMPTS * count or not _is_known(render(number), known):
            numbers.add(number)
    return [render(number) for number in sorted(numbers)]


def _is_known(text: str, known: Collection[str]) -> bool:
    parts = re.split(r"[^0-9a-z]+", text)
    return any(part in known for part in parts if len(part) >= MIN_KNOWN_LENGTH)


def _guid(random: Random, known: Collection[str]) -> Render:
    """Return a renderer of GUIDs. They hold letters, so that each can be written in both cases."""
    for _ in range(MAX_ATTEMPTS):
        third, fourth = ("".join(random.choices("abcdef", k=3)) for _ in range(2))
        tail = f"4{third}-a{fourth}-{fourth}{random.randrange(16**9):09x}"
        if not _is_known(tail, known):
            break

    def render(number: int) -> str:
        digits = f"{number:012x}"
        return f"{digits[:8]}-{digits[8:]}-{tail}"

    return render


def _guid_cases(originals: list[str], bases: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    used: set[str] = set()
    for original in originals:
        base = bases[original.lower()]
        candidates = [base] if original == original.lower() else [base.upper()] if original == original.upper() else []
        candidates += [base[:at] + base[at:].upper() for at in range(15, 27)]
        candidates += [base[:at].upper() + base[at:] for at in range(15, 27)]
        found[original] = next((each for each in candidates if each not in used), base)
        used.add(found[original])
    return found


def _opaque(number: int) -> str:
    digits = []
    for _ in range(OPAQUE_CHARS):
        number, digit = divmod(number, len(DIGITS))
        digits.append(DIGITS[digit])
    return "".join(reversed(digits))


def _oddness(original: str) -> str:
    """Return what makes *original* unfit for a path: its punctuation, spaces and controls, or its length."""
    odd = sorted({letter for letter in original if letter.isascii() and not letter.isalnum() and letter not in "_-"})
    accent = "" if original.isascii() else "\u00e9"
    return "".join(odd) + accent + "0" * (MAX_PATH_CHARS if len(original) > MAX_PATH_CHARS else 0)
