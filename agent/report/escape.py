"""Escape external text: nothing in a name may move the cursor, reverse the line or hide itself."""

from __future__ import annotations

import re

__all__ = ["escape_control", "escape_json", "escape_surrogates"]

MAX_LENGTH = 2_000
SLACK = 50
"""Room for the remark on what was cut, so that escaping twice equals escaping once."""

INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f"  # soft hyphen, grapheme joiner, marks of direction, zero width
    "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and a braille cell that are blank
    "\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"  # line ends, overrides and isolates, annotations
    "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # halves of pairs, shorthand, beams of music
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # tags
)
CONTROL = "\x00-\x1f\x7f-\x9f"

_unsafe = re.compile(f"[{CONTROL}{INVISIBLE}]")
_unsafe_in_json = re.compile(f"[\x7f-\x9f{INVISIBLE}]")
_lone_surrogate = re.compile("[\ud800-\udfff]")


def escape_control(text: str) -> str:
    r"""Return *text* with controls as `\x1b` and characters that hide or reverse as `⟦U+202E⟧`, on one line.

    Joiners and variation selectors stay, because names and emoji need them. Longer texts than `MAX_LENGTH` are
    cut, with a remark.
    """
    if len(text) > MAX_LENGTH + SLACK:
        text = f"{text[:MAX_LENGTH]}… ({len(text):,} characters)"
    if text.isascii() and text.isprintable():
        return text
    return _unsafe.sub(_escape_char, text)


def escape_json(text: str) -> str:
    r"""Return equivalent JSON *text*, with the characters that `escape_control` replaces written as `\u202e`."""
    return _unsafe_in_json.sub(_json_escape, text)


def escape_surrogates(text: str) -> str:
    r"""Return *text* with lone halves of surrogate pairs, which UTF-8 cannot encode, escaped as `\ud83d`."""
    return _lone_surrogate.sub(_json_escape, text)


def _escape_char(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0xA0 else f"⟦U+{code:04X}⟧"


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code > 0xFFFF:
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"
