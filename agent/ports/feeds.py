"""The memory of the change feeds: cursors, and the people that events named."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from agent.model.feed import FeedCursor, NamedPerson
from agent.model.run import Lease

__all__ = ["Feeds", "feed_lease_key"]


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

    async def record_poll(self, lease: Lease, cursor: FeedCursor, people: Sequence[NamedPerson]) -> None:
        """Write the named people, and the cursor after them, in one transaction.

        Someone who is named already keeps their first event, and is due at once again.
        """
        ...

    async def load_named_people(self, workspace: str, due_by: datetime | None = None) -> tuple[NamedPerson, ...]:
        """Return the named people of *workspace*, the first named first: all, or those that are due by *due_by*."""
        ...

    async def record_look(self, people: Sequence[NamedPerson]) -> None:
        """Write the looks and due times of *people*, unless they were named again since."""
        ...

    async def end_named(self, people: Sequence[NamedPerson]) -> None:
        """Forget *people*, unless they were named again since."""
        ...
