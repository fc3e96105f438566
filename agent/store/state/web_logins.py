"""Sessions and logins of the page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from agent.model.web_login import WebSession
from agent.store import web_logins
from agent.store.state.transactions import Transactions

__all__ = ["SqlWebLogins"]


class SqlWebLogins(Transactions):
    """Implements `agent.ports.web_logins.WebLogins`."""

    async def open_web_session(self, session_id: str, person: str, role: str, seal: Callable[[datetime], str]) -> None:
        await self._write_bounded(
            self._logins,
            lambda connection: web_logins.open_web_session(self._database, connection, session_id, person, role, seal),
        )

    async def use_web_session(self, session_id: str) -> WebSession | None:
        def read() -> tuple[WebSession, bool] | None:
            with self._database.begin_read() as connection:
                return web_logins.find_web_session(self._database, connection, session_id)

        found = await self._await_bounded(self._logins, read)
        if found is None:
            return None
        session, is_due = found
        if is_due:
            await self._write_bounded(
                self._logins, lambda connection: web_logins.record_use(self._database, connection, session_id)
            )
        return session

    async def end_web_session(self, session_id: str) -> None:
        await self._write_bounded(self._logins, lambda connection: web_logins.end_web_session(connection, session_id))

    async def begin_login(self, login_id: str) -> None:
        await self._write_bounded(
            self._logins, lambda connection: web_logins.begin_login(self._database, connection, login_id)
        )

    async def finish_login(self, login_id: str) -> bool:
        return await self._write_bounded(
            self._logins, lambda connection: web_logins.finish_login(self._database, connection, login_id)
        )

    async def count_failed_login(self, address: str) -> timedelta:
        return await self._write_bounded(
            self._logins, lambda connection: web_logins.count_failed_login(self._database, connection, address)
        )
