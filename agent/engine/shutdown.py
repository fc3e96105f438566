"""The gentle end of one command or run: what only reads is broken off at once, what writes is let finish."""

from __future__ import annotations

import asyncio

__all__ = ["GracefulShutdown"]


class GracefulShutdown:
    """Whether the work was asked to stop (*is_requested*), and whether it may have written (*may_have_written*)."""

    def __init__(self) -> None:
        self.is_requested = False
        self.may_have_written = False

    def mark_writing(self) -> None:
        """Say that from now on something may be on its way to a workspace, whose answer must be awaited."""
        self.may_have_written = True

    def request(self, task: asyncio.Task[object]) -> None:
        """Ask *task* to stop: it is cancelled while it only reads, or when it is asked for the second time."""
        if self.is_requested or not self.may_have_written:
            task.cancel()
        self.is_requested = True
