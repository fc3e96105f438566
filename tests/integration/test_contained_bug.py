"""A bug triggered by the answer of one system ends the plan of that workspace only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.bootstrap import open_components
from agent.engine.dryrun import dry_run
from agent.engine.request import RunRequest
from agent.engine.shutdown import GracefulShutdown
from agent.errors import ExitCode, StateError
from agent.model import Listing, Member
from agent.model.run import RunStatus, Trigger
from agent.settings.load import load
from connectors.base import Progress, discard_progress
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox

LATAM = "pigment-latam"


class Tripping:
    """A workspace with a listing that triggers a bug in the agent."""

    requests = 1

    async def list_members(self, progress: Progress = discard_progress) -> Listing:  # noqa: ARG002
        raise ZeroDivisionError("a bug")

    async def find(self, email: str) -> tuple[Member, ...]:
        raise AssertionError(email)

    async def get(self, scim_id: str) -> Member | None:
        raise AssertionError(scim_id)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=3, size=20, limit=RateLimit(None)) as served:
        yield served


async def test_bug_in_one_listing_leaves_the_other_workspaces_their_plans(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = load(sandbox.write_config(tmp_path), {})
    async with open_components(settings, discard_progress, GracefulShutdown()) as parts:
        sites = parts.read_only_workspaces
        sites[LATAM] = replace(sites[LATAM], reader=Tripping())
        with capture_logs() as lines:
            results = await dry_run(parts.planner, sites, [], RunRequest(Trigger.PLAN))

    found = {result.workspace: (result.status, result.exit_code) for result in results}
    assert found.pop(LATAM) == (RunStatus.INCOMPLETE, ExitCode.UNEXPECTED)
    assert set(found.values()) == {(RunStatus.PLANNED, ExitCode.DONE)}
    (crash,) = (line for line in lines if line["event"] == "read.crashed")
    assert (crash["workspace"], "test_contained_bug.py" in crash["where"]) == (LATAM, True)
    (broken,) = (result.planned for result in results if result.workspace == LATAM)
    assert "ZeroDivisionError" in str(broken)
    assert "This is a bug" in str(broken)


async def test_failure_of_the_state_in_the_middle_of_planning_is_not_reported_as_a_bug(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    file = tmp_path / "state.db"
    settings = load(sandbox.write_config(tmp_path, f"sqlite:///{file}"), {})
    async with open_components(settings, discard_progress, GracefulShutdown()) as parts:
        with sqlite3.connect(file) as database:
            database.execute("DROP TABLE group_sightings")
        with capture_logs() as lines, pytest.raises(StateError) as failed:
            await dry_run(parts.planner, parts.read_only_workspaces, [], RunRequest(Trigger.PLAN))

    assert "group_sightings" in failed.value.message
    assert [line for line in lines if line["event"] == "read.crashed"] == []
