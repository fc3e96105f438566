"""The daemon's running tasks, and how many runs and queries it accepts at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from agent.daemon.interface import ActiveRun, TooManyRequests
from agent.engine.shutdown import GracefulShutdown

__all__ = ["MAX_ACTIVE_RUNS", "MAX_QUERIES", "QueryLimiter", "RunTasks"]

MAX_ACTIVE_RUNS = 50
"""Requested runs, waiting or running, of all daemons. A client that requests runs in a loop is refused."""
MAX_QUERIES = 5
"""Accepted queries about people, waiting or running. Only one runs at a time: each reads every workspace."""
CANCEL_TIMEOUT_SECONDS = 2.0
"""How long a stop waits for cancelled runs to be recorded."""


class RunTasks:
    """The daemon's tasks. APScheduler's own shutdown would cancel them during a write; this one lets them end."""

    def __init__(self) -> None:
        self.is_stopping = False
        self._active_runs: dict[str, ActiveRun] = {}
        self._tasks: dict[asyncio.Task[None], GracefulShutdown] = {}

    @property
    def active_runs(self) -> tuple[ActiveRun, ...]:
        return tuple(self._active_runs.values())

    def start(
        self, runs: Iterable[ActiveRun], body: Coroutine[object, object, None], shutdown: GracefulShutdown
    ) -> asyncio.Task[None]:
        """Start *body*, which executes *runs*; they are active until it ends. *shutdown* ends it gracefully."""
        started = tuple(runs)
        self._active_runs.update((run.run_id, run) for run in started)
        task = asyncio.create_task(body)
        self._tasks[task] = shutdown

        def remove_task(_task: asyncio.Task[None]) -> None:
            del self._tasks[task]
            for run in started:
                self._active_runs.pop(run.run_id, None)

        task.add_done_callback(remove_task)
        return task

    def request_stop(self, task: asyncio.Task[None]) -> None:
        """Let *task* end: at once if it only reads, else after its write in flight."""
        if (shutdown := self._tasks.get(task)) is not None and not shutdown.is_requested:
            shutdown.request(task)

    def report_progress(self, run_ids: Iterable[str], step: str, done: int, total: int | None) -> None:
        for run_id in run_ids:
            if (run := self._active_runs.get(run_id)) is not None:
                self._active_runs[run_id] = replace(run, step=step, done=done, total=total)

    async def shut_down(self, timeout_seconds: float) -> bool:
        """Cancel reads, let writes in flight and the records of runs finish, and cancel what takes too long.

        Returns whether all tasks ended without being cancelled at the end.
        """
        self.is_stopping = True
        # A task that is cancelled before its first step never gets to record its run.
        await asyncio.sleep(0)
        for task, shutdown in self._tasks.items():
            shutdown.request(task)
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=timeout_seconds)
        for task in late:
            task.cancel()
        if late:
            # They record their runs; a state that does not respond must not keep the process from ending.
            await asyncio.wait(late, timeout=CANCEL_TIMEOUT_SECONDS)
        return not late


class QueryLimiter:
    """Keeps queries about people, open to any user, from using up the requests that runs need.

    *budget_left* returns how many requests the busiest host accepts now, None when that is unknown.
    """

    def __init__(self, budget_left: Callable[[], int | None]) -> None:
        self._budget_left = budget_left
        self._pending = 0
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def acquire(self, requests_per_window: int) -> AsyncIterator[None]:
        """Wait until no other query runs. Raises `TooManyRequests`: half of each window is reserved for runs."""
        if self._pending >= MAX_QUERIES:
            raise TooManyRequests(f"{self._pending} queries about people are waiting.", "Try again in a minute.")
        self._pending += 1
        try:
            async with self._lock:
                left = self._budget_left()
                if left is not None and left < requests_per_window // 2:
                    raise TooManyRequests(
                        f"Pigment accepts {left} more requests now, and they are reserved for runs.",
                        "Try again in a few minutes, or see the newest run of the workspace.",
                    )
                yield
        finally:
            self._pending -= 1
