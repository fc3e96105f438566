"""The daemons that use a state: listed while they live, and forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.model.daemon import DaemonRecord
from agent.ports.daemons import ALIVE_SECONDS, FORGOTTEN_AFTER_SECONDS
from agent.ports.state import State
from tests.state_samples import NOW, Clock

ONE = DaemonRecord(id="one", host="höst\x00-a", pid=7, version="0.1.0", started_at=NOW)
TWO = DaemonRecord(id="two", host="host-b", pid=7, version="0.2.0", started_at=NOW - timedelta(days=3))


async def ids(state: State) -> list[str]:
    return [each.id for each in await state.load_daemons()]


async def test_daemons_are_listed_with_what_they_recorded_the_longest_running_first(state: State) -> None:
    assert await state.load_daemons() == ()
    for each in (ONE, TWO, ONE):
        await state.record_daemon(each)
    found = await state.load_daemons()

    assert [replace(each, seen_at=None) for each in found] == [TWO, ONE]
    assert all(each.seen_at is not None for each in found)
    await state.forget_daemon("two")
    await state.forget_daemon("unknown")
    assert await ids(state) == ["one"]


async def test_daemon_that_started_again_as_the_same_process_replaces_the_one_before(state: State) -> None:
    await state.record_daemon(ONE)
    await state.record_daemon(replace(ONE, id="again", host="another host"))
    await state.record_daemon(replace(ONE, id="after a crash"))
    assert sorted(await ids(state)) == ["after a crash", "again"]


# No test can move the clock of PostgreSQL.
@pytest.mark.parametrize("state", ["memory", "sqlite"], indirect=True)
async def test_daemon_without_a_sign_of_life_is_not_listed_and_later_removed(state: State, clock: Clock) -> None:
    await state.record_daemon(ONE)
    clock.pass_seconds(ALIVE_SECONDS)
    await state.record_daemon(TWO)
    assert await ids(state) == ["two", "one"]
    clock.pass_seconds(1)
    assert await ids(state) == ["two"]
    await state.record_daemon(ONE)
    assert await ids(state) == ["two", "one"], "a late sign of life counts again"

    clock.pass_seconds(FORGOTTEN_AFTER_SECONDS + 1)
    await state.record_daemon(TWO)
    # With a clock that was set back, a row that had only been hidden would come back.
    clock.pass_seconds(-FORGOTTEN_AFTER_SECONDS)
    assert await ids(state) == ["two"]
