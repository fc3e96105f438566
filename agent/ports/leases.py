"""Leases and pauses: who may write to a workspace. Methods raise `agent.errors.StateError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent.model.run import ChangeRecord, Lease, Pause, Run

__all__ = ["Leases", "Pauses"]


class Leases(Protocol):
    """Leases of workspaces. At most one process holds the lease of a workspace."""

    async def take_lease(self, workspace: str, holder: str, target: str = "") -> Lease:
        """Return the lease, or raise `WorkspaceBusy` with the holder and its start. A void lease is taken over.

        One lease covers the key *workspace* and the fingerprint *target*: holding either excludes others from both.
        """
        ...

    async def renew_lease(self, lease: Lease) -> None: ...

    async def release_lease(self, lease: Lease) -> None: ...

    async def load_lease(self, workspace: str) -> Lease | None:
        """Return the lease that is currently held. It does not give the right to write."""
        ...

    async def load_leases(self, workspaces: Sequence[str]) -> tuple[Lease, ...]:
        """Return what `load_lease` returns for each of *workspaces*, without those that are free."""
        ...


class Pauses(Protocol):
    """Pauses of workspaces by an operator."""

    async def set_pause(self, workspace: str, pause: Pause | None, run: Run | None = None) -> tuple[ChangeRecord, ...]:
        """Pause the workspace, or resume it when *pause* is None. Returns the changes in flight at that moment.

        *run* is the journal entry of the pause: both are written or neither is.

        Every change of a run that respects pauses is either returned here or not sent.
        """
        ...

    async def load_pause(self, workspace: str) -> Pause | None: ...

    async def load_pauses(self) -> Mapping[str, Pause]:
        """Return the pause of each workspace that is paused."""
        ...

    async def load_in_flight(self, workspace: str) -> tuple[ChangeRecord, ...]:
        """Return the changes that runs have sent, or are about to send, and that have no response yet."""
        ...
