"""External text is escaped: whatever it contains, it stays one visible line without effects."""

from __future__ import annotations

import json
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.report.escape import MAX_LENGTH, escape_control, escape_json, escape_surrogates


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ana Souza", "Ana Souza"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\r\nb\tc\x7f\x9b", "a\\x0d\\x0ab\\x09c\\x7f\\x9b"),
        ("\u202egnp.exe", "⟦U+202E⟧gnp.exe"),
        ("\u2066a\u2069\u200f\u061c", "⟦U+2066⟧a⟦U+2069⟧⟦U+200F⟧⟦U+061C⟧"),
        ("a\u200bb\u00adc\ufeff\u2028", "a⟦U+200B⟧b⟦U+00AD⟧c⟦U+FEFF⟧⟦U+2028⟧"),
        ("\ud83d", "⟦U+D83D⟧"),
        ("\U000e0041", "⟦U+E0041⟧"),
        ("adm\u115fi\u034fn\u2800", "adm⟦U+115F⟧i⟦U+034F⟧n⟦U+2800⟧"),
    ],
)
def test_what_moves_the_cursor_or_hides_is_shown_by_name(text: str, shown: str) -> None:
    assert escape_control(text) == shown


@pytest.mark.parametrize(
    "text", ["שרה כהן", "李伟", "Zoë O'Brien-Łukasz", "👩\u200d🚀", "می\u200cخواهم", "葛\U000e0100城", "❤\ufe0f"]
)
def test_names_of_people_are_left_alone(text: str) -> None:
    assert escape_control(text) == text


@given(st.text())
def test_shown_text_is_one_line_without_controls_or_overrides(text: str) -> None:
    shown = escape_control(text)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in shown)
    assert not any(unicodedata.bidirectional(letter) in ("RLO", "LRO", "RLE", "LRE", "PDF") for letter in shown)


@given(st.text(max_size=3 * MAX_LENGTH))
def test_showing_twice_is_showing_once(text: str) -> None:
    assert escape_control(escape_control(text)) == escape_control(text)


def test_text_that_is_too_long_to_read_is_cut_with_a_mark() -> None:
    assert escape_control("x" * 5_000) == "x" * MAX_LENGTH + "… (5,000 characters)"


@given(st.text())
def test_escaped_json_means_the_same(text: str) -> None:
    plain = escape_surrogates(text)
    raw = escape_json(orjson.dumps(plain).decode())
    assert json.loads(raw) == plain
    assert escape_control(raw[:MAX_LENGTH]) == raw[:MAX_LENGTH]


def test_halves_of_pairs_are_spelled_out_so_that_utf8_can_hold_them() -> None:
    assert escape_surrogates("a\ud83db") == "a\\ud83db"
    assert escape_surrogates("🦊") == "🦊"
