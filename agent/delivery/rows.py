"""Configured reports and their deliveries as table rows and as JSON: for the command line, the page and the API."""

from __future__ import annotations

from datetime import datetime

from typing_extensions import TypedDict

from agent.delivery.service import ReportState
from agent.model.report import MadeReport, ReportStatus
from agent.report.run_identity import format_utc
from agent.settings.types import format_duration
from agent.settings.workspace import ScheduleSettings

__all__ = [
    "REPORT_HEADINGS",
    "DeliveryRow",
    "ReportRow",
    "SentRow",
    "format_schedule",
    "report_cells",
    "report_row",
    "sent_row",
]

REPORT_HEADINGS = ("name", "what", "schedule", "to", "last_delivered", "next", "state")


class DeliveryRow(TypedDict):
    """One report at one target. *target* has no secret. *status* is `pending`, `delivered`, `refused` and so on."""

    target: str
    status: str
    attempts: int
    delivered_at: str | None
    next_attempt_at: str | None
    error: str


class SentRow(TypedDict):
    """One report that was made, or is being made."""

    id: str
    scheduled_at: str
    status: str
    by: str
    title: str
    error: str
    deliveries: list[DeliveryRow]


class ReportRow(TypedDict):
    """One report of the configuration.

    *state* is `never sent`, `delivered`, `unchanged`, `waiting`, `late` or `failed`.
    """

    name: str
    what: str
    workspaces: list[str]
    schedule: str
    formats: list[str]
    when: str
    to: list[str]
    last_delivered_at: str | None
    next_at: str | None
    state: str
    problem: str
    newest: SentRow | None


def report_row(known: ReportState, now: datetime) -> ReportRow:
    report = known.settings
    return {
        "name": report.name,
        "what": report.what.value,
        "workspaces": list(report.workspaces),
        "schedule": format_schedule(report.schedule),
        "formats": [each.value for each in report.formats],
        "when": report.when.value,
        "to": list(known.targets),
        "last_delivered_at": _time(known.last_delivered_at),
        "next_at": _time(known.next_at),
        "state": _state(known, now),
        "problem": known.problem,
        "newest": sent_row(known.reports[0]) if known.reports else None,
    }


def sent_row(report: MadeReport) -> SentRow:
    return {
        "id": report.id,
        "scheduled_at": format_utc(report.scheduled_at),
        "status": report.status.value,
        "by": report.by,
        "title": report.title,
        "error": report.error,
        "deliveries": [
            {
                "target": each.target,
                "status": each.status.value,
                "attempts": each.attempts,
                "delivered_at": _time(each.delivered_at),
                "next_attempt_at": _time(each.next_attempt_at),
                "error": each.error,
            }
            for each in report.deliveries
        ],
    }


def report_cells(row: ReportRow) -> tuple[str, ...]:
    """Return the cells of *row* under `REPORT_HEADINGS`."""
    shown = row["state"] if not row["problem"] else f"{row['state']}: {row['problem']}"
    return (
        row["name"],
        row["what"],
        row["schedule"] or "none",
        ", ".join(row["to"]),
        row["last_delivered_at"] or "never",
        row["next_at"] or "",
        shown,
    )


def format_schedule(schedule: ScheduleSettings | None) -> str:
    """Return the schedule as in the configuration: `every 7d`, `cron 0 7 * * mon (Europe/Berlin)`."""
    if schedule is None:
        return ""
    if schedule.every is not None:
        return f"every {format_duration(schedule.every)}"
    return f"cron {schedule.cron} ({schedule.timezone or 'UTC'})"


def _state(known: ReportState, now: datetime) -> str:
    if known.needs_person:
        return "failed"
    if known.is_late(now):
        return "late"
    if not known.reports:
        return "never sent"
    newest = known.reports[0]
    if newest.status is ReportStatus.UNCHANGED and known.overdue_since is None:
        return "unchanged"
    return "waiting" if newest.is_open or known.overdue_since else "delivered"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_utc(moment)
