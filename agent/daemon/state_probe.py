"""Probe the state by the path of its writes: often enough to be current, rarely enough not to slow them down."""

from __future__ import annotations

import asyncio

from agent.errors import StateError
from agent.ports.state import State

__all__ = ["StateProbe"]

CACHE_SECONDS = 5.0
"""Anyone may call the health endpoints at any rate; the state is probed at most once in this time."""


class StateProbe:
    """Whether the state can be written. One check runs at a time, even if a caller stops waiting for it."""

    def __init__(self) -> None:
        self._probe_task: asyncio.Task[str] | None = None
        self._probed_at = 0.0
        self._probed_state: State | None = None

    async def find_problem(self, state: State) -> str:
        """Return why *state* can't be written, with a remedy; empty when it can. Waits as long as the state does."""
        if self._probe_task is None or self._probed_state is not state or self._is_stale(self._probe_task):
            self._probe_task = asyncio.create_task(self._probe(state))
            self._probed_state = state
        return await asyncio.shield(self._probe_task)

    def _is_stale(self, probe: asyncio.Task[str]) -> bool:
        return probe.done() and self._now() - self._probed_at >= CACHE_SECONDS

    async def _probe(self, state: State) -> str:
        try:
            await state.prove_writable()
        except StateError as error:
            return f"{error.message} {error.hint}"
        finally:
            self._probed_at = self._now()
        return ""

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
