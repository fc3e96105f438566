"""What the chart's fan-out runs: a process for each workspace, with one budget. `bench/fan_out.py` does it with 200."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.fan_out import Running, main
from tests.e2e.agent_process import Agent
from tests.migrated_state import new_postgres_state


def start_forked(config: Path, arguments: Sequence[str]) -> Running:
    with (config.parent / "log").open("ab") as log:
        return Agent(config).start(*arguments, stdout=log.fileno(), stderr=log.fileno())


def test_processes_for_each_workspace_share_the_budget_and_bring_all_in_sync(
    postgres_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--workspaces 4 --people 10 --parallel 4 --kills 0 --requests 36 --seconds 1"

    assert main(["--state", new_postgres_state(postgres_server), *words.split()], start_forked) == 0, (
        capsys.readouterr()
    )

    shown = capsys.readouterr().out
    assert shown.count("not in sync: 0") == 2
    assert "second sync: 4 workspaces" in shown
    assert "in 1 s: at most " in shown
