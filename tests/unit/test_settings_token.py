"""Hashed tokens: only the token that `hash-token` printed matches its entry."""

from __future__ import annotations

import pytest

from agent.errors import ConfigError, UsageError
from agent.settings.token import HashedToken, Role, hashed_token, new_token


def test_printed_entry_matches_its_token_and_no_other() -> None:
    token = new_token()
    entry = HashedToken.parse(f" {hashed_token(token, Role.READ, 'ana+audit@acme.com')}\n")

    assert (entry.role, entry.name) == (Role.READ, "ana+audit@acme.com")
    assert entry.matches(token)
    assert not entry.matches(token + "x")
    assert not entry.matches("")
    assert token not in str(entry)


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 43


def test_operators_may_read_and_readers_may_not_operate() -> None:
    allowed = {(granted, needed) for granted in Role for needed in Role if granted.includes(needed)}
    assert allowed == {(Role.READ, Role.READ), (Role.OPERATE, Role.OPERATE), (Role.OPERATE, Role.READ)}


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 65, "\x1b[31m", "-x"])
def test_name_that_the_journal_could_not_show_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        hashed_token("t", Role.READ, name)


@pytest.mark.parametrize(
    "entry",
    ["", "pgs_secret", "admin:ana:sha256:" + "0" * 64, "read:ana:sha256:" + "0" * 63, "read:ana:md5:" + "0" * 64],
)
def test_invalid_entry_is_refused_without_repeating_it(entry: str) -> None:
    with pytest.raises(ConfigError) as raised:
        HashedToken.parse(entry)
    assert "hash-token" in raised.value.hint
    assert not entry or entry not in raised.value.message + raised.value.hint
