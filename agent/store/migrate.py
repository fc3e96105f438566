"""Upgrade a database's tables with Alembic, once, even if several processes start at the same time."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, Engine, inspect, text

from agent.errors import StateError

__all__ = ["HEAD", "migrate"]

HEAD = "0020"
KNOWN_REVISIONS = frozenset(
    {
        "0001",
        "0002",
        "0003",
        "0004",
        "0005",
        "0006",
        "0007",
        "0008",
        "0009",
        "0010",
        "0011",
        "0012",
        "0013",
        "0014",
        "0015",
        "0016",
        "0017",
        "0018",
        "0019",
        HEAD,
    }
)
# Any number that no other program locks: two processes that start on an empty database must not both create tables.
MIGRATION_LOCK_ID = 7_164_490_117
# Alembic keeps the active migration in module globals: one at a time within a process.
MIGRATION_MUTEX = Lock()


def migrate(engine: Engine, shown: str, *, only_new: bool = False) -> bool:
    """Upgrade the tables to `HEAD`, all or nothing, and return whether the database was empty.

    *shown* is the database in messages. With *only_new* missing tables are created, and older ones left as
    they are. Raises `StateError` for those, and for tables of an unknown version.
    """
    with engine.connect() as connection:
        found = _load_revision(connection)
    if found == HEAD:
        return False
    if found is not None and found not in KNOWN_REVISIONS:
        raise StateError(
            f"The state was written by a newer pigment-sync (schema {found}, this one supports {HEAD}).",
            "Run that version, or restore a backup from before the upgrade.",
        )
    if found is not None and only_new:
        raise StateError(
            f"The state {shown} is of an older pigment-sync (schema {found}, this one needs {HEAD}), "
            "and a command that only reads does not change it.",
            "Back it up, stop older versions, then run: pigment-sync state migrate. Commands that write do it too.",
        )
    with MIGRATION_MUTEX, engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            from agent.store.postgres import MIGRATION_SILENCE_SECONDS, set_silence_limit

            set_silence_limit(connection, MIGRATION_SILENCE_SECONDS)
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": MIGRATION_LOCK_ID})
        _upgrade_to_head(connection)
    return found is None


def _load_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _upgrade_to_head(connection: Connection) -> None:
    """Apply the missing migrations: none when another process did while this one waited for the lock."""
    # Only a new or an old database needs it, and it is slow to import.
    from alembic import command
    from alembic.config import Config

    config = Config()
    # The file's own syntax expands percent signs, and the name of a folder may have one.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
