"""How the page says that a workspace stands: one word, its tone, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.desk import Ongoing, Standing
from agent.ports import Run, RunStatus, Trigger
from agent.web.overdue import stale_after

__all__ = ["Card", "ago", "card", "ran", "until"]

TOLD = {
    RunStatus.INCOMPLETE: "not read",
    RunStatus.CREDENTIALS: "check credentials",
    RunStatus.BUSY: "busy",
    RunStatus.STALE: "approval was stale",
    RunStatus.INTERRUPTED: "interrupted",
}
OTHERS = {Trigger.UNDO, Trigger.LINKS, Trigger.PAUSE, Trigger.RESUME, Trigger.WORKSPACES}
SOON_DAYS = 30


@dataclass(frozen=True, slots=True)
class Card:
    """A workspace on the page. *tone* is `good`, `warn`, `bad` or `none`; *expires_in* are days, None: not known."""

    standing: Standing
    word: str
    tone: str
    ongoing: tuple[Ongoing, ...]
    overdue: bool
    expires_in: int | None
    expires_soon: bool


def card(standing: Standing, ongoing: Sequence[Ongoing], now: datetime, started_at: datetime) -> Card:
    mine = tuple(each for each in ongoing if each.workspace == standing.name)
    word, tone = _word(standing.last)
    since = (standing.read.finished_at or standing.read.started_at) if standing.read else started_at
    stale = stale_after(standing.schedule, since)
    days = (standing.token_expires - now.date()).days if standing.token_expires else None
    is_soon = days is not None and days <= SOON_DAYS
    return Card(standing, word, tone, mine, stale is not None and stale < now, days, is_soon)


def _word(last: Run | None) -> tuple[str, str]:
    if last is None:
        return "never run", "none"
    if last.status in TOLD:
        return TOLD[last.status], "bad"
    tally = last.tally
    if tally is None:
        return last.status, "warn"
    if tally.failed:
        return f"{tally.failed:,} failed", "bad"
    if tally.held:
        return f"{tally.held:,} held", "warn"
    # Of a paused workspace a sync is only planned.
    if last.status is RunStatus.PLANNED and tally.changes:
        return f"{tally.changes:,} to change", "warn"
    return "in step", "good"


def ran(run: Run) -> str:
    """Return what kind of run it was, in a word or two."""
    return "dry run" if run.dry_run else str(run.trigger) if run.trigger in OTHERS else "sync"


def ago(when: datetime, now: datetime) -> str:
    """Return how long *when* is past, in its largest unit."""
    return _span((now - when).total_seconds()) + " ago"


def until(when: datetime, now: datetime) -> str:
    """Return how long it is until *when*."""
    return "in " + _span((when - now).total_seconds())


def _span(seconds: float) -> str:
    seconds = max(0, round(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and unit == "min"):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
