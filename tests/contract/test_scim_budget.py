"""Five workspaces on one host, all at once, never meet its limit."""

from __future__ import annotations

import asyncio
from typing import Literal

import httpx
import pytest

from agent.model import Fields
from agent.scim.rate_limit import RateLimiters
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.workspace import PigmentWorkspace
from tests.contract.scim_faults import Hours, OpenClient, Wire

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
