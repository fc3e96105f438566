"""A lease is asked for again while the state fails for a moment, and for as long as a lost answer may hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from agent.engine.lease import LOST_ANSWER_SECONDS, TAKE_RETRY_SECONDS, acquire_lease
from agent.errors import StateError, WorkspaceBusy
from agent.model.run import Lease
from agent.ports.leases import Leases

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AWAY = StateError("It restarts.", "Wait.", is_transient=True)
BROKEN = StateError("Its disk is full.", "Free space.")
BUSY = WorkspaceBusy("Another run holds it.", "Wait.")


@dataclass
class Time:
    seconds: float = 0.0

    def now(self) -> datetime:
        return NOW

    def elapsed(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class FailingLeases:
    """Leases that raise each of *errors* until its time is over: (seconds, error)."""

    time: Time
    errors: Sequence[tuple[float, Exception]]
    released: list[Lease] = field(default_factory=list)

    async def take_lease(self, workspace: str, holder: str, target: str = "") -> Lease:
        for until, error in self.errors:
            if self.time.elapsed() < until:
                raise error
        return Lease(workspace=workspace, holder=holder, since=NOW, fence=1, target=target)

    async def release_lease(self, lease: Lease) -> None:
        self.released.append(lease)


async def seconds_until_taken(*errors: tuple[float, Exception], wait_seconds: float = 0) -> float:
    time = Time()
    leases = FailingLeases(time, errors)
    acquiring = acquire_lease(cast("Leases", leases), time, time.sleep, ("latam", ""), "one", wait_seconds)
    async with acquiring:
        taken_at = time.elapsed()
    assert len(leases.released) == 1
    return taken_at


async def test_lease_is_taken_once_the_state_answers() -> None:
    assert await seconds_until_taken((5, AWAY)) == 5


async def test_lease_whose_answer_was_lost_is_waited_for_until_it_is_void() -> None:
    assert 15 <= await seconds_until_taken((1, AWAY), (16, BUSY)) <= 17


@pytest.mark.parametrize("wait_seconds", [0, 300])
async def test_state_that_stays_away_ends_the_attempt(wait_seconds: float) -> None:
    longest = max(wait_seconds, TAKE_RETRY_SECONDS)
    assert await seconds_until_taken((longest, AWAY), wait_seconds=wait_seconds) >= longest
    with pytest.raises(StateError, match="restarts"):
        await seconds_until_taken((longest + 2, AWAY), wait_seconds=wait_seconds)


async def test_holder_that_stays_ends_the_attempt() -> None:
    with pytest.raises(WorkspaceBusy):
        await seconds_until_taken((1, BUSY))
    with pytest.raises(WorkspaceBusy):
        await seconds_until_taken((1, AWAY), (LOST_ANSWER_SECONDS + 3, BUSY))


async def test_state_that_is_broken_ends_the_attempt_at_once() -> None:
    with pytest.raises(StateError, match="full"):
        await seconds_until_taken((1, BROKEN), wait_seconds=300)
