"""Upgrade a database's tables with Alembic, once, even if several processes start at the same time."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, Engine, delete, insert, inspect, select, text

from agent.errors import StateError
from agent.store.tables import schema_support

__all__ = ["HEAD", "KNOWN_REVISIONS", "USABLE_SINCE", "migrate"]

HEAD = "0024"
USABLE_SINCE = "0020"
"""The oldest schema whose release may use this one: the newest `usable_since` of the migrations."""
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
        "0020",
        "0021",
        "0022",
        "0023",
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
    they are. Tables of a newer release are used as they are, if it declares that this one may use them. Raises
    `StateError` for other newer ones, and with *only_new* for older ones.
    """
    with engine.connect() as connection:
        found = _load_revision(connection)
        oldest = _load_oldest_user(connection) if found not in {None, *KNOWN_REVISIONS} else None
    if found == HEAD:
        return False
    if found is not None and found not in KNOWN_REVISIONS:
        if oldest is not None and oldest <= HEAD:
            return False
        needs = f", and {found} needs {oldest} or newer" if oldest is not None else ""
        raise StateError(
            f"The state was written by a newer pigment-sync (schema {found}, this one supports {HEAD}{needs}).",
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
            from agent.store.postgres import allow_migration

            allow_migration(connection)
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": MIGRATION_LOCK_ID})
        _upgrade_to_head(connection)
        connection.execute(delete(schema_support))
        connection.execute(insert(schema_support).values(id=1, oldest=USABLE_SINCE))
    return found is None


def _load_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _load_oldest_user(connection: Connection) -> str | None:
    """Return the oldest schema whose release may use the state, as the newer release declares; None: it does not."""
    if not inspect(connection).has_table(schema_support.name):
        return None
    return connection.execute(select(schema_support.c.oldest)).scalar()


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
