"""Show the progress of long work as bars on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

from agent.cli.progress import no_budget
from agent.report.escape import escape_control

__all__ = ["ProgressBars", "open_progress_bars"]


class _RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class ProgressBars:
    """One bar for each kind of work, added at its first report."""

    def __init__(self, console: Console) -> None:
        self.budget: Callable[[], int | None] = no_budget
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


@contextmanager
def open_progress_bars() -> Iterator[ProgressBars]:
    bars = ProgressBars(Console(stderr=True))
    with bars.display:
        yield bars
