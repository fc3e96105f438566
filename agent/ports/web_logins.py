"""Logins to the page, shared by all replicas: sessions, logins that have begun, and failed ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from agent.model.web_login import WebSession

__all__ = ["WebLogins"]


class WebLogins(Protocol):
    """Every time is by the state's clock. Raises `StateError` within seconds: a visitor waits."""

    async def open_web_session(self, session_id: str, person: str, role: str, seal: Callable[[datetime], str]) -> None:
        """Record a session that begins now. *seal* returns its seal from the time at which it began.

        The oldest sessions make room for it.
        """
        ...

    async def use_web_session(self, session_id: str) -> WebSession | None:
        """Return the session, and record that it was used; None if it has ended."""
        ...

    async def end_web_session(self, session_id: str) -> None: ...

    async def begin_login(self, login_id: str) -> None:
        """Record that a visitor was sent to the identity provider. The oldest such logins make room for it."""
        ...

    async def finish_login(self, login_id: str) -> bool:
        """Return whether that login has begun, and not expired. It returns True once: the login is over then."""
        ...

    async def count_failed_login(self, address: str) -> timedelta:
        """Count a failed login of *address* and return zero. Above the limit, count nothing, and return the wait."""
        ...
