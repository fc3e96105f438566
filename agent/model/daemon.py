"""A running daemon as the state knows it, so that others of the same state are not overlooked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["DaemonRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonRecord:
    """A daemon that uses the state. *seen_at* is its last sign of life; None for one that is not recorded yet.

    *id* is new at each start: a process id comes again, and in containers it is always the same.
    """

    id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime | None = None
