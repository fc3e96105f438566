"""What the page and the API use of the running daemon: the interface between `agent.web` and `agent.daemon`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from statistics import median
from typing import Protocol

from agent.delivery.service import ReportState
from agent.engine.links import LinkCorrection
from agent.errors import PigmentSyncError
from agent.model import Mode, Unplanned
from agent.model.access import Explanation
from agent.model.approval import Approval, ApprovalPolicy
from agent.model.daemon import DaemonRecord
from agent.model.job import Job
from agent.model.run import ChangeRecord, LinkEdit, Pause, Run, RunOutline, Trigger
from agent.ports.state import State
from agent.report.plan_figures import PlanFigures
from connectors.base import PersonKey

__all__ = [
    "ActiveRun",
    "DaemonApi",
    "FeedState",
    "FeedStatus",
    "Health",
    "LinkDecision",
    "ManualRunRequest",
    "NotFound",
    "RenameDecision",
    "Replica",
    "StaleLinks",
    "TooManyRequests",
    "WorkspaceStatus",
]

SILENT_AFTER = timedelta(minutes=5)
LOST_IS_SHOWN = timedelta(hours=1)


class NotFound(PigmentSyncError):
    """An unknown workspace or run; the hint lists the known ones."""

    code = "not-found"


class TooManyRequests(PigmentSyncError):
    """The daemon accepts no more requests at the moment; the message has the number of those waiting."""

    code = "too-much"


class StaleLinks(PigmentSyncError):
    """The links have changed since the edits were shown; nothing was written."""

    code = "stale"


@dataclass(frozen=True, slots=True)
class ManualRunRequest:
    """A one-off run on request.

    *approved_digest* is the digest of the plan that the user reviewed and approves, *approved_guards* the guards that
    the approval is for; empty: all.

    *trigger* is `api` or `page`; *by* names the user, for the journal. *undone* is the run to undo; None: a sync or
    a dry run.
    """

    workspace: str
    is_dry_run: bool
    trigger: Trigger
    by: str
    reason: str = ""
    user: str = ""
    approved_digest: str | None = None
    approved_guards: frozenset[str] = frozenset()
    undone: Run | None = None


@dataclass(frozen=True, slots=True)
class RenameDecision:
    """A person's decision on a hold `possible-rename`: whether *person* and the member are one human (*is_same*).

    *shown_reason* is the reason of the hold as it was shown; *by* and *reason* are for the journal.
    """

    workspace: str
    person: PersonKey
    shown_reason: str
    is_same: bool
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class LinkDecision:
    """A person's decision to correct a link. *digest* is that of the edits that the person saw.

    *by* and *reason* are for the journal.
    """

    workspace: str
    correction: LinkCorrection
    digest: str
    by: str
    reason: str


class FeedState(StrEnum):
    """How a change feed is doing, the worst last."""

    OFF = "off"
    """Not configured."""
    NOT_YET = "not-yet"
    """Not polled yet since the start or a reload."""
    WORKING = "working"
    LOST = "lost"
    """It lost its place lately: runs over everyone make up for it."""
    REFUSED = "refused"
    FAILING = "failing"
    SILENT = "silent"
    """Not polled for long, and no poll has failed."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A daemon of the state, and the workspaces that it works on. *is_this* is the one that answers."""

    daemon: DaemonRecord
    workspaces: tuple[str, ...]
    is_this: bool


@dataclass(slots=True)
class FeedStatus:
    """How the change feed of *connector* is doing. *every* is its interval, None: it is off.

    *polled_at* is the last successful poll, None: none yet. *since* is when the configuration was loaded. *problem* is
    why the newest poll failed, and *until* how long the feed is left alone for that. *lags* are the seconds from an
    event to the deactivation in the last day, the newest last, *missed* how many leavers of the last day no event
    announced. *unlooked* is, by workspace, why the people whom the feed named could not be judged. *lost_at* is when it
    last lost its place, for the reason *lost*. *skew* is how far this machine's clock is ahead of the provider's, None:
    too little to matter.
    """

    connector: str
    every: timedelta | None
    polled_at: datetime | None = None
    since: datetime | None = None
    problem: str = ""
    until: datetime | None = None
    lags: Sequence[float] = ()
    missed: int = 0
    unlooked: dict[str, str] = field(default_factory=dict)
    lost: str = ""
    lost_at: datetime | None = None
    skew: timedelta | None = None

    @property
    def median_lag(self) -> float | None:
        return median(self.lags) if self.lags else None

    def state_at(self, now: datetime) -> FeedState:
        if self.every is None:
            return FeedState.OFF
        if self.problem:
            return FeedState.FAILING if self.until is None else FeedState.REFUSED
        seen = self.polled_at or self.since
        if seen is not None and now - seen > max(SILENT_AFTER, 10 * self.every):
            return FeedState.SILENT
        if self.lost_at is not None and now - self.lost_at < LOST_IS_SHOWN:
            return FeedState.LOST
        return FeedState.NOT_YET if self.polled_at is None else FeedState.WORKING


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that waits or is running.

    *run_id* becomes its id in the journal; *requested_at* is the time of the request.

    *step* is the current step, *done* of *total* (None: not known yet). It is empty until the run starts.
    """

    run_id: str
    workspace: str
    trigger: Trigger
    is_dry_run: bool
    by: str
    requested_at: datetime
    reason: str = ""
    user: str = ""
    step: str = ""
    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class WorkspaceStatus:
    """The status of one workspace. *schedule* is as in the configuration (`every 15m`), empty without one.

    *last_run* is the newest run for all people; in mode enforce it is a dry run only if there is no other.
    *last_applied* is the newest successful run that was not a dry run, *last_read* the newest with complete reads.
    The workspace is overdue from *stale_after* on; None: it has no schedule.
    *in_flight* are the changes that a paused workspace may still get. *last_approval* is the newest one. *whole_runs*
    are the newest runs for all people, newest first. *figures* are those of the plan of *last_read*. *scim_url* is as
    in the configuration.
    """

    name: str
    mode: Mode
    schedule: str
    next_run: datetime | None
    stale_after: datetime | None
    token_expires: date | None
    pause: Pause | None
    last_run: Run | None
    last_read: Run | None
    last_applied: Run | None
    in_flight: tuple[ChangeRecord, ...] = ()
    last_approval: Approval | None = None
    whole_runs: tuple[RunOutline, ...] = ()
    scim_url: str = ""
    figures: PlanFigures | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the daemon works. Each of *problems* has a cause and a remedy; when empty, the daemon is ready."""

    problems: tuple[str, ...]
    started_at: datetime
    config_loaded_at: datetime
    is_state_up: bool = True


