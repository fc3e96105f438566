"""Machines whose clocks are an hour apart work on one PostgreSQL: what they compare is by its clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from agent.bootstrap import StateClock, SystemClock
from agent.model import Kind
from agent.model.codes import GuardCode
from agent.store.state import SqlState
from tests.migrated_state import new_postgres_state
from tests.state_samples import a_change, a_run, done

HOUR = timedelta(hours=1)
LONGEST_CALL = timedelta(minutes=1)


@dataclass
class WrongClock(SystemClock):
    """A machine's clock that is wrong by *ahead*."""

    ahead: timedelta

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass
class SetClock:
    moment: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.moment

    def elapsed(self) -> float:
        return self.seconds


@dataclass
class Machine:
    clock: StateClock
    state: SqlState


@pytest.fixture
async def machines(postgres_server: str) -> AsyncIterator[list[Machine]]:
    """Yield machines an hour behind, right, and an hour ahead."""
    url = new_postgres_state(postgres_server)
    async with AsyncExitStack() as stack:
        found = []
        for ahead in (-HOUR, timedelta(0), HOUR):
            clock = StateClock(WrongClock(ahead))
            state = await SqlState.open(url, clock.now, clock=clock)
            stack.push_async_callback(state.close)
            found.append(Machine(clock, state))
        yield found


async def test_each_machine_counts_what_the_others_changed_within_the_hour(machines: list[Machine]) -> None:
    """Otherwise each of them may deactivate as many as the limit of an hour lets all of them."""
    for number, machine in enumerate(machines):
        run = replace(a_run(f"r{number}"), started_at=machine.clock.now())
        lease = await machine.state.take_lease("latam", "one")
        await machine.state.begin_run(run, lease)
        change = a_change(Kind.DEACTIVATE, scim_id=f"m{number}")
        await machine.state.record_intent(lease, run.id, 0, change)
        await machine.state.record_answer(lease, done(change, 0, at=machine.clock.now(), run=run.id))
        await machine.state.release_lease(lease)

    for machine in machines:
        recent = await machine.state.load_recent_changes("latam", machine.clock.now() - HOUR)
        assert len(recent[GuardCode.MAX_DEACTIVATIONS]) == 3, recent
    runs = await machines[0].state.load_runs(["latam"])
    assert [run.id for run in runs] == ["r2", "r1", "r0"], "in the order in which they began"


async def test_clocks_of_the_machines_agree(machines: list[Machine]) -> None:
    times = [machine.clock.now() for machine in machines]

    assert max(times) - min(times) < LONGEST_CALL


async def test_clock_that_is_set_while_a_daemon_runs_is_corrected_at_its_next_look(machines: list[Machine]) -> None:
    wrong = WrongClock(timedelta(0))
    clock = StateClock(wrong)
    machine = machines[0]
    machine.state._clock = clock
    wrong.ahead = HOUR
    with capture_logs() as logged:
        await machine.state.load_job_board()

    assert abs(clock.now() - datetime.now(UTC)) < LONGEST_CALL
    (line,) = logged
    assert (line["event"], abs(line["state_ahead_seconds"] + 3600) < 60) == ("clock.differs", True)


async def test_suspended_machine_does_not_take_its_sleep_for_a_wrong_clock() -> None:
    """The answer of the state was read an hour after it was given."""
    machine = SetClock()
    clock = StateClock(machine)
    moment, asked_at = machine.now(), machine.elapsed()
    machine.moment += HOUR
    machine.seconds += 3600
    clock.follow(moment, asked_at)

    assert clock.now() == machine.now()


async def test_small_difference_moves_no_clock(machines: list[Machine]) -> None:
    machine = SetClock()
    clock = StateClock(machine)
    clock.follow(machine.now() + timedelta(seconds=1), machine.elapsed())
    assert clock.now() == machine.now()

    clock.follow(machine.now() + timedelta(seconds=60), machine.elapsed())
    assert clock.now() == machine.now() + timedelta(seconds=60)
    await asyncio.sleep(0)
