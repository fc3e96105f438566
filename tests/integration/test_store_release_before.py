"""Every migration keeps the tables usable by the previous release: one of its processes may still run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, Table, UniqueConstraint, create_engine, inspect

import agent.store.migrate
from agent.store.migrate import HEAD
from tests.postgres import new_database

MIGRATIONS = Path(agent.store.migrate.__file__).parent / "migrations"
BEFORE = "0004"
"""The newest schema of the previous release."""


def config() -> Config:
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    return found


def steps() -> list[tuple[str, str]]:
    """Return each migration with its predecessor, and all migrations of this release together."""
    scripts = ScriptDirectory.from_config(config()).walk_revisions()
    each = [(str(script.down_revision), script.revision) for script in scripts if script.down_revision]
    return [*reversed(each), (BEFORE, HEAD)]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgres_server"))
    made = create_engine(url)
    yield made
    made.dispose()


def upgrade(engine: Engine, revision: str) -> None:
    used = config()
    with engine.begin() as connection:
        used.attributes["connection"] = connection
        command.upgrade(used, revision)


def tables(engine: Engine) -> list[Table]:
    """Return the tables as the database has them, each after those that it refers to."""
    found = MetaData()
    found.reflect(engine)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def row(table: Table, word: str, number: int) -> dict[str, Any]:
    """Return a row that differs in what must be unique, and in nothing else."""
    unique = {column.name for column in table.primary_key}
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            unique |= {column.name for column in constraint}
    values: dict[type, tuple[Any, Any]] = {
        str: ("same", word),
        int: (7, number),
        bool: (False, False),
        bytes: (b"same", b"same"),
    }
    return {
        column.name: values[column.type.python_type][column.name in unique or bool(column.foreign_keys)]
        for column in table.columns
    }


def rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(each) for each in connection.execute(table.select().order_by(*table.primary_key)).mappings()]


def spelled(engine: Engine, before: list[Table]) -> dict[str, dict[str, tuple[str, bool]]]:
    """Return type and nullability of each column, as the database reports them."""
    found = inspect(engine).get_multi_columns(filter_names=[table.name for table in before])
    return {
        table: {each["name"]: (str(each["type"]), each["nullable"]) for each in columns}
        for (_, table), columns in found.items()
    }


def keys(engine: Engine, before: list[Table]) -> dict[str, tuple[list[str], list[list[str]]]]:
    looked, names = inspect(engine), [table.name for table in before]
    unique = looked.get_multi_unique_constraints(filter_names=names)
    return {
        place[1]: (primary["constrained_columns"], sorted(each["column_names"] for each in unique[place]))
        for place, primary in looked.get_multi_pk_constraint(filter_names=names).items()
    }


@pytest.mark.parametrize(("older", "newer"), steps(), ids=str)
def test_release_before_reads_and_writes_what_a_migration_left(engine: Engine, older: str, newer: str) -> None:
    upgrade(engine, older)
    before = tables(engine)
    columns, unique = spelled(engine, before), keys(engine, before)
    with engine.begin() as connection:
        for table in before:
            connection.execute(table.insert().values(row(table, "first", 1)))
    upgrade(engine, newer)

    assert before
    assert unique.keys() == columns.keys() == {table.name for table in before}
    assert keys(engine, before) == unique
    has = spelled(engine, before)
    for name, had in columns.items():
        assert {column: has[name].get(column) for column in had} == had, name
    with engine.begin() as connection:
        for table in before:
            connection.execute(table.insert().values(row(table, "later", 2)))
        found = {table.name: rows(connection, table) for table in before}
        for table in before:
            connection.execute(table.update().values(row(table, "later", 2)).where(*is_it(table, "later", 2)))
        for table in reversed(before):
            connection.execute(table.delete().where(*is_it(table, "later", 2)))
    with engine.connect() as connection:
        left = {table.name: rows(connection, table) for table in before}

    # A migration may fill in what no one had recorded, and may take away nothing.
    for table in before:
        assert [each for each in found[table.name] if each == row(table, "later", 2)], table.name
        assert [each for each in left[table.name] if each == row(table, "first", 1)], table.name


def is_it(table: Table, word: str, number: int) -> list[Any]:
    wanted = row(table, word, number)
    return [column == wanted[column.name] for column in table.primary_key]
