"""Sessions end, guesses are counted, and a method that is no longer configured admits no visitor."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from agent.settings.server import ServerSettings
from agent.settings.token import Role, hashed_token
from agent.web.auth import MAX_FAILED_LOGINS, LoginRateLimit, Principal, Sessions, find_principal
from agent.web.login import safe_redirect_path

ANA = hashed_token("pgs_ana", Role.OPERATE, "ana")
SERVER = ServerSettings.model_validate({"tokens": [str(ANA)]})
NOBODY = ServerSettings.model_validate({})
VISITOR = Principal("ana", Role.OPERATE, ANA)


@dataclass
class Seconds:
    passed: float = 0

    def now(self) -> float:
        return self.passed


def test_session_ends_after_two_hours_without_a_request() -> None:
    clock = Seconds()
    sessions = Sessions(clock.now)
    cookie = sessions.open(VISITOR)
    for _ in range(3):
        clock.passed += 7199
        assert sessions.find(cookie, SERVER) is not None
    clock.passed += 7201

    assert sessions.find(cookie, SERVER) is None


def test_session_ends_after_twelve_hours_whatever_is_asked() -> None:
    clock = Seconds()
    sessions = Sessions(clock.now)
    cookie = sessions.open(VISITOR)
    seen = []
    for _ in range(14):
        clock.passed += 3600
        seen.append(sessions.find(cookie, SERVER) is not None)

    assert seen == [True] * 12 + [False] * 2


def test_session_ends_with_the_token_that_made_it() -> None:
    sessions = Sessions(Seconds().now)
    cookie, other = sessions.open(VISITOR), sessions.open(Principal("eve@acme.com", Role.READ))

    assert sessions.find(other, SERVER) is None, "who came by OIDC goes when OIDC is taken out"
    assert sessions.find(cookie, NOBODY) is None
    assert sessions.find(cookie, SERVER) is None, "and does not come back with it"


def test_oldest_session_makes_room() -> None:
    sessions = Sessions(Seconds().now)
    cookies = [sessions.open(VISITOR) for _ in range(1001)]

    assert sessions.find(cookies[0], SERVER) is None
    assert all(sessions.find(cookie, SERVER) for cookie in cookies[1:])
    assert len(set(cookies)) == 1001


def test_token_is_known_by_its_hash_alone() -> None:
    assert find_principal(SERVER.tokens, "pgs_ana") == VISITOR
    assert find_principal(SERVER.tokens, str(ANA)) is None
    assert find_principal(SERVER.tokens, "") is None


def test_guesses_of_one_address_wait_and_others_do_not() -> None:
    clock = Seconds(1000)
    limit = LoginRateLimit(clock.now)
    for _ in range(MAX_FAILED_LOGINS):
        assert limit.wait_seconds("one") == 0
        limit.record_failure("one")
        clock.passed += 1
    assert 280 < limit.wait_seconds("one") <= 300
    assert limit.wait_seconds("other") == 0
    clock.passed += limit.wait_seconds("one")

    assert limit.wait_seconds("one") == 0


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ("/runs/x?y=1", "/runs/x?y=1"),
        ("//evil.example.com", "/"),
        ("/\\evil.example.com", "/"),
        ("/a\\b", "/"),
        ("https://evil.example.com", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ],
)
def test_login_goes_on_to_our_own_pages_only(wanted: str, taken: str) -> None:
    assert safe_redirect_path(wanted) == taken
