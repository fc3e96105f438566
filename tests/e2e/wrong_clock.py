"""Give a forked agent the clock of a machine that is wrong.

It replaces the clock that the agent asks; logs and background jobs keep the machine's.
"""

from __future__ import annotations

from datetime import datetime, timedelta

__all__ = ["VARIABLE", "set_clock"]

VARIABLE = "FORKED_PROCESS_CLOCK_AHEAD"
"""By how many seconds the clock of a forked process is ahead."""


def set_clock(ahead: timedelta) -> None:
    # Not earlier: the processes that only ask for forks do not need the agent.
    from agent import bootstrap

    class WrongClock(bootstrap.SystemClock):
        def now(self) -> datetime:
            return super().now() + ahead

    bootstrap.SystemClock = WrongClock  # type: ignore[misc]  # in a process that does nothing else
