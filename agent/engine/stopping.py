"""The gentle end of one command or run: what only reads is broken off at once, what writes is let finish."""

from __future__ import annotations

import asyncio

__all__ = ["Stopping"]


class Stopping:
    """Whether the work was asked to stop (*is_asked*), and whether it may have written (*has_begun*)."""

    def __init__(self) -> None:
        self.is_asked = False
        self.has_begun = False

    def begin(self) -> None:
        """Say that from now on something may be on its way to a workspace, whose answer must be awaited."""
        self.has_begun = True

    def ask(self, task: asyncio.Task[object]) -> None:
        """Ask *task* to stop: it is cancelled while it only reads, or when it is asked for the second time."""
        if self.is_asked or not self.has_begun:
            task.cancel()
        self.is_asked = True
