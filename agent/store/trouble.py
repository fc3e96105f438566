"""Say what is wrong with the database, and what to do about it: the one place that knows its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from agent.errors import StateError
from agent.store.location import Location

__all__ = ["translated"]

LONGEST_QUOTE = 200
RESTORE = (
    "Restore a backup; or move the file away with its -wal and -shm: the next run then adopts members by email and "
    "alias, and holds what it can't be sure of."
)
WRITABLE = "Mount a writable folder for it, owned by the user that runs this, or name another place in state.url."
ROOM = "Make room on its disk. Nothing was lost: what was not recorded was not sent."
# Words of SQLite, PostgreSQL and its client library, the first that is in the message decides.
REMEDIES = (
    ("not a database", RESTORE),
    ("malformed", RESTORE),
    ("is locked", "Another process holds it for long: see which. SQLite's file must not lie on a network file system."),
    ("readonly", WRITABLE),
    ("unable to open", WRITABLE),
    ("disk is full", ROOM),
    ("No space left", ROOM),
    ("disk I/O error", "Look at the disk, and whether it is a network file system: SQLite's file must not lie on one."),
    ("authentication failed", "Mend the user or the password in state.url."),
    ("no password supplied", "Write the password into state.url by its environment variable, or use a .pgpass file."),
    ("permission denied", "Let its user create tables: GRANT CREATE, USAGE ON SCHEMA public TO that user."),
    ("already exists", "It holds tables of something else: give pigment-sync a database or a schema of its own."),
    ("does not exist", "Create the database and its user first, or mend state.url."),
    ("read-only transaction", "state.url names a read-only standby: name the primary."),
    ("lock timeout", "Another process holds it for long: see which in pg_stat_activity, and end it."),
)
OTHERWISE = "Check that the database is there, reachable and writable, and what state.url names."


@contextmanager
def translated(location: Location) -> Iterator[None]:
    """Raise a `StateError` for whatever the database or its driver raises within."""
    try:
        yield
    except ImportError as error:
        raise StateError(
            f"The state {location.shown} needs a library that is not installed ({error.name}).",
            "Install it with: pip install 'pigment-sync[postgres]'",
        ) from error
    except SQLAlchemyError as error:
        cause = _cause(error)
        raise StateError(f"The state {location.shown} can't be used ({cause}).", _remedy(cause)) from error


def _cause(error: SQLAlchemyError) -> str:
    """Return the first line of what the driver said, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return "".join(letter if letter.isprintable() else "?" for letter in lines[0])[:LONGEST_QUOTE]


def _remedy(cause: str) -> str:
    return next((remedy for words, remedy in REMEDIES if words in cause), OTHERWISE)
