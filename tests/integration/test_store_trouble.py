"""Errors of the database have a cause and a remedy, and the store recovers when they are over."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from agent.errors import LeaseLost, StateError, WorkspaceBusy
from agent.model import Kind, Link, Memory
from agent.store.errors import translate_errors
from agent.store.state import SqlState
from agent.store.url import parse_state_url
from connectors.base import PersonKey
from tests.postgres import new_database
from tests.state_samples import ANN, NOW, Clock, a_change, a_run, begun

REPOSITORY = Path(__file__).parent.parent.parent


async def refused(url: str) -> StateError:
    with pytest.raises(StateError) as caught:
        await SqlState.open(url, Clock().now)
    return caught.value


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "not a database URL"),
        ("", "not a database URL"),
        ("mysql://root@localhost/x", "'mysql', which is not supported"),
        ("postgresql+asyncpg://h/db", "'postgresql+asyncpg', which is not supported"),
        ("sqlite+aiosqlite:///state.db", "'sqlite+aiosqlite', which is not supported"),
        ("sqlite://", "has no file"),
        ("sqlite:///:memory:", "has no file"),
        ("postgresql://agent:hunter2@h:port/db", "not a database URL"),
        ("sqlite:////proc/nowhere/state.db", "/proc/nowhere/state.db can't be written"),
        ("sqlite:////dev/null/state.db", "/dev/null/state.db can't be written"),
        ("sqlite:////tmp", "/tmp can't be written"),
        ("sqlite:///nul\0.db", "can't be written"),
    ],
)
async def test_impossible_url_has_a_remedy(url: str, words: str) -> None:
    error = await refused(url)

    assert words in error.message
    assert "hunter2" not in f"{error.message}{error.hint}"
    assert error.hint


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://agent:hunter2@127.0.0.1:1/state",
        "postgres://agent:hunter2@127.0.0.1:1/state",
        "postgresql://agent@127.0.0.1:1/state?password=hunter2",
    ],
)
async def test_unreachable_server_is_named_without_its_password(url: str) -> None:
    error = await refused(url)

    assert "postgresql://agent@127.0.0.1:1/state" in error.message
    assert "hunter2" not in f"{error.message}{error.hint}"
    assert "reachable" in error.hint


async def test_missing_database_is_named(postgres_server: str) -> None:
    error = await refused(f"{postgres_server}/nowhere")

    assert '"nowhere" does not exist' in error.message
    assert "Create the database" in error.hint


async def test_user_without_create_permission_gets_the_grant_to_run(postgres_server: str) -> None:
    url = new_database(postgres_server)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP ROLE IF EXISTS visitor"))
        connection.execute(text("CREATE ROLE visitor LOGIN"))
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    engine.dispose()

    assert "GRANT CREATE" in (await refused(url.replace("agent@", "visitor@"))).hint


def test_missing_driver_has_the_install_command() -> None:
    script = """
import asyncio, sys
from datetime import UTC, datetime
sys.modules["psycopg"] = None
from agent.errors import StateError
from agent.store.state import SqlState
try:
    asyncio.run(SqlState.open("postgresql+psycopg://agent@127.0.0.1:1/state", lambda: datetime.now(UTC)))
except StateError as error:
    print(error.hint)
