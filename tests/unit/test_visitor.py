"""Sessions end, guesses are counted, and a method that is no longer configured admits no visitor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent.errors import StateError
from agent.model.web_login import MAX_FAILED_LOGINS, WebSession
from agent.settings.server import ServerSettings
from agent.settings.token import Role, hashed_token
from agent.web.auth import (
    SESSION_CACHE_SECONDS,
    UNCHECKED_SESSION_SECONDS,
    LoginLimit,
    Principal,
    Sessions,
    cookie_hash,
    find_principal,
)
from agent.web.login import safe_redirect_path
from tests.memory_state import MemoryState
from tests.state_samples import NOW, Clock

ANA = hashed_token("pgs_ana", Role.OPERATE, "ana")
SERVER = ServerSettings.model_validate({"tokens": [str(ANA)]})
NOBODY = ServerSettings.model_validate({})
VISITOR = Principal("ana", Role.OPERATE, ANA)
MEMBER = Principal("eve@acme.com", Role.READ)


def with_oidc(**changed: Any) -> ServerSettings:
    oidc = {"issuer": "https://login.acme.com", "client_id": "x", "client_secret": "s", "roles": {"All": "read"}}
    return ServerSettings.model_validate({"tokens": [str(ANA)], "oidc": oidc | changed})


class Silent(MemoryState):
    """A state that can be cut off."""

    is_away = False

    def _check_reachable(self) -> None:
        if self.is_away:
            raise StateError("The state can't be reached.", "Start the database.", is_transient=True)

    async def use_web_session(self, session_id: str) -> WebSession | None:
        self._check_reachable()
        return await super().use_web_session(session_id)

    async def open_web_session(self, session_id: str, person: str, role: str, seal: Callable[[datetime], str]) -> None:
        self._check_reachable()
        await super().open_web_session(session_id, person, role, seal)

    async def end_web_session(self, session_id: str) -> None:
        self._check_reachable()
        await super().end_web_session(session_id)

    async def count_failed_login(self, address: str) -> timedelta:
        self._check_reachable()
        return await super().count_failed_login(address)


class World:
    """One state, its clock, and the sessions and limits of two replicas."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.state = Silent(self.clock.now)
        self.one, self.other = Sessions(self.state, self.seconds), Sessions(self.state, self.seconds)
        self.limits = [LoginLimit(self.state, self.seconds) for _ in range(2)]

    def seconds(self) -> float:
        return (self.clock.now() - NOW).total_seconds()

    def pass_seconds(self, seconds: float) -> None:
        self.clock.pass_seconds(seconds)


async def test_session_ends_after_two_hours_without_a_request() -> None:
    world = World()
    cookie = await world.one.open(VISITOR, SERVER)
    for _ in range(3):
        world.pass_seconds(7199)
        assert await world.one.find(cookie, SERVER) is not None
    world.pass_seconds(7201)

    assert await world.one.find(cookie, SERVER) is None


async def test_session_ends_after_twelve_hours_whatever_is_asked() -> None:
    world = World()
    cookie = await world.one.open(VISITOR, SERVER)
    seen = []
    for _ in range(14):
        world.pass_seconds(3599)
        seen.append(await world.one.find(cookie, SERVER) is not None)

    assert seen == [True] * 12 + [False] * 2


async def test_session_ends_with_the_token_that_made_it() -> None:
    world = World()
    server = with_oidc()
    cookie, other = await world.one.open(VISITOR, server), await world.one.open(MEMBER, server)
    assert await world.one.find(other, server) is not None

    assert await world.one.find(other, SERVER) is None, "who came by OIDC goes when OIDC is taken out"
    assert await world.one.find(other, server) is None, "and does not come back with it"
    assert await world.one.find(cookie, NOBODY) is None
    assert await world.one.find(cookie, SERVER) is None, "and does not come back with it"


@pytest.mark.parametrize(
    "changed",
    [
        {"roles": {"Others": "read"}},
        {"client_secret": "rotated"},
        {"client_id": "y"},
        {"issuer": "https://login.example.com"},
        {"groups_claim": "teams"},
    ],
    ids=str,
)
async def test_session_of_a_login_ends_with_the_settings_that_gave_its_role(changed: dict[str, Any]) -> None:
    world = World()
    cookie = await world.one.open(MEMBER, with_oidc())
    assert await world.other.find(cookie, with_oidc()) is not None

    assert await world.other.find(cookie, with_oidc(**changed)) is None


@pytest.mark.parametrize(
    "forged",
    [{"role": "operate"}, {"person": "ana"}, {"began_at": NOW + timedelta(seconds=30)}, {"seal": ""}],
    ids=lambda forged: next(iter(forged)),
)
async def test_session_that_was_altered_in_the_state_admits_no_visitor(forged: dict[str, Any]) -> None:
    world = World()
    cookie = await world.one.open(MEMBER, with_oidc())
    stored, used_at = world.state.web_sessions[cookie_hash(cookie)]
    world.state.web_sessions[stored.id] = (replace(stored, **forged), used_at)

    assert await world.one.find(cookie, with_oidc()) is None
    assert world.state.web_sessions == {}


