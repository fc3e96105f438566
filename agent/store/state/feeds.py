"""Change feeds: cursors, the people that they named, the runs that they asked for, and how fast they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import Connection

from agent.model.feed import Announcement, FeedCursor, FeedLag, NamedPerson, WantedRun
from agent.model.run import Lease
from agent.store import feed_health, feeds, whole_runs
from agent.store.state.transactions import Transactions
from connectors.base import PersonKey

__all__ = ["SqlFeeds"]


class SqlFeeds(Transactions):
    """Implements `agent.ports.feeds.Feeds`."""

    async def load_feed_cursor(self, connector: str) -> FeedCursor | None:
        return await self._read_transaction(lambda connection: feeds.load_feed_cursor(connection, connector))

    async def find_linked_workspaces(self, connector: str, people: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        return await self._read_transaction(
            lambda connection: feeds.find_linked_workspaces(connection, connector, people)
        )

    async def record_poll(
        self,
        lease: Lease,
        cursor: FeedCursor,
        people: Sequence[NamedPerson],
        announced: Sequence[Announcement] = (),
        wanted: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        def write(connection: Connection) -> None:
            whole_runs.want_runs(self._database, connection, wanted)
            feeds.record_poll(connection, cursor, people)
            feed_health.record_announcements(connection, announced)

        await self._write_under_lease(lease, write)

    async def load_named_people(self, workspace: str, due_by: datetime | None = None) -> tuple[NamedPerson, ...]:
        return await self._read_transaction(lambda connection: feeds.load_named_people(connection, workspace, due_by))

    async def record_look(self, people: Sequence[NamedPerson]) -> None:
        await self._write_transaction(lambda connection: feeds.record_look(connection, people))

    async def end_named(self, people: Sequence[NamedPerson], wanted: Mapping[str, str] = MappingProxyType({})) -> None:
        def write(connection: Connection) -> None:
            whole_runs.want_runs(self._database, connection, wanted)
            feeds.end_named(connection, people)

        await self._write_transaction(write)

    async def load_wanted_runs(self) -> tuple[WantedRun, ...]:
        return await self._read_transaction(lambda connection: whole_runs.load_wanted_runs(self._database, connection))

    async def start_wanted_run(self, workspace: str, pause: timedelta) -> bool:
        return await self._write_transaction(
            lambda connection: whole_runs.start_wanted_run(self._database, connection, workspace, pause)
        )

    async def end_wanted_run(self, wanted: WantedRun) -> None:
        await self._write_transaction(lambda connection: whole_runs.end_wanted_run(connection, wanted))

    async def load_announcements(self, workspace: str, since: datetime) -> Mapping[PersonKey, Announcement]:
        return await self._read_transaction(
            lambda connection: feed_health.load_announcements(connection, workspace, since)
        )

    async def load_feed_reads(self, workspace: str) -> Mapping[str, datetime]:
        return await self._read_transaction(lambda connection: feed_health.load_feed_reads(connection, workspace))

    async def record_found_leavers(
        self,
        lease: Lease,
        workspace: str,
        began_at: datetime,
        since: Mapping[str, datetime | None],
        leavers: Collection[PersonKey],
    ) -> None:
        await self._write_under_lease(
            lease,
            lambda connection: feed_health.record_found_leavers(connection, workspace, began_at, since, leavers),
        )

    async def judge_found_leavers(self, lease: Lease, connector: str, found_by: datetime) -> Mapping[str, int]:
        return await self._write_under_lease(
            lease, lambda connection: feed_health.judge_found_leavers(connection, connector, found_by)
        )

    async def count_missed_leavers(self, connector: str, since: datetime) -> int:
        return await self._read_transaction(
            lambda connection: feed_health.count_missed_leavers(connection, connector, since)
        )

    async def record_lags(self, lags: Sequence[FeedLag]) -> None:
        await self._write_transaction(lambda connection: feed_health.record_lags(connection, lags))

    async def load_lags(self, connector: str, since: datetime) -> Sequence[float]:
        return await self._read_transaction(lambda connection: feed_health.load_lags(connection, connector, since))
