"""One process holds a lease, and no other writes: for every state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from agent.errors import LeaseLost, WorkspaceBusy
from agent.model import Link, Memory
from agent.model.run import LinkEdit, RunOutcome, RunStatus
from agent.ports.state import State
from tests.state_samples import ANN, Clock, a_change, a_run, begun, done


async def test_lease_is_held_by_one_and_names_its_holder(state: State) -> None:
    lease = await state.take_lease("latam", "host, process 1")
    with pytest.raises(WorkspaceBusy, match="host, process 1"):
        await state.take_lease("latam", "another")
    other = await state.take_lease("emea", "another")

    assert (lease.fence, other.fence) == (1, 1)


async def test_lease_is_seen_while_it_is_held(state: State) -> None:
    assert await state.load_lease("latam") is None
    held = await state.take_lease("latam", "host, process 1")
    seen = await state.load_lease("latam")
    await state.release_lease(held)

    assert seen == held
    assert await state.load_lease("latam") is None


async def test_released_lease_can_be_taken_with_a_higher_fence(state: State) -> None:
    first = await state.take_lease("latam", "one")
    await state.release_lease(first)
    second = await state.take_lease("latam", "two")

    assert second.fence == first.fence + 1


async def test_superseded_lease_can_write_nothing(state: State) -> None:
    old = await begun(state)
    await state.release_lease(old)
    new = await state.take_lease("latam", "two")
    change = a_change()
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: state.renew_lease(old),
        lambda: state.begin_run(a_run("r2"), old),
        lambda: state.record_intent(old, "r1", 0, change),
        lambda: state.record_answer(old, done(change), Link(ANN, "m1")),
        lambda: state.record_adoptions(old, "r1", [(0, change, Link(ANN, "m1"))]),
        lambda: state.update_memory(old, (), frozenset({(ANN, "m1")}), {("okta-main", "g1"): ("G", 1)}),
        lambda: state.record_plan(old, "r1", "sha256:x", [b"{}"]),
        lambda: state.record_last_seen(old, "r1", ()),
        lambda: state.end_run(old, "r1", RunOutcome(RunStatus.DONE)),
        lambda: state.record_link_edits(old, a_run("r3"), [LinkEdit(Link(ANN, "m1"), None)]),
        lambda: state.record_targets(old, [("", TARGET)]),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            await write()
    await state.release_lease(old)
    await state.renew_lease(new)

    assert await state.load_memory("latam") == Memory()
    assert await state.load_changes("r1") == []
    assert [run.id for run in await state.load_runs()] == ["r1"]
    assert await state.load_targets() == ()


@pytest.mark.parametrize("state", ["memory", "sqlite"], indirect=True)
async def test_lease_is_void_15_seconds_after_its_last_renewal(state: State, clock: Clock) -> None:
    lease = await state.take_lease("latam", "one")
    clock.pass_seconds(10)
    await state.renew_lease(lease)
    clock.pass_seconds(14.9)
    with pytest.raises(WorkspaceBusy):
        await state.take_lease("latam", "two")
    clock.pass_seconds(0.1)
    with pytest.raises(LeaseLost):
        await state.renew_lease(lease)
    taken = await state.take_lease("latam", "two")

    assert taken.fence == 2


@pytest.mark.parametrize("state", ["memory", "sqlite"], indirect=True)
async def test_lease_from_before_the_clock_was_set_back_can_be_taken(state: State, clock: Clock) -> None:
    old = await state.take_lease("latam", "one")
    clock.pass_seconds(-3600)
    new = await state.take_lease("latam", "two")
    with pytest.raises(LeaseLost):
        await state.renew_lease(old)

    assert new.fence == old.fence + 1


@pytest.mark.parametrize("state", ["memory", "sqlite"], indirect=True)
async def test_expired_lease_can_write_nothing_even_if_no_one_took_it(state: State, clock: Clock) -> None:
    lease = await begun(state)
    clock.pass_seconds(15)
    with pytest.raises(LeaseLost):
        await state.record_intent(lease, "r1", 0, a_change())

    assert await state.load_changes("r1") == []


TARGET = "https://pigment.example.com/scim/v2"


async def test_one_target_has_one_lease_whatever_key_it_is_held_under(state: State) -> None:
    lease = await state.take_lease("latam", "host, process 1", TARGET)
    with pytest.raises(WorkspaceBusy, match="host, process 1"):
        await state.take_lease("latam-again", "another", TARGET)
    await state.renew_lease(lease)
    await state.release_lease(lease)
    other = await state.take_lease("latam-again", "another", TARGET)
    with pytest.raises(LeaseLost):
        await state.renew_lease(lease)

    assert other.fence > lease.fence


async def test_one_key_has_one_lease_whatever_target_it_is_held_for(state: State) -> None:
    """An older release without targets takes only the key: the two must not run at the same time."""
    old = await state.take_lease("latam", "the release before")
    with pytest.raises(WorkspaceBusy, match="the release before"):
        await state.take_lease("latam", "this one", TARGET)
    await state.release_lease(old)
    new = await state.take_lease("latam", "this one", TARGET)
    with pytest.raises(WorkspaceBusy, match="this one"):
        await state.take_lease("latam", "the release before")

    assert new.fence > old.fence


async def test_key_with_a_new_target_is_excluded_by_runs_of_both(state: State) -> None:
    await state.take_lease("emea", "one", TARGET)
    with pytest.raises(WorkspaceBusy, match="one"):
        await state.take_lease("latam", "two", TARGET)
    free = await state.take_lease("latam", "two", "https://pigment.example.com/scim/v3")

    assert free.fence == 1


async def test_runs_of_other_workspaces_are_not_closed(state: State) -> None:
    await begun(state)
    other = await state.take_lease("emea", "one")
    closed = await state.begin_run(a_run("r2", "emea"), other)
    first = await state.load_run("r1")

    assert closed == ()
    assert first is not None
    assert first.status is RunStatus.RUNNING
