"""The clock of the engine."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

__all__ = ["Clock", "FollowingClock"]


class Clock(Protocol):
    """The only source of time in the engine."""

    def now(self) -> datetime:
        """Return the present time, in UTC."""
        ...

    def elapsed(self) -> float:
        """Return seconds by a clock that is never set, and goes on while the process or the machine is suspended."""
        ...


class FollowingClock(Clock, Protocol):
    """A clock that is corrected by that of a state which processes of several machines share."""

    def follow(self, moment: datetime, asked_at: float) -> None:
        """Learn that the state's clock showed *moment* at some time between *asked_at*, by `elapsed`, and now."""
        ...
