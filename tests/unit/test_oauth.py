"""Access tokens are requested once, renewed in time, and never replaced by a failure."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from connectors.base import CredentialsRefused, IncompleteRead
from connectors.http import ApiResponse
from connectors.oauth import AccessTokens, IssuedToken, issued_token, oauth_error, token_error


class TokenServer:
    """Issues t1, t2, … with a lifetime of 600 seconds; *failures* are raised first."""

    def __init__(self, *failures: Exception) -> None:
        self.now = 0.0
        self.issued = 0
        self._failures = list(failures)

    async def issue(self) -> IssuedToken:
        await asyncio.sleep(0)
        self.now += 5
        if self._failures:
            raise self._failures.pop(0)
        self.issued += 1
        return IssuedToken(f"t{self.issued}", 600)

    def tokens(self) -> AccessTokens:
        return AccessTokens(self.issue, lambda: self.now, expiry_margin_seconds=120)


async def test_tokens_are_requested_once_for_all_waiters() -> None:
    server = TokenServer()
    tokens = server.tokens()
    headers = await asyncio.gather(*(tokens(False) for _ in range(3)))
    assert headers == [{"Authorization": "Bearer t1"}] * 3
    assert (server.issued, tokens.current) == (1, "t1")


async def test_token_is_renewed_before_it_expires_counted_from_before_the_request() -> None:
    server = TokenServer()
    tokens = server.tokens()
    await tokens(False)
    server.now = 479.9
    assert await tokens(False) == {"Authorization": "Bearer t1"}
    server.now = 480
    assert await tokens(False) == {"Authorization": "Bearer t2"}


async def test_refused_token_is_renewed_at_once() -> None:
    server = TokenServer()
    tokens = server.tokens()
    await tokens(False)
    assert await tokens(True) == {"Authorization": "Bearer t2"}


async def test_failed_renewal_raises_and_the_next_call_tries_again() -> None:
    server = TokenServer(IncompleteRead("no answer", "wait"))
    tokens = server.tokens()
    with pytest.raises(IncompleteRead):
        await tokens(False)
    assert tokens.current == ""
    assert await tokens(False) == {"Authorization": "Bearer t1"}


async def test_short_lifetime_still_serves_for_a_minute() -> None:
    server = TokenServer()

    async def issue() -> IssuedToken:
        return IssuedToken((await server.issue()).text, 0)

    tokens = AccessTokens(issue, lambda: server.now, scheme="bearer")
    await tokens(False)
    server.now = 59
    assert await tokens(False) == {"Authorization": "bearer t1"}
    server.now = 60
    assert await tokens(False) == {"Authorization": "bearer t2"}


@pytest.mark.parametrize("token", [None, 7, "", "two words", "line\nbreak", "ä"])
def test_token_that_no_header_can_carry_is_no_token(token: object) -> None:
    assert issued_token({"access_token": token, "expires_in": 600}) is None


@pytest.mark.parametrize(
    ("value", "seconds"), [(600, 600), ("600", 600), (None, 0), (-1, 0), ("9" * 10, 0), (1.5, 0), ([], 0)]
)
def test_lifetime_is_a_number_or_its_digits(value: object, seconds: int) -> None:
    assert issued_token({"access_token": "t", "expires_in": value}) == IssuedToken("t", seconds)


def response(status: int, body: bytes = b"") -> ApiResponse:
    return ApiResponse(status, httpx.Headers(), httpx.URL("https://example.com/token"), body)


def test_oauth_error_is_empty_where_the_body_is_something_else() -> None:
    assert oauth_error(response(400, b'{"error": "invalid_scope", "error_description": "no"}')) == (
        "invalid_scope",
        "no",
    )
    for body in (b"", b"[]", b"<html>", b"{}"):
        assert oauth_error(response(400, body)) == ("", "")


@pytest.mark.parametrize(
    ("status", "is_transient", "kind"),
    [
        (400, False, CredentialsRefused),
        (401, False, CredentialsRefused),
        (403, False, CredentialsRefused),
        (400, True, IncompleteRead),
        (200, False, IncompleteRead),
        (500, False, IncompleteRead),
    ],
)
def test_token_error_blames_the_credentials_only_for_a_refusal(
    status: int, is_transient: bool, kind: type[Exception]
) -> None:
    error = token_error(
        response(status), "No token.", refused_hint="refused", other_hint="other", is_transient=is_transient
    )
    assert type(error) is kind
    assert error.hint == ("refused" if kind is CredentialsRefused else "other")
