"""The state through a real PgBouncer, in each of its modes, shared with another program."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from agent.errors import StateError
from agent.model import Kind, Link
from agent.model.run import RunOutcome, RunStatus
from agent.store.state import SqlState
from connectors.base import PersonKey
from tests.pgbouncer import pooled
from tests.postgres import new_database
from tests.state_samples import Clock, a_change, a_run, done

CHANGES = 8


@contextmanager
def another_program(url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True, prepare_threshold=None) as connection:
        yield connection


async def use(state: SqlState, run_id: str, workspace: str) -> None:
    """Do what a run does, often enough for psycopg to prepare each statement."""
    lease = await state.take_lease(workspace, "one")
    await state.begin_run(a_run(run_id, workspace=workspace), lease)
    people = [PersonKey("okta-main", f"{workspace}-{number}") for number in range(2000)]
    adopt = a_change(Kind.ADOPT)
    await state.record_adoptions(
        lease, run_id, [(seq, adopt, Link(each, f"m{seq}")) for seq, each in enumerate(people)]
    )
    for seq in range(len(people), len(people) + CHANGES):
        change = a_change()
        await state.record_intent(lease, run_id, seq, change)
        await state.renew_lease(lease)
        await state.record_answer(lease, done(change, seq, run=run_id))
        await state.load_memory(workspace)
    await state.end_run(lease, run_id, RunOutcome(RunStatus.DONE))
    await state.prove_writable()
    await state.release_lease(lease)


@pytest.mark.parametrize(("mode", "size"), [("transaction", 1), ("transaction", 4), ("session", 8)])
async def test_state_works_through_a_pooler(mode: str, size: int, postgres_server: str) -> None:
    with pooled(new_database(postgres_server), mode, size) as url:
        first = await SqlState.open(url, Clock().now)
        second = await SqlState.open(url, Clock().now)
        await asyncio.gather(use(first, "r1", "latam"), use(second, "r2", "emea"))
        for state, run_id in ((first, "r1"), (second, "r2")):
            assert len(await state.load_changes(run_id)) == 2000 + CHANGES
            await state.close()


async def test_settings_of_the_state_reach_no_other_program_of_the_pool(postgres_server: str) -> None:
    with pooled(new_database(postgres_server), "transaction") as url:
        with another_program(url) as other:
            before = other.execute("SELECT name, setting FROM pg_settings ORDER BY name").fetchall()
        state = await SqlState.open(url, Clock().now)
        await use(state, "r1", "latam")
        with another_program(url) as other:
            after = other.execute("SELECT name, setting FROM pg_settings ORDER BY name").fetchall()
            assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
            assert other.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)
        await state.close()

    changed = set(after) - set(before)
    assert {name for name, _ in changed} <= {"application_name"}, "PgBouncer itself keeps that one by client"


async def test_settings_of_the_state_hold_in_each_transaction(postgres_server: str) -> None:
    with pooled(new_database(postgres_server), "transaction") as url:
        state = await SqlState.open(url, Clock().now)
        with another_program(url) as other:
            other.execute("SET lock_timeout = 0")
        with state._database.begin_write() as connection:
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "10s"
            assert connection.exec_driver_sql("SHOW client_encoding").scalar() == "UTF8"
        await state.close()


async def test_pooler_that_splits_transactions_is_refused_by_its_name(postgres_server: str) -> None:
    with pooled(new_database(postgres_server), "statement") as url, pytest.raises(StateError) as caught:
        await SqlState.open(url, Clock().now)

    assert "pool_mode" in caught.value.hint


async def test_setting_refused_by_a_pooler_differs_from_a_missing_database(postgres_server: str) -> None:
    with pooled(new_database(postgres_server), "transaction") as url, pytest.raises(StateError) as caught:
        await SqlState.open(f"{url}?options=-c%20search_path%3Dpublic", Clock().now)

    assert "ignore_startup_parameters" in caught.value.hint
