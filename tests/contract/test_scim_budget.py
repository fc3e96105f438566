"""Five workspaces on one host, all at once, never meet its limit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Literal

import httpx
import pytest

from agent.apply.changes import Applier
from agent.bootstrap import SystemClock
from agent.errors import StateError, WriteStopped
from agent.model import Fields, Kind
from agent.model.policy import protected_pattern
from agent.model.run import Outcome
from agent.scim.rate_limit import RateLimiters
from connectors.base import discard_progress
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.workspace import PigmentWorkspace
from tests.contract.scim_faults import Hours, OpenClient, Wire, a_scene
from tests.memory_state import MemoryState
from tests.state_samples import Clock, a_change, a_run

NAMES = ("latam", "emea", "apac", "anz", "na")


@pytest.mark.parametrize("window", ["fixed", "sliding"])
async def test_workspaces_side_by_side_never_meet_the_limit_of_their_host(window: Literal["fixed", "sliding"]) -> None:
    hours = Hours()
    spaces = [PigmentWorkspace(name, [f"token-{name}"]) for name in NAMES]
    for space in spaces:
        for number in range(120):
            space.admin_create(f"p{number}@acme.com", f"Person {number}")
    app = pigment_app(Pigment(spaces, RateLimiter(RateLimit(500, 300, window), now=lambda: hours.now)))
    wire = Wire(httpx.ASGITransport(app))
    paces = RateLimiters(480, 300, hours.timer())
    statuses: set[int] = set()

    async def note(response: httpx.Response) -> None:
        statuses.add(response.status_code)

    async with httpx.AsyncClient(transport=wire, event_hooks={"response": [note]}) as http:

        async def synced(name: str) -> None:
            url = f"https://pigment.example/{name}/scim/v2"
            client = OpenClient(
                name,
                url,
                [lambda: f"token-{name}"],
                http,
                rate_limiter=paces.for_url(url),
                timer=hours.timer(),
                page_size=2,
            )
            for member in (await client.list_members()).members:
                await client.patch(member, Fields(active=False))

        await hours.run(*(asyncio.create_task(synced(name)) for name in NAMES))

    assert statuses == {200}
    assert len(wire.sent) == 5 * (60 + 120)
    assert hours.now >= 300
    assert not any(member.active for space in spaces for member in space.members)


@dataclass
class SilentAfter:
    """A budget whose state goes silent after *left* requests."""

    left: int

    async def acquire(self, _method: str, _url: httpx.URL) -> None:
        if not self.left:
            raise StateError("No request was sent to pigment.example: the state has not answered.", "Check its server.")
        self.left -= 1

    def on_response(self, url: httpx.URL, status: int, headers: httpx.Headers) -> None:
        """Count nothing."""


async def test_reads_and_writes_without_a_permit_are_not_sent_and_name_the_state() -> None:
    scene = a_scene(members=1)
    async with scene.client(rate_limiter=SilentAfter(1)) as workspace:
        (member,) = (await workspace.list_members()).members
        with pytest.raises(WriteStopped, match="the state has not answered") as stopped:
            await workspace.patch(member, Fields(active=False))
        with pytest.raises(StateError, match="the state has not answered"):
            await workspace.list_members()

    assert isinstance(stopped.value.cause, StateError)
    assert not stopped.value.may_be_applied
    assert scene.wire.kinds() == ["GET list"]


@pytest.mark.parametrize(("left", "first", "rest"), [(0, Outcome.NOT_TRIED, 0), (1, Outcome.UNKNOWN, 1)])
async def test_run_whose_budget_is_lost_stops_and_reports_each_change(left: int, first: Outcome, rest: int) -> None:
    scene, clock = a_scene(members=2, writes_shown=False), Clock()
    state = MemoryState(clock.now)
    lease = await state.take_lease("latam", "test")
    await state.begin_run(a_run("r1"), lease)

    async def nothing() -> None:
        """The lease holds."""

    async with scene.client() as workspace:
        members = {member.scim_id: member for member in (await workspace.list_members()).members}
    changes = [
        replace(a_change(Kind.DEACTIVATE), scim_id=each.scim_id, email=each.email, after=Fields(active=False))
        for each in members.values()
    ]
    async with scene.client(rate_limiter=SilentAfter(left)) as workspace:
        applier = Applier(
            workspace=workspace.writer,
            state=state,
            clock=SystemClock(),
            lease=lease,
            run_id="r1",
            progress=discard_progress,
            is_stopping=lambda: False,
            respects_pause=True,
            ensure_lease=nothing,
            protected=protected_pattern(()),
        )
        result = await applier.apply(changes, members, frozenset())

    assert [each.outcome for each in result.records] == [first, Outcome.NOT_TRIED]
    assert isinstance(result.state_error, StateError)
    assert len(scene.wire.kinds("PATCH")) == rest
