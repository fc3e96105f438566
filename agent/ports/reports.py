"""The memory of scheduled reports and of their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from agent.model.report import Delivery, MadeReport
from agent.model.run import Lease

__all__ = ["Reports", "report_lease_key"]


def report_lease_key(name: str) -> str:
    """Return the key of the lease under which one process makes and delivers the report *name*."""
    # A workspace's name has no colon.
    return f"report:{name}"


class Reports(Protocol):
    """Scheduled reports. Raises `agent.errors.StateError`; a method that takes a lease also `LeaseLost`."""

    async def begin_report_name(self, name: str, at: datetime) -> datetime:
        """Return since when the state knows the report *name*; from now on since *at* if it did not."""
        ...

    async def load_reports(self, name: str, limit: int = 20) -> list[MadeReport]:
        """Return the newest reports called *name* with their deliveries, without facts and files, newest first."""
        ...

    async def load_report(self, report: str) -> MadeReport | None:
        """Return the report with the id *report*, with its facts and the files that are still kept."""
        ...

    async def load_last_delivered(self, name: str) -> MadeReport | None:
        """Return the newest report called *name* that a target has, with its facts and without files."""
        ...

    async def record_report(self, lease: Lease, report: MadeReport) -> None:
        """Write *report* with its files and deliveries, in place of what was known under its id."""
        ...

    async def record_delivery(self, lease: Lease, delivery: Delivery) -> None:
        """Write *delivery*. The files of a report without a pending delivery are deleted."""
        ...

    async def supersede_reports(self, lease: Lease, name: str, kept: str) -> None:
        """End the pending deliveries of the reports called *name* that are older than the report *kept*."""
        ...

    async def prune_reports(self, before: datetime) -> int:
        """Delete reports for moments before *before*, except the newest and the last delivered of each name."""
        ...
