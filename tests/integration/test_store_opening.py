"""Opening the store: creation, migration, and the errors when neither is possible."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

import agent.store.migrate
from agent.errors import StateError
from agent.model import GroupSighting, Kind, Link
from agent.store.codec import change_to_json, to_micros
from agent.store.migrate import HEAD, KNOWN_REVISIONS, USABLE_SINCE
from agent.store.state import SqlState
from agent.store.tables import metadata
from tests.copied_source import copy_source
from tests.postgres import new_database
from tests.state_samples import ANN, NOW, PLANNERS, Clock, a_change

REPOSITORY = Path(__file__).parent.parent.parent
MIGRATIONS = Path(agent.store.migrate.__file__).parent / "migrations"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    return new_database(request.getfixturevalue("postgres_server"))


async def opened(url: str) -> SqlState:
    return await SqlState.open(url, Clock().now)


async def refused(url: str) -> StateError:
    with pytest.raises(StateError) as caught:
        await opened(url)
    return caught.value


def upgrade(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


async def test_migrated_tables_are_those_that_the_code_works_with(url: str) -> None:
    await (await opened(url)).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, metadata)
    engine.dispose()

    assert differences == []


def test_every_migration_is_known() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)

    assert scripts.get_heads() == [HEAD]
    assert {script.revision for script in scripts.walk_revisions()} == KNOWN_REVISIONS


async def test_old_database_is_brought_up_to_date_with_all_that_is_in_it(url: str) -> None:
    upgrade(url, "0001")
    execute(
        url,
        "INSERT INTO links (workspace, connector, person, scim_id, groups, missed_reads)"
        """ VALUES ('latam', 'okta-main', 'ann', 'm1', '[["g1", "Planners"]]', 0)""",
    )
    state = await opened(url)
    memory = await state.load_memory("latam")
    edits = await state.load_link_edits("r1")
    await state.close()

    assert memory.links == (Link(ANN, "m1", PLANNERS),)
    assert edits == []


async def test_old_creates_without_an_end_stay_forgotten_and_keys_of_addresses_are_renewed(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(url)
    clock = Clock()
    clock.moment = datetime.now(UTC)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        for name, days, email in (("old", 30, "strasse@acme.com"), ("new", 1, "straße@acme.com")):
            sent = to_micros(clock.moment - timedelta(days=days))
            connection.execute(
                text(
                    'INSERT INTO runs (id, workspace, "trigger", dry_run, status, started_at, "by", reason, error,'
                    " requests) VALUES (:id, 'latam', 'sync', false, 'done', :at, '', '', '', 0)"
                ),
                {"id": name, "at": sent},
            )
            change = a_change(Kind.CREATE, email, None)
            row = {"id": name, "at": sent, "change": change_to_json(change)}
            connection.execute(
                text(
                    "INSERT INTO changes (run_id, seq, workspace, kind, changes_email, change, email, former_email,"
                    " outcome, detail, sent_at)"
                    " VALUES (:id, 0, 'latam', 'create', false, :change, 'strasse@acme.com', '', 'unknown', '', :at)"
                ),
                row,
            )
    engine.dispose()
    state = await SqlState.open(url, clock.now)
    memory = await state.load_memory("latam")
    found = (
        await state.load_member_changes("latam", email="straße@acme.com"),
        await state.load_member_changes("latam", email="STRASSE@acme.com"),
    )
    await state.close()

    assert [each.run_id for each in memory.unconfirmed_creates] == ["new"]
    assert [[each.run_id for each in actions] for actions in found] == [["new"], ["old"]]


async def test_sizes_of_groups_that_an_older_release_stored_guard_the_first_run(url: str) -> None:
    upgrade(url, "0006")
    execute(
        url,
        "INSERT INTO baselines (workspace, connector, group_id, name, people) VALUES ('latam', 'okta', 'g1', 'S', 9)",
        "INSERT INTO baselines (workspace, connector, group_id, name, people) VALUES ('latam', 'okta', 'g2', 'T', 0)",
    )
    state = await opened(url)
    sightings = await state.load_sightings("latam")
    await state.close()

    assert sightings == {("okta", "g1"): GroupSighting("S", 9)}


async def test_baselines_that_an_older_release_stored_count_as_those_of_the_last_enforcing_run(url: str) -> None:
    upgrade(url, "0004")
    insert = text(
        'INSERT INTO runs (id, workspace, "trigger", dry_run, status, started_at, "by", reason, error, requests)'
        " VALUES (:status, 'latam', 'sync', :dry, :status, :at, '', '', '', 0)"
    )
    runs = [("planned", True, 0), ("held", False, 60), ("failed", False, 30)]
    engine = create_engine(url)
    with engine.begin() as connection:
        for status, dry, minutes in runs:
            at = to_micros(NOW - timedelta(minutes=minutes))
            connection.execute(insert, {"status": status, "dry": dry, "at": at})
    engine.dispose()
    execute(
        url,
        "INSERT INTO baselines (workspace, connector, group_id, name, people) VALUES ('latam', 'okta', 'g1', 'S', 24)",
        "INSERT INTO baselines (workspace, connector, group_id, name, people) VALUES ('emea', 'okta', 'g1', 'S', 24)",
    )
    state = await opened(url)
    for name in ("latam", "emea"):
        lease = await state.take_lease(name, "one")
        await state.update_memory(lease, (), frozenset(), {("okta", "g1"): ("S", 12)})
    found = [
        await state.load_baselines(name, NOW - timedelta(minutes=minutes))
        for name, minutes in (("latam", 60), ("latam", 59), ("emea", 9999))
    ]
    await state.close()

    assert [each["okta", "g1"] for each in found] == [("S", 24), ("S", 12), ("S", 12)]


async def test_runs_of_an_older_release_have_no_provenance(url: str) -> None:
    upgrade(url, "0010")
    execute(
        url,
        'INSERT INTO runs (id, workspace, "trigger", dry_run, status, started_at, "by", reason, error, requests)'
        " VALUES ('r1', 'latam', 'sync', false, 'done', 0, '', '', '', 0)",
    )
    state = await opened(url)
    run = await state.load_run("r1")
    await state.close()

    assert run is not None
    assert run.provenance is None


@pytest.mark.parametrize(
    "declared", ["DROP TABLE schema_support", "DELETE FROM schema_support", "UPDATE schema_support SET oldest = '9998'"]
)
async def test_newer_schema_is_refused_unless_it_lets_this_release_go_on(url: str, declared: str) -> None:
    await (await opened(url)).close()
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    state = await opened(url)
    assert not state.is_new
    await state.prove_writable()
    await state.close()

    execute(url, declared)
    message = (await refused(url)).message
    assert "newer pigment-sync" in message
    assert ("9999 needs 9998 or newer" in message) == ("9998" in declared)


def test_each_migration_declares_which_release_may_go_on() -> None:
    """The release before may: `test_store_release_before.py` proves what is declared here."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    declared = {
        script.revision: script.module.usable_since
        for script in ScriptDirectory.from_config(config).walk_revisions()
        if script.revision > "0020"
    }

    assert declared
    assert all(since < revision for revision, since in declared.items())
    assert max(declared.values()) == USABLE_SINCE


