"""A connector that reads another tenant: whole runs one after another, none of them approved."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx

from agent.engine.planner import Planner
from agent.engine.request import FleetLimit, RunRequest, RunResult, WorkspaceContext
from agent.engine.sync import Sync
from agent.model import Mode, Policy, UnmanagedAction
from agent.model.run import Outcome, Trigger
from agent.plan_parser import describe_difference
from agent.scim.client import ScimClient
from connectors.base import Person, Source, discard_progress
from connectors.http import Timer
from tests.factories import plan_of, some_limits
from tests.memory_state import MemoryState
from tests.stepped_world import BASE, SteppedConnector, SteppedWorld

OURS, THEIRS = "okta https://acme.okta.com", "okta https://other.okta.com"


class Cut(httpx.AsyncBaseTransport):
    """A transport to a workspace that loses the answer to a create, and everything after it."""

    def __init__(self, way: httpx.AsyncBaseTransport) -> None:
        self.way = way
        self.is_cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ReadError("reset", request=request)
        response = await self.way.handle_async_request(request)
        if request.method == "POST":
            self.is_cut = True
            raise httpx.ReadError("reset", request=request)
        return response


class Company:
    """One workspace, and a connector that can move to another tenant, which has people of its own."""

    def __init__(self, **policy: object) -> None:
        self.world = SteppedWorld()
        self.state = MemoryState(self.world.now)
        self.tenant = OURS
        self.policy = replace(
            Policy(
                "latam",
                (Source("okta", "app"),),
                mode=Mode.ENFORCE,
                limits=some_limits(max_deactivations=100, max_deactivations_percent=100, max_email_changes=100),
            ),
            **policy,  # type: ignore[arg-type]  # each test gives what Policy takes
        )
        self.hire("ann")

    def hire(self, name: str) -> None:
        person = Person("okta", name, f"{name}@acme.com", name.title(), groups=("planners",))
        self.world.people["okta", name] = person

    def move(self, *names: str) -> None:
        self.tenant, self.world.people = THEIRS, {}
        for name in names:
            self.hire(name)

    async def run(self, *, way: httpx.AsyncBaseTransport | None = None, user: str = "") -> RunResult:
        async def at_once(_seconds: float) -> None:
            await asyncio.sleep(0)

        async def for_ever(_seconds: float) -> None:
            await asyncio.Event().wait()

        client = httpx.AsyncClient(transport=way or self.world.transport())
        timer = Timer(lambda: 0.0, at_once, self.world.moment.timestamp)
        workspace = ScimClient("latam", BASE, [lambda: self.world.token], client, timer=timer)
        connectors = {"okta": SteppedConnector(self.world, "okta")}
        survey = Planner(connectors, self.state, self.world, FleetLimit(("latam",), 10), discard_progress)
        policy = replace(self.policy, tenants=(("okta", self.tenant),))
        sync = Sync(survey, {"latam": WorkspaceContext(policy, workspace)}, "process", for_ever, describe_difference)
        (result,) = await sync.run([], RunRequest(Trigger.SYNC, user=user))
        self.world.pass_minutes(15)
        return result

    def active(self) -> set[str]:
        return {member.user_name.partition("@")[0] for member in self.world.space.members if member.active}


def waits(result: RunResult) -> bool:
    return "wrong-target" in {guard.code for guard in plan_of(result).guards}


async def test_person_whose_create_was_lost_stays_in_when_the_tenant_moves() -> None:
    company = Company()
    lost = await company.run(way=Cut(company.world.transport()))
    assert [record.outcome for record in lost.records] == [Outcome.UNKNOWN]
    company.move("eve")
    for _ in range(3):
        assert waits(await company.run())

    assert company.active() == {"ann", "eve"}


async def test_person_whose_member_was_inactive_when_the_tenant_moved_stays_in_once_it_is_active_again() -> None:
    company = Company()
    await company.run()
    company.world.space.admin_deactivate("ann@acme.com")
    company.move("eve")
    for _ in range(3):
        assert waits(await company.run())
    company.world.space.admin_reactivate("ann@acme.com")

    assert waits(await company.run())
    assert company.active() == {"ann", "eve"}


async def test_run_for_one_person_accepts_no_tenant_that_would_cost_another_one_access() -> None:
    company = Company(unmanaged=UnmanagedAction.DEACTIVATE)
    company.world.people = {}
    await company.run()
    company.world.space.admin_create("bea@acme.com", "Bea", active=True)
    company.move("eve")

    assert waits(await company.run(user="eve@acme.com"))
    assert waits(await company.run())
    assert company.active() == {"bea", "eve"}
