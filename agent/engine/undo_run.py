"""Apply an approved undo, with its workspace paused from before the first write."""

from __future__ import annotations

import asyncio

from agent.engine.request import RunRequest, RunResult
from agent.engine.sync import Sync
from agent.errors import PigmentSyncError
from agent.model.run import Pause, Run, RunStatus
from agent.ports.clock import Clock
from agent.ports.state import State

__all__ = ["pause_and_undo"]


async def pause_and_undo(state: State, clock: Clock, undo: Sync, run: Run, request: RunRequest) -> list[RunResult]:
    """Pause the workspace of *run* and revert its changes. An undo that wrote nothing restores the previous pause.

    *undo* is the `Sync` whose planner plans the reversal of *run*.
    """
    name = run.workspace
    previous_pause = await state.load_pause(name)
    # Pause before writing: a scheduled run that waits for the lease would repeat the mistake at once.
    await state.set_pause(name, Pause(clock.now(), request.by, request.reason))
    try:
        results = await undo.run([name], request)
    except PigmentSyncError:
        await state.set_pause(name, previous_pause)
        raise
    except asyncio.CancelledError:
        if not undo.shutdown.may_have_written:
            await asyncio.shield(state.set_pause(name, previous_pause))
        raise
    if any(result.status is RunStatus.BUSY or result.waiting for result in results):
        await state.set_pause(name, previous_pause)
    return results
