"""Forget what the journal need not keep any more: the daemon does each day, a command after a sync."""

from __future__ import annotations

from datetime import timedelta

import structlog

from agent.errors import PigmentSyncError
from agent.ports.clock import Clock
from agent.ports.journal import Journal

__all__ = ["RETENTION", "prune_old_runs"]

log = structlog.get_logger()
RETENTION = timedelta(days=400)
"""How long runs stay, so that an audit still finds the same month of last year."""


async def prune_old_runs(state: Journal, clock: Clock) -> None:
    """Forget runs that are older than `KEPT`, but for what later ones need. Raises nothing: the next time is soon."""
    try:
        gone = await state.prune(clock.now() - RETENTION)
    except PigmentSyncError as failure:
        log.warning("journal.not_pruned", error=failure.message)
    else:
        if gone:
            log.info("journal.pruned", runs=gone)
