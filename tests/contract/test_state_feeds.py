"""The memory of the change feeds: people before the cursor, and a person who was named again is not forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.errors import LeaseLost
from agent.model import Kind, Link
from agent.model.feed import FeedCursor, NamedPerson, WantedRun
from agent.model.run import Run, Trigger
from agent.ports.feeds import feed_lease_key
from agent.ports.state import State
from connectors.base import PersonKey
from tests.state_samples import NOW, a_change, a_run

ANN, BEA = PersonKey("okta-main", "ann"), PersonKey("okta-main", "bea")
CURSOR = FeedCursor(
    connector="okta-main", account="https://acme.okta.com", cursor="https://acme.okta.com/api/v1/logs?after=1_1",
    begun_at=NOW, polled_at=NOW,
)  # fmt: skip
NAMED = NamedPerson("latam", ANN, "e1", "user.lifecycle.suspend", NOW - timedelta(seconds=9), NOW, NOW)


async def poll(
    state: State, *people: NamedPerson, cursor: FeedCursor = CURSOR, wanted: Mapping[str, str] | None = None
) -> None:
    lease = await state.take_lease(feed_lease_key("okta-main"), "one")
    await state.record_poll(lease, cursor, people, (), wanted or {})
    await state.release_lease(lease)


async def test_cursor_replaces_the_one_before_and_is_in_no_text(state: State) -> None:
    assert await state.load_feed_cursor("okta-main") is None
    await poll(state)
    newer = replace(CURSOR, cursor="2_2", polled_at=NOW + timedelta(seconds=15), event_at=NOW)
    await poll(state, cursor=newer)

    assert await state.load_feed_cursor("okta-main") == newer
    assert await state.load_feed_cursor("entra-eu") is None
    assert "2_2" not in repr(newer)


async def test_poll_without_its_lease_records_nothing(state: State) -> None:
    lease = await state.take_lease(feed_lease_key("okta-main"), "one")
    await state.release_lease(lease)
    with pytest.raises(LeaseLost):
        await state.record_poll(lease, CURSOR, [NAMED])
    assert await state.load_feed_cursor("okta-main") is None
    assert await state.load_named_people("latam") == ()


async def test_named_again_keeps_the_first_event_and_is_due_again(state: State) -> None:
    await poll(state, NAMED, replace(NAMED, person=BEA))
    await state.record_look([replace(NAMED, looks=2, due_at=NOW + timedelta(seconds=20))])
    assert await state.load_named_people("latam", NOW) == (replace(NAMED, person=BEA),)

    later = NOW + timedelta(seconds=15)
    again = replace(NAMED, event_id="e2", word="group.user_membership.remove", named_at=later, due_at=later)
    await poll(state, again)

    assert await state.load_named_people("latam") == (
        replace(NAMED, person=BEA),
        replace(NAMED, named_at=later, due_at=later, looks=0),
    )


async def test_person_who_was_named_again_since_is_not_forgotten(state: State) -> None:
    await poll(state, NAMED)
    later = NOW + timedelta(seconds=15)
    await poll(state, replace(NAMED, named_at=later, due_at=later))

    await state.end_named([NAMED])
    await state.record_look([replace(NAMED, looks=5)])
    (kept,) = await state.load_named_people("latam")
    assert (kept.named_at, kept.looks) == (later, 0)

    await state.end_named([kept])
    assert await state.load_named_people("latam") == ()


async def test_people_are_found_in_every_workspace_that_has_a_link(state: State) -> None:
    assert await state.find_linked_workspaces("okta-main", ["ann"]) == {}
    for number, workspace in enumerate(("latam", "apac")):
        lease = await state.take_lease(workspace, "one")
        await state.begin_run(a_run(f"r{number}", workspace), lease)
        await state.record_adoptions(
            lease, f"r{number}", [(0, a_change(Kind.ADOPT, scim_id=f"m{number}"), Link(ANN, f"m{number}"))]
        )

    assert await state.find_linked_workspaces("okta-main", ["ann", "bea"]) == {"ann": ("apac", "latam")}
    assert await state.find_linked_workspaces("entra-eu", ["ann"]) == {}


async def test_named_people_move_with_a_renamed_workspace_and_end_with_a_reset(state: State) -> None:
    await poll(state, NAMED, replace(NAMED, workspace="new", person=BEA))
    old, new = await state.take_lease("latam", "one"), await state.take_lease("new", "one")
    await state.rename_workspace(old, new, a_run("r1", "new"))
    assert await state.load_named_people("new") == (replace(NAMED, workspace="new"),)
    assert await state.load_named_people("latam") == ()

    await state.reset_workspace(new, a_run("r2", "new"), "")
    assert await state.load_named_people("new") == ()


PAUSE = timedelta(minutes=5)


def over_everyone(run_id: str) -> Run:
    return replace(a_run(run_id), trigger=Trigger.SCHEDULE, dry_run=False)


async def begin(state: State, run: Run) -> None:
    lease = await state.take_lease(run.workspace, "one")
    await state.begin_run(run, lease)
    await state.release_lease(lease)


async def only(state: State) -> WantedRun:
    (found,) = await state.load_wanted_runs()
    return replace(found, since_last=None)


async def test_wanted_run_is_recorded_with_the_cursor_or_not_at_all(state: State) -> None:
    lease = await state.take_lease(feed_lease_key("okta-main"), "one")
    await state.release_lease(lease)
    with pytest.raises(LeaseLost):
        await state.record_poll(lease, CURSOR, [], (), {"latam": "a newcomer"})
    assert list(await state.load_wanted_runs()) == []

    await poll(state, wanted={"latam": "a newcomer"})
    assert await only(state) == WantedRun(workspace="latam", why="a newcomer")


async def test_wanted_run_keeps_its_first_reason_until_it_is_tried(state: State) -> None:
    await poll(state, wanted={"latam": "a newcomer"})
    await poll(state, wanted={"latam": "a group"})
    assert (await only(state)).why == "a newcomer"

    assert await state.start_wanted_run("latam", PAUSE)
    assert (await only(state)).tries == 1
    await poll(state, wanted={"latam": "a group"})
    assert await only(state) == WantedRun(workspace="latam", why="a group")


async def test_wanted_run_is_started_once_however_many_daemons_try(state: State) -> None:
    await poll(state, wanted={"latam": "a newcomer"})
    started = await asyncio.gather(*(state.start_wanted_run("latam", PAUSE) for _ in range(4)))

    assert sorted(started) == [False, False, False, True]
    assert not await state.start_wanted_run("apac", PAUSE)
    assert await state.start_wanted_run("latam", timedelta(0))


async def test_run_over_everyone_that_begins_is_known_to_all_and_holds_back_the_next(state: State) -> None:
    await begin(state, over_everyone("r1"))
    await poll(state, wanted={"latam": "a newcomer"})
    assert (await only(state)).run_id == "", "it began before"
    assert not await state.start_wanted_run("latam", PAUSE)

    await begin(state, replace(over_everyone("r2"), trigger=Trigger.FEED))
    await begin(state, replace(over_everyone("r3"), user="ann@acme.com"))
    await begin(state, replace(over_everyone("r4"), dry_run=True))
    assert (await only(state)).run_id == "", "they read not everyone, or wrote nothing"
    await begin(state, over_everyone("r5"))
    assert (await only(state)).run_id == "r5"


async def test_run_that_was_wanted_again_since_stays_wanted(state: State) -> None:
    await poll(state, wanted={"latam": "a newcomer"})
    await begin(state, over_everyone("r1"))
    (seen,) = await state.load_wanted_runs()
    await state.end_named([], {"latam": "a person"})
    await state.end_wanted_run(seen)
    assert (await only(state)).run_id == ""

    (seen,) = await state.load_wanted_runs()
    await state.end_wanted_run(seen)
    assert list(await state.load_wanted_runs()) == []


async def test_wanted_run_moves_with_a_renamed_workspace_and_ends_with_a_reset(state: State) -> None:
    await poll(state, wanted={"latam": "a newcomer"})
    old, new = await state.take_lease("latam", "one"), await state.take_lease("new", "one")
    await state.rename_workspace(old, new, a_run("r1", "new"))
    assert await only(state) == WantedRun(workspace="new", why="a newcomer")

    await state.reset_workspace(new, a_run("r2", "new"), "")
    assert list(await state.load_wanted_runs()) == []
