"""Leases, pauses, and permits of requests: who may write to a workspace, and how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from agent.model.run import ChangeRecord, Lease, Pause, Run
from agent.store import change_journal, leases, run_journal, workspace_memory
from agent.store.state.transactions import Transactions

if TYPE_CHECKING:
    from agent.ports.permits import PermitAnswer, PermitRequest

__all__ = ["SqlLeases"]


class SqlLeases(Transactions):
    """Implements `agent.ports.leases.Leases` and `Pauses`, and `agent.ports.permits.PermitLedger`."""

    async def take_lease(self, workspace: str, holder: str, target: str = "") -> Lease:
        taking = self._write_transaction(
            lambda connection: leases.take(self._database, connection, workspace, holder, target)
        )
        return await self._followed(taking, lambda lease: lease.since)

    async def renew_lease(self, lease: Lease) -> None:
        def body(connection: Connection) -> None:
            leases.check(self._database, connection, lease)
            leases.renew(self._database, connection, lease)

        await self._write_on_renewer(body)

    async def release_lease(self, lease: Lease) -> None:
        await self._write_on_renewer(lambda connection: leases.release(self._database, connection, lease))

    async def load_lease(self, workspace: str) -> Lease | None:
        return await self._read_transaction(lambda connection: leases.load_lease(self._database, connection, workspace))

    async def load_leases(self, workspaces: Sequence[str]) -> tuple[Lease, ...]:
        return await self._read_transaction(
            lambda connection: leases.load_leases(self._database, connection, workspaces)
        )

    async def set_pause(self, workspace: str, pause: Pause | None, run: Run | None = None) -> tuple[ChangeRecord, ...]:
        def body(connection: Connection) -> tuple[ChangeRecord, ...]:
            # An intent is written under this lock: it either sees the pause, or is seen here.
            leases.lock(self._database, connection, workspace)
            workspace_memory.set_pause(connection, workspace, pause)
            if run is not None:
                run_journal.insert_run(connection, run)
            return change_journal.load_in_flight(connection, workspace)

        return await self._write_transaction(body)

    async def load_pause(self, workspace: str) -> Pause | None:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: workspace_memory.load_pause(connection, workspace))
        )

    async def load_pauses(self) -> Mapping[str, Pause]:
        return await self._read_transaction(workspace_memory.load_pauses)

    async def load_in_flight(self, workspace: str) -> tuple[ChangeRecord, ...]:
        return await self._read_transaction(lambda connection: change_journal.load_in_flight(connection, workspace))

    async def exchange_permits(self, request: PermitRequest) -> PermitAnswer:
        # Only processes that share a budget need permits: the others start faster without their classes.
        from agent.store import permits

        return await self._write_bounded(
            self._permits, lambda connection: permits.exchange_permits(self._database, connection, request)
        )
