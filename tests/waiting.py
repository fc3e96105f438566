"""Wait for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["LONGEST_SECONDS", "wait_until"]

T = TypeVar("T")
# Longer than anything takes on a busy machine: it only ends a test that hangs.
LONGEST_SECONDS = 300.0
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, SHARE = 0.02, 0.5, 10


def wait_until(holds: Callable[[], T | None], what: str) -> T:
    """Return the first true result of *holds*; raises `TimeoutError`, which names *what* was waited for.

    The longer it has waited, the rarer it asks: a question often starts a request or a transaction.
    """
    began_at = time.monotonic()
    while not (found := holds()):
        waited = time.monotonic() - began_at
        if waited > LONGEST_SECONDS:
            raise TimeoutError(f"not within {LONGEST_SECONDS:.0f} s: {what}")
        time.sleep(min(max(waited / SHARE, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS))
    return found