async def test_session_of_another_cookie_is_worth_nothing_when_its_row_is_copied() -> None:
    world = World()
    cookie = await world.one.open(VISITOR, SERVER)
    own = "o" * len(cookie)
    stored, used_at = world.state.web_sessions[cookie_hash(cookie)]
    world.state.web_sessions[cookie_hash(own)] = (replace(stored, id=cookie_hash(own)), used_at)

    assert await world.one.find(own, SERVER) is None


async def test_logout_at_one_replica_ends_the_session_at_the_other_within_seconds() -> None:
    world = World()
    cookie = await world.one.open(VISITOR, SERVER)
    session = await world.other.find(cookie, SERVER)
    assert session is not None
    assert session == await world.one.find(cookie, SERVER), "and a form of one is taken by the other"
    await world.one.close(cookie)

    assert await world.one.find(cookie, SERVER) is None
    world.pass_seconds(SESSION_CACHE_SECONDS)
    assert await world.other.find(cookie, SERVER) is None


async def test_session_reads_for_some_minutes_while_the_state_is_away_and_never_operates() -> None:
    world = World()
    cookie = await world.one.open(VISITOR, SERVER)
    assert await world.one.find(cookie, SERVER, Role.OPERATE) is not None
    world.state.is_away = True
    world.pass_seconds(UNCHECKED_SESSION_SECONDS - 1)

    assert await world.one.find(cookie, SERVER) is not None
    with pytest.raises(StateError):
        await world.one.find(cookie, SERVER, Role.OPERATE)
    with pytest.raises(StateError):
        await world.other.find(cookie, SERVER)
    with pytest.raises(StateError):
        await world.one.find(cookie, NOBODY)
    with pytest.raises(StateError):
        await world.one.open(VISITOR, SERVER)
    with pytest.raises(StateError):
        await world.one.close(cookie)


async def test_session_that_was_not_checked_for_minutes_is_refused_while_the_state_is_away() -> None:
    world = World()
    cookie = await world.one.open(VISITOR, SERVER)
    await world.one.find(cookie, SERVER)
    world.state.is_away = True
    for _ in range(3):
        world.pass_seconds(UNCHECKED_SESSION_SECONDS / 3 - 2)
        assert await world.one.find(cookie, SERVER) is not None
    world.pass_seconds(SESSION_CACHE_SECONDS + 1)

    with pytest.raises(StateError):
        await world.one.find(cookie, SERVER)
    world.state.is_away = False
    assert await world.one.find(cookie, SERVER) is not None


async def test_session_that_ends_while_the_state_is_away_is_not_prolonged() -> None:
    world = World()
    cookie = await world.one.open(VISITOR, SERVER)
    for _ in range(6):
        world.pass_seconds(7199)
        assert await world.one.find(cookie, SERVER) is not None
    world.state.is_away = True
    world.pass_seconds(7)

    assert await world.one.find(cookie, SERVER) is None


@pytest.mark.parametrize("cookie", ["", "forged", "x" * 43, "\N{GREEK SMALL LETTER ALPHA}" * 43])
async def test_cookie_that_no_login_gave_is_refused(cookie: str) -> None:
    world = World()
    await world.one.open(VISITOR, SERVER)

    assert await world.one.find(cookie, SERVER) is None


async def test_cookies_differ_and_none_is_in_the_state() -> None:
    world = World()
    cookies = [await world.one.open(VISITOR, SERVER) for _ in range(3)]
    found = [await world.one.find(cookie, SERVER) for cookie in cookies]
    kept = repr(world.state.web_sessions)

    assert len(set(cookies)) == len({each.csrf for each in found if each}) == 3
    assert not any(
        secret in kept for each, cookie in zip(found, cookies, strict=True) if each for secret in (cookie, each.csrf)
    )
    assert ANA.digest not in kept


def test_token_is_known_by_its_hash_alone() -> None:
    assert find_principal(SERVER.tokens, "pgs_ana") == VISITOR
    assert find_principal(SERVER.tokens, str(ANA)) is None
    assert find_principal(SERVER.tokens, "") is None


async def test_guesses_of_one_address_wait_at_all_replicas_and_others_do_not() -> None:
    world = World()
    for each in range(MAX_FAILED_LOGINS):
        assert await world.limits[each % 2].count_failure("one") == 0
        world.pass_seconds(1)
    waits = [await limit.count_failure("one") for limit in world.limits]
    assert all(280 < wait <= 300 for wait in waits)
    assert await world.limits[0].count_failure("other") == 0
    world.pass_seconds(max(waits))

    assert [await limit.count_failure("one") for limit in world.limits] == [0, 0]


async def test_guesses_are_counted_by_each_replica_while_the_state_is_away() -> None:
    world = World()
    world.state.is_away = True
    seen = [await world.limits[0].count_failure("one") for _ in range(MAX_FAILED_LOGINS + 1)]

    assert [wait > 0 for wait in seen] == [False] * MAX_FAILED_LOGINS + [True]
    assert await world.limits[1].count_failure("one") == 0


async def test_refused_guesses_cost_the_state_nothing() -> None:
    world = World()
    for _ in range(MAX_FAILED_LOGINS):
        await world.limits[0].count_failure("one")
    first = await world.limits[1].count_failure("one")
    world.state.is_away = True
    world.pass_seconds(100)

    assert await world.limits[1].count_failure("one") == first - 100


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
