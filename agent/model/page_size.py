"""What was learned about the pages of a workspace's listing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["LARGEST_PAGE", "SMALL_PAGE", "LearnedPageSize"]

LARGEST_PAGE, SMALL_PAGE = 1000, 100
"""The number of members to ask for, and where a server refuses that (400). Every tested server accepts the second."""

VALID_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class LearnedPageSize:
    """The *size* that a server accepted after it had refused a larger one."""

    size: int
    learned_at: datetime

    def is_valid(self, now: datetime) -> bool:
        """Return whether the larger size need not be tried again yet."""
        return now - VALID_FOR < self.learned_at <= now
