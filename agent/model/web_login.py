"""Logins to the page as the state keeps them, and how long each part of them lasts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = [
    "BEGUN_LOGIN_LIFETIME",
    "CLOCK_TOLERANCE",
    "FAILED_LOGIN_WINDOW",
    "MAX_BEGUN_LOGINS",
    "MAX_FAILED_LOGINS",
    "MAX_FAILING_ADDRESSES",
    "MAX_SESSIONS",
    "SESSION_IDLE",
    "SESSION_LIFETIME",
    "USE_IS_RECORDED_AFTER",
    "WebSession",
    "remaining_time",
]

SESSION_IDLE, SESSION_LIFETIME = timedelta(hours=2), timedelta(hours=12)
USE_IS_RECORDED_AFTER = timedelta(minutes=1)
"""A use is written only if the one recorded last is older: so `SESSION_IDLE` is kept to within a minute."""
CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far in the future a session may have begun: more means that the clock was set back, and the session ends."""
MAX_SESSIONS = 1000
BEGUN_LOGIN_LIFETIME, MAX_BEGUN_LOGINS = timedelta(minutes=10), 1000
MAX_FAILED_LOGINS, FAILED_LOGIN_WINDOW = 10, timedelta(minutes=5)
MAX_FAILING_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSession:
    """A browser that logged in. *id* is a hash of its cookie, which the state never sees.

    *seal* binds the other fields to a credential of the configuration. *remaining* is how long the session lasts
    without another request, at most.
    """

    id: str
    person: str
    role: str
    seal: str
    began_at: datetime
    remaining: timedelta


def remaining_time(began_at: datetime, used_at: datetime, now: datetime) -> timedelta:
    """Return how long a session lasts without another request; zero or less: it is over."""
    if max(began_at, used_at) > now + CLOCK_TOLERANCE:
        return timedelta(0)
    return min(used_at + SESSION_IDLE, began_at + SESSION_LIFETIME) - now
