"""Signs of life in the state, so that two daemons on one state see each other.

It only informs: when the state fails here, nothing else stops or waits for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from datetime import datetime
from uuid import uuid4

import structlog

from agent.errors import StateError
from agent.model.daemon import DaemonRecord
from agent.ports.state import State

__all__ = ["Presence", "daemon_phrase", "own_record"]

log = structlog.get_logger()
BEAT_SECONDS = 15.0
START_SECONDS, STOP_SECONDS = 5.0, 1.0
"""How long the start and the stop wait for the state."""


def own_record(started_at: datetime, version: str) -> DaemonRecord:
    """Return the record of this process, with a new id."""
    return DaemonRecord(
        id=uuid4().hex, host=socket.gethostname(), pid=os.getpid(), version=version, started_at=started_at
    )


def daemon_phrase(daemon: DaemonRecord) -> str:
    """Return "pid 7 on host-a"."""
    return f"pid {daemon.pid} on {daemon.host}"


class Presence:
    """Records *own* in *state* every 15 seconds, and keeps who else is there."""

    def __init__(self, state: State, own: DaemonRecord, beat_seconds: float = BEAT_SECONDS) -> None:
        self._state = state
        self.own = own
        self._beat_seconds = beat_seconds
        self._beating: asyncio.Task[None] | None = None
        self._has_failed = False
        self.others: tuple[DaemonRecord, ...] = ()
        """The other daemons at the last look."""

    async def start(self) -> None:
        """Record this daemon, look for others, and go on doing so."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._beat(), START_SECONDS)
        self._beating = asyncio.create_task(self._beat_until_stopped())

    async def stop(self) -> None:
        """Stop, and forget this daemon. If the state fails, its row ends by itself."""
        if self._beating is None:
            return
        self._beating.cancel()
        await asyncio.wait({self._beating})
        with suppress(TimeoutError, StateError):
            await asyncio.wait_for(self._state.forget_daemon(self.own.id), STOP_SECONDS)

    async def look(self) -> None:
        """Record a sign of life and look for others now."""
        await self._beat()

    async def _beat_until_stopped(self) -> None:
        while True:
            await asyncio.sleep(self._beat_seconds)
            await self._beat()

    async def _beat(self) -> None:
        try:
            await self._state.record_daemon(self.own)
            found = await self._state.load_daemons()
        except StateError as error:
            if not self._has_failed:
                log.warning("daemon.not_recorded", error=error.message)
            self._has_failed = True
            return
        self._has_failed = False
        others = tuple(each for each in found if each.id != self.own.id)
        known = {each.id for each in self.others}
        for each in others:
            if each.id not in known:
                log.info("daemon.another", pid=each.pid, host=each.host, version=each.version)
        self.others = others
