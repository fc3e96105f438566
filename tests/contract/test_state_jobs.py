"""Ticks and requests: started once, worked on under a lease, counted, given back, stopped and ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from agent.errors import LeaseLost, WorkspaceBusy
from agent.model.job import Job, JobProgress, JobRequest, PlannedSchedule, stopped_job_id, tick_id
from agent.model.run import Lease, Trigger
from agent.ports.state import State
from tests.state_samples import Clock, a_run

HOUR = timedelta(hours=1)
HOURLY = "every 1h"
REQUEST = Job(
    id="request:r1",
    request=JobRequest(
        trigger=Trigger.API, is_dry_run=True, by="ana", reason="to \x00 see", user="a@acme.com",
        approved_digest="sha256:1", approved_guards=frozenset({"fleet"}), undone="r0",
    ),
    run_ids={"latam": "r1"},
)  # fmt: skip


def hourly(first: datetime | None, **more: object) -> PlannedSchedule:
    planned = PlannedSchedule(
        name=HOURLY, workspaces=("latam", "emea"), first=first, next_due=lambda due, now: max(due, now) + HOUR
    )
    return replace(planned, **more)  # type: ignore[arg-type]  # The fields of one class.


async def started(state: State) -> Job:
    now = (await state.load_job_board()).now
    assert await state.start_due_ticks([hourly(now)]) == ()
    (tick,) = (await state.load_job_board()).jobs
    return tick


async def take(state: State, job: Job, replica: str = "one") -> tuple[Lease, Job]:
    lease = await state.take_lease(job.id, replica)
    claimed = await state.claim_job(lease, replica)
    assert claimed is not None
    return lease, claimed


async def test_schedule_that_the_state_does_not_know_begins_at_its_first_time(state: State) -> None:
    before = await state.load_job_board()
    assert (before.next_times, before.jobs) == ({}, ())
    assert await state.start_due_ticks([hourly(None)]) == ()
    assert (await state.load_job_board()).next_times == {}
    later = before.now + HOUR
    assert await state.start_due_ticks([hourly(later)]) == ()
    board = await state.load_job_board()
    assert (dict(board.next_times), board.jobs) == ({HOURLY: later}, ())
    # Another daemon with another idea of the first time changes nothing.
    await state.start_due_ticks([hourly(before.now)])
    assert (await state.load_job_board()).next_times == board.next_times


async def test_due_tick_starts_once_and_the_schedule_goes_on(state: State) -> None:
    tick = await started(state)
    assert await state.start_due_ticks([hourly(None)]) == ()
    board = await state.load_job_board()

    assert board.jobs == (tick,)
    assert (tick.id, tick.schedule, tick.request) == (tick_id(HOURLY), HOURLY, JobRequest(trigger=Trigger.SCHEDULE))
    assert dict(tick.run_ids) == {"latam": "", "emea": ""}
    assert (tick.claims, tick.is_claimed, tick.is_tick, tick.replica) == (0, False, True, "")
    assert board.next_times[HOURLY] - board.now > timedelta(minutes=55)


async def test_tick_that_has_not_ended_lets_the_next_one_be_left_out(state: State) -> None:
    await started(state)
    # It is due again at once: whatever is further ahead was computed while the clock was wrong.
    assert await state.start_due_ticks([hourly(None, max_wait=timedelta(minutes=1))]) == (HOURLY,)
    assert len((await state.load_job_board()).jobs) == 1


async def test_time_that_is_too_far_ahead_counts_as_due(state: State) -> None:
    now = (await state.load_job_board()).now
    await state.start_due_ticks([hourly(now + timedelta(days=365))])
    await state.start_due_ticks([hourly(None)])
    assert (await state.load_job_board()).jobs == ()
    await state.start_due_ticks([hourly(None, max_wait=2 * HOUR)])
    board = await state.load_job_board()
    assert len(board.jobs) == 1


async def test_request_keeps_what_was_asked(state: State) -> None:
    assert await state.add_request(REQUEST, 1)
    assert not await state.add_request(replace(REQUEST, id="request:r2"), 1)
    (found,) = (await state.load_job_board()).jobs
    assert found.created_at is not None
    assert replace(found, created_at=None) == REQUEST

    lease, claimed = await take(state, found)
    assert (claimed.request, claimed.claims) == (REQUEST.request, 1)
    await state.end_job(lease, "whatever")
    board = await state.load_job_board()
    assert (board.jobs, board.stopped) == ((), ())
    # Its number is free again, and an older claim is worth nothing.
    assert await state.add_request(replace(REQUEST, id="request:r2"), 1)
    with pytest.raises(LeaseLost):
        await state.begin_run(a_run(), await state.take_lease("latam", "one"), lease)


async def test_claim_excludes_others_until_it_is_given_back(state: State) -> None:
    tick = await started(state)
    lease, claimed = await take(state, tick)
    with pytest.raises(WorkspaceBusy):
        await state.take_lease(tick.id, "two")
    await state.update_job(lease, replace(claimed, run_ids={"emea": "r2"}, finished={"latam": "r1"}))
    await state.report_job_progress(lease, JobProgress("Reading latam", 3, 10))
    (shown,) = (await state.load_job_board()).jobs
    assert (shown.is_claimed, shown.replica, shown.claims) == (True, "one", 1)
    assert shown.progress == JobProgress("Reading latam", 3, 10)
    assert (dict(shown.run_ids), dict(shown.finished)) == ({"emea": "r2"}, {"latam": "r1"})

    for _ in range(2):
        await state.give_back_job(lease)
    await state.release_lease(lease)
    (left,) = (await state.load_job_board()).jobs
    assert (left.is_claimed, left.replica, left.claims, left.progress) == (False, "", 0, JobProgress())
    _, again = await take(state, left, "two")
    assert (again.claims, dict(again.run_ids)) == (1, {"emea": "r2"})


async def test_daemon_that_lost_its_claim_writes_nothing_of_the_job(state: State) -> None:
    tick = await started(state)
    old, claimed = await take(state, tick)
    mine = await state.take_lease("latam", "one")
    await state.release_lease(old)
    new, taken_over = await take(state, tick, "two")
    assert taken_over.claims == 2

    for attempt in (
        state.claim_job(old, "one"),
        state.update_job(old, claimed),
        state.report_job_progress(old, JobProgress("late")),
        state.give_back_job(old),
        state.end_job(old),
        state.begin_run(a_run("r9"), mine, old),
    ):
        with pytest.raises(LeaseLost):
            await attempt
    assert await state.load_run("r9") is None
    assert await state.begin_run(a_run("r9"), mine, new) == ()
    (shown,) = (await state.load_job_board()).jobs
    assert (shown.claims, shown.replica, shown.progress) == (2, "two", JobProgress())


async def test_ended_job_is_not_claimed_again(state: State) -> None:
    tick = await started(state)
    lease, _ = await take(state, tick)
    await state.end_job(lease)
    await state.end_job(lease)
    assert await state.claim_job(lease, "one") is None
    assert (await state.load_job_board()).jobs == ()


async def test_end_that_is_repeated_leaves_the_next_tick(state: State) -> None:
    lease, _ = await take(state, await started(state))
    await state.end_job(lease)
    await state.start_due_ticks([hourly(None, max_wait=timedelta(minutes=1))])
    await state.end_job(lease)
    assert len((await state.load_job_board()).jobs) == 1


async def test_stopped_tick_is_shown_until_a_later_one_ends(state: State) -> None:
    lease, _ = await take(state, await started(state))
    await state.end_job(lease, "interrupted twice")
    board = await state.load_job_board()
    (stopped,) = board.stopped
    assert (board.jobs, stopped.id, stopped.error) == ((), stopped_job_id(HOURLY), "interrupted twice")
    assert stopped.ended_at is not None

    await state.start_due_ticks([hourly(None, max_wait=timedelta(minutes=1))])
    assert (await state.load_job_board()).stopped == (stopped,)
    await state.claim_job(lease, "one")
    await state.end_job(lease)
    board = await state.load_job_board()
    assert (board.jobs, board.stopped) == ((), ())


# No test can move the clock of PostgreSQL.
@pytest.mark.parametrize("state", ["memory", "sqlite"], indirect=True)
async def test_claim_of_a_dead_daemon_is_void_after_a_while(state: State, clock: Clock) -> None:
    tick = await started(state)
    await take(state, tick)
    clock.pass_seconds(14)
    assert (await state.load_job_board()).jobs[0].is_claimed
    clock.pass_seconds(1)
    assert not (await state.load_job_board()).jobs[0].is_claimed
    _, again = await take(state, tick, "two")
    assert again.claims == 2
