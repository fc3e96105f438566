"""One Pigment workspace, to read and to write."""

from __future__ import annotations

from typing import Protocol

from agent.model import Fields, Listing, Member
from agent.model.server_facts import AS_ASSUMED, ServerFacts
from connectors.base import Permit, Progress, discard_progress

__all__ = ["WorkspaceClient", "WorkspaceReader", "WorkspaceWriter"]


class WorkspaceReader(Protocol):
    """Reads one workspace; all that a dry run needs. Raises `connectors.base.ReadError`."""

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent so far."""
        ...

    async def list_members(self, progress: Progress = discard_progress) -> Listing:
        """Return all members, including inactive ones. Never returns a partial list."""
        ...

    async def find(self, email: str) -> tuple[Member, ...]:
        """Return the members with the `userName` *email*, ignoring case; empty without a match."""
        ...

    async def get(self, scim_id: str) -> Member | None:
        """Return the member with the id *scim_id*; None if the workspace reports that it does not exist."""
        ...


class WorkspaceWriter(WorkspaceReader, Protocol):
    """Writes to one workspace over SCIM.

    Writes raise `agent.errors.WriteError`: `WorkspaceUnavailable` when every token was refused or the host can't be
    reached, `WriteStopped` when the permit ended. Any other subclass concerns this one member only. A write returns
    the member as the workspace shows it afterwards, which proves that the write took effect (design section 7).
    """

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> Member:
        """POST an active member. After a lost response the email is looked up before a second POST."""
        ...

    async def patch(self, member: Member, wanted: Fields) -> Member:
        """PATCH `active` and the name (never the email). Falls back to a full PUT where PATCH returns 501 or 405."""
        ...

    async def replace(self, member: Member, wanted: Fields) -> Member:
        """PUT the whole member as it was read, with the fields of *wanted* replaced."""
        ...


class WorkspaceClient(WorkspaceReader, Protocol):
    """Reads one workspace, and is the only way to a writer."""

    def writer_for(self, permit: Permit, facts: ServerFacts = AS_ASSUMED) -> WorkspaceWriter:
        """Return a writer that sends no write request once *permit* has ended, for a server as *facts* describe it."""
        ...
