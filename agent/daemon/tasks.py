"""What the daemon has under way: runs that were promised or have begun, how far they are, and their gentle end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import replace

from agent.daemon.interface import ActiveRun, TooManyRequests
from agent.engine.shutdown import GracefulShutdown

__all__ = ["MAX_ACTIVE_RUNS", "RunTasks"]

MAX_ACTIVE_RUNS = 50
"""Runs that are promised at once; a client in a loop is told to wait."""
CANCEL_TIMEOUT_SECONDS = 2.0
"""How long a stop waits for runs that it broke off to be written down."""


class RunTasks:
    """The daemon's tasks. APScheduler's own shutdown would cancel them in the middle of a write; this lets them end."""

    def __init__(self) -> None:
        self.is_stopping = False
        self._active_runs: dict[str, ActiveRun] = {}
        self._tasks: dict[asyncio.Task[None], GracefulShutdown] = {}

    @property
    def active_runs(self) -> tuple[ActiveRun, ...]:
        return tuple(self._active_runs.values())

    def start(
        self, runs: Iterable[ActiveRun], body: Coroutine[object, object, None], stopping: GracefulShutdown
    ) -> asyncio.Task[None]:
        """Begin *body*, which is the work on *runs*; they are ongoing until it ends. *stopping* is its gentle end."""
        mine = tuple(runs)
        self._active_runs.update((run.run_id, run) for run in mine)
        task = asyncio.create_task(body)
        self._tasks[task] = stopping

        def ended(_task: asyncio.Task[None]) -> None:
            del self._tasks[task]
            for run in mine:
                self._active_runs.pop(run.run_id, None)

        task.add_done_callback(ended)
        return task

    def require_capacity(self) -> None:
        """Raise `TooManyRequests` when no more runs may be promised."""
        if len(self._active_runs) >= MAX_ACTIVE_RUNS:
            raise TooManyRequests(
                f"{len(self._active_runs)} runs wait or are under way.", "Ask again when some of them have ended."
            )

    def report_progress(self, run_ids: Iterable[str], what: str, done: int, total: int | None) -> None:
        for run_id in run_ids:
            if (run := self._active_runs.get(run_id)) is not None:
                self._active_runs[run_id] = replace(run, step=what, done=done, total=total)

    async def shut_down(self, patience_seconds: float) -> bool:
        """Break off what only reads, let writes in flight be answered and the runs be closed, and cancel what is late.

        Returns whether all ended by themselves.
        """
        self.is_stopping = True
        # A task that is cancelled before its first step never gets to account for its run.
        await asyncio.sleep(0)
        for task, stopping in self._tasks.items():
            stopping.request(task)
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=patience_seconds)
        for task in late:
            task.cancel()
        if late:
            # They account for their runs; a state that does not answer must not keep the process from ending.
            await asyncio.wait(late, timeout=CANCEL_TIMEOUT_SECONDS)
        return not late
