"""The parts of the HTTP client: origins, quotes, answers, `Retry-After`, walks, and the client itself."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError
from agent.http_client import create_client
from connectors.base import IncompleteRead
from connectors.http import (
    ApiResponse,
    PageGuard,
    RequestLimits,
    decode_cursor,
    escape_control,
    header_numbers,
    is_loopback,
    redact,
    request_id_from_headers,
    retry_after_seconds,
    validate_host,
)
from connectors.http.origin import Origin
from connectors.http.redact import error_excerpt
from connectors.http.send import PART_BYTES, send_request
from connectors.http.tls import tls_context

BASE = Origin("https://acme.example/api/")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("users", "https://acme.example/api/users"),
        ("/users?x=1", "https://acme.example/api/users?x=1"),
        ("", "https://acme.example/api"),
        ("Users/a%2Fb%2B", "https://acme.example/api/Users/a%2Fb%2B"),
        ("//evil.example/x", "https://acme.example/api/evil.example/x"),
        ("https://acme.example/elsewhere?after=a%2Bb", "https://acme.example/elsewhere?after=a%2Bb"),
        ("https://ACME.example:443/x", "https://acme.example/x"),
        ("https:/evil.example", "https://acme.example/api/https:/evil.example"),
    ],
)
def test_origin_resolves_what_lies_on_it(url: str, target: str) -> None:
    assert str(BASE.resolve(url)) == target


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/api", "http://acme.example/api", "https://acme.example:8443/api", "https://acme.example.evil/",
        "https://acme.example@evil.example/", "https://user:pass@acme.example/", "ftp://acme.example/", "https://",
        "https://acme.example\x00/", "https://[::1/", "gopher://acme.example", "https://xn--a/", "https://xn--a.acme.example/",
    ],
)  # fmt: skip
def test_origin_refuses_what_leads_away(url: str) -> None:
    assert BASE.resolve(url) is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.8.8.8", "::1", "[::1]"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert Origin(f"http://{'[::1]' if ':' in host else host}:8080/scim").base_url


@pytest.mark.parametrize("host", ["acme.example", "10.0.0.1", "0.0.0.0", "localhost.evil.example", "", "1270.0.1"])  # noqa: S104
def test_everything_else_is_not(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="http"):
        Origin(f"http://{host}/scim")


# Quotes.


@pytest.mark.parametrize(
    "secret",
    [
        "Bearer abc.def-123", "SSWS 00abc_def", "eyJhbGciOi.eyJzdWIi.c2ln", '"token": "s3cret-word"',
        "password=hunter2",
        "client_secret: hunter2", "AKIA" + "Z" * 40,
    ],
)  # fmt: skip
def test_quote_cuts_out_what_looks_like_a_secret(secret: str) -> None:
    shown = redact(f"before {secret} after")

    assert shown.startswith("before ")
    assert shown.endswith(" after")
    for word in ("abc", "eyJ", "s3cret", "hunter2", "ZZZ"):
        assert word not in shown


@given(st.text())
def test_quote_is_short_and_on_one_line(text: str) -> None:
    shown = redact(text)

    assert len(shown) <= 200
    assert shown.isprintable() or not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in shown)


def test_quote_shows_controls_and_reversals_as_text() -> None:
    assert redact("a\x1b[31m\u202eb\n c\x00") == "a\\x1b[31m\\x202eb c\\x00"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"detail": "No such user"}', ': "No such user"'),
        (
            b'{"errorCode": "E0000011", "errorSummary": "Invalid token provided"}',
            ': "Invalid token provided" (E0000011)',
        ),
        (b'{"error": {"code": "x", "message": "Insufficient privileges"}}', ': "Insufficient privileges"'),
        (b'{"error": "invalid_client", "error_description": "AADSTS7000215"}', ': "AADSTS7000215" (invalid_client)'),
        (b'{"error": "invalid_client"}', ': "invalid_client"'),
        (
            b'{"status": 400, "error": "BadRequestError", "description": "Bad cursor"}',
            ': "Bad cursor" (BadRequestError)',
        ),
        (b'{"status": {"error": true, "code": 400, "type": "bad request", "message": "no"}}', ': "no"'),
        (b'{"errorCode": "E1", "errorSummary": "a", "errorCauses": [{"errorSummary": "b"}]}', ': "a (b)" (E1)'),
        (b'{"error": {"code": "X1", "message": "a", "innerError": {"message": "b", "date": "c"}}}', ': "a (b)" (X1)'),
        (b'{"error": {"code": "my-own-token", "message": "a"}}', ': "a" (\u2026)'),
        (b'{"detail": "%s"}' % (b"a " * 3000), f': "{"a " * 99}a\u2026"'),
        (b'{"other": 1}', ': "{"other": 1}"'),
        (b"<html><style>x{}</style><h1>Bad  gateway</h1></html>", ': "Bad gateway"'),
        (b"", ""),
        (b"\xff\xfe", ': "\ufffd\ufffd"'),
        (b'{"detail": "sent my-own-token"}', ': "sent …"'),
    ],
)
def test_response_is_quoted_by_its_message(body: bytes, shown: str) -> None:
    assert error_excerpt(body, {"Authorization": "Bearer my-own-token"}) == shown


def test_own_names_and_ids_are_shown_whole() -> None:
    path = "/v1.0/groups/11111111-2222-3333-4444-555555555555/members"
    assert escape_control(path) == path
    assert escape_control("a\x1b[31m\u202eb\n c\x00") == "a\\x1b[31m\\x202eb c\\x00"


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"x-okta-request-id": "aYx-01_2"}, "aYx-01_2"), ({"request-id": "abcd-1"}, "abcd-1"), ({}, ""),
        ({"request-id": "a b"}, ""), ({"request-id": "<script>"}, ""), ({"request-id": "my-own-token"}, ""),
        ({"request-id": "x" * 101, "x-request-id": "abcd"}, "abcd"),
        ({"request-id": "x" * 100}, "x" * 100), ({"x-request-id": "ann@acme.com"}, ""),
        ({"x-ms-request-id": "ms-1"}, "ms-1"), ({"x-correlation-id": "c-12"}, "c-12"),
        ({"cf-ray": "8f2-FRA"}, "8f2-FRA"),
        ({"cf-ray": "8f2-FRA", "x-correlation-id": "c-12", "x-okta-request-id": "okta"}, "okta"),
        ({"request-id": "a-my-own-token"}, ""), ({"request-id": "my-own-tok"}, ""), ({"request-id": "ab\x1b[1m"}, ""),
        ({b"request-id": "idé-1".encode()}, ""), ({"request-id": "abcd\x00"}, ""),
        ({"x-request-id": "abcd, abcd"}, "abcd"), ({"x-request-id": "A+b/c=="}, "A+b/c=="),
    ],
)  # fmt: skip
def test_request_id_is_shown_where_it_is_one(headers: dict[str, str] | dict[bytes, bytes], shown: str) -> None:
    assert request_id_from_headers(httpx.Headers(headers), {"Authorization": "Bearer my-own-token"}) == shown


# Answers.


def an_answer(body: bytes = b"", headers: list[tuple[str, str]] | None = None) -> ApiResponse:
    return ApiResponse(200, httpx.Headers(headers or []), httpx.URL("https://acme.example/api/users?x=1"), body, "Acme")


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        ([("link", '<https://a.example/1>; rel="self"'), ("link", '<https://a.example/2>; rel="next"')], "https://a.example/2"),
        ([("Link", '<https://a.example/1>; rel="self", <https://a.example/2,3>; title="x, y"; REL=next')], "https://a.example/2,3"),
        ([("link", "</u?after=1,2>; title=\"a, b; rel=prev\"; rel=next")], "https://acme.example/u?after=1,2"),
        ([("link", '<?after=2>; rel="last next"')], "https://acme.example/api/users?after=2"),
        ([("link", '<https://a.example/1>; rel="prev"')], None),
        ([("link", "nonsense")], None),
        ([], None),
    ],
)  # fmt: skip
def test_link_is_found_by_its_relation(headers: list[tuple[str, str]], target: str | None) -> None:
    assert an_answer(headers=headers).link("next") == target


@pytest.mark.parametrize("target", ["https://[::1/", "/users\x01?after=2"])
def test_invalid_link_is_not_the_last_page(target: str) -> None:
    with pytest.raises(IncompleteRead, match="a next link that is not a URL"):
        an_answer(headers=[("link", f"<{target}>; rel=next")]).link("next")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb'"a\ud83db"', "a\ufffdb"), (rb'"\udc00\ud800"', "\ufffd\ufffd"), (rb'"\ud83d\ude00\ud83d"', "😀\ufffd"),
        (rb'"\\ud83d\ud83d"', "\\ud83d\ufffd"), (rb'"plain \n"', "plain \n"),
    ],
)  # fmt: skip
def test_json_replaces_half_letters(body: bytes, text: str) -> None:
    assert an_answer(body).json() == text


@pytest.mark.parametrize("body", [b'["a"]', b'["a", "\\ud800"]'])
def test_json_after_a_byte_order_mark_is_read(body: bytes) -> None:
    marked = ApiResponse(200, httpx.Headers(), httpx.URL("https://a.example"), b"\xef\xbb\xbf" + body)

    assert marked.rows(None)[0] == "a"
    assert error_excerpt(b'\xef\xbb\xbf{"detail": "no seats"}', {}) == ': "no seats"'


@given(st.text(alphabet=st.characters(), max_size=20))
def test_json_with_half_letters_is_what_it_was_with_each_half_replaced(text: str) -> None:
    whole = json.loads(json.dumps(text))  # joins halves that met

    assert an_answer(json.dumps(text).encode()).json() == "".join(
        "\ufffd" if 0xD800 <= ord(letter) < 0xE000 else letter for letter in whole
    )


@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>", b"[" * 5_000 + b"]" * 5_000, b'"\xff"', b"NaN", b'"\\ud83d', b"1 2"]
)
def test_what_is_no_json_is_an_error_that_names_who_and_where(body: bytes) -> None:
    with pytest.raises(IncompleteRead, match="Acme answered /api/users with a body that is not JSON"):
        an_answer(body).json()


def test_rows_are_a_list_or_an_error() -> None:
    assert an_answer(b"[1]").rows(None) == [1]
    assert an_answer(b'{"value": [1]}').rows("value") == [1]
    for body, key in ((b"{}", None), (b"{}", "value"), (b'{"value": {}}', "value"), (b'[{"value": []}]', "value")):
        with pytest.raises(IncompleteRead, match="not a list"):
            an_answer(body).rows(key)


# Retry-After (RFC 9110, section 10.2.3).


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "١"}, None),
        ({"Retry-After": "9" * 400}, float("inf")),
        ({"Retry-After": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 0),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT", "Date": "Fri, 31 Dec 1999 23:59:00 GMT"}, 59),
        ({"Retry-After": "Thu, 01 Jan 1970 00:02:00 GMT", "Date": "yesterday"}, 20),
        ({"Retry-After": "5, 5"}, 5),
        ({"Retry-After": "5, 20"}, 20),
        ({"Retry-After": "Thu, 01 Jan 1970 00:02:00 GMT, Thu, 01 Jan 1970 00:02:00 GMT"}, 20),
        (
            {
                "Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT",
                "Date": "Fri, 31 Dec 1999 23:59:00 GMT, Fri, 31 Dec 1999 23:59:00 GMT",
            },
            59,
        ),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    sent = httpx.Headers([(name.encode(), value.encode()) for name, value in headers.items()])

    assert retry_after_seconds(sent, lambda: 100) == seconds


def test_retry_after_that_stands_twice_is_the_longer_wait() -> None:
    assert retry_after_seconds(httpx.Headers([("Retry-After", "5"), ("retry-after", "20")]), lambda: 100) == 20


@pytest.mark.parametrize(
    ("lines", "numbers"),
    [
        ([], []), (["7"], [7]), (["7", "7"], [7]), (["7, 7"], [7]), (["9", "7"], [7, 9]), (["9,7"], [7, 9]),
        (["7", "many"], []), (["-7"], []), (["1.5"], []), (["9" * 400], []), ([""], []),
    ],
)  # fmt: skip
def test_numbers_of_a_header_are_each_different_one(lines: list[str], numbers: list[int]) -> None:
    assert header_numbers(httpx.Headers([("X-Limit", line) for line in lines]), "x-limit") == numbers


# Walks.


@pytest.mark.parametrize(
    ("sent", "plain"),
    [
        ("bGltaXQ9NiZwYWdlPTI%3D", "bGltaXQ9NiZwYWdlPTI="), ("YQ%253D%253D", "YQ=="),
        ("YQ==", "YQ=="), ("a+b/c", "a+b/c"),
        ("100%", "100%"), ("", ""),
    ],
)  # fmt: skip
def test_cursor_is_decoded_before_it_is_encoded(sent: str, plain: str) -> None:
    assert decode_cursor(sent) == plain


def test_walk_refuses_a_page_that_it_has_seen() -> None:
    walk = PageGuard("Acme", "one", 10)

    assert [walk.advance("two"), walk.advance("three")] == ["two", "three"]
    for cursor in ("one", "two", "three"):
        with pytest.raises(IncompleteRead, match=r"Acme .* would never end"):
            walk.advance(cursor)


def test_walk_ends_after_its_pages() -> None:
    walk = PageGuard("Acme", "0", 3)

    walk.advance("1")
    walk.advance("2")
    with pytest.raises(IncompleteRead, match="after 3 pages"):
        walk.advance("3")
    assert walk.page_count == 3


# The client that bootstrap shares between all parts.


async def test_client_follows_nothing_by_itself() -> None:
    async with create_client(None, 12) as http:
        assert http.follow_redirects is False
        assert http.timeout == httpx.Timeout(12)


async def test_client_trusts_the_bundle_it_is_given(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)

    async with create_client(bundle, 12) as http:
        assert isinstance(http, httpx.AsyncClient)


def test_bundle_is_read_once_until_it_is_replaced(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    first = tls_context(bundle, {})
    assert tls_context(bundle, {}) is first

    other = trustme.CA().cert_pem
    other.write_to_path(tmp_path / "new.pem")
    (tmp_path / "new.pem").replace(bundle)
    found = tls_context(bundle, {})
    assert found.get_ca_certs(binary_form=True) == [ssl.PEM_cert_to_DER_cert(other.bytes().decode())]
    assert found is not first


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_bundle_that_can_not_be_used_is_an_error_with_its_path(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)

    with pytest.raises(ConfigError, match=r"ca_bundle: .*ca\.pem"):
        create_client(bundle, 12)


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.okta.com",
        "https://a.example.com.",
        "https://10.0.0.1:8443",
        "https://[::1]",
        "https://bücher.example",
    ],
)
def test_host_that_a_name_server_could_know_passes(url: str) -> None:
    validate_host(httpx.URL(url))


@pytest.mark.parametrize("url", ["https://a..b", "https://[acme", "https://acme-.com", "https://{org}.okta.com"])
def test_host_that_no_name_server_could_know_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not a valid host name"):
        validate_host(httpx.URL(url))


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
@pytest.mark.parametrize("pieces", [1, 2, 50])
async def test_packed_body_arrives_whole_in_any_pieces(size: int, pieces: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    packed = gzip.compress(body) + b"what follows is ignored"
    step = len(packed) // pieces + 1

    async def answer(request: httpx.Request) -> httpx.Response:
        async def stream() -> AsyncIterator[bytes]:
            for start in range(0, len(packed), step):
                yield packed[start : start + step]

        return httpx.Response(200, content=stream(), headers={"content-encoding": "gzip"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        request = client.build_request("GET", "https://acme.example/")
        _, found = await send_request(client, request, RequestLimits(max_bytes=max(size, 1)))

    assert found == body
