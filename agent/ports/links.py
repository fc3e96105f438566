"""Links and what else the planner remembers of a workspace. Methods raise `agent.errors.StateError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from agent.model import GroupSighting, LastSeen, Link, Listing, Memory, UnconfirmedCreate, UndoneChange
from agent.model.run import Lease, LinkEdit, MemberHistory, Run
from connectors.base import PersonKey

__all__ = ["Links", "MemberSnapshots"]


class Links(Protocol):
    """Links of members to persons, with the planner's memory.

    A method that takes a `Lease` writes only while that lease is the newest and not void. The check is in the same
    transaction; it raises `LeaseLost` otherwise.
    """

    async def load_memory(self, workspace: str, listing: Listing | None = None) -> Memory:
        """Return links, what row 12 remembers, and unconfirmed creates, even if their persons have links now.

        With a *listing*, `Memory.last_seen` lacks the members that it shows as the last run left them.

        An unconfirmed create is dropped when two conditions hold. It is older than seven days, and three complete
        listings in a row, each recorded with `record_create_checks`, showed no member for it. For recent writes of
        our own runs see `agent.model.run.written`.
        """
        ...

    async def load_links(self, workspace: str) -> tuple[Link, ...]:
        """Return the links that `load_memory` returns, and read nothing else."""
        ...

    async def update_memory(
        self,
        lease: Lease,
        seen: Sequence[Link],
        possible_renames: frozenset[tuple[PersonKey, str]],
        baselines: Mapping[tuple[str, str], tuple[str, int]],
        undone: Sequence[UndoneChange] | None = None,
    ) -> None:
        """Update groups and missed reads of existing links, replace the possible renames, and add group sizes.

        *undone* replaces the undone changes, unless it is None. The links come first, some thousands in a transaction:
        when it fails, some of them may be updated. The next complete read updates the others.
        """
        ...

    async def load_baselines(self, workspace: str, since: datetime) -> Mapping[tuple[str, str], tuple[str, int]]:
        """Map (connector, group id) to its name and the largest size that `update_memory` recorded after *since*.

        Where nothing was recorded after *since*, the last recorded size is returned.
        """
        ...

    async def load_sightings(self, workspace: str) -> Mapping[tuple[str, str], GroupSighting]:
        """Map (connector, group id) to how enforcing runs read the group."""
        ...

    async def record_sightings(self, lease: Lease, sightings: Mapping[tuple[str, str], GroupSighting]) -> None:
        """Replace the sightings of the given groups; other groups keep theirs."""
        ...

    async def count_guarded(self, workspace: str) -> int:
        """Return the number of active linked members after the last complete run, 0 before the first one."""
        ...

    async def count_all_guarded(self, workspaces: Sequence[str]) -> int:
        """Return the sum of `count_guarded` of *workspaces*."""
        ...

    async def record_create_checks(self, lease: Lease, looked_for: Sequence[UnconfirmedCreate]) -> None:
        """Record what a complete listing showed for each unconfirmed create: its member, or *scim_id* None."""
        ...

    async def record_link_edits(self, lease: Lease, run: Run, edits: Sequence[LinkEdit]) -> None:
        """Write links by hand, as a finished run of the journal."""
        ...

    async def record_different_people(self, lease: Lease, run: Run, pairs: Sequence[tuple[PersonKey, str]]) -> None:
        """Write that each member (SCIM id) is not the person's, as a finished run of the journal."""
        ...

    async def load_link_edits(self, run_id: str) -> list[LinkEdit]:
        """Return the links that a run of link edits wrote, each with its previous person."""
        ...


class MemberSnapshots(Protocol):
    """The members as each run left them, for reports on access and drift."""

    async def record_last_seen(self, lease: Lease, run_id: str, members: Sequence[LastSeen]) -> None:
        """Record the members as this run leaves them. Members that have not changed are not written again."""
        ...

    async def load_last_seen(self, workspace: str, when: datetime) -> tuple[datetime, tuple[LastSeen, ...]] | None:
        """Return the time and the members of the last run until *when*; None when there was no run."""
        ...

    async def load_member_history(self, workspace: str) -> Mapping[str, MemberHistory]:
        """Map a SCIM id to what the journal holds about that member."""
        ...
