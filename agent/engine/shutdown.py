"""Graceful shutdown of one command or run: cancel what only reads, and let writes finish."""

from __future__ import annotations

import asyncio

__all__ = ["GracefulShutdown"]


class GracefulShutdown:
    """Whether a stop was requested (*is_requested*), and whether requests may be in flight (*may_have_written*)."""

    def __init__(self) -> None:
        self.is_requested = False
        self.may_have_written = False

    def mark_writing(self) -> None:
        """Record that from now on a write may be in flight, whose answer must be awaited."""
        self.may_have_written = True

    def request(self, task: asyncio.Task[object]) -> None:
        """Request *task* to stop. Cancel it if it only reads, or on the second request."""
        if self.is_requested or not self.may_have_written:
            task.cancel()
        self.is_requested = True
