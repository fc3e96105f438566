"""Detect a new configuration and apply it if it is valid; otherwise keep the old one and log an error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from agent.daemon.daemon import Daemon
from agent.errors import PigmentSyncError
from agent.settings.file import find_config_file
from agent.settings.load import load
from agent.settings.root import Settings
from agent.settings.variables import refuse_invalid_variables

__all__ = ["ConfigWatcher"]

log = structlog.get_logger()
POLL_SECONDS = 2.0
FileFingerprint = tuple[str, int, int, int] | None


class ConfigWatcher:
    """Watches the file at *path* (else the default places). *on_reloaded* is called with each new configuration.

    A file that a ConfigMap or a deployment tool swaps under a link is followed to where it points now.
    """

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str],
        settings: Settings,
        daemon: Daemon,
        on_reloaded: Callable[[Settings], None],
    ) -> None:
        self._path = path
        self._environ = environ
        self._settings = settings
        self._daemon = daemon
        self._on_reloaded = on_reloaded
        self._reload_requested = asyncio.Event()
        self._last_fingerprint = self._file_fingerprint()
        self._refusal = ""

    def request_reload(self) -> None:
        """Load again even if the file has not changed (SIGHUP)."""
        self._reload_requested.set()

    async def watch(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Check the file until cancelled."""
        while True:
            requested = asyncio.ensure_future(self._reload_requested.wait())
            pause = asyncio.ensure_future(sleep(POLL_SECONDS))
            await asyncio.wait({requested, pause}, return_when=asyncio.FIRST_COMPLETED)
            requested.cancel()
            pause.cancel()
            await self.reload_if_changed()

    async def reload_if_changed(self) -> None:
        """Load the configuration if a reload was requested, the file has changed, or the last load was refused."""
        now = self._file_fingerprint()
        if now == self._last_fingerprint and not self._reload_requested.is_set() and not self._refusal:
            return
        self._last_fingerprint = now
        self._reload_requested.clear()
        try:
            settings = await asyncio.to_thread(self._load_settings)
        except PigmentSyncError as error:
            # It may refer to another file, which is not watched.
            self._report_refusal(error, "The new configuration is invalid and will be tried again.")
            return
        try:
            await self._daemon.reload(settings)
        except PigmentSyncError as error:
            self._report_refusal(error, "The new configuration could not be applied yet and will be tried again.")
            return
        self._refusal = ""
        self._warn_restart_needed(settings)
        self._settings = settings
        self._on_reloaded(settings)

    def _load_settings(self) -> Settings:
        """Load the configuration and check the files that it names. Raises `ConfigError`."""
        settings = load(self._path, self._environ)
        refuse_invalid_variables(self._environ, settings)
        return settings

    def _report_refusal(self, error: PigmentSyncError, what: str) -> None:
        """Log each reason once, however often it recurs."""
        refusal = f"{what} {error.message}"
        if refusal != self._refusal:
            log.error("config.refused", error=error.message, remedy=error.hint)
        self._refusal = refusal
        self._daemon.report_refused_config(what, error.message)

    def _warn_restart_needed(self, new: Settings) -> None:
        """Log the changed keys that need a restart."""
        old = self._settings
        unchanged = {
            "state.url": old.state == new.state,
            "pigment": old.pigment == new.pigment,
            "server.host": old.server.host == new.server.host,
            "server.port": old.server.port == new.server.port,
            "tracing": old.tracing == new.tracing,
        }
        for key in (key for key, is_same in unchanged.items() if not is_same):
            log.warning("config.needs_restart", key=key)

    def _file_fingerprint(self) -> FileFingerprint:
        try:
            file = find_config_file(self._path, self._environ).resolve()
            status = file.stat()
        except (PigmentSyncError, OSError):
            return None
        return str(file), status.st_mtime_ns, status.st_size, status.st_ino
