"""The floor: a bare httpx client that sends the requests of a run, decodes each answer, and keeps nothing.

`.venv/bin/python -m bench.bare_client read|read-okta|read-workspace|write PORT`. It plans nothing, checks nothing and
retries nothing.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator

import httpx
import orjson

from bench.memory_server import APP_ID, SCIM_PATH

IN_FLIGHT = 8
HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "Authorization": "Bearer secret"}


async def read_workspace(port: int, count: int) -> None:
    """Request every page of the workspace, *count* rows each."""
    async with httpx.AsyncClient(headers=HEADERS, trust_env=False) as client:
        await _read_members(client, f"http://127.0.0.1:{port}{SCIM_PATH}/Users", count)


async def read_okta(port: int, okta_limits: tuple[int, int]) -> None:
    """Request every page of the application and its groups."""
    root = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(headers=HEADERS, trust_env=False) as client:
        await client.get(f"{root}/api/v1/apps/{APP_ID}")
        answer = await client.get(f"{root}/api/v1/apps/{APP_ID}/groups?expand=group&limit=200")
        app_limit, group_limit = okta_limits
        lists = [f"{root}/api/v1/apps/{APP_ID}/users?expand=user&limit={app_limit}"]
        lists += [f"{root}/api/v1/groups/{row['id']}/users?limit={group_limit}" for row in orjson.loads(answer.content)]
        await asyncio.gather(*(_follow(client, each) for each in lists))


async def read(port: int, okta_limits: tuple[int, int], count: int) -> None:
    """Request what a run over the workspace requests."""
    await asyncio.gather(read_okta(port, okta_limits), read_workspace(port, count))


async def _follow(client: httpx.AsyncClient, url: str) -> None:
    while url:
        answer = await client.get(url)
        orjson.loads(answer.content)
        url = answer.links.get("next", {}).get("url", "")


async def _read_members(client: httpx.AsyncClient, url: str, count: int) -> None:
    first = await client.get(f"{url}?startIndex=1&count={count}")
    page = orjson.loads(first.content)
    size = len(page["Resources"])
    starts = iter(range(size + 1, page["totalResults"] + 1, size or 1))

    async def read_pages(starts: Iterator[int]) -> None:
        for start in starts:
            orjson.loads((await client.get(f"{url}?startIndex={start}&count={count}")).content)

    await asyncio.gather(*(read_pages(starts) for _ in range(IN_FLIGHT)))


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
    options = parser.parse_args()
    limits = tuple(options.okta_limits)
    match options.what:
        case "read":
            asyncio.run(read(options.port, limits, options.count))
        case "read-okta":
            asyncio.run(read_okta(options.port, limits))
        case "read-workspace":
            asyncio.run(read_workspace(options.port, options.count))
        case _:
            asyncio.run(write(options.port, options.writes, options.in_flight))


if __name__ == "__main__":
    main()
