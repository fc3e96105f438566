"""A pause stops a run before its next change; outcomes are kept when a lease is lost: for every state."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import LeaseLost, StateError
from agent.model import Kind, Link
from agent.model.run import Outcome, Pause, RunOutcome, RunStatus
from agent.ports.state import State
from agent.store.state import SqlState
from connectors.base import PersonKey
from tests.migrated_state import new_sqlite_state
from tests.state_samples import ANN, NOW, Clock, a_change, a_run, begun, done

PAUSE = Pause(NOW, "ops", "the wrong group")


async def test_change_of_a_paused_workspace_is_not_journalled_as_sent(state: State) -> None:
    lease = await begun(state)
    await state.set_pause("latam", PAUSE)

    assert await state.record_intent(lease, "r1", 0, a_change()) == PAUSE
    assert await state.load_changes("r1") == []


async def test_run_that_ignores_the_pause_goes_on(state: State) -> None:
    lease = await begun(state)
    await state.set_pause("latam", PAUSE)

    assert await state.record_intent(lease, "r1", 0, a_change(), respects_pause=False) is None
    assert [record.outcome for record in await state.load_changes("r1")] == [Outcome.UNKNOWN]


async def test_pause_of_another_workspace_stops_nothing(state: State) -> None:
    lease = await begun(state)
    await state.set_pause("emea", PAUSE)

    assert await state.record_intent(lease, "r1", 0, a_change()) is None


async def test_pause_names_what_is_in_flight_and_nothing_else(state: State) -> None:
    lease = await begun(state)
    answered, flying = a_change(email="bea@acme.com", scim_id="m2"), a_change()
    await state.record_intent(lease, "r1", 0, answered)
    await state.record_answer(lease, done(answered))
    await state.record_intent(lease, "r1", 1, flying)
    other = await state.take_lease("emea", "two")
    await state.begin_run(a_run("r2", "emea"), other)
    await state.record_intent(other, "r2", 0, a_change(email="cat@acme.com"))

    found = await state.set_pause("latam", PAUSE)

    assert [(record.run_id, record.seq, record.change) for record in found] == [("r1", 1, flying)]
    assert await state.load_in_flight("latam") == found


async def test_what_a_closed_run_never_heard_of_is_not_in_flight(state: State) -> None:
    lease = await begun(state)
    await state.record_intent(lease, "r1", 0, a_change())
    await state.end_run(lease, "r1", RunOutcome(RunStatus.INTERRUPTED))

    assert await state.set_pause("latam", PAUSE) == ()


async def test_each_change_is_either_stopped_by_the_pause_or_named_by_it(state: State) -> None:
    """They race: the second transaction sees the first."""
    for number in range(10):
        lease = await begun(state, a_run(f"r{number}"))
        stopped, named = await asyncio.gather(
            state.record_intent(lease, f"r{number}", 0, a_change()), state.set_pause("latam", PAUSE)
        )

        assert (stopped is None) == (len(named) == 1)
        await state.set_pause("latam", None)
        await state.end_run(lease, f"r{number}", RunOutcome(RunStatus.DONE))
        await state.release_lease(lease)


async def test_intent_that_is_written_again_is_one(state: State) -> None:
    """After a connection lost at the end of a transaction, it is unknown whether it was committed."""
    lease = await begun(state)
    for _ in range(2):
        await state.record_intent(lease, "r1", 0, a_change())
        await state.record_adoptions(lease, "r1", [(1, a_change(Kind.ADOPT, scim_id="m2"), Link(ANN, "m2"))])

    assert [record.seq for record in await state.load_changes("r1")] == [0, 1]


async def test_run_that_is_begun_again_does_not_interrupt_itself(state: State) -> None:
    lease = await begun(state)

    assert await state.begin_run(a_run(), lease) == ()
    assert [(run.id, run.status) for run in await state.load_runs()] == [("r1", RunStatus.RUNNING)]


async def test_run_without_its_lease_writes_what_it_knows_of_itself_and_no_link(state: State) -> None:
    old = await begun(state)
    await state.record_intent(old, "r1", 0, a_change())
    await state.release_lease(old)
    new = await state.take_lease("latam", "two")
    assert await state.begin_run(a_run("r2"), new) == ("r1",)
    unsent = done(a_change(), outcome=Outcome.NOT_TRIED)
    left = done(a_change(email="bea@acme.com", scim_id="m2"), seq=1, outcome=Outcome.NOT_TRIED)

    await state.close_run_without_lease("r1", RunOutcome(RunStatus.INTERRUPTED, "It lost its lease."), [unsent, left])

    assert await state.load_changes("r1") == [unsent, left]
    assert (await state.load_memory("latam")).links == ()
    runs = {run.id: (run.status, run.error) for run in await state.load_runs()}
    assert runs == {"r1": (RunStatus.INTERRUPTED, "It lost its lease."), "r2": (RunStatus.RUNNING, "")}


async def test_run_that_is_forgotten_is_not_closed(state: State) -> None:
    await state.close_run_without_lease("r9", RunOutcome(RunStatus.INTERRUPTED), [done(a_change(), run="r9")])

    assert await state.load_runs() == []
    assert await state.load_changes("r9") == []


async def test_pause_and_its_line_in_the_journal_are_written_together(state: State) -> None:
    await state.set_pause("latam", PAUSE, a_run("r8"))
    assert await state.load_run("r8") is not None
    await state.set_pause("latam", None, a_run("r9"))
    assert await state.load_run("r9") is not None


async def test_pause_that_can_not_be_journalled_is_not_made(tmp_path: Path) -> None:
    state = await SqlState.open(new_sqlite_state(tmp_path), Clock().now)
    await state.record_run(a_run("r8"))
    # Any failure of the second write: here the id is taken.
    with pytest.raises(StateError):
        await state.set_pause("latam", PAUSE, a_run("r8"))

    assert await state.load_pause("latam") is None
    await state.close()


async def test_intents_and_outcomes_of_one_moment_are_all_written(state: State) -> None:
    """The outcomes of changes in flight, each with its link, and the intents of the next ones."""
    lease = await begun(state)
    creates = [
        replace(a_change(Kind.CREATE, f"p{number}@acme.com", None), person=PersonKey("okta-main", f"p{number}"))
        for number in range(8)
    ]
    for number, change in enumerate(creates[:4]):
        await state.record_intent(lease, "r1", number, change)

    links = [Link(change.person, f"m{number}") for number, change in enumerate(creates) if change.person]
    await asyncio.gather(
        *(
            state.record_answer(lease, replace(done(change, number), scim_id=f"m{number}"), links[number])
            for number, change in enumerate(creates[:4])
        ),
        *(state.record_intent(lease, "r1", number, change) for number, change in enumerate(creates[4:], 4)),
    )

    outcomes = [(each.seq, each.outcome, each.scim_id) for each in await state.load_changes("r1")]
    assert outcomes[:4] == [(number, Outcome.DONE, f"m{number}") for number in range(4)]
    assert outcomes[4:] == [(number, Outcome.UNKNOWN, None) for number in range(4, 8)]
    assert [each.seq for each in await state.load_in_flight("latam")] == [4, 5, 6, 7]
    assert set((await state.load_memory("latam")).links) == set(links[:4])


async def test_pause_keeps_back_the_intents_of_its_moment_and_no_outcome(state: State) -> None:
    lease = await begun(state)
    await state.record_intent(lease, "r1", 0, a_change())
    await state.set_pause("latam", PAUSE)

    answered, kept_back, urgent = await asyncio.gather(
        state.record_answer(lease, done(a_change())),
        state.record_intent(lease, "r1", 1, a_change(scim_id="m2")),
        state.record_intent(lease, "r1", 2, a_change(scim_id="m3"), respects_pause=False),
    )

    assert (answered, kept_back, urgent) == (None, PAUSE, None)
    outcomes = [(each.seq, each.outcome) for each in await state.load_changes("r1")]
    assert outcomes == [(0, Outcome.DONE), (2, Outcome.UNKNOWN)]


async def test_lost_lease_refuses_all_entries_of_its_moment(state: State) -> None:
    lease = await begun(state)
    await state.release_lease(lease)
    await state.take_lease("latam", "another")

    ended = await asyncio.gather(
        state.record_answer(lease, done(a_change())),
        *(state.record_intent(lease, "r1", number, a_change()) for number in range(1, 4)),
        return_exceptions=True,
    )

    assert [type(each) for each in ended] == [LeaseLost] * 4
    assert await state.load_changes("r1") == []
