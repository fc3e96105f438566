"""Delete old runs from the journal: daily in the daemon, and after a sync on the command line."""

from __future__ import annotations

from datetime import timedelta

import structlog

from agent.errors import PigmentSyncError
from agent.ports.clock import Clock
from agent.ports.journal import Journal

__all__ = ["RETENTION", "prune_old_runs"]

log = structlog.get_logger()
RETENTION = timedelta(days=400)
"""How long runs are kept: long enough for an audit of the same month of last year."""


async def prune_old_runs(journal: Journal, clock: Clock) -> None:
    """Delete runs older than `RETENTION`, except what later runs need. Log a failure: the next attempt is soon."""
    try:
        gone = await journal.prune(clock.now() - RETENTION)
    except PigmentSyncError as failure:
        log.warning("journal.not_pruned", error=failure.message)
    else:
        if gone:
            log.info("journal.pruned", runs=gone)
