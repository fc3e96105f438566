"""What takes seconds for 100,000 people runs in a thread: while the event loop waits, no lease is renewed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agent.diff.drift import last_seen_members
from agent.diff.plan import compute_plan
from agent.engine.dryrun import dry_run
from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.request import FleetLimit, RunRequest, WorkspaceContext
from agent.engine.sync import Sync
from agent.guard.hold import apply_guards
from agent.guard.target import compare_targets
from agent.model import Mode, Policy
from agent.model.run import RunStatus, Trigger
from agent.plan_parser import describe_difference
from agent.report.document import plan_digest, plan_parts
from agent.scim.client import ScimClient
from connectors.base import Connector, Person, Source, discard_progress
from connectors.entra.snapshot import build_snapshot as build_entra_snapshot
from connectors.okta.snapshot import app_people
from connectors.okta.snapshot import build_snapshot as build_okta_snapshot
from connectors.onelogin.snapshot import assignments
from connectors.onelogin.snapshot import build_snapshot as build_onelogin_snapshot
from tests.contract import entra_tenant, okta_org, onelogin_account
from tests.factories import some_limits
from tests.memory_state import MemoryState
from tests.recorded_threads import record_threads
from tests.stepped_world import BASE, SteppedConnector, SteppedWorld

HEAVY = (compute_plan, compare_targets, apply_guards, plan_digest, plan_parts, last_seen_members)
POLICY = Policy("latam", (Source("okta", "app-okta"),), mode=Mode.ENFORCE, limits=some_limits())


async def wait_for_ever(_seconds: float) -> None:
    await asyncio.Event().wait()


async def test_nothing_heavy_of_a_run_is_computed_in_the_thread_of_the_event_loop() -> None:
    world = SteppedWorld()
    for name in ("ada", "grace"):
        world.people["okta", name] = Person("okta", name, f"{name}@acme.com", f"Person {name}", groups=("planners",))
    state = MemoryState(world.now)
    client = ScimClient("latam", BASE, [lambda: world.token], world.client())
    planner = Planner(
        {"okta": SteppedConnector(world, "okta")}, state, world, FleetLimit(("latam", "emea"), 10), discard_progress
    )
    context = WorkspaceContext(POLICY, client)
    sync = Sync(planner, {"latam": context}, "one", wait_for_ever, describe_difference)

    with record_threads(*HEAVY) as threads:
        (planned,) = await dry_run(planner, {"latam": ReadOnlyWorkspace(POLICY, client)}, [], RunRequest(Trigger.PLAN))
        (synced,) = await sync.run([], RunRequest(Trigger.SYNC))

    assert (planned.status, synced.status) == (RunStatus.PLANNED, RunStatus.DONE)
    assert threads == {function.__name__: {False} for function in HEAVY}


@pytest.mark.parametrize(
    ("connector", "source", "heavy"),
    [
        (okta_org.company().connector, okta_org.SOURCE, [app_people, build_okta_snapshot]),
        (entra_tenant.company().connector, entra_tenant.SOURCE, [build_entra_snapshot]),
        (onelogin_account.company().connector, onelogin_account.SOURCE, [assignments, build_onelogin_snapshot]),
    ],
    ids=["okta", "entra", "onelogin"],
)
async def test_no_snapshot_is_built_in_the_thread_of_the_event_loop(
    connector: Callable[[], Connector], source: Source, heavy: list[Callable[..., Any]]
) -> None:
    with entra_tenant.sign_in(), record_threads(*heavy) as threads:
        await connector().read(source)
    assert threads == {function.__name__: {False} for function in heavy}
