"""What the state keeps for the health of the change feeds: announcements, leavers that runs found, and lags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from agent.model.feed import ANYONE, Announcement, FeedCursor, FeedLag, NamedPerson
from agent.ports.feeds import feed_lease_key
from agent.ports.state import State
from connectors.base import PersonKey
from tests.state_samples import NOW, a_run

OKTA = "okta-main"
ANN, BEA, CAL = (PersonKey(OKTA, name) for name in ("ann", "bea", "cal"))
EVERYONE = PersonKey(OKTA, ANYONE)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


async def announce(state: State, *people: PersonKey, at: datetime = NOW, workspace: str = "latam") -> None:
    lease = await state.take_lease(feed_lease_key(OKTA), "one")
    cursor = FeedCursor(connector=OKTA, account="acme", cursor="1", begun_at=NOW, polled_at=at)
    await state.record_poll(lease, cursor, (), [Announcement(workspace, each, at, at - MINUTE) for each in people])
    await state.release_lease(lease)


async def find(
    state: State,
    *leavers: PersonKey,
    at: datetime = NOW,
    since: Mapping[str, datetime | None] | None = None,
) -> None:
    lease = await state.take_lease("latam", "one")
    counted = {OKTA: NOW - 5 * MINUTE} if since is None else since
    await state.record_found_leavers(lease, "latam", at, counted, leavers)
    await state.release_lease(lease)


async def judge(state: State, by: datetime = NOW) -> Mapping[str, int]:
    lease = await state.take_lease(feed_lease_key(OKTA), "one")
    try:
        return await state.judge_found_leavers(lease, OKTA, by)
    finally:
        await state.release_lease(lease)


async def test_leaver_without_an_announcement_is_counted_once(state: State) -> None:
    await announce(state, ANN)
    await find(state, ANN, BEA, CAL)

    assert await judge(state, NOW - MINUTE) == {}, "an event may still come"
    assert await judge(state) == {"latam": 2}
    assert await judge(state) == {}
    assert await state.count_missed_leavers(OKTA, NOW - DAY) == 2
    assert await state.count_missed_leavers(OKTA, NOW + MINUTE) == 0
    assert await state.count_missed_leavers("entra-eu", NOW - DAY) == 0


async def test_announcement_counts_for_its_workspace_and_its_time(state: State) -> None:
    await announce(state, ANN, at=NOW - 6 * MINUTE)
    await announce(state, BEA, workspace="apac")
    await find(state, ANN, BEA, CAL)
    await announce(state, CAL, at=NOW + 2 * MINUTE)

    assert await judge(state) == {"latam": 2}, "the late one counts"


async def test_announcement_of_anyone_is_one_of_each(state: State) -> None:
    await find(state, ANN, BEA)
    await announce(state, EVERYONE, at=NOW + MINUTE)

    assert await judge(state) == {}


async def test_nothing_is_concluded_where_the_feed_could_not_have_seen_them(state: State) -> None:
    await find(state, ANN, since={OKTA: None})
    await find(state, ANN, at=NOW + MINUTE)

    assert await judge(state, NOW + DAY) == {}, "also later, while they are on hold"


async def test_held_leaver_is_counted_once_until_they_are_no_leaver_any_more(state: State) -> None:
    await find(state, ANN)
    assert await judge(state) == {"latam": 1}
    await find(state, ANN, at=NOW + MINUTE)
    assert await judge(state, NOW + DAY) == {}

    await find(state, at=NOW + 2 * DAY)
    await find(state, ANN, at=NOW + 3 * DAY)
    assert await judge(state, NOW + 3 * DAY) == {"latam": 1}


async def test_one_who_waits_is_judged_although_the_next_run_finds_them_no_more(state: State) -> None:
    await find(state, ANN)
    await find(state, at=NOW + MINUTE)

    assert await judge(state) == {"latam": 1}


async def test_reads_and_announcements_are_loaded(state: State) -> None:
    await announce(state, ANN, at=NOW - 2 * MINUTE)
    await announce(state, ANN, BEA)
    await find(state, at=NOW + MINUTE)

    assert await state.load_feed_reads("latam") == {OKTA: NOW + MINUTE}
    assert await state.load_feed_reads("apac") == {}
    found = await state.load_announcements("latam", NOW)
    assert found == {each: Announcement("latam", each, NOW, NOW - MINUTE) for each in (ANN, BEA)}
    assert await state.load_announcements("latam", NOW + MINUTE) == {}


async def test_lags_are_those_of_the_connector_since_then(state: State) -> None:
    def lags(*seconds: float) -> Sequence[FeedLag]:
        return [FeedLag("latam", ANN, NOW + timedelta(seconds=each), each) for each in seconds]

    await state.record_lags([])
    await state.record_lags(lags(18.25, 12))
    await state.record_lags(lags(12))

    assert await state.load_lags(OKTA, NOW) == [12, 18.25]
    assert await state.load_lags(OKTA, NOW + timedelta(seconds=13)) == [18.25]
    assert await state.load_lags("entra-eu", NOW) == []


async def test_all_of_it_moves_with_a_renamed_workspace_and_ends_with_a_reset(state: State) -> None:
    await announce(state, ANN)
    await find(state, BEA)
    await state.record_lags([FeedLag("latam", ANN, NOW, 5)])
    old, new = await state.take_lease("latam", "one"), await state.take_lease("new", "one")
    await state.rename_workspace(old, new, a_run("r1", "new"))

    assert await state.load_feed_reads("new") == {OKTA: NOW}
    assert set(await state.load_announcements("new", NOW)) == {ANN}
    assert await judge(state) == {"new": 1}

    await state.reset_workspace(new, a_run("r2", "new"), "")
    assert await state.load_feed_reads("new") == {}
    assert await state.load_announcements("new", NOW) == {}
    assert await state.count_missed_leavers(OKTA, NOW) == 0
    assert await state.load_lags(OKTA, NOW) == []


@pytest.mark.parametrize(("ahead", "is_due"), [(4 * MINUTE, False), (60 * MINUTE, True)])
async def test_person_due_long_after_now_is_due_because_the_clock_was_set_back(
    state: State, ahead: timedelta, is_due: bool
) -> None:
    lease = await state.take_lease(feed_lease_key(OKTA), "one")
    cursor = FeedCursor(connector=OKTA, account="acme", cursor="1", begun_at=NOW, polled_at=NOW)
    named = NamedPerson("latam", ANN, "e1", "user.lifecycle.suspend", NOW, NOW + ahead, NOW + ahead)
    await state.record_poll(lease, cursor, [named])

    assert bool(await state.load_named_people("latam", NOW)) is is_due
