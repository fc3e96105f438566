"""What the page and the API may ask of the running daemon: the seam between `agent.web` and `agent.daemon`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from agent.errors import PigmentSyncError
from agent.model import Mode, Unplanned
from agent.model.access import Explanation
from agent.model.run import ChangeRecord, Pause, Run, Trigger
from agent.ports.state import State

__all__ = ["ActiveRun", "DaemonApi", "Health", "ManualRunRequest", "NotFound", "TooManyRequests", "WorkspaceStatus"]


class NotFound(PigmentSyncError):
    """A workspace or a run that is not known; the hint names those that are."""

    code = "not-found"


class TooManyRequests(PigmentSyncError):
    """More was asked for than the daemon takes at once: the message says what is waiting already."""

    code = "too-much"


@dataclass(frozen=True, slots=True)
class ManualRunRequest:
    """A one-off run that somebody asks for.

    *approved_digest* is the digest of the plan that they have seen and release.

    *trigger* is `api` or `page`; *by* names the visitor, for the journal.
    """

    workspace: str
    is_dry_run: bool
    trigger: Trigger
    by: str
    reason: str = ""
    user: str = ""
    approved_digest: str | None = None


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that waits or is under way.

    *run_id* becomes its id in the journal; *requested_at* is when it was asked for.

    *step* says what is being done, *done* of *total* (None: not known yet); an empty *step*: it has not begun.
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
    """How one workspace stands. *schedule* is as the configuration says it (`every 15m`), empty: none.

    *last_run* is the newest run over everybody, in mode enforce a dry run only if there is no other; *last_applied* the
    newest that was not a dry run and ended well, *last_read* the newest whose reads were complete; None: no such run.
    The workspace is overdue from *stale_after* on; None: it has no schedule.
    *in_flight* are the changes that a paused workspace may still get.
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


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the daemon can do its work. *problems* say what is wrong and what to do; empty: it is ready."""

    problems: tuple[str, ...]
    started_at: datetime
    config_loaded_at: datetime
    is_state_up: bool = True


class DaemonApi(Protocol):
    """The running daemon, as those see it who ask something of it. Raises `PigmentSyncError`."""

    @property
    def state(self) -> State: ...

    @property
    def workspace_names(self) -> tuple[str, ...]:
        """The workspaces, in the file's order."""
        ...

    @property
    def active_runs(self) -> tuple[ActiveRun, ...]: ...

    async def load_workspace_status(self, name: str) -> WorkspaceStatus:
        """Raises `NotFound`."""
        ...

    async def request_run(self, request: ManualRunRequest) -> str:
        """Take on a run and return its id, before it has begun. Raises `NotFound`, `TooManyRequests`."""
        ...

    async def explain_person(self, email: str) -> Sequence[Explanation | Unplanned]:
        """Explain one person in each workspace, from fresh reads (seconds). Raises `TooManyRequests`."""
        ...

    async def pause(self, name: str, by: str, reason: str) -> None:
        """Stop writing to a workspace, a run in the middle of it too; planning goes on."""
        ...

    async def resume(self, name: str, by: str, reason: str) -> None: ...

    async def check_health(self) -> Health: ...

    def budget_left(self) -> int | None:
        """Return how many requests the busiest Pigment host would take now."""
        ...
