"""Ask the state by the path that its writes take, often enough to know and too seldom to be in their way."""

from __future__ import annotations

import asyncio

from agent.errors import StateError
from agent.ports import State

__all__ = ["WriteProof"]

FRESH_SECONDS = 5.0
"""Anyone may ask the probes, as often as they like; the state is asked no oftener than this."""


class WriteProof:
    """Whether the state can be written. One check runs at a time, even if a caller stops waiting for it."""

    def __init__(self) -> None:
        self._asking: asyncio.Task[str] | None = None
        self._answered_at = 0.0
        self._asked: State | None = None

    async def trouble(self, state: State) -> str:
        """Return why *state* can't be written, with what to do; empty: it can. Waits as long as the state does."""
        if self._asking is None or self._asked is not state or self._is_stale(self._asking):
            self._asking = asyncio.create_task(self._ask(state))
            self._asked = state
        return await asyncio.shield(self._asking)

    def _is_stale(self, asking: asyncio.Task[str]) -> bool:
        return asking.done() and self._now() - self._answered_at >= FRESH_SECONDS

    async def _ask(self, state: State) -> str:
        try:
            await state.prove_writable()
        except StateError as error:
            return f"{error.message} {error.hint}"
        finally:
            self._answered_at = self._now()
        return ""

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
