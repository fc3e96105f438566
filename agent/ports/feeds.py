"""The memory of the change feeds: cursors, and the people that events named."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol

from agent.model.feed import Announcement, FeedCursor, FeedLag, NamedPerson, WantedRun
from agent.model.run import Lease
from connectors.base import PersonKey

__all__ = ["CLOCK_SET_BACK", "KEPT_ANNOUNCEMENTS", "KEPT_LEAVERS", "Feeds", "feed_lease_key"]

CLOCK_SET_BACK = timedelta(minutes=5)
"""No look waits longer than this: a later due time shows that the clock was set back, and the person is due."""
KEPT_ANNOUNCEMENTS = timedelta(days=7)
"""How long announcements and lags are kept."""
KEPT_LEAVERS = timedelta(days=1)
"""How long a leaver whom no event announced is kept, for the page."""


def feed_lease_key(connector: str) -> str:
    """Return the key of the lease under which one process polls the feed of *connector*."""
    # A workspace's name has no colon.
    return f"feed:{connector}"


class Feeds(Protocol):
    """Raises `agent.errors.StateError`; a method that takes a lease also `LeaseLost`."""

    async def load_feed_cursor(self, connector: str) -> FeedCursor | None: ...

    async def find_linked_workspaces(self, connector: str, people: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the workspaces in which each of *people* (ids) has a link; people without any are left out."""
        ...

    async def record_poll(
        self,
        lease: Lease,
        cursor: FeedCursor,
        people: Sequence[NamedPerson],
        announced: Sequence[Announcement] = (),
        wanted: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Write the named people and the announcements, and the cursor after them, in one transaction.

        Someone who is named already keeps their first event, and is due at once again. *wanted* are the workspaces of
        which a run over everyone is to begin from now on, each with the reason.
        """
        ...

    async def load_named_people(self, workspace: str, due_by: datetime | None = None) -> tuple[NamedPerson, ...]:
        """Return the named people of *workspace*, the first named first: all, or those that are due by *due_by*."""
        ...

    async def record_look(self, people: Sequence[NamedPerson]) -> None:
        """Write the looks and due times of *people*, unless they were named again since."""
        ...

    async def end_named(self, people: Sequence[NamedPerson], wanted: Mapping[str, str] = MappingProxyType({})) -> None:
        """Forget *people*, unless they were named again since. *wanted*: as for `record_poll`."""
        ...

    async def load_wanted_runs(self) -> Sequence[WantedRun]:
        """Return the runs over everyone that feeds ask for, whichever daemon polled."""
        ...

    async def start_wanted_run(self, workspace: str, pause: timedelta) -> bool:
        """Count a try of a wanted run, and return whether the caller is to start it.

        It is not while *pause*, by the state's clock, has not passed since the newest run over everyone began or a try
        was counted, in any process.
        """
        ...

    async def end_wanted_run(self, wanted: WantedRun) -> None:
        """Forget that the run is wanted, unless it was wanted again since."""
        ...

    async def load_announcements(self, workspace: str, since: datetime) -> Mapping[PersonKey, Announcement]:
        """Return the newest announcement of each person of *workspace* that is not older than *since*."""
        ...

    async def load_feed_reads(self, workspace: str) -> Mapping[str, datetime]:
        """Return, by connector, when the newest run over everyone that recorded its leavers began."""
        ...

    async def record_found_leavers(
        self,
        lease: Lease,
        workspace: str,
        began_at: datetime,
        since: Mapping[str, datetime | None],
        leavers: Collection[PersonKey],
    ) -> None:
        """Write that a run over everyone that began at *began_at* found *leavers*, of the connectors in *since*.

        Those it found before keep their entry. A new one waits for an announcement from *since* on, None: the feed
        could not have seen them, so nothing is concluded. The entries of people who are not among *leavers* end once
        they wait no longer; a leaver whom no event announced is kept for a day.
        """
        ...

    async def judge_found_leavers(self, lease: Lease, connector: str, found_by: datetime) -> Mapping[str, int]:
        """Decide about the waiting leavers found by *found_by*, and return how many no event announced, by workspace.

        *lease* is that of the feed. Each leaver is counted once.
        """
        ...

    async def count_missed_leavers(self, connector: str, since: datetime) -> int:
        """Return how many of the leavers found since then no event announced."""
        ...

    async def record_lags(self, lags: Sequence[FeedLag]) -> None: ...

    async def load_lags(self, connector: str, since: datetime) -> Sequence[float]:
        """Return the lags of deactivations since then, in seconds, the newest last."""
        ...
