"""Report the progress of long work: bars on a terminal, otherwise one log line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from connectors.base import Progress as ProgressCallback

__all__ = ["ProgressDisplay", "ProgressLog", "no_budget", "show_progress"]

log = structlog.get_logger()
LOG_INTERVAL_SECONDS = 60.0


def no_budget() -> int | None:
    return None


class ProgressDisplay(ProgressCallback, Protocol):
    """Receives progress. *budget* returns how many requests Pigment's hosts accept now, or None if unknown."""

    budget: Callable[[], int | None]


class ProgressLog:
    """At most one log line a minute for each kind of work. *now* returns monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.budget: Callable[[], int | None] = no_budget
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
    # Rich's bars are imported for a terminal only: a schedule starts most commands.
    from agent.cli.progress_bars import open_progress_bars

    with open_progress_bars() as bars:
        yield bars