"""
    completed = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert completed.stdout == "Install it with: pip install 'pigment-sync[postgres]'\n"


def no_database(_whole: bytes) -> bytes:
    return b"this is no database, and long enough to be looked at" * 500


def overwritten(whole: bytes) -> bytes:
    return whole[:100] + b"\xff" * (len(whole) - 100)


def cut_off(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


async def read_all(url: str) -> None:
    state = await SqlState.open(url, Clock().now)
    try:
        await state.load_memory("latam")
        await state.load_runs()
    finally:
        await state.close()


@pytest.mark.parametrize("spoil", [no_database, overwritten, cut_off])
async def test_broken_file_has_a_remedy(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    state = await SqlState.open(f"sqlite:///{path}", Clock().now)
    await begun(state)
    await state.close()
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(StateError) as caught:
        await read_all(f"sqlite:///{path}")

    assert "Restore a backup" in caught.value.hint
    assert "-wal" in caught.value.hint


async def test_locked_file_is_waited_for_and_then_named(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    state = await SqlState.open(f"sqlite:///{path}?timeout=0.05", Clock().now)
    lease = await begun(state)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="locked") as caught:
            await state.record_intent(lease, "r1", 0, a_change())
        # A writer does not block readers.
        assert await state.load_memory("latam") == Memory()
        other.execute("ROLLBACK")
    await state.record_intent(lease, "r1", 0, a_change())
    await state.close()

    assert "network file system" in caught.value.hint


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("database or disk is full", "Free space"),
        ("could not extend file: No space left on device", "Free space"),
        ("attempt to write a readonly database", "writable folder"),
        ("disk I/O error", "network file system"),
        ('FATAL:  password authentication failed for user "agent"', "Correct the user or the password"),
        ("fe_sendauth: no password supplied", "environment variable"),
        ("cannot execute INSERT in a read-only transaction", "standby"),
        ("canceling statement due to lock timeout", "pg_stat_activity"),
        ("something new", "state.url"),
    ],
)
def test_known_trouble_has_its_remedy(message: str, remedy: str) -> None:
    with pytest.raises(StateError) as caught, translate_errors(parse_state_url("sqlite:///state.db")):
        raise OperationalError("SELECT 'a person'", None, RuntimeError(f"{message}\nDETAIL: a person"))

    assert caught.value.message == f"The state state.db can't be used ({message})."
    assert remedy in caught.value.hint


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        # As a server responds in any language: only the code is reliable, not the text.
        ("DEALLOCATE _pg3_0", "pooler"),
        ("PREPARE one AS SELECT 1; PREPARE one AS SELECT 1", "pooler"),
        ("SET TRANSACTION READ ONLY; CREATE TABLE one (id int)", "standby"),
        ("SELECT 1 FROM nothing_of_that_name", "search_path"),
        ("CREATE TABLE pg_temp.one (id int); CREATE TABLE pg_temp.one (id int)", "tables of something else"),
        ("SET statement_timeout = 1; SELECT pg_sleep(60)", "statement_timeout"),
        ("DO $$ BEGIN RAISE EXCEPTION 'la base « x » n''existe pas' USING ERRCODE = '53100'; END $$", "Free space"),
        ("DO $$ BEGIN RAISE EXCEPTION 'rol does not exist' USING ERRCODE = '57P01'; END $$", "failed over"),
        ("DO $$ BEGIN RAISE EXCEPTION 'does not exist' USING ERRCODE = 'P0001'; END $$", "reachable and writable"),
    ],
)
def test_remedy_is_chosen_by_the_code_of_the_server(postgres_server: str, statement: str, remedy: str) -> None:
    engine = create_engine(f"{postgres_server}/postgres")
    with (
        pytest.raises(StateError) as caught,
        translate_errors(parse_state_url(postgres_server)),
        engine.connect() as connection,
    ):
        connection.exec_driver_sql(statement)
    engine.dispose()

    assert remedy in caught.value.hint
    assert "Create the database" not in caught.value.hint


def test_remedy_is_chosen_by_the_code_of_sqlite(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'state.db'}")
    with translate_errors(parse_state_url("sqlite:///state.db")), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
        with pytest.raises(StateError) as caught, translate_errors(parse_state_url("sqlite:///state.db")):
            connection.exec_driver_sql("CREATE TABLE one (id INTEGER)")
    engine.dispose()

    assert "writable folder" in caught.value.hint


def test_control_characters_in_server_messages_are_not_passed_on() -> None:
    with pytest.raises(StateError) as caught, translate_errors(parse_state_url("sqlite:///state.db")):
        raise OperationalError("", None, RuntimeError("\x1b[31m" + "x" * 1000))

    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 300


async def test_store_goes_on_after_its_connections_were_cut(postgres_server: str) -> None:
    url = new_database(postgres_server)
    state = await SqlState.open(url, Clock().now)
    lease = await begun(state)
    await state.load_runs()
    engine = create_engine(url)
    with engine.begin() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pigment-sync'"
        connection.execute(text(f"{cut} AND datname = current_database()"))
    engine.dispose()
    await state.record_intent(lease, "r1", 0, a_change())

    assert len(await state.load_changes("r1")) == 1
    await state.close()


async def test_lease_on_a_server_is_judged_by_the_servers_clock(postgres_server: str) -> None:
    url = new_database(postgres_server)
    clock = Clock()
    state = await SqlState.open(url, clock.now)
    lease = await begun(state)
    clock.pass_seconds(3600)
    await state.renew_lease(lease)
    with pytest.raises(WorkspaceBusy, match="one, since"):
        await state.take_lease("latam", "two")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE leases SET renewed_at = renewed_at - 15000000"))
    engine.dispose()
    taken = await state.take_lease("latam", "two")
    with pytest.raises(LeaseLost):
        await state.record_intent(lease, "r1", 0, a_change())
    await state.close()

    assert taken.fence == lease.fence + 1
    assert taken.since - NOW > timedelta(days=1)


async def test_long_write_is_a_sign_of_life(tmp_path: Path) -> None:
    clock = Clock()
    state = await SqlState.open(f"sqlite:///{tmp_path / 'state.db'}", clock.now)
    lease = await begun(state)
    clock.pass_seconds(14)
    await state.update_memory(lease, (), frozenset(), {})
    clock.pass_seconds(14)
    await state.renew_lease(lease)
    await state.close()


async def test_ten_thousand_adoptions_are_one_transaction(tmp_path: Path) -> None:
    state = await SqlState.open(f"sqlite:///{tmp_path / 'state.db'}", Clock().now)
    lease = await begun(state)
    adopt = a_change(Kind.ADOPT)
    people = [PersonKey("okta-main", f"p{number}") for number in range(10_000)]
    taken = [(seq, adopt, Link(person, f"m{seq}")) for seq, person in enumerate(people)]
    await state.record_adoptions(lease, "r1", taken)
    await state.begin_run(a_run("r2"), lease)
    swapped = [(0, adopt, Link(people[0], "m1")), (1, adopt, Link(people[1], "m0")), (2, adopt, Link(ANN, "m2"))]
    await state.record_adoptions(lease, "r2", swapped)
    links = {link.person: link.scim_id for link in (await state.load_memory("latam")).links}
    await state.close()

    assert (links[people[0]], links[people[1]], links[ANN]) == ("m1", "m0", "m2")
    assert people[2] not in links
    assert len(links) == 10_000
