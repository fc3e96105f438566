"""Workspace keys and the targets behind them, as the state has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.model import KnownTarget, Link
from agent.model.run import Lease, Run, WorkspaceRecord

__all__ = ["WorkspaceRegistry"]


class WorkspaceRegistry(Protocol):
    """The workspace keys in the state. Raises `agent.errors.StateError`, and `LeaseLost` without the lease."""

    async def load_workspaces(self) -> tuple[WorkspaceRecord, ...]:
        """Return every key in the state, sorted."""
        ...

    async def load_targets(self) -> tuple[KnownTarget, ...]:
        """Return the known fingerprints of keys and of their connectors."""
        ...

    async def record_targets(self, lease: Lease, found: Sequence[tuple[str, str]]) -> None:
        """Write (connector, fingerprint) of the lease's workspace; an empty connector is the workspace itself."""
        ...

    async def rename_workspace(self, old: Lease, new: Lease, run: Run) -> None:
        """Move everything under the key of *old* to the key of *new*, and write *run*, in one transaction.

        The new key keeps only its own runs and a pause. Nothing is moved unless both leases are held.
        """
        ...

    async def retarget_workspace(self, lease: Lease, run: Run, target: str) -> None:
        """Bind the lease's key, with everything under it, to *target*, and write *run*."""
        ...

    async def reset_workspace(self, lease: Lease, run: Run, target: str) -> tuple[Link, ...]:
        """Delete all but the journal and a pause of the lease's key, and bind it to *target* (empty: to nothing).

        Writes *run* with the deleted links, and returns them.
        """
        ...
