"""Workspace keys, the targets behind them, and what was learned about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from agent.model import KnownTarget, Link
from agent.model.page_size import LearnedPageSize
from agent.model.run import Lease, Run, WorkspaceRecord
from agent.store import leases, page_sizes, plan_rows, run_journal, targets, workspaces
from agent.store.state.transactions import Transactions

__all__ = ["SqlWorkspaces"]


class SqlWorkspaces(Transactions):
    """Implements `agent.ports.workspaces.WorkspaceRegistry` and `agent.ports.page_sizes.PageSizes`."""

    async def load_workspaces(self) -> tuple[WorkspaceRecord, ...]:
        return await self._read_transaction(workspaces.load_workspaces)

    async def load_targets(self) -> tuple[KnownTarget, ...]:
        return await self._retry(lambda: self._read_transaction(targets.load_targets))

    async def record_targets(self, lease: Lease, found: Sequence[tuple[str, str]]) -> None:
        now = self._now()
        await self._write_under_lease(
            lease, lambda connection: targets.record_targets(connection, lease.workspace, found, now)
        )

    async def rename_workspace(self, old: Lease, new: Lease, run: Run) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            leases.check(self._database, connection, new)
            workspaces.rename(connection, old.workspace, new.workspace, now)
            run_journal.insert_run(connection, run)

        # A retry would mistake the moved memory of the new key for the one to be replaced.
        await self._write_under_lease(old, body, is_repeatable=False)

    async def retarget_workspace(self, lease: Lease, run: Run, target: str) -> None:
        now = self._now()

        def body(connection: Connection) -> None:
            workspaces.retarget(connection, lease.workspace, target, now)
            run_journal.insert_run(connection, run)

        await self._write_under_lease(lease, body, is_repeatable=False)

    async def reset_workspace(self, lease: Lease, run: Run, target: str) -> tuple[Link, ...]:
        now = self._now()

        def body(connection: Connection) -> tuple[Link, ...]:
            return workspaces.reset(connection, lease.workspace, run, target, now)

        return await self._write_under_lease(lease, body, is_repeatable=False)

    async def load_page_size(self, target: str) -> LearnedPageSize | None:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: page_sizes.load_page_size(connection, target))
        )

    async def record_page_size(self, target: str, learned: LearnedPageSize | None) -> None:
        await self._write_transaction(
            lambda connection: page_sizes.record_page_size(self._database, connection, target, learned)
        )

    async def export_plan_rows(
        self, planned: Sequence[str], configured: Sequence[str]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return (table, row) of all that a plan of the *planned* workspaces reads, for a recording."""

        def body(connection: Connection) -> list[tuple[str, dict[str, Any]]]:
            return list(plan_rows.export_plan_rows(connection, planned, configured, self._now()))

        return await self._read_transaction(body)

    async def import_plan_rows(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Insert exported rows, by table and in their order, into a state that has none."""

        def body(connection: Connection) -> None:
            for table, each in rows.items():
                plan_rows.import_plan_rows(connection, table, each)

        await self._write_transaction(body)
