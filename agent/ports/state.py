"""The whole state, for the parts of the engine that need several of its protocols."""

from __future__ import annotations

from typing import Protocol

from agent.ports.daemons import Daemons
from agent.ports.feeds import Feeds
from agent.ports.jobs import Jobs
from agent.ports.journal import Journal
from agent.ports.leases import Leases, Pauses
from agent.ports.links import Links, MemberSnapshots
from agent.ports.notices import Notices
from agent.ports.page_sizes import PageSizes
from agent.ports.reports import Reports
from agent.ports.verifications import Verifications
from agent.ports.web_logins import WebLogins
from agent.ports.workspaces import WorkspaceRegistry

__all__ = ["State"]


class State(
    Leases,
    Pauses,
    Links,
    MemberSnapshots,
    Journal,
    Notices,
    Reports,
    WorkspaceRegistry,
    Daemons,
    Verifications,
    Feeds,
    PageSizes,
    Jobs,
    WebLogins,
    Protocol,
):
    """All state of the agent. Raises `agent.errors.StateError` when the store can't be used."""

    async def prove_writable(self) -> None:
        """Make a write that changes nothing, by the same path as all writes. Raises `StateError`."""
        ...
