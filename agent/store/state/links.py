"""What runs remember of people and members."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from agent.model import GroupSighting, LastSeen, Link, Listing, Memory, UnconfirmedCreate, UndoneChange
from agent.model.run import Lease, LinkEdit, MemberHistory, Run
from agent.store import change_journal, member_snapshots, run_journal, workspace_memory
from agent.store.codec import last_seen_to_bytes
from agent.store.state.transactions import Transactions
from connectors.base import PersonKey

__all__ = ["SqlLinks"]

LINKS_AT_ONCE = 2_000
"""How many links one transaction updates. Renewals of leases, of other workspaces too, wait for its end."""


class SqlLinks(Transactions):
    """Implements `agent.ports.links.Links` and `MemberSnapshots`."""

    async def load_memory(self, workspace: str, listing: Listing | None = None) -> Memory:
        def body(connection: Connection) -> Memory:
            known = workspace_memory.load_memory(connection, workspace)
            now = self._now()
            creates = change_journal.load_unconfirmed_creates(connection, workspace, now)
            latest = member_snapshots.load_latest(connection, workspace, known.links, listing)
            left_at, left, new_ids = latest or (None, None, None)
            written = change_journal.written(connection, workspace, now, left_at)
            return replace(known, unconfirmed_creates=creates, last_seen=left, new_ids=new_ids, written=written)

        return await self._retry(lambda: self._read_transaction(body))

    async def load_links(self, workspace: str) -> tuple[Link, ...]:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: workspace_memory.load_links(connection, workspace))
        )

    async def update_memory(
        self,
        lease: Lease,
        seen: Sequence[Link],
        possible_renames: frozenset[tuple[PersonKey, str]],
        baselines: Mapping[tuple[str, str], tuple[str, int]],
        undone: Sequence[UndoneChange] | None = None,
    ) -> None:
        for start in range(0, len(seen), LINKS_AT_ONCE):
            part = seen[start : start + LINKS_AT_ONCE]
            rows = await asyncio.to_thread(workspace_memory.seen_link_rows, lease.workspace, part)
            write = partial(workspace_memory.update_seen_links, rows=rows)
            await self._write_under_lease(lease, write, is_long=True)
        now = self._now()

        def body(connection: Connection) -> None:
            workspace_memory.replace_renames(connection, lease.workspace, possible_renames)
            workspace_memory.record_group_sizes(connection, lease.workspace, baselines, now)
            if undone is not None:
                workspace_memory.replace_undone(connection, lease.workspace, undone)

        await self._write_under_lease(lease, body, is_long=True)

    async def load_baselines(self, workspace: str, since: datetime) -> Mapping[tuple[str, str], tuple[str, int]]:
        return await self._retry(
            lambda: self._read_transaction(
                lambda connection: workspace_memory.load_baselines(connection, workspace, since)
            )
        )

    async def load_sightings(self, workspace: str) -> Mapping[tuple[str, str], GroupSighting]:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: workspace_memory.load_sightings(connection, workspace))
        )

    async def record_sightings(self, lease: Lease, sightings: Mapping[tuple[str, str], GroupSighting]) -> None:
        await self._write_under_lease(
            lease, lambda connection: workspace_memory.write_sightings(connection, lease.workspace, sightings)
        )

    async def count_guarded(self, workspace: str) -> int:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: run_journal.count_guarded(connection, workspace))
        )

    async def count_all_guarded(self, workspaces: Sequence[str]) -> int:
        return await self._retry(
            lambda: self._read_transaction(lambda connection: run_journal.count_all_guarded(connection, workspaces))
        )

    async def record_create_checks(self, lease: Lease, looked_for: Sequence[UnconfirmedCreate]) -> None:
        await self._write_under_lease(
            lease, lambda connection: change_journal.record_create_checks(connection, looked_for)
        )

    async def record_link_edits(self, lease: Lease, run: Run, edits: Sequence[LinkEdit]) -> None:
        def body(connection: Connection) -> None:
            run_journal.insert_run(connection, run)
            workspace_memory.record_link_edits(connection, lease.workspace, run.id, edits)

        await self._write_under_lease(lease, body, is_repeatable=False)

    async def record_different_people(self, lease: Lease, run: Run, pairs: Sequence[tuple[PersonKey, str]]) -> None:
        def body(connection: Connection) -> None:
            run_journal.insert_run(connection, run)
            workspace_memory.record_different_people(connection, lease.workspace, run.id, pairs)

        await self._write_under_lease(lease, body, is_repeatable=False)

    async def load_link_edits(self, run_id: str) -> list[LinkEdit]:
        return await self._read_transaction(lambda connection: workspace_memory.load_link_edits(connection, run_id))

    async def record_last_seen(self, lease: Lease, run_id: str, members: Sequence[LastSeen]) -> None:
        now = self._now()
        stored = await asyncio.to_thread(last_seen_to_bytes, members)

        def body(connection: Connection) -> None:
            member_snapshots.record_last_seen(connection, lease.workspace, run_id, stored, now)

        await self._write_under_lease(lease, body, is_long=True)

    async def load_last_seen(self, workspace: str, when: datetime) -> tuple[datetime, tuple[LastSeen, ...]] | None:
        return await self._read_transaction(
            lambda connection: member_snapshots.load_last_seen(connection, workspace, when)
        )

    async def load_member_history(self, workspace: str) -> Mapping[str, MemberHistory]:
        return await self._read_transaction(
            lambda connection: member_snapshots.load_member_history(connection, workspace)
        )
