"""Everything the store acknowledged before a SIGKILL is there afterwards, and nothing is half-written."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from agent.model.run import Outcome, RunStatus
from agent.store.state import SqlState
from connectors.base import PersonKey
from tests.postgres import new_database
from tests.state_samples import a_run

REPOSITORY = Path(__file__).parent.parent.parent
ROUNDS = 6


def acknowledged(url: str, run_id: str, lines: int) -> list[list[str]]:
    """Start a writing process, kill it after *lines* lines of output, and return its output."""
    command = [sys.executable, str(Path(__file__).parent / "store_writer.py"), url, run_id]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    output = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            output.append(line.split())
            if len(output) == lines:
                writer.kill()
    # The last line may have been cut off with its process.
    return [words for words in output if words[0] == "begun" or len(words) == 3]


def pass_fifteen_seconds(url: str) -> None:
    """Expire the lease of the dead process, as waiting would."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE leases SET renewed_at = renewed_at - 15000000"))
    engine.dispose()


async def check(state: SqlState, run_id: str, output: Sequence[Sequence[str]]) -> None:
    records = {record.seq: record for record in await state.load_changes(run_id)}
    links = {link.person: link.scim_id for link in (await state.load_memory("latam")).links}
    intended = {int(words[2]) for words in output if words[0] == "intended"}
    answered = {int(words[2]) for words in output if words[0] == "answered"}
    done = {seq for seq, record in records.items() if record.outcome is Outcome.DONE}

    assert intended <= set(records)
    assert answered <= done
    assert {record.outcome for record in records.values()} <= {Outcome.DONE, Outcome.UNKNOWN}
    for seq in records:
        scim_id = links.get(PersonKey("okta-main", f"{run_id}-p{seq}"))
        assert scim_id == (f"{run_id}-m{seq}" if seq in done else None)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_killed_writer_loses_nothing_that_was_acknowledged(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if kind == "postgresql":
        url = new_database(request.getfixturevalue("postgres_server"))
    chance = random.Random(kind)
    outputs = {}
    for number in range(ROUNDS):
        run_id = f"r{number}"
        outputs[run_id] = acknowledged(url, run_id, chance.randint(1, 60))
        pass_fifteen_seconds(url)
    state = await SqlState.open(url, lambda: datetime.now(UTC))
    for run_id, output in outputs.items():
        assert output[0] == ["begun", run_id]
        await check(state, run_id, output)
    lease = await state.take_lease("latam", "the next")
    closed = await state.begin_run(a_run("next", at=datetime.now(UTC)), lease)
    statuses = {run.id: run.status for run in await state.load_runs()}
    await state.close()

    assert closed == (f"r{ROUNDS - 1}",)
    assert lease.fence == ROUNDS + 1
    assert all(statuses[run_id] is RunStatus.INTERRUPTED for run_id in outputs)
