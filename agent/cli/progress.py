"""Report the progress of long work: bars on a terminal, otherwise one log line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from agent.report.escape import escape_control
from connectors.base import Progress as ProgressCallback

__all__ = ["ProgressBars", "ProgressDisplay", "ProgressLog", "show_progress"]

log = structlog.get_logger()
LOG_INTERVAL_SECONDS = 60.0


def _no_budget() -> int | None:
    return None


class ProgressDisplay(ProgressCallback, Protocol):
    """Receives progress. *budget* returns how many requests Pigment's hosts accept now, or None if unknown."""

    budget: Callable[[], int | None]


class _RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class ProgressBars:
    """One bar for each kind of work, added at its first report."""

    def __init__(self, console: Console) -> None:
        self.budget: Callable[[], int | None] = _no_budget
        self._tasks: dict[str, TaskID] = {}
        self.display = Progress(
            # Descriptions contain group names, and Rich would interpret "[/x]" as markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[budget]}", markup=False),
            console=console,
            transient=True,
        )

    def __call__(self, what: str, done: int, total: int | None) -> None:
        left = self.budget()
        budget = "" if left is None else f"{left} requests left"
        if what not in self._tasks:
            self._tasks[what] = self.display.add_task(escape_control(what), total=total, budget=budget)
        self.display.update(self._tasks[what], completed=done, total=total, budget=budget)


class ProgressLog:
    """At most one log line a minute for each kind of work. *now* returns monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.budget: Callable[[], int | None] = _no_budget
        self._now = now
        self._last_logged: dict[str, tuple[float, int]] = {}

    def __call__(self, what: str, done: int, total: int | None) -> None:
        now = self._now()
        at, previous = self._last_logged.setdefault(what, (now, done))
        if now - at < LOG_INTERVAL_SECONDS:
            return
        self._last_logged[what] = (now, done)
        rate = round((done - previous) / (now - at), 1)
        log.info("work.progressed", what=what, done=done, total=total, per_second=rate, budget=self.budget())


@contextmanager
def show_progress() -> Iterator[ProgressDisplay]:
    """Yield the receiver of progress for the duration of the work."""
    if not sys.stderr.isatty():
        yield ProgressLog()
        return
    bars = ProgressBars(Console(stderr=True))
    with bars.display:
        yield bars
