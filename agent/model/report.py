"""The values of scheduled reports: what was made, where it must go, and what became of it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = [
    "Delivery",
    "DeliveryStatus",
    "MadeReport",
    "ReportFormat",
    "ReportKind",
    "ReportStatus",
    "ReportWhen",
    "report_id",
]


class ReportKind(StrEnum):
    """What a report is about."""

    PLAN = "plan"
    ACCESS = "access"
    ACTIVITY = "activity"


class ReportFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    CSV = "csv"
    XLSX = "xlsx"
    """A sheet for an access review; of other reports it does not exist."""

    @property
    def suffix(self) -> str:
        """The ending of a file's name."""
        return {"text": "txt", "markdown": "md"}.get(self.value, self.value)


class ReportWhen(StrEnum):
    """Whether a report without anything new is delivered."""

    ALWAYS = "always"
    CHANGED = "changed"


class ReportStatus(StrEnum):
    """How far a report is. *making* is a report whose making began, and has not ended."""

    MAKING = "making"
    MADE = "made"
    UNCHANGED = "unchanged"
    """Not delivered: it shows the same as the last delivered one."""
    FAILED = "failed"
    """It could not be made, as often as it was tried."""


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    REFUSED = "refused"
    """Another attempt would fail too: a person must act."""
    GIVEN_UP = "given-up"
    SUPERSEDED = "superseded"
    """A newer report of the same name was made before this one arrived."""


UNDELIVERED = frozenset({DeliveryStatus.PENDING, DeliveryStatus.REFUSED, DeliveryStatus.GIVEN_UP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One report at one target. *number* is the target's position in `to`, *target* how it is shown."""

    report: str
    number: int
    target: str
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    error: str = ""

    @property
    def is_undelivered(self) -> bool:
        return self.status in UNDELIVERED


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeReport:
    """One report of the name *name*, for the moment *scheduled_at*; *by* asked for it, empty: the schedule.

    *facts* are its content as JSON, to compare the next one with; *digest* is theirs. *files* maps names to contents
    until every target has them. *missed* are the scheduled moments since the one before for which there is no report.
    *made_at* is also the moment up to which it shows what happened. *attempts* counts how often its making began.
    """

    id: str
    name: str
    scheduled_at: datetime
    status: ReportStatus = ReportStatus.MAKING
    by: str = ""
    attempts: int = 0
    next_attempt_at: datetime | None = None
    made_at: datetime | None = None
    digest: str = ""
    title: str = ""
    summary: str = ""
    facts: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    missed: tuple[datetime, ...] = ()
    error: str = ""
    deliveries: tuple[Delivery, ...] = ()

    @property
    def is_manual(self) -> bool:
        return bool(self.by)

    @property
    def delivered_at(self) -> datetime | None:
        """When the first target had it; None before."""
        return min((each.delivered_at for each in self.deliveries if each.delivered_at), default=None)

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done for it without a person."""
        return self.status is ReportStatus.MAKING or any(
            each.status is DeliveryStatus.PENDING for each in self.deliveries
        )


def report_id(name: str, scheduled_at: datetime) -> str:
    """Return the id of a report: the same for the same name and moment, whichever process makes it."""
    return f"{name}-{scheduled_at:%Y%m%dT%H%M%SZ}"
