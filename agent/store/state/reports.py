"""What was sent and proved: reports with their deliveries, notices, and verifications."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent.model.report import Delivery, MadeReport
from agent.model.run import Lease
from agent.model.verification import Verification, VerificationKind
from agent.store import notices, reports, verifications
from agent.store.state.transactions import Transactions

__all__ = ["SqlReports"]


class SqlReports(Transactions):
    """Implements `Reports`, `Notices` and `Verifications` of `agent.ports`."""

    async def begin_report_name(self, name: str, at: datetime) -> datetime:
        return await self._write_transaction(
            lambda connection: reports.begin_name(self._database, connection, name, at)
        )

    async def load_reports(self, name: str, limit: int = 20) -> list[MadeReport]:
        return await self._read_transaction(lambda connection: reports.load_reports(connection, name, limit))

    async def load_report(self, report: str) -> MadeReport | None:
        return await self._read_transaction(lambda connection: reports.load_report(connection, report))

    async def load_last_delivered(self, name: str) -> MadeReport | None:
        return await self._read_transaction(lambda connection: reports.load_last_delivered(connection, name))

    async def record_report(self, lease: Lease, report: MadeReport) -> None:
        await self._write_under_lease(lease, lambda connection: reports.record_report(connection, report), is_long=True)

    async def record_delivery(self, lease: Lease, delivery: Delivery) -> None:
        await self._write_under_lease(lease, lambda connection: reports.record_delivery(connection, delivery))

    async def supersede_reports(self, lease: Lease, name: str, kept: str) -> None:
        await self._write_under_lease(lease, lambda connection: reports.supersede(connection, name, kept))

    async def prune_reports(self, before: datetime) -> int:
        return await self._write_transaction(lambda connection: reports.prune(connection, before))

    async def load_notice(self, subject: str) -> str | None:
        return await self._read_transaction(lambda connection: notices.load_notice(connection, subject))

    async def set_notice(self, subject: str, condition: str) -> None:
        await self._write_transaction(
            lambda connection: notices.set_notice(self._database, connection, subject, condition)
        )

    async def record_verification(self, verification: Verification) -> None:
        await self._write_transaction(lambda connection: verifications.record_verification(connection, verification))

    async def load_verifications(
        self, workspace: str, kind: VerificationKind | None = None
    ) -> tuple[Verification, ...]:
        return await self._read_transaction(
            lambda connection: verifications.load_verifications(connection, [workspace], kind)
        )

    async def load_all_verifications(
        self, workspaces: Sequence[str], kind: VerificationKind
    ) -> tuple[Verification, ...]:
        return await self._read_transaction(
            lambda connection: verifications.load_verifications(connection, workspaces, kind)
        )
