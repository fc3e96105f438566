"""Where the state is: what `state.url` names, and how to speak of it without its password."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from agent.errors import StateError

__all__ = ["Location", "located"]

HOW = "Write it as sqlite:///state.db or postgresql+psycopg://user@host/db."
# What people write, and the driver that we have for it.
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


@dataclass(frozen=True, slots=True)
class Location:
    """One database that we can speak to. *shown* names it in messages."""

    url: URL
    shown: str

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"


def located(text: str) -> Location:
    """Return what *text* names. Raises `StateError` for what can hold no state; the message quotes nothing of it."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The cause may quote a password that stands where a port should: it is not shown, not even in a traceback.
        raise StateError("state.url is no database URL.", HOW) from None
    driver = DRIVERS.get(url.drivername)
    if driver is None:
        raise StateError(f"state.url names {url.drivername!r}, which is not supported.", HOW)
    if driver != "sqlite":
        return Location(url.set(drivername=driver), _server(url))
    if url.database in {None, "", ":memory:"}:
        raise StateError("state.url names no file: links and journal would be gone after each run.", HOW)
    return Location(url.set(drivername=driver), f"{url.database}")


def _server(url: URL) -> str:
    """Name the server and the database; a password may also hide in the URL's parameters, so those are left out."""
    host = f"{url.host or 'localhost'}:{url.port or 5432}"
    return (
        f"postgresql://{url.username}@{host}/{url.database}" if url.username else f"postgresql://{host}/{url.database}"
    )
