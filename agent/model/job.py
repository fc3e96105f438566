"""Work that any daemon of a state may take: a tick of a schedule, or a run that someone requested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent.model.run import Trigger

__all__ = ["Job", "JobBoard", "JobProgress", "JobRequest", "PlannedSchedule", "stopped_job_id", "tick_id"]


def tick_id(schedule: str) -> str:
    """Return the id of the open tick of *schedule*, which is also the key of its lease."""
    # A workspace's name has no colon.
    return f"tick:{schedule}"


def stopped_job_id(schedule: str) -> str:
    """Return the id under which the newest tick of *schedule* is kept that no daemon continues."""
    return f"stopped:{schedule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What to run, by whom and why. *undone* is the id of the run to put back; empty: a sync or a dry run."""

    trigger: Trigger
    is_dry_run: bool = False
    by: str = ""
    reason: str = ""
    user: str = ""
    approved_digest: str | None = None
    approved_guards: frozenset[str] = frozenset()
    undone: str = ""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The current step of a job, and *done* of *total* (None: not known yet). *step* is empty until it starts."""

    step: str = ""
    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row of work. *schedule* is the schedule of a tick; empty: a request.

    *run_ids* are the ids of the runs that are left, by workspace, and *finished* those that ended under an earlier
    claim. *claims* is how often it was taken, *replica* the id of the daemon that took it last. *is_claimed*: that one
    still holds its lease. *error* is why it was stopped, empty for one that goes on.
    """

    id: str
    request: JobRequest
    run_ids: Mapping[str, str]
    schedule: str = ""
    finished: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    claims: int = 0
    replica: str = ""
    is_claimed: bool = False
    progress: JobProgress = JobProgress()
    ended_at: datetime | None = None
    error: str = ""

    @property
    def is_tick(self) -> bool:
        return bool(self.schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobBoard:
    """All jobs at one moment, *now* by the state's clock, and when each schedule is due next.

    *jobs* are the open ones, the oldest first; *stopped* those that no daemon continues.
    """

    now: datetime
    next_times: Mapping[str, datetime] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    stopped: tuple[Job, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSchedule:
    """A schedule of the configuration, with the workspaces of its ticks.

    *first* is when it is due if the state does not know it yet; None: then it is left out. *next_due* returns the time
    after a tick that was due at its first argument and starts at its second. A time further ahead than *max_wait* was
    computed while the clock was wrong.
    """

    name: str
    workspaces: tuple[str, ...]
    first: datetime | None
    next_due: Callable[[datetime, datetime], datetime]
    max_wait: timedelta | None = None
