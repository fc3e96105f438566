"""Logins to the page: sessions, logins that have begun and failed ones are shared by all replicas, by one clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, func, insert, select, text

from agent.model.web_login import (
    BEGUN_LOGIN_LIFETIME,
    FAILED_LOGIN_WINDOW,
    MAX_BEGUN_LOGINS,
    MAX_FAILED_LOGINS,
    MAX_FAILING_ADDRESSES,
    MAX_SESSIONS,
    SESSION_IDLE,
    SESSION_LIFETIME,
)
from agent.ports.state import State
from agent.store.state import SqlState
from agent.store.tables import begun_logins, failed_logins, web_sessions
from tests.memory_state import MemoryState
from tests.migrated_state import new_sqlite_state, postgres_state
from tests.state_samples import Clock

TABLES = (web_sessions, begun_logins, failed_logins)
DATABASES = pytest.mark.parametrize("replicas", ["sqlite", "postgresql"], indirect=True)
# Times of PostgreSQL's own clock, which no test can move: so the rows are made older.
AGE = (
    "UPDATE web_sessions SET began_at = began_at - :micros, used_at = used_at - :micros",
    "UPDATE begun_logins SET began_at = began_at - :micros",
    "UPDATE failed_logins SET last_at = last_at - :micros, times = "
    "(SELECT json_agg(each::bigint - :micros)::text FROM json_array_elements_text(times::json) AS each)",
)


@dataclass
class Replicas:
    """Two replicas on one state, or one object for both where the state is in memory."""

    one: State
    other: State
    clock: Clock
    engine: Engine | None

    def pass_time(self, time: timedelta) -> None:
        if self.engine is None or self.engine.dialect.name == "sqlite":
            self.clock.moment += time
            return
        with self.engine.begin() as connection:
            for statement in AGE:
                connection.execute(text(statement), {"micros": time // timedelta(microseconds=1)})


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def replicas(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> AsyncIterator[Replicas]:
    if request.param == "memory":
        state = MemoryState(clock.now)
        yield Replicas(state, state, clock, None)
        return
    async with AsyncExitStack() as stack:
        if request.param == "postgresql":
            url = stack.enter_context(postgres_state(request.getfixturevalue("postgres_server")))
        else:
            url = new_sqlite_state(tmp_path)
        engine = create_engine(url)
        stack.callback(engine.dispose)
        one = await SqlState.open(url, clock.now)
        stack.push_async_callback(one.close)
        other = await SqlState.open(url, clock.now)
        stack.push_async_callback(other.close)
        yield Replicas(one, other, clock, engine)


def seal(began_at: datetime) -> str:
    return f"sealed at {began_at.isoformat()}"


async def test_session_is_known_to_all_replicas_until_it_ends(replicas: Replicas) -> None:
    await replicas.one.open_web_session("s1", "ann\x00\\@acme.com", "read", seal)
    session = await replicas.other.use_web_session("s1")
    assert session is not None
    assert (session.id, session.person, session.role) == ("s1", "ann\x00\\@acme.com", "read")
    assert session.seal == seal(session.began_at)
    assert timedelta(0) <= SESSION_IDLE - session.remaining < timedelta(minutes=1)
    assert await replicas.one.use_web_session("s2") is None

    await replicas.other.end_web_session("s1")
    assert await replicas.one.use_web_session("s1") is None
    await replicas.one.end_web_session("s1")


async def test_session_ends_after_two_hours_without_use_and_after_twelve_in_all(replicas: Replicas) -> None:
    await replicas.one.open_web_session("idle", "ann", "read", seal)
    await replicas.one.open_web_session("used", "ann", "read", seal)
    step, moments = timedelta(minutes=110), 6
    for _ in range(moments):
        replicas.pass_time(step)
        assert await replicas.other.use_web_session("used") is not None
    assert await replicas.one.use_web_session("idle") is None
    replicas.pass_time(SESSION_LIFETIME - moments * step - timedelta(minutes=2))
    last = await replicas.one.use_web_session("used")
    assert last is not None
    assert last.remaining <= timedelta(minutes=2)

    replicas.pass_time(timedelta(minutes=2))
    assert await replicas.one.use_web_session("used") is None


async def test_session_of_the_future_is_over(replicas: Replicas) -> None:
    await replicas.one.open_web_session("s1", "ann", "read", seal)
    replicas.pass_time(timedelta(minutes=-2))

    assert await replicas.one.use_web_session("s1") is None


async def test_begun_login_is_finished_once_by_any_replica(replicas: Replicas) -> None:
    for each in ("a", "b"):
        await replicas.one.begin_login(each)
    finished = await asyncio.gather(*(state.finish_login("a") for state in (replicas.one, replicas.other) * 3))
    assert sorted(finished) == [False] * 5 + [True]
    assert not await replicas.one.finish_login("unknown")

    replicas.pass_time(BEGUN_LOGIN_LIFETIME + timedelta(seconds=1))
    assert not await replicas.other.finish_login("b")


async def test_failed_logins_are_counted_exactly_over_all_replicas(replicas: Replicas) -> None:
    states = (replicas.one, replicas.other) * MAX_FAILED_LOGINS
    waits = await asyncio.gather(*(state.count_failed_login("one") for state in states))
    assert sorted(waits)[:MAX_FAILED_LOGINS] == [timedelta(0)] * MAX_FAILED_LOGINS
    assert all(timedelta(0) < wait <= FAILED_LOGIN_WINDOW for wait in sorted(waits)[MAX_FAILED_LOGINS:])
    assert await replicas.other.count_failed_login("other") == timedelta(0)

    replicas.pass_time(FAILED_LOGIN_WINDOW)
    assert await replicas.other.count_failed_login("one") == timedelta(0)


@DATABASES
async def test_oldest_rows_make_room(replicas: Replicas) -> None:
    assert replicas.engine is not None
    await replicas.one.open_web_session("first", "ann", "read", seal)
    await replicas.one.begin_login("first")
    await replicas.one.count_failed_login("first")
    replicas.pass_time(timedelta(seconds=1))
    await replicas.one.open_web_session("now", "ann", "read", seal)
    with replicas.engine.begin() as connection:
        at = connection.execute(select(func.max(web_sessions.c.began_at))).scalar_one()
        sessions = [
            {"id": f"s{n}", "person": "bea", "role": "read", "seal": "", "began_at": at, "used_at": at}
            for n in range(MAX_SESSIONS)
        ]
        connection.execute(insert(web_sessions), sessions)
        connection.execute(insert(begun_logins), [{"id": f"l{n}", "began_at": at} for n in range(MAX_BEGUN_LOGINS)])
        addresses = [{"address": f"a{n}", "times": f"[{at}]", "last_at": at} for n in range(MAX_FAILING_ADDRESSES)]
        connection.execute(insert(failed_logins), addresses)
    replicas.pass_time(timedelta(seconds=1))
    await replicas.other.open_web_session("last", "ann", "read", seal)
    await replicas.other.begin_login("last")
    await replicas.other.count_failed_login("last")

    assert await replicas.one.use_web_session("first") is None
    assert await replicas.one.use_web_session("last") is not None
    assert not await replicas.one.finish_login("first")
    assert await replicas.one.finish_login("last")
    with replicas.engine.connect() as connection:
        kept = [connection.execute(select(func.count()).select_from(each)).scalar_one() for each in TABLES]
        failing = connection.execute(select(failed_logins.c.address)).scalars().all()
    assert kept == [MAX_SESSIONS, MAX_BEGUN_LOGINS - 1, MAX_FAILING_ADDRESSES]
    assert "first" not in failing
    assert "last" in failing


@DATABASES
async def test_what_has_ended_is_deleted_with_old_runs(replicas: Replicas) -> None:
    assert replicas.engine is not None
    for name, passed in (("old", SESSION_LIFETIME), ("new", timedelta(0))):
        await replicas.one.open_web_session(name, "ann", "read", seal)
        await replicas.one.begin_login(name)
        await replicas.one.count_failed_login(name)
        replicas.pass_time(passed)
    with replicas.engine.begin() as connection:
        connection.execute(insert(begun_logins).values(id="older", began_at=0))
    await replicas.one.prune(replicas.clock.now())

    with replicas.engine.connect() as connection:
        left = [connection.execute(select(next(iter(each.primary_key)))).scalars().all() for each in TABLES]
    assert left == [["new"]] * 3
