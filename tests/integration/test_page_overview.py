"""The overview as a status page: the fleet first, and what is on hold one click away."""

from __future__ import annotations

from dataclasses import replace

from agent.model import Mode
from agent.model.run import RunCounts, RunStatus
from tests.integration.test_health import RUN
from tests.integration.test_page_approvals import PageDaemon, Visitor, daemon, visitor

__all__ = ["daemon", "visitor"]

HELD = replace(RUN, id="held", status=RunStatus.HELD, tally=RunCounts(active=405, changes=0, held=13))


async def test_summary_of_the_fleet_stands_first_and_holds_are_a_link(visitor: Visitor, daemon: PageDaemon) -> None:
    daemon.last = HELD
    shown = await visitor.read("/")
    page = (await visitor.client.get("/")).text

    for words in ("0 of 1 in sync", "13 on hold", "405 active members", "470 requests left now"):
        assert shown.index(words) < shown.index("Review 13 on hold")
    assert 'href="/runs/held#workspace-1-held">Review 13 on hold<' in page
    assert 'id="workspace-1-held"' in (await visitor.client.get("/runs/held")).text
    assert "Mode enforce" in shown
    assert "Not paused" in shown
    assert "No approval yet" in shown


async def test_dry_run_workspace_has_no_sync_button(visitor: Visitor, daemon: PageDaemon) -> None:
    for path in ("/", "/workspaces/latam"):
        daemon.mode = Mode.ENFORCE
        assert 'value="sync"' in (await visitor.client.get(path)).text
        daemon.mode = Mode.DRY_RUN
        page = (await visitor.client.get(path)).text
        assert 'value="sync"' not in page
        assert 'value="plan"' in page
