"""Decoding a body: what is not JSON, and that typed decoding accepts nothing that plain decoding refuses."""

from __future__ import annotations

from typing import TypedDict

import msgspec
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.http.json_body import decode_json, decode_typed

FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
PIECES = [
    *(b'{"a":', b'{"a":1}', b"}", b"[", b"]", b",", b":", b'"b":', b'"c"', b"\\", b'"', b"\\ud83d", b"\\ud83d\\udd8a"),
    *(b"0", b"01", b"-", b"1.", b"1e5", b"1e999", b"NaN", b"true", b"nul", b" ", b"\t", b"\x00", b"\xff", b"\xc3\xa9"),
    *(b"\xed\xa0\x80", b"\xef\xbb\xbf", b"/**/", b"\\u00e9", b"\\x"),
]


class Ana(TypedDict):
    id: str


@given(st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join), st.sampled_from([b"", b'"x"', b"7"]))
@example(b'{"a":"\xff"}', b"")
@example(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", b"")
def test_typed_decoding_accepts_only_what_plain_decoding_accepts(middle: bytes, last: bytes) -> None:
    for body in (middle, b'{"a":%b%b}' % (middle, last)):
        typed = decode_typed(body, FIELDS)
        if typed is not None and b"1e999" not in body:
            document = decode_json(body)
            assert isinstance(document, dict)
            assert {name: decode_json(bytes(value)) for name, value in typed.items()} == document


def test_number_that_is_too_large_is_accepted_where_it_is_skipped_only() -> None:
    body = b'{"id":"1","x":1e999}'
    assert decode_typed(body, msgspec.json.Decoder(Ana)) == {"id": "1"}
    with pytest.raises(orjson.JSONDecodeError):
        decode_json(body)


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b'\xef\xbb\xbf{"id":"1"}', {"id": "1"}),
        (b'{"id":"half \\ud83d"}', {"id": "half \ufffd"}),
        (b'{"id":"\\ud83e\\udd8a"}', {"id": "🦊"}),
        (b'{"id":7}', {"id": 7}),
        (b"[]", []),
    ],
)
def test_body_of_another_shape_is_left_to_plain_decoding(body: bytes, document: object) -> None:
    assert decode_typed(body, msgspec.json.Decoder(Ana)) is None
    assert decode_json(body) == document
