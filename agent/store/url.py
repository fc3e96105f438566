"""Where the state is: what `state.url` names, and how to speak of it without its password."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from agent.errors import StateError

__all__ = ["StateUrl", "parse_state_url"]

URL_HINT = "Write it as sqlite:///state.db or postgresql+psycopg://user@host/db."
# What people write, and the driver that we have for it.
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


@dataclass(frozen=True, slots=True)
class StateUrl:
    """One database that we can speak to. *redacted* names it in messages."""

    url: URL
    redacted: str

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"


def parse_state_url(text: str) -> StateUrl:
    """Return what *text* names. Raises `StateError` for what can hold no state; the message quotes nothing of it."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The cause may quote a password that stands where a port should: it is not shown, not even in a traceback.
        raise StateError("state.url is no database URL.", URL_HINT) from None
    driver = DRIVERS.get(url.drivername)
    if driver is None:
        raise StateError(f"state.url names {url.drivername!r}, which is not supported.", URL_HINT)
    if driver != "sqlite":
        return StateUrl(url.set(drivername=driver), _server_label(url))
    if url.database in {None, "", ":memory:"}:
        raise StateError("state.url names no file: links and journal would be gone after each run.", URL_HINT)
    return StateUrl(url.set(drivername=driver), f"{url.database}")


def _server_label(url: URL) -> str:
    """Name the server and the database; a password may also hide in the URL's parameters, so those are left out."""
    host = f"{url.host or 'localhost'}:{url.port or 5432}"
    return (
        f"postgresql://{url.username}@{host}/{url.database}" if url.username else f"postgresql://{host}/{url.database}"
    )
