"""A bug that the answer of one system meets ends that workspace's plan, and no other's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.engine.dryrun import dry_run
from agent.engine.order import Order
from agent.engine.stopping import Stopping
from agent.errors import Exit
from agent.model import Listing, Member
from agent.ports import RunStatus, Trigger
from agent.settings.load import load
from agent.wiring import opened
from connectors.base import Progress, silent
from sandbox.pigment.pace import Limit
from sandbox.server import Sandbox, running

LATAM = "pigment-latam"


class Tripping:
    """A workspace whose listing meets a bug of ours."""

    requests = 1

    async def listing(self, progress: Progress = silent) -> Listing:  # noqa: ARG002
        raise ZeroDivisionError("a bug")

    async def find(self, email: str) -> tuple[Member, ...]:
        raise AssertionError(email)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running(seed=3, size=20, limit=Limit(None)) as served:
        yield served


async def test_bug_in_one_listing_leaves_the_other_workspaces_their_plans(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = load(sandbox.write_config(tmp_path), {})
    async with opened(settings, silent, Stopping()) as parts:
        sites = parts.read_sites
        sites[LATAM] = replace(sites[LATAM], workspace=Tripping())
        with capture_logs() as lines:
            results = await dry_run(parts.survey, sites, [], Order(Trigger.PLAN))

    found = {result.workspace: (result.status, result.exit) for result in results}
    assert found.pop(LATAM) == (RunStatus.INCOMPLETE, Exit.UNEXPECTED)
    assert set(found.values()) == {(RunStatus.PLANNED, Exit.DONE)}
    (told,) = (line for line in lines if line["event"] == "read.crashed")
    assert (told["workspace"], "test_contained_bug.py" in told["where"]) == (LATAM, True)
    (broken,) = (result.object for result in results if result.workspace == LATAM)
    assert "ZeroDivisionError" in str(broken)
    assert "This is a bug" in str(broken)