class DaemonApi(Protocol):
    """The running daemon, as the page and the API use it. Raises `PigmentSyncError`."""

    @property
    def state(self) -> State: ...

    @property
    def approval_policy(self) -> ApprovalPolicy:
        """What an approval needs, as configured now."""
        ...

    def now(self) -> datetime:
        """Return the present time, in UTC, by the clock of what is in the state."""
        ...

    @property
    def workspace_names(self) -> tuple[str, ...]:
        """The workspaces, in the file's order."""
        ...

    @property
    def active_runs(self) -> tuple[ActiveRun, ...]:
        """The runs that wait or are running, of all daemons of the state, as last seen."""
        ...

    async def load_active_runs(self) -> tuple[ActiveRun, ...]:
        """Return the runs that wait or are running now, in any daemon of the state."""
        ...

    async def load_statuses(self) -> tuple[WorkspaceStatus, ...]:
        """Return the status of every workspace, in the file's order."""
        ...

    async def load_workspace_status(self, name: str) -> WorkspaceStatus:
        """Raises `NotFound`."""
        ...

    async def request_run(self, request: ManualRunRequest) -> str:
        """Accept a run and return its id, before it has started. Raises `NotFound`, `TooManyRequests`."""
        ...

    async def load_reports(self) -> Sequence[ReportState]:
        """Return the scheduled reports of the configuration, in the file's order, with their deliveries."""
        ...

    def send_report(self, name: str, by: str) -> None:
        """Start to deliver a report now. Raises `NotFound`, `TooManyRequests`."""
        ...

    async def explain_person(self, email: str) -> Sequence[Explanation | Unplanned]:
        """Explain one person in each workspace, from fresh reads (seconds). Raises `TooManyRequests`."""
        ...

    async def settle_rename(self, decision: RenameDecision) -> None:
        """Link the member to the person, or record that they are two people. Nothing is sent to Pigment.

        Raises `UsageError` if the present plan no longer has that hold.
        """
        ...

    async def plan_link_correction(self, name: str, correction: LinkCorrection) -> Sequence[LinkEdit]:
        """Return the edits of *correction*; none: it is so already. Raises `UsageError` if it can't be made."""
        ...

    async def correct_link(self, decision: LinkDecision) -> None:
        """Write the edits that were shown. Nothing is sent to Pigment.

        Raises `StaleLinks` if the correction makes other edits by now, `WorkspaceBusy` while a run holds the workspace.
        """
        ...

    async def pause(self, name: str, by: str, reason: str) -> None:
        """Stop writing to a workspace, including the active run; planning goes on."""
        ...

    async def resume(self, name: str, by: str, reason: str) -> None: ...

    @property
    def other_daemons(self) -> tuple[DaemonRecord, ...]:
        """Other daemons that use the same state, as last seen."""
        ...

    @property
    def replicas(self) -> Sequence[Replica]:
        """This daemon, and the others that use the same state, as last seen."""
        ...

    @property
    def stopped_ticks(self) -> Sequence[Job]:
        """Ticks that no daemon continues, until a later tick of their schedule ends."""
        ...

    @property
    def feeds(self) -> Sequence[FeedStatus]:
        """How the change feed of each connector is doing, in the file's order."""
        ...

    async def check_health(self) -> Health: ...

    def budget_left(self) -> int | None:
        """Return how many requests the busiest Pigment host accepts now."""
        ...
