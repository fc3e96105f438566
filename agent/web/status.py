"""The status of a workspace on the page: a label, its tone, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.daemon.interface import ActiveRun, WorkspaceStatus
from agent.model.run import Run, RunOutline, RunStatus, Trigger

__all__ = [
    "FleetSummary",
    "StatusCard",
    "fleet_summary",
    "format_ago",
    "format_span",
    "format_until",
    "has_earlier_run",
    "run_kind",
    "status_card",
    "trend_points",
    "worst_first",
]

STATUS_LABELS = {
    RunStatus.INCOMPLETE: "not read",
    RunStatus.CREDENTIALS: "check credentials",
    RunStatus.BUSY: "busy",
    RunStatus.STALE: "approval was stale",
    RunStatus.INTERRUPTED: "interrupted",
}
NAMED_TRIGGERS = {Trigger.UNDO, Trigger.LINKS, Trigger.PAUSE, Trigger.RESUME, Trigger.WORKSPACES}
EXPIRY_WARNING_DAYS = 30
TONE_ORDER = ("bad", "warn", "none", "good")
TREND_WIDTH, TREND_HEIGHT, TREND_RUNS = 120.0, 24.0, 60


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

    @property
    def is_healthy(self) -> bool:
        return self.tone == "good" and not self.is_overdue


def status_card(status: WorkspaceStatus, ongoing: Sequence[ActiveRun], now: datetime) -> StatusCard:
    own_runs = tuple(each for each in ongoing if each.workspace == status.name)
    label, tone = _label_and_tone(status.last_run)
    days = (status.token_expires - now.date()).days if status.token_expires else None
    is_soon = days is not None and days <= EXPIRY_WARNING_DAYS
    is_overdue = status.stale_after is not None and status.stale_after < now
    return StatusCard(status, label, tone, own_runs, is_overdue, days, is_soon)


@dataclass(frozen=True, slots=True)
class FleetSummary:
    """All workspaces in some numbers.

    *oldest_hold* is since when the oldest hold waits for a person, as in the metric; None without one or if not
    recorded. *budget_left*: how many requests the busiest Pigment host accepts now, None: unknown.
    """

    workspaces: int
    members: int
    in_sync: int
    held: int
    failing: int
    oldest_hold: datetime | None
    budget_left: int | None


def fleet_summary(cards: Sequence[StatusCard], budget_left: int | None) -> FleetSummary:
    tallies = [card.status.last_run.tally for card in cards if card.status.last_run and card.status.last_run.tally]
    oldest = [card.status.figures.oldest_hold for card in cards if card.status.figures is not None]
    return FleetSummary(
        workspaces=len(cards),
        members=sum(tally.active for tally in tallies),
        in_sync=sum(card.is_healthy for card in cards),
        held=sum(tally.held for tally in tallies),
        failing=sum(card.tone == "bad" or card.is_overdue for card in cards),
        oldest_hold=min((each for each in oldest if each is not None), default=None),
        budget_left=budget_left,
    )


def worst_first(cards: Sequence[StatusCard]) -> list[StatusCard]:
    """Return *cards* with problems before healthy workspaces, the most on hold first, else in their order."""

    def urgency(card: StatusCard) -> tuple[bool, int, int, bool]:
        tally = card.status.last_run.tally if card.status.last_run else None
        held = tally.held if tally else 0
        return not card.is_overdue, TONE_ORDER.index(card.tone), -held, card.status.pause is None

    return sorted(cards, key=urgency)


def trend_points(runs: Sequence[RunOutline]) -> str:
    """Return the points of a small line: active members over time, the newest of *runs* (newest first) at its end."""
    counted = [(run.started_at, run.active) for run in runs[:TREND_RUNS] if run.active is not None]
    if len(counted) < 2:
        return ""
    (newest, _), (oldest, _) = counted[0], counted[-1]
    span, top = (newest - oldest).total_seconds(), max(1, *(active for _, active in counted))
    return " ".join(
        f"{TREND_WIDTH * (1 - ((newest - when).total_seconds() / span if span else 0)):.1f},"
        f"{1 + (TREND_HEIGHT - 2) * (1 - active / top):.1f}"
        for when, active in reversed(counted)
    )


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


def has_earlier_run(status: WorkspaceStatus) -> bool:
    """Return whether a run before the newest read recorded the members: only then is it known who changed since."""
    newest = status.last_read
    return newest is not None and any(
        not run.dry_run and run.active is not None and run.started_at < newest.started_at for run in status.whole_runs
    )


def run_kind(run: Run) -> str:
    """Return the kind of a run in one or two words."""
    return "dry run" if run.dry_run else str(run.trigger) if run.trigger in NAMED_TRIGGERS else "sync"


def format_ago(when: datetime, now: datetime) -> str:
    """Return the time since *when*, in its largest unit."""
    return format_span(max(0.0, (now - when).total_seconds())) + " ago"


def format_until(when: datetime, now: datetime) -> str:
    """Return the time until *when*, in its largest unit."""
    return "in " + format_span(max(0.0, (when - now).total_seconds()))


def format_span(seconds: float) -> str:
    """Return the size of a span of time, in its largest unit."""
    seconds = round(abs(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and unit == "min"):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
