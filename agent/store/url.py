"""Parse `state.url`, and label the database without its password."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from agent.errors import StateError

__all__ = ["StateUrl", "parse_state_url"]

URL_HINT = "Write it as sqlite:///state.db or postgresql+psycopg://user@host/db."
# Accepted schemes, and the driver of each.
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


@dataclass(frozen=True, slots=True)
class StateUrl:
    """The URL of a supported database. *redacted* is its label in messages."""

    url: URL
    redacted: str

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"


def parse_state_url(text: str) -> StateUrl:
    """Parse *text*. Raises `StateError` for an unsupported URL, without quoting it."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The cause may quote a password in the place of a port: it is not shown, not even in a traceback.
        raise StateError("state.url is not a database URL.", URL_HINT) from None
    driver = DRIVERS.get(url.drivername)
    if driver is None:
        raise StateError(f"state.url has the scheme {url.drivername!r}, which is not supported.", URL_HINT)
    if driver != "sqlite":
        return StateUrl(url.set(drivername=driver), _server_label(url))
    if url.database in {None, "", ":memory:"}:
        raise StateError("state.url has no file: links and journal would be lost after each run.", URL_HINT)
    return StateUrl(url.set(drivername=driver), f"{url.database}")


def _server_label(url: URL) -> str:
    """Return server and database. A password may also be in the URL's parameters, so those are left out."""
    host = f"{url.host or 'localhost'}:{url.port or 5432}"
    return (
        f"postgresql://{url.username}@{host}/{url.database}" if url.username else f"postgresql://{host}/{url.database}"
    )
