"""Translate errors of the databases into `StateError` with a cause and a remedy. No other module knows them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agent.errors import StateError
from agent.store.url import StateUrl

__all__ = ["translate_errors"]

PRIMARY_CODE_MASK = 0xFF
# Connections, conflicts, too many clients, locks, a transaction that waited too long, and a server that restarts.
TRANSIENT_SQLSTATES = ("08", "40", "53300", "55P03", "25P03", "57P")

MAX_QUOTE_LENGTH = 200
RESTORE = (
    "Restore a backup; or move the file away with its -wal and -shm: the next run then matches members by email and "
    "alias, and holds uncertain changes."
)
WRITABLE = "Mount a writable folder for it, owned by the user of this process, or set another path in state.url."
ROOM = "Free space on its disk. No write was lost: changes are recorded before they are sent."
LOCKED = (
    "Another process has locked it for too long: find out which. SQLite's file must not be on a network file system."
)
DISK = "Check the disk, and that it is not a network file system: SQLite's file must not be on one."
FOREIGN = "It holds tables of something else: give pigment-sync a database or a schema of its own."
POOLER = (
    "A pooler in between mixes sessions in an unsupported way: let it pool by session or by "
    "transaction (PgBouncer: pool_mode), or point state.url at the server itself."
)
STARTUP = (
    "A pooler in between does not pass this setting on: remove it from state.url, or add it to PgBouncer's "
    "ignore_startup_parameters."
)
CREATE = "Create the database and its user first, or correct state.url."
RESTARTING = "The server is being stopped, started or failed over: try again when it is up."
ENCODING = "The database can't hold this text: make it with ENCODING 'UTF8', and copy the state over."
# By SQLSTATE (PostgreSQL's manual, appendix A), which is the same in every language: whole, else its class.
REMEDY_BY_SQLSTATE = {
    "08": "The connection was lost. Check the network, and any pooler or proxy in between.",
    # A server does not violate its own protocol: this error comes from a pooler.
    "08P01": "A pooler in between refused it. PgBouncer: pool_mode must be session or transaction, and "
    "default_pool_size and max_client_conn large enough; or point state.url at the server itself.",
    "22021": ENCODING,
    "22P05": ENCODING,
    "25006": "state.url points to a read-only standby: set it to the primary.",
    "25P03": "The server ended a transaction that waited for this program. Is this machine suspended or overloaded?",
    # A prepared statement of another session, or a duplicate in this one.
    "26000": POOLER,
    "28": "Correct the user or the password in state.url.",
    "3D000": "Create the database first, or correct its name in state.url.",
    "3F000": "Create the schema first, or correct the search_path of its user.",
    "40": "It conflicted with another transaction: try again. If this persists, find it in pg_stat_activity.",
    "42501": "Let its user create tables: GRANT CREATE, USAGE ON SCHEMA public TO that user.",
    "42703": FOREIGN,
    "42710": FOREIGN,
    "42P01": "A table is missing. Check that the user's search_path has the state's schema; else restore a backup.",
    "42P05": POOLER,
    "42P07": FOREIGN,
    "53100": ROOM,
    "53200": "The server is out of memory: add memory, or reduce its load.",
    "53300": "The server has no connection left: raise max_connections, or close unused connections.",
    "55P03": "Another process has locked it for too long: find it in pg_stat_activity, and end it.",
    "57014": "The server cancelled a statement: check statement_timeout, and what slows it down in pg_stat_activity.",
    "57P": RESTARTING,
    "58": "The server has a problem with its disk: see its log.",
    "XX": "The server reported damaged data or an internal error: see its log.",
}
# By SQLite's primary result code (sqlite.org/rescode.html).
REMEDY_BY_SQLITE_CODE = {
    sqlite3.SQLITE_PERM: WRITABLE,
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_READONLY: WRITABLE,
    sqlite3.SQLITE_IOERR: DISK,
    sqlite3.SQLITE_CORRUPT: RESTORE,
    sqlite3.SQLITE_FULL: ROOM,
    sqlite3.SQLITE_CANTOPEN: WRITABLE,
    sqlite3.SQLITE_NOTADB: RESTORE,
}
# Only where the driver has no code: libpq has only a message for a refused connection, SQLite one code for many
# errors. The first entry with all its words in the message applies.
REMEDY_BY_MESSAGE = (
    (("authentication failed",), REMEDY_BY_SQLSTATE["28"]),
    (
        ("no password supplied",),
        "Put the password into state.url through its environment variable, or use a .pgpass file.",
    ),
    (("pooling mode",), POOLER),
    (("unsupported startup parameter",), STARTUP),
    (("prepared statement",), POOLER),
    (("database", "does not exist"), CREATE),
    (("role", "does not exist"), CREATE),
    (("no such database",), CREATE),
    (("no such user",), CREATE),
    (("too many", "connections"), REMEDY_BY_SQLSTATE["53300"]),
    (("starting up",), RESTARTING),
    (("shutting down",), RESTARTING),
    (("already exists",), FOREIGN),
    (("has not answered",), "Check that the server and its processes run: see its log and pg_stat_activity."),
    (("disk is full",), ROOM),
    (("No space left",), ROOM),
    (("readonly",), WRITABLE),
    (("disk I/O error",), DISK),
    (("read-only transaction",), REMEDY_BY_SQLSTATE["25006"]),
    (("during recovery",), REMEDY_BY_SQLSTATE["25006"]),
    (("lock timeout",), REMEDY_BY_SQLSTATE["55P03"]),
    (("permission denied",), REMEDY_BY_SQLSTATE["42501"]),
)
DEFAULT_REMEDY = "Check that the database exists, is reachable and writable, and that state.url is right."


@contextmanager
def translate_errors(location: StateUrl) -> Iterator[None]:
    """Raise `StateError` for any error of the database or its driver."""
    try:
        yield
    except ImportError as error:
        raise StateError(
            f"The state {location.redacted} needs a library that is not installed ({error.name}).",
            "Install it with: pip install 'pigment-sync[postgres]'",
        ) from error
    except SQLAlchemyError as error:
        cause = _error_cause(error)
        transient = is_transient(error)
        raise StateError(
            f"The state {location.redacted} can't be used ({cause}).",
            _find_remedy(error, cause),
            is_transient=transient,
        ) from error


def is_transient(error: SQLAlchemyError) -> bool:
    """Return whether a retry may succeed: a lost connection, a restarting server, a lock, a conflict."""
    if not isinstance(error, OperationalError | InterfaceError | InternalError):
        return isinstance(error, PoolTimeout) or (isinstance(error, DBAPIError) and error.connection_invalidated)
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & PRIMARY_CODE_MASK in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state.startswith(TRANSIENT_SQLSTATES)


def _error_cause(error: SQLAlchemyError) -> str:
    """Return the first line of the driver's message, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return "".join(letter if letter.isprintable() else "?" for letter in lines[0])[:MAX_QUOTE_LENGTH]


def _find_remedy(error: SQLAlchemyError, cause: str) -> str:
    """Return the remedy for the driver's code, or for the words of its message when it has no code."""
    driver = getattr(error, "orig", None)
    state = getattr(driver, "sqlstate", None)
    if isinstance(state, str):
        found = (REMEDY_BY_SQLSTATE.get(state[:length]) for length in (5, 3, 2))
        if remedy := next((remedy for remedy in found if remedy), None):
            return remedy
    code = getattr(driver, "sqlite_errorcode", None)
    if isinstance(code, int) and (remedy := REMEDY_BY_SQLITE_CODE.get(code & 0xFF)):
        return remedy
    return next((remedy for words, remedy in REMEDY_BY_MESSAGE if all(word in cause for word in words)), DEFAULT_REMEDY)
