"""The daemons that use the state. They only inform: no run depends on them."""

from __future__ import annotations

from typing import Protocol

from agent.model.daemon import DaemonRecord

__all__ = ["ALIVE_SECONDS", "FORGOTTEN_AFTER_SECONDS", "Daemons"]

ALIVE_SECONDS = 45
"""A daemon without a sign of life for this long is not listed."""
FORGOTTEN_AFTER_SECONDS = 600
"""After this the next sign of life of another removes it."""


class Daemons(Protocol):
    """Raises `agent.errors.StateError`."""

    async def record_daemon(self, daemon: DaemonRecord) -> None:
        """Record a sign of life, and forget daemons that are gone: those of the same host and process id at once."""
        ...

    async def forget_daemon(self, daemon_id: str) -> None: ...

    async def load_daemons(self) -> tuple[DaemonRecord, ...]:
        """Return those with a recent sign of life, the longest running first."""
        ...
