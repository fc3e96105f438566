"""An installation without a daemon keeps no personal data forever: a sync deletes data that is too old."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from sandbox.server import run_sandbox
from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.traced

DAY_MICROSECONDS = 24 * 3600 * 1_000_000


def test_sync_forgets_runs_of_more_than_400_days(tmp_path: Path) -> None:
    with run_sandbox(seed=6, size=12) as sandbox:
        agent = CommandLine(sandbox.write_config(tmp_path))
        run_ids = []
        for _ in range(3):
            assert agent.run("sync", "-w", "pigment-latam").code == 0
            run_ids.append(json.loads(agent.run("history", "--format", "json", "--limit", "1").out)[0]["id"])
        with sqlite3.connect(tmp_path / "state.db") as database:
            for run_id, days in ((run_ids[0], 401), (run_ids[1], 399)):
                database.execute(
                    "UPDATE runs SET started_at = started_at - ? WHERE id = ?", (days * DAY_MICROSECONDS, run_id)
                )
        assert agent.run("sync", "-w", "pigment-latam").code == 0
        left = [run["id"] for run in json.loads(agent.run("history", "--format", "json").out)]

    assert run_ids[0] not in left
    assert {run_ids[1], run_ids[2]} <= set(left)
