"""Ticks and requests, and the daemons that work on them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from agent.model.daemon import DaemonRecord
from agent.model.job import Job, JobBoard, JobProgress, PlannedSchedule
from agent.model.run import Lease
from agent.store import daemons, jobs, leases
from agent.store.state.transactions import Transactions

__all__ = ["SqlJobs"]


class SqlJobs(Transactions):
    """Implements `agent.ports.jobs.Jobs` and `agent.ports.daemons.Daemons`."""

    async def load_job_board(self) -> JobBoard:
        loading = self._read_transaction(lambda connection: jobs.load_job_board(self._database, connection))
        return await self._followed(loading, lambda board: board.now)

    async def start_due_ticks(self, schedules: Sequence[PlannedSchedule]) -> tuple[str, ...]:
        return await self._write_transaction(
            lambda connection: jobs.start_due_ticks(self._database, connection, schedules)
        )

    async def add_request(self, job: Job, limit: int) -> bool:
        return await self._write_transaction(
            lambda connection: jobs.add_request(self._database, connection, job, limit)
        )

    async def claim_job(self, lease: Lease, replica: str) -> Job | None:
        # A retry would count the claim twice.
        return await self._write_under_lease(
            lease, lambda connection: jobs.claim_job(connection, lease.workspace, replica), is_repeatable=False
        )

    async def update_job(self, lease: Lease, job: Job) -> None:
        await self._write_under_lease(lease, lambda connection: jobs.update_job(connection, job))

    async def report_job_progress(self, lease: Lease, progress: JobProgress) -> None:
        def body(connection: Connection) -> None:
            leases.check(self._database, connection, lease)
            jobs.report_progress(connection, lease.workspace, progress)

        await self._write_on_renewer(body)

    async def give_back_job(self, lease: Lease) -> None:
        await self._write_under_lease(lease, lambda connection: jobs.give_back_job(connection, lease.workspace))

    async def end_job(self, lease: Lease, error: str = "") -> None:
        await self._write_under_lease(
            lease, lambda connection: jobs.end_job(self._database, connection, lease.workspace, error)
        )

    async def record_daemon(self, daemon: DaemonRecord) -> None:
        await self._write_transaction(lambda connection: daemons.record_daemon(self._database, connection, daemon))

    async def forget_daemon(self, daemon_id: str) -> None:
        await self._write_transaction(lambda connection: daemons.forget_daemon(connection, daemon_id))

    async def load_daemons(self) -> tuple[DaemonRecord, ...]:
        return await self._read_transaction(lambda connection: daemons.load_daemons(self._database, connection))
