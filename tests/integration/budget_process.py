"""A process that sends requests to one host within the shared budget, until it is done or killed.

Arguments: the URL of the state, of the host, and the number of requests.
"""

from __future__ import annotations

import asyncio
import sys

import httpx

from agent.bootstrap import open_shared_resources
from agent.settings.root import Settings
from connectors.http import ApiClient, RequestLimits
from tests.integration.budget_settings import budget_settings

IN_FLIGHT = 3


async def send_requests(settings: Settings, host: str, count: int) -> None:
    async def no_headers(_refused: bool) -> dict[str, str]:
        return {}

    async with open_shared_resources(settings) as shared, httpx.AsyncClient() as client:
        limits = RequestLimits(retries=0)
        limiter = shared.rate_limiters.for_url(host)
        api = ApiClient("Pigment", host, client, no_headers, limits=limits, rate_limiter=limiter)

        async def send() -> None:
            for _ in range(count // IN_FLIGHT):
                await api.get("Users")

        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))


if __name__ == "__main__":
    state_url, host_url, number = sys.argv[1:]
    asyncio.run(send_requests(budget_settings(state_url), host_url, int(number)))
