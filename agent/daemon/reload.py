"""Notice a new configuration, take it if it is valid, and otherwise keep the old one and say so loudly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from agent.daemon.daemon import Daemon
from agent.errors import PigmentSyncError
from agent.settings.file import found
from agent.settings.load import load
from agent.settings.root import Settings
from agent.settings.variables import refuse_variables

__all__ = ["Reloading"]

log = structlog.get_logger()
LOOK_EVERY_SECONDS = 2.0
Fingerprint = tuple[str, int, int, int] | None


class Reloading:
    """Watches the file at *path* (else the default places). *taken* is told of each configuration that came into force.

    A file that a ConfigMap or a deployment tool swaps under a link is followed to where it points now.
    """

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str],
        settings: Settings,
        daemon: Daemon,
        taken: Callable[[Settings], None],
    ) -> None:
        self._path = path
        self._environ = environ
        self._settings = settings
        self._daemon = daemon
        self._taken = taken
        self._asked = asyncio.Event()
        self._seen = self._fingerprint()
        self._refusal = ""

    def ask(self) -> None:
        """Load again even if the file looks the same: SIGHUP."""
        self._asked.set()

    async def watch(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look at the file for ever."""
        while True:
            waiting = asyncio.ensure_future(self._asked.wait())
            pause = asyncio.ensure_future(sleep(LOOK_EVERY_SECONDS))
            await asyncio.wait({waiting, pause}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            pause.cancel()
            await self.look()

    async def look(self) -> None:
        """Load the configuration if it was asked for, if the file has changed, or if it was not taken last time."""
        now = self._fingerprint()
        if now == self._seen and not self._asked.is_set() and not self._refusal:
            return
        self._seen = now
        self._asked.clear()
        try:
            settings = await asyncio.to_thread(self._load)
        except PigmentSyncError as error:
            # It may refer to another file, which is not watched.
            self._refuse(error, "A newer configuration was refused and will be tried again.")
            return
        try:
            await self._daemon.reload(settings)
        except PigmentSyncError as error:
            self._refuse(error, "A newer configuration could not be applied yet and will be tried again.")
            return
        self._refusal = ""
        self._warn(settings)
        self._settings = settings
        self._taken(settings)

    def _load(self) -> Settings:
        """Return the configuration once its files can be used too. Raises `ConfigError`."""
        settings = load(self._path, self._environ)
        refuse_variables(self._environ, settings)
        return settings

    def _refuse(self, error: PigmentSyncError, what: str) -> None:
        """Log each reason once, however often it is met."""
        refusal = f"{what} {error.message}"
        if refusal != self._refusal:
            log.error("config.refused", error=error.message, remedy=error.hint)
        self._refusal = refusal
        self._daemon.refuse(what, error.message)

    def _warn(self, new: Settings) -> None:
        """Say what a running daemon can't change under itself."""
        old = self._settings
        places = {
            "state.url": old.state == new.state,
            "pigment": old.pigment == new.pigment,
            "server.host": old.server.host == new.server.host,
            "server.port": old.server.port == new.server.port,
        }
        for key in (key for key, is_same in places.items() if not is_same):
            log.warning("config.needs_restart", key=key)

    def _fingerprint(self) -> Fingerprint:
        try:
            file = found(self._path, self._environ).resolve()
            status = file.stat()
        except (PigmentSyncError, OSError):
            return None
        return str(file), status.st_mtime_ns, status.st_size, status.st_ino
