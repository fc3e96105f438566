"""Sessions end, guesses are counted, and what is not configured any more lets nobody in."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from agent.settings.server import ServerSettings
from agent.settings.token import Role, hashed
from agent.web.login import local
from agent.web.visitor import GUESSES, LoginLimit, Sessions, Visitor, known

ANA = hashed("pgs_ana", Role.OPERATE, "ana")
SERVER = ServerSettings.model_validate({"tokens": [str(ANA)]})
NOBODY = ServerSettings.model_validate({})
VISITOR = Visitor("ana", Role.OPERATE, ANA)


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
        assert sessions.of(cookie, SERVER) is not None
    clock.passed += 7201

    assert sessions.of(cookie, SERVER) is None


def test_session_ends_after_twelve_hours_whatever_is_asked() -> None:
    clock = Seconds()
    sessions = Sessions(clock.now)
    cookie = sessions.open(VISITOR)
    seen = []
    for _ in range(14):
        clock.passed += 3600
        seen.append(sessions.of(cookie, SERVER) is not None)

    assert seen == [True] * 12 + [False] * 2


def test_session_ends_with_the_token_that_made_it() -> None:
    sessions = Sessions(Seconds().now)
    cookie, other = sessions.open(VISITOR), sessions.open(Visitor("eve@acme.com", Role.READ))

    assert sessions.of(other, SERVER) is None, "who came by OIDC goes when OIDC is taken out"
    assert sessions.of(cookie, NOBODY) is None
    assert sessions.of(cookie, SERVER) is None, "and does not come back with it"


def test_oldest_session_makes_room() -> None:
    sessions = Sessions(Seconds().now)
    cookies = [sessions.open(VISITOR) for _ in range(1001)]

    assert sessions.of(cookies[0], SERVER) is None
    assert all(sessions.of(cookie, SERVER) for cookie in cookies[1:])
    assert len(set(cookies)) == 1001


def test_token_is_known_by_its_hash_alone() -> None:
    assert known(SERVER.tokens, "pgs_ana") == VISITOR
    assert known(SERVER.tokens, str(ANA)) is None
    assert known(SERVER.tokens, "") is None


def test_guesses_of_one_address_wait_and_others_do_not() -> None:
    clock = Seconds(1000)
    limit = LoginLimit(clock.now)
    for _ in range(GUESSES):
        assert limit.wait_seconds("one") == 0
        limit.failed("one")
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
    assert local(wanted) == taken
