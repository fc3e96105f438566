"""Reads that several sources share, and concurrent reads."""

from __future__ import annotations

import asyncio

import pytest

from connectors.base import IncompleteRead
from connectors.http.isolated_reads import IsolatedReads
from connectors.http.single_flight import SingleFlight, task_group


class Source:
    """Counts its reads; they end when released, some of them with an error."""

    def __init__(self, *faults: Exception) -> None:
        self.keys: list[str] = []
        self.ended: list[str] = []
        self.go_on = asyncio.Event()
        self._faults = list(faults)

    async def read(self, key: str) -> str:
        self.keys.append(key)
        try:
            await self.go_on.wait()
        finally:
            self.ended.append(key)
        if self._faults:
            raise self._faults.pop(0)
        return key.upper()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_single_flight_reads_a_key_once_for_all_callers() -> None:
    source = Source()
    once = SingleFlight(source.read)
    tasks = [asyncio.create_task(once(key)) for key in ("a", "a", "b")]
    await settle()
    source.go_on.set()
    assert await asyncio.gather(*tasks, once("a")) == ["A", "A", "B", "A"]
    assert await once("a") == "A"
    assert source.keys == ["a", "b"]


async def test_single_flight_raises_a_failure_to_all_waiters_and_drops_it() -> None:
    source = Source(IncompleteRead("cut off", "try again"))
    once = SingleFlight(source.read)
    tasks = [asyncio.create_task(once("a")) for _ in range(2)]
    await settle()
    source.go_on.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [IncompleteRead, IncompleteRead]
    assert await once("a") == "A"
    assert source.keys == ["a", "a"]


async def test_once_goes_on_for_the_others_when_one_gives_up() -> None:
    source = Source()
    once = SingleFlight(source.read)
    first, second = asyncio.create_task(once("a")), asyncio.create_task(once("a"))
    await settle()
    first.cancel()
    await settle()
    assert source.ended == []
    source.go_on.set()
    assert await second == "A"
    assert source.keys == ["a"]


async def test_single_flight_cancels_a_read_without_waiters_and_reads_again() -> None:
    source = Source()
    once = SingleFlight(source.read)
    only = asyncio.create_task(once("a"))
    await settle()
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    source.go_on.set()
    assert await once("a") == "A"
    assert source.keys == ["a", "a"]


async def test_single_flight_reads_again_while_a_cancelled_read_is_still_ending() -> None:
    source = Source()
    once = SingleFlight(source.read)
    only = asyncio.create_task(once("a"))
    await settle()
    only.cancel()
    again = asyncio.create_task(once("a"))
    await settle()
    source.go_on.set()
    assert await again == "A"


async def test_side_by_side_ends_the_others_and_raises_the_failure_itself() -> None:
    slow, bad = Source(), Source(IncompleteRead("cut off", "try again"))
    bad.go_on.set()

    async def both() -> None:
        async with task_group() as tasks:
            tasks.create_task(slow.read("slow"))
            tasks.create_task(bad.read("bad"))

    with pytest.raises(IncompleteRead, match="cut off"):
        await both()
    assert slow.ended == ["slow"]


async def test_side_by_side_waits_for_all() -> None:
    source = Source()
    source.go_on.set()
    async with task_group() as tasks:
        results = [tasks.create_task(source.read(key)) for key in "ab"]
    assert [task.result() for task in results] == ["A", "B"]


async def test_one_by_one_keeps_the_failure_of_one_object_to_itself() -> None:
    async def one(key: str) -> str:
        if key == "b":
            raise IncompleteRead("odd", "again", 500)
        return key.upper()

    found = await IsolatedReads().read_each("abcd", one)
    assert [each if isinstance(each, str) else each.cause for each in found.values()] == ["A", "500", "C", "D"]


async def test_one_by_one_stops_after_failures_in_a_row_and_bounds_each_wait() -> None:
    calls = []

    async def never(key: str) -> str:
        calls.append(key)
        await asyncio.Event().wait()
        return key

    found = await IsolatedReads(timeout_seconds=0.05).read_each([str(number) for number in range(50)], never)
    assert len(calls) < 8
    assert all(isinstance(each, IncompleteRead) for each in found.values())
