"""The memory of notices already sent."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Notices"]


class Notices(Protocol):
    """What was last sent per subject. Raises `agent.errors.StateError`."""

    async def load_notice(self, subject: str) -> str | None:
        """Return the last condition sent for *subject*, None before the first notice."""
        ...

    async def set_notice(self, subject: str, condition: str) -> None: ...
