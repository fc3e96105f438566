"""Log lines have the promised fields and never a secret, also those of libraries."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
import structlog
from structlog.contextvars import bound_contextvars

from agent import logs
from connectors.secret import Secret

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIwb2FzZXJ2aWNlIn0.c2lnbmF0dXJl"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabcdef\n-----END RSA PRIVATE KEY-----"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Yield the stream of the log, and restore Python's logging afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in logs.QUIET_LOGGERS}
    yield io.StringIO()
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, each in levels.items():
        logging.getLogger(name).setLevel(each)


def fail(why: str) -> None:
    """Raise an error; *why* is in a local variable too, which a traceback must not show."""
    raise ValueError(f"refused: {why}")


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_is_one_fact_with_its_time_in_utc_and_its_run(stream: io.StringIO) -> None:
    logs.configure("info", "json", False, stream)
    before = datetime.now(UTC)
    with bound_contextvars(run_id="r1"):
        structlog.get_logger().info("run.started", workspace="pigment-latam", people=3, dry_run=True, groups=["é"])
    (line,) = lines(stream)
    at = datetime.fromisoformat(str(line.pop("timestamp")))
    assert before <= at <= datetime.now(UTC)
    assert line == {
        "event": "run.started",
        "level": "info",
        "run_id": "r1",
        "workspace": "pigment-latam",
        "people": 3,
        "dry_run": True,
        "groups": ["é"],
    }


@pytest.mark.parametrize(("level", "shown"), [("debug", "dwe"), ("info", "we"), ("warning", "we"), ("error", "e")])
def test_level_is_the_minimum_that_is_logged(stream: io.StringIO, level: str, shown: str) -> None:
    logs.configure(level, "json", False, stream)
    for logger in (structlog.get_logger(), logging.getLogger("some.library")):
        logger.debug("d")
        logger.warning("w")
        logger.error("e")
    assert "".join(str(line["event"]) for line in lines(stream)) == shown * 2


def test_requests_are_not_logged_and_warnings_of_libraries_are(stream: io.StringIO) -> None:
    logs.configure("debug", "json", False, stream)
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        client.get("https://acme.okta.com/api/v1/apps", headers={"Authorization": "SSWS 00secret"})
    for name in ("httpcore.http11", "msal.token_cache", "apscheduler.scheduler"):
        logging.getLogger(name).info("one step")
    logging.getLogger("httpx").warning("odd %s", "answer")
    assert [(line["event"], line["logger"], line["level"]) for line in lines(stream)] == [
        ("odd answer", "httpx", "warning")
    ]


def test_quiet_library_follows_level_error(stream: io.StringIO) -> None:
    logs.configure("error", "json", False, stream)
    logging.getLogger("httpx").warning("odd")
    assert lines(stream) == []


def test_warnings_of_python_are_lines_too(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.configure("info", "json", False, stream)
        warnings.warn("this goes away", DeprecationWarning, stacklevel=1)
    (line,) = lines(stream)
    assert "this goes away" in str(line["event"])


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "tokens",
        "access_token",
        "accessToken",
        "client_secret",
        "password",
        "Authorization",
        "Proxy-Authorization",
        "set-cookie",
        "private_key",
        "X-Api-Key",
        "client_assertion",
        "passphrase",
    ],
)
def test_value_of_a_secret_key_is_hidden_at_any_depth(stream: io.StringIO, key: str) -> None:
    logs.configure("info", "json", False, stream)
    nested = {"headers": {key: "v4lue-1"}, "list": [{key: ["v4lue-2"]}]}
    structlog.get_logger().info("x", **{key: "v4lue-3"}, nested=nested)
    assert "v4lue" not in stream.getvalue()
    assert stream.getvalue().count("[hidden]") == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [("token_expires", "2027-03-31"), ("tokens", 2), ("token", None), ("keys", "a"), ("tokenized", "a")],
)
def test_value_without_a_secret_is_shown(stream: io.StringIO, key: str, value: object) -> None:
    logs.configure("info", "json", False, stream)
    structlog.get_logger().info("x", **{key: value})
    assert lines(stream)[0][key] == value


@pytest.mark.parametrize(
    ("text", "secret", "rest"),
    [
        ("Authorization: Bearer abc-123.def", "abc-123", "Authorization: Bearer [hidden]"),
        ("sent SSWS 00abc123, got 401", "00abc123", "sent SSWS [hidden], got 401"),
        ("Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "Basic [hidden]"),
        (f"got {JWT} back", JWT[8:30], "got [hidden] back"),
        (f"key:\n{PEM}\nend", "MIIE", "key:\n[hidden]\nend"),
        (PEM[:45], "MIIE", "[hidden]"),
        ("grant_type=x&client_secret=abc123&scope=y", "abc123", "grant_type=x&client_secret=[hidden]&scope=y"),
        ('{"access_token": "abc123", "expires_in": 5}', "abc123", '{"access_token": "[hidden]", "expires_in": 5}'),
        ("postgresql+psycopg://u:pw123@h/db", "pw123", "postgresql+psycopg://u:[hidden]@h/db"),
        ("nothing to hide: a token of 3 words", "[hidden]", "nothing to hide: a token of 3 words"),
    ],
)
def test_text_that_looks_like_a_secret_is_hidden(stream: io.StringIO, text: str, secret: str, rest: str) -> None:
    logs.configure("info", "json", True, stream)
    structlog.get_logger().info("x", detail=text, error=ValueError(text), raw=text.encode(), parts=(text,))
    logging.getLogger("a.library").warning("%s", text)
    first, second = lines(stream)
    assert first["detail"] == first["error"] == first["raw"] == second["event"] == rest
    assert first["parts"] == [rest]
    assert secret not in stream.getvalue()


def test_secret_is_hidden_in_any_encoding(stream: io.StringIO) -> None:
    logs.configure("info", "json", False, stream)
    value = 'Tr0ub"4\\dor &3é'
    Secret("value", value).reveal()
    Secret("value", f"{value}-and-more").reveal()
    encoded = [value, repr({"token": value}), json.dumps([value]), quote(value, ""), f"{value}-and-more"]
    for each in encoded:
        structlog.get_logger().info("x", detail=f"it was {each}")

    assert len(lines(stream)) == len(encoded)
    assert "ub" not in stream.getvalue()
    assert "more" not in stream.getvalue()


def test_revealed_secret_is_hidden_whatever_its_form(stream: io.StringIO) -> None:
    logs.configure("info", "json", False, stream)
    Secret("value", "plain-words-1").reveal()
    Secret("value", "abc").reveal()
    structlog.get_logger().info("x", detail="<plain-words-1> abc")
    assert lines(stream)[0]["detail"] == "<[hidden]> abc"


def test_exception_is_one_line_without_a_secret(stream: io.StringIO) -> None:
    logs.configure("info", "json", False, stream)
    try:
        fail("Bearer abc123 of ana.souza@acme.com")
    except ValueError:
        structlog.get_logger().exception("run.crashed")
        logging.getLogger("a.library").exception("crashed")
    for line in lines(stream):
        assert "refused: Bearer [hidden] of a***@acme.com" in str(line["exception"])
    assert len(lines(stream)) == 2


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ana.souza+x@acme.com", "a***@acme.com"),
        ("Ana Souza <ana@acme.com>, bo@acme.com.br", "Ana Souza <a***@acme.com>, b***@acme.com.br"),
        ("émile@bücher.example.com", "é***@bücher.example.com"),
        ('userName eq "ana@acme.com"', 'userName eq "a***@acme.com"'),
        ("/Users?filter=userName%20eq%20%22ana%40acme.com%22", "/Users?filter=userName%20eq%20%22a***%40acme.com%22"),
        ("mailto:ana@acme.com", "mailto:a***@acme.com"),
        ("at 5 @ noon, a@", "at 5 @ noon, a@"),
        ("a@acme.com", "a***@acme.com"),
    ],
)
def test_emails_are_masked_from_info_on(stream: io.StringIO, text: str, masked: str) -> None:
    logs.configure("debug", "json", False, stream)
    logger = structlog.get_logger()
    logger.info("x", detail=text, inside={"emails": [text], text: 1})
    logger.error("x", detail=text)
    logger.debug("x", detail=text)
    logging.getLogger("a.library").warning(text)
    info, error, debug, foreign = lines(stream)
    assert info["inside"] == {"emails": [masked], masked: 1}
    assert info["detail"] == error["detail"] == foreign["event"] == masked
    assert debug["detail"] == text


def test_emails_are_shown_when_the_config_allows_it(stream: io.StringIO) -> None:
    logs.configure("info", "json", True, stream)
    structlog.get_logger().info("x", email="ana@acme.com", token="abc")
    assert lines(stream)[0]["email"] == "ana@acme.com"
    assert lines(stream)[0]["token"] == "[hidden]"


def test_console_is_one_plain_line_without_colours_or_control_characters(stream: io.StringIO) -> None:
    logs.configure("info", "console", False, stream)
    structlog.get_logger().info("plan.computed", name="a\x1b[31mb\x9b\u202ec", email="ana@acme.com", api_token="abc")
    text = stream.getvalue()
    assert "plan.computed" in text
    assert "a\\x1b[31mb\\x9b\\x202ec" in text
    assert "\x1b" not in text
    assert "a***@acme.com" in text
    assert "abc" not in text
    assert text.count("\n") == 1


def test_json_is_one_line_without_control_characters_and_keeps_its_value(stream: io.StringIO) -> None:
    logs.configure("info", "json", False, stream)
    name = "a\x1b[31mb\x9b2J\u202ec\n\x7f"
    structlog.get_logger().info("plan.computed", name=name, more=[name])
    text = stream.getvalue()
    assert text.removesuffix("\n").isprintable()
    assert (lines(stream)[0]["name"], lines(stream)[0]["more"]) == (name, [name])


def test_console_shows_a_plain_traceback(stream: io.StringIO) -> None:
    logs.configure("info", "console", False, stream)
    try:
        fail("s3cret".upper())
    except ValueError:
        structlog.get_logger().exception("run.crashed", attempt=1)
    assert "in fail" in stream.getvalue()
    assert stream.getvalue().count("S3CRET") == 1


def test_configuring_again_replaces_the_previous_handler(stream: io.StringIO) -> None:
    logs.configure("info", "json", False, io.StringIO())
    logs.configure("info", "json", False, stream)
    structlog.get_logger().info("x")
    assert len(lines(stream)) == 1


def test_long_text_is_redacted_without_backtracking() -> None:
    # A pattern that backtracks would not end here.
    for text in ("a" * 200_000, "a-" * 100_000, "a." * 100_000 + "@", "eyJ" * 60_000, "%40" * 60_000, "@a" * 100_000):
        assert logs.redact_secrets(text)
        assert logs._mask_emails(text)
