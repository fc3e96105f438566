"""Show how far long work has come: live bars on a terminal, else one log line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from connectors.base import Progress as Told

__all__ = ["shown"]

log = structlog.get_logger()
LOG_EVERY_SECONDS = 60.0


class Bars:
    """One bar for each kind of work, made when it is first told of."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)


class Lines:
    """At most one log line a minute for each kind of work."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._last.setdefault(what, now) >= LOG_EVERY_SECONDS:
            self._last[what] = now
            log.info("work.progressed", what=what, done=done, total=total)


@contextmanager
def shown() -> Iterator[Told]:
    """Yield what is to be told of progress, for as long as the work lasts."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress)
