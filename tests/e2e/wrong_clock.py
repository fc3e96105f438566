"""Run the agent on a machine whose clock is wrong: `python -m tests.e2e.wrong_clock SECONDS ARGUMENT…`.

It replaces the clock that the agent asks; logs and background jobs keep the machine's.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

from agent import bootstrap
from agent.__main__ import main


class WrongClock(bootstrap.SystemClock):
    """The machine's clock, set by as many seconds as the first argument has."""

    ahead = timedelta(seconds=float(sys.argv.pop(1)))

    def now(self) -> datetime:
        return super().now() + self.ahead


if __name__ == "__main__":
    bootstrap.SystemClock = WrongClock  # type: ignore[misc]  # in a process that does nothing else
    main()
