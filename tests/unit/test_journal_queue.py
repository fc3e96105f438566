"""The queue of the journal: one transaction for all that waits, in the order of the calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest

from agent.errors import PigmentSyncError, StateError, lease_lost_error
from agent.model import Pause
from agent.model.run import Lease
from agent.store.journal_queue import Answer, Entry, JournalQueue
from tests.simulation.loop import run_virtually
from tests.state_samples import NOW, a_change, done

LATAM = Lease(workspace="latam", holder="one", since=NOW, fence=1)
EMEA = replace(LATAM, workspace="emea")


@dataclass
class Journal:
    """A database that takes a second for each transaction. *refused* are the entries that it can't hold."""

    refused: frozenset[int] = frozenset()
    error: PigmentSyncError | None = None
    groups: list[tuple[str, list[int]]] = field(default_factory=list)
    written: list[int] = field(default_factory=list)

    async def write(self, lease: Lease, entries: Sequence[Entry]) -> list[Pause | None]:
        numbers = [each.record.seq for each in entries]
        self.groups.append((lease.workspace, numbers))
        await asyncio.sleep(1)
        if self.error is not None:
            raise self.error
        if self.refused.intersection(numbers):
            raise StateError("It can't hold this text.", "Look.")
        self.written += numbers
        return [None] * len(entries)


def entry(number: int, at: datetime = NOW) -> Answer:
    return Answer(done(a_change(), number, at=at), None)


async def put_all(queue: JournalQueue, *leases: Lease) -> list[object]:
    puts = (queue.put(lease, entry(number)) for number, lease in enumerate(leases))
    return await asyncio.gather(*puts, return_exceptions=True)


def test_entries_that_wait_are_written_together_in_their_order_by_lease() -> None:
    journal = Journal()

    run_virtually(put_all(JournalQueue(journal.write), LATAM, LATAM, EMEA, EMEA, LATAM))

    assert journal.groups == [("latam", [0, 1]), ("emea", [2, 3]), ("latam", [4])]


async def _put_outcome_and_next_intent(journal: Journal) -> None:
    queue = JournalQueue(journal.write)
    outcome = asyncio.create_task(queue.put(LATAM, entry(0)))
    # The outcome frees a place: what waits for it begins the next change, in a task.
    await asyncio.sleep(0)
    next_change = asyncio.create_task(queue.put(LATAM, entry(1)))
    await asyncio.gather(outcome, next_change)


def test_intent_of_the_change_that_follows_an_outcome_is_written_with_it() -> None:
    journal = Journal()

    run_virtually(_put_outcome_and_next_intent(journal))

    assert journal.groups == [("latam", [0, 1])]


async def _put_while_writing(journal: Journal) -> None:
    queue = JournalQueue(journal.write)
    first = asyncio.create_task(queue.put(LATAM, entry(0)))
    await asyncio.sleep(0.5)
    late = [asyncio.create_task(queue.put(LATAM, entry(number))) for number in range(1, 4)]
    await asyncio.sleep(0)
    late[1].cancel()
    await first
    assert journal.written == [0], "an entry was awaited before it was on record"
    await asyncio.gather(*late, return_exceptions=True)


def test_entry_that_is_cancelled_while_it_waits_keeps_no_other() -> None:
    journal = Journal()

    run_virtually(_put_while_writing(journal))

    assert journal.groups == [("latam", [0]), ("latam", [1, 3])]


def test_entry_that_the_database_can_not_hold_fails_alone() -> None:
    journal = Journal(refused=frozenset({1}))

    ended = run_virtually(put_all(JournalQueue(journal.write), LATAM, LATAM, LATAM))

    assert [type(each) for each in ended] == [type(None), StateError, type(None)]
    assert journal.written == [0, 2]


@pytest.mark.parametrize("error", [lease_lost_error("latam"), StateError("Away.", "Wait.", is_transient=True)])
def test_lost_lease_and_lost_database_fail_all_at_once(error: PigmentSyncError) -> None:
    journal = Journal(error=error)

    ended = run_virtually(put_all(JournalQueue(journal.write), LATAM, LATAM, LATAM))

    assert ended == [error] * 3
    assert len(journal.groups) == 1
