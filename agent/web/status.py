"""The status of a workspace on the page: a label, its tone, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.daemon.interface import ActiveRun, WorkspaceStatus
from agent.model.run import Run, RunStatus, Trigger

__all__ = ["StatusCard", "format_ago", "format_until", "run_kind", "status_card"]

STATUS_LABELS = {
    RunStatus.INCOMPLETE: "not read",
    RunStatus.CREDENTIALS: "check credentials",
    RunStatus.BUSY: "busy",
    RunStatus.STALE: "approval was stale",
    RunStatus.INTERRUPTED: "interrupted",
}
NAMED_TRIGGERS = {Trigger.UNDO, Trigger.LINKS, Trigger.PAUSE, Trigger.RESUME, Trigger.WORKSPACES}
EXPIRY_WARNING_DAYS = 30


@dataclass(frozen=True, slots=True)
class StatusCard:
    """A workspace on the page.

    *tone* is `good`, `warn`, `bad` or `none`; *expires_in_days* are days, None if unknown.
    """

    status: WorkspaceStatus
    label: str
    tone: str
    active_runs: tuple[ActiveRun, ...]
    is_overdue: bool
    expires_in_days: int | None
    expires_soon: bool


def status_card(status: WorkspaceStatus, ongoing: Sequence[ActiveRun], now: datetime) -> StatusCard:
    own_runs = tuple(each for each in ongoing if each.workspace == status.name)
    label, tone = _label_and_tone(status.last_run)
    days = (status.token_expires - now.date()).days if status.token_expires else None
    is_soon = days is not None and days <= EXPIRY_WARNING_DAYS
    is_overdue = status.stale_after is not None and status.stale_after < now
    return StatusCard(status, label, tone, own_runs, is_overdue, days, is_soon)


def _label_and_tone(last: Run | None) -> tuple[str, str]:
    if last is None:
        return "never run", "none"
    if last.status in STATUS_LABELS:
        return STATUS_LABELS[last.status], "bad"
    tally = last.tally
    if tally is None:
        return last.status, "warn"
    if tally.failed:
        return f"{tally.failed:,} failed", "bad"
    if tally.held:
        return f"{tally.held:,} on hold", "warn"
    # A sync of a paused workspace is only planned.
    if last.status is RunStatus.PLANNED and tally.changes:
        return f"{tally.changes:,} to change", "warn"
    return "in sync", "good"


def run_kind(run: Run) -> str:
    """Return the kind of a run in one or two words."""
    return "dry run" if run.dry_run else str(run.trigger) if run.trigger in NAMED_TRIGGERS else "sync"


def format_ago(when: datetime, now: datetime) -> str:
    """Return the time since *when*, in its largest unit."""
    return _format_span((now - when).total_seconds()) + " ago"


def format_until(when: datetime, now: datetime) -> str:
    """Return the time until *when*, in its largest unit."""
    return "in " + _format_span((when - now).total_seconds())


def _format_span(seconds: float) -> str:
    seconds = max(0, round(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and unit == "min"):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
