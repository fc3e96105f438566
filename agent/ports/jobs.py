"""The work that the daemons of a state share. Methods raise `agent.errors.StateError`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.model.job import Job, JobBoard, JobProgress, PlannedSchedule
from agent.model.run import Lease

__all__ = ["Jobs"]


class Jobs(Protocol):
    """Ticks and requests, each worked on under the lease of its id. All times are by the state's own clock.

    A method that takes a lease raises `LeaseLost` when that is no longer held.
    """

    async def load_job_board(self) -> JobBoard: ...

    async def start_due_ticks(self, schedules: Sequence[PlannedSchedule]) -> tuple[str, ...]:
        """Add a tick for each of *schedules* that is due, once, whatever the number of daemons that call this.

        Returns the schedules whose tick was left out because the one before has not ended.
        """
        ...

    async def add_request(self, job: Job, limit: int) -> bool:
        """Add a requested run; return False, without adding it, while *limit* of them have not ended."""
        ...

    async def claim_job(self, lease: Lease, replica: str) -> Job | None:
        """Take the job whose id *lease* is for, and return it with this claim counted; None if it has ended."""
        ...

    async def update_job(self, lease: Lease, job: Job) -> None:
        """Write which runs of *job* are left and which are finished."""
        ...

    async def report_job_progress(self, lease: Lease, progress: JobProgress) -> None: ...

    async def give_back_job(self, lease: Lease) -> None:
        """Leave the job to other daemons. The claim counts no longer."""
        ...

    async def end_job(self, lease: Lease, error: str = "") -> None:
        """Remove the job. With *error*, a tick is kept as stopped until a later one of its schedule ends."""
        ...
