"""Write the entries of the journal that wait at one moment in one transaction.

Changes in flight together end together. A transaction for each intent and each outcome would cost more than the
requests: most of it is the check of the lease and the wait for the disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from agent.errors import StateError
from agent.model import Link, Pause
from agent.model.run import ChangeRecord, Lease

__all__ = ["Answer", "Entry", "Intent", "JournalQueue"]


@dataclass(frozen=True, slots=True)
class Intent:
    """A change that is about to be sent. With *respects_pause* it is not written while the workspace is paused."""

    record: ChangeRecord
    respects_pause: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a change, and the link that it made."""

    record: ChangeRecord
    link: Link | None


STEPS_TO_NEXT_INTENT = 2
"""After so many steps of the event loop, the change whose place an outcome freed has queued its intent."""

Entry = Intent | Answer
WriteEntries = Callable[[Lease, Sequence[Entry]], Awaitable[list[Pause | None]]]
"""Writes entries in one transaction, all or none. Returns for each the pause that kept it from being written."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    lease: Lease
    entry: Entry
    written: asyncio.Future[Pause | None]


class JournalQueue:
    """Writes entries in the order of the calls of `put`: no entry is on record before an earlier one."""

    def __init__(self, write: WriteEntries) -> None:
        self._write = write
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def put(self, lease: Lease, entry: Entry) -> Pause | None:
        """Write *entry*, and return once it is committed. Return the pause instead that kept it from being written.

        Raises `LeaseLost` or `StateError`: then nothing of it was written, unless the answer to the commit was lost.
        """
        # Before anything is awaited: a later call must come later.
        waiting = _Waiting(lease, entry, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_waiting())
        return await waiting.written

    async def _write_waiting(self) -> None:
        try:
            for _ in range(STEPS_TO_NEXT_INTENT):
                await asyncio.sleep(0)
            while group := self._next_group():
                await self._write_group(group)
        finally:
            self._writing = None
            _cancel(self._waiting)

    def _next_group(self) -> list[_Waiting]:
        """Take the entries at the head of the queue that are under one lease. Cancelled ones are left out."""
        group: list[_Waiting] = []
        while self._waiting and (not group or self._waiting[0].lease == group[0].lease):
            waiting = self._waiting.popleft()
            if not waiting.written.done():
                group.append(waiting)
        return group

    async def _write_group(self, group: Sequence[_Waiting]) -> None:
        try:
            pauses = await self._write(group[0].lease, [each.entry for each in group])
        except asyncio.CancelledError:
            _cancel(group)
            raise
        except Exception as error:  # noqa: BLE001  (it is raised where the entry is awaited)
            await self._write_each_or_fail(group, error)
        else:
            for each, pause in zip(group, pauses, strict=True):
                if not each.written.done():
                    each.written.set_result(pause)

    async def _write_each_or_fail(self, group: Sequence[_Waiting], error: Exception) -> None:
        if len(group) > 1 and isinstance(error, StateError) and not error.is_transient:
            # One entry may be the reason, such as a text that the database can't hold: the others are written.
            for each in group:
                await self._write_group([each])
            return
        for each in group:
            if not each.written.done():
                each.written.set_exception(error)


def _cancel(group: Iterable[_Waiting]) -> None:
    for each in group:
        each.written.cancel()