async def test_tables_of_something_else_are_left_alone(url: str) -> None:
    execute(url, "CREATE TABLE runs (colour TEXT)", "INSERT INTO runs VALUES ('red')")
    error = await refused(url)
    execute(url, "INSERT INTO runs (colour) VALUES ('blue')")

    assert "of its own" in error.hint


OPEN = """
import asyncio, sys
from datetime import UTC, datetime
from agent.store.state import SqlState
async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    await (await SqlState.open(sys.argv[1], lambda: datetime.now(UTC))).close()
asyncio.run(main())
"""


def test_processes_that_start_at_once_on_an_empty_database_all_open_it(url: str) -> None:
    command = [sys.executable, "-c", OPEN, url]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    starting = [
        subprocess.Popen(command, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(4)
    ]
    for process in starting:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in starting:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in starting]

    assert errors == [""] * 4
    assert [process.returncode for process in starting] == [0] * 4


async def test_tasks_that_open_an_empty_database_at_once_share_it(url: str) -> None:
    states = await asyncio.gather(*(opened(url) for _ in range(4)))
    leases = await asyncio.gather(*(state.take_lease("latam", "x") for state in states), return_exceptions=True)
    for state in states:
        await state.close()

    assert sorted(type(lease).__name__ for lease in leases) == [
        "Lease",
        "WorkspaceBusy",
        "WorkspaceBusy",
        "WorkspaceBusy",
    ]


def test_package_may_lie_in_a_folder_with_a_percent_sign(tmp_path: Path) -> None:
    installed = tmp_path / "100%(here)s"
    for package in ("agent", "connectors"):
        copy_source(REPOSITORY / package, installed / package)
    command = [sys.executable, "-c", OPEN, f"sqlite:///{tmp_path / 'state.db'}"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    completed = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, input="\n", capture_output=True, text=True
    )

    assert (completed.returncode, completed.stderr) == (0, "")


async def test_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "below" / "state.db"
    state = await opened(f"sqlite:///{path}")
    await state.set_pause("latam", None)
    modes = [each.stat().st_mode & 0o077 for each in (path.parent, *path.parent.iterdir())]
    await state.close()

    assert len(modes) == 4
    assert set(modes) == {0}


async def test_opening_a_state_twice_keeps_the_locks_of_its_file(tmp_path: Path) -> None:
    """Without them another process that closes the file last would delete what this one has not copied yet."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    state = await opened(url)
    await (await opened(url)).close()
    # It needs the file for itself alone.
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('PRAGMA journal_mode = DELETE')"
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "state.db"), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await other.communicate()
    await state.close()

    assert b"database is locked" in errors


async def test_sqlite_commits_survive_a_power_cut_and_readers_do_not_wait(tmp_path: Path) -> None:
    state = await opened(f"sqlite:///{tmp_path / 'state.db'}")
    with state._database.begin_write() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
    await state.close()

    # 2 is FULL: the log reaches the disk with each commit.
    assert values == ["wal", 2, 1]


def test_migrations_are_in_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"agent/store/migrations/versions/{path.name}" for path in (MIGRATIONS / "versions").glob("*.py")}

    assert len(wanted) == len(KNOWN_REVISIONS)
    assert {"agent/store/migrations/env.py", *wanted} <= names
