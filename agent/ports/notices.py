"""The memory of notices already sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Notices", "OnNotice", "ignore_notice"]

OnNotice = Callable[[str, str], None]
"""Gets the workspace and the outcome of each notice."""


def ignore_notice(_workspace: str, _outcome: str) -> None:
    """Ignore the outcome of a notice."""


class Notices(Protocol):
    """What was last sent per subject. Raises `agent.errors.StateError`."""

    async def load_notice(self, subject: str) -> str | None:
        """Return the last condition sent for *subject*, None before the first notice."""
        ...

    async def set_notice(self, subject: str, condition: str) -> None: ...
