"""The list of past runs, and the timeline of one person, as table rows and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from agent.model import Fields, Kind
from agent.model.run import ChangeRecord, Run

__all__ = ["RUN_HEADINGS", "TIMELINE_HEADINGS", "run_cells", "run_row", "timeline_cells", "timeline_row"]

RUN_HEADINGS = (
    "run",
    "workspace",
    "trigger",
    "status",
    "started",
    "duration",
    "created",
    "deactivated",
    "changed",
    "on_hold",
    "failed",
    "by",
    "reason",
)
TIMELINE_HEADINGS = ("time", "workspace", "change", "outcome", "email", "run", "trigger", "by", "reason")
CHANGED_KINDS = (Kind.REACTIVATE, Kind.UPDATE_EMAIL, Kind.UPDATE_NAME)
SHOWN_FIELDS = ("id", "workspace", "trigger", "dry_run", "user", "status", "started_at", "finished_at", "by", "reason")


def run_cells(run: Run, made: Mapping[Kind, int]) -> tuple[str, ...]:
    """Return the cells of *run* under `RUN_HEADINGS`; *made* are the changes that it made, by kind."""
    counts = _counts(run, made)
    label = ("dry run" if run.dry_run else run.trigger) + (f" of {run.user}" if run.user else "")
    numbers = ("" if counts[key] is None else f"{counts[key]}" for key in RUN_HEADINGS[6:11])
    return run.id, run.workspace, label, run.status, _format_time(run.started_at), _duration(run), *numbers, *_why(run)


def run_row(run: Run, made: Mapping[Kind, int]) -> dict[str, object]:
    """Return *run* for JSON. The counts are null where they are not recorded, as for a dry run or a pause."""
    seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
    return {
        **{name: getattr(run, name) for name in SHOWN_FIELDS},
        "approved": run.approved_digest,
        **{name: getattr(run, name) for name in ("digest", "error", "requests")},
        "duration_seconds": seconds,
        "counts": _counts(run, made),
    }


def timeline_cells(record: ChangeRecord, run: Run) -> tuple[str, ...]:
    """Return the cells of a change and its run under `TIMELINE_HEADINGS`."""
    change = record.change
    before = f"{change.before.email} → " if change.changes_email and change.before.email else ""
    outcome = f"{record.outcome}: {record.detail}" if record.detail else record.outcome
    email = before + (change.after.email or change.email if change.changes_email else change.email)
    return (
        _format_time(record.sent_at),
        run.workspace,
        change.kind,
        outcome,
        email,
        run.id,
        run.trigger,
        run.by,
        " · ".join(filter(None, [change.reason, run.reason])),
    )


def timeline_row(record: ChangeRecord, run: Run) -> dict[str, object]:
    """Return a change and its run for JSON."""
    change = record.change
    return {
        "sent_at": record.sent_at,
        "answered_at": record.answered_at,
        "workspace": run.workspace,
        "run": run.id,
        "seq": record.seq,
        "kind": change.kind,
        "code": change.code,
        "email": change.email,
        "scim_id": record.scim_id,
        "before": _field_values(change.before),
        "after": _field_values(change.after),
        "outcome": record.outcome,
        "detail": record.detail,
        "change_reason": change.reason,
        "trigger": run.trigger,
        "by": run.by,
        "reason": run.reason,
    }


def _counts(run: Run, made: Mapping[Kind, int]) -> dict[str, int | None]:
    """Count by kind what a run made. Of a dry run only `to_change` and `on_hold` are known without its plan."""
    tally = run.tally
    has_made = tally is not None and not run.dry_run
    return {
        "created": made.get(Kind.CREATE, 0) if has_made or made else None,
        "deactivated": made.get(Kind.DEACTIVATE, 0) if has_made or made else None,
        "changed": sum(made.get(kind, 0) for kind in CHANGED_KINDS) if has_made or made else None,
        "matched": made.get(Kind.ADOPT, 0) if has_made or made else None,
        "on_hold": tally.held if tally else None,
        "failed": tally.failed if tally and not run.dry_run else None,
        "to_change": tally.changes if tally and run.dry_run else None,
    }


def _field_values(fields: Fields) -> dict[str, object]:
    values = {"email": fields.email, "display_name": fields.display_name, "active": fields.active}
    return {name: value for name, value in values.items() if value is not None}


def _why(run: Run) -> tuple[str, str]:
    return run.by, run.reason or run.error


def _format_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _duration(run: Run) -> str:
    """Return "8s", "2m 05s" or "1h 02m"; empty for a run that has not ended."""
    if run.finished_at is None:
        return ""
    seconds = (run.finished_at - run.started_at) // timedelta(seconds=1)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes}m {seconds:02}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02}m"
