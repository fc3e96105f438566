"""The floor: a bare client that sends the requests of a run, decodes each answer, and keeps nothing.

`.venv/bin/python -m bench.bare_client read|read-okta|read-workspace|write PORT`. It plans nothing, checks nothing and
retries nothing. The client is that of httpx, or for reads that of aiohttp.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import orjson

from bench.memory_server import APP_ID, SCIM_PATH

IN_FLIGHT = 8
NEXT_LINK = re.compile(r'<([^>]*)>; rel="next"')
HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "Authorization": "Bearer secret"}


Get = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Requests a URL, and returns the header `Link` and the body."""


@asynccontextmanager
async def httpx_client() -> AsyncIterator[Get]:
    async with httpx.AsyncClient(headers=HEADERS, trust_env=False) as client:

        async def get(url: str) -> tuple[str, bytes]:
            response = await client.get(url)
            return response.headers.get("link", ""), response.content

        yield get


@asynccontextmanager
async def aiohttp_client() -> AsyncIterator[Get]:
    # The okta SDK brings it. It takes longer to start than httpx, which would be in the floor of httpx.
    import aiohttp

    async with aiohttp.ClientSession(headers=HEADERS) as session:

        async def get(url: str) -> tuple[str, bytes]:
            async with session.get(url) as response:
                return ", ".join(response.headers.getall("link", [])), await response.read()

        yield get


CLIENTS = {"httpx": httpx_client, "aiohttp": aiohttp_client}


async def read_workspace(get: Get, port: int, count: int) -> None:
    """Request every page of the workspace, *count* rows each."""
    await _read_members(get, f"http://127.0.0.1:{port}{SCIM_PATH}/Users", count)


async def read_okta(get: Get, port: int, okta_limits: tuple[int, int]) -> None:
    """Request every page of the application and its groups."""
    root = f"http://127.0.0.1:{port}"
    await get(f"{root}/api/v1/apps/{APP_ID}")
    _, body = await get(f"{root}/api/v1/apps/{APP_ID}/groups?expand=group&limit=200")
    app_limit, group_limit = okta_limits
    lists = [f"{root}/api/v1/apps/{APP_ID}/users?expand=user&limit={app_limit}"]
    lists += [f"{root}/api/v1/groups/{row['id']}/users?limit={group_limit}" for row in orjson.loads(body)]
    await asyncio.gather(*(_follow(get, each) for each in lists))


async def _follow(get: Get, url: str) -> None:
    while url:
        link, body = await get(url)
        orjson.loads(body)
        found = NEXT_LINK.search(link)
        url = found[1] if found else ""


async def _read_members(get: Get, url: str, count: int) -> None:
    _, first = await get(f"{url}?startIndex=1&count={count}")
    page = orjson.loads(first)
    size = len(page["Resources"])
    starts = iter(range(size + 1, page["totalResults"] + 1, size or 1))

    async def read_pages(starts: Iterator[int]) -> None:
        for start in starts:
            _, body = await get(f"{url}?startIndex={start}&count={count}")
            orjson.loads(body)

    await asyncio.gather(*(read_pages(starts) for _ in range(IN_FLIGHT)))


async def read(client: str, port: int, what: str, okta_limits: tuple[int, int], count: int) -> None:
    """Request what a run over the workspace requests, or the part *what* of it."""
    async with CLIENTS[client]() as get, asyncio.TaskGroup() as tasks:
        if what != "read-workspace":
            tasks.create_task(read_okta(get, port, okta_limits))
        if what != "read-okta":
            tasks.create_task(read_workspace(get, port, count))


async def write(port: int, number: int, in_flight: int) -> None:
    """Rename *number* members, *in_flight* at once."""
    names = iter(range(number))
    async with httpx.AsyncClient(headers=HEADERS, trust_env=False) as client:

        async def rename() -> None:
            for each in names:
                operations = [
                    {"op": "replace", "path": path, "value": f"Renamed {each}"}
                    for path in ("displayName", "name.formatted")
                ]
                body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations}
                answer = await client.patch(f"http://127.0.0.1:{port}{SCIM_PATH}/Users/m{each}", json=body)
                orjson.loads(answer.content)

        await asyncio.gather(*(rename() for _ in range(in_flight)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("read", "read-okta", "read-workspace", "write"))
    parser.add_argument("port", type=int)
    parser.add_argument("--okta-limits", type=int, nargs=2, default=(500, 200), metavar=("APP", "GROUP"))
    parser.add_argument("--count", type=int, default=1000, help="rows in a page of the workspace")
    parser.add_argument("--writes", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=1, help="how many writes are sent at once")
    parser.add_argument("--client", choices=CLIENTS, default="httpx", help="for reads")
    options = parser.parse_args()
    if options.what == "write":
        asyncio.run(write(options.port, options.writes, options.in_flight))
    else:
        limits = options.okta_limits[0], options.okta_limits[1]
        asyncio.run(read(options.client, options.port, options.what, limits, options.count))


if __name__ == "__main__":
    main()
