"""One reader alone: the agent's own, Okta's SDK or scim2-client: `.venv/bin/python -m bench.readers NAME PORT`.

Each reads all that the agent reads of that system, with the same sizes of pages where its library lets it choose. The
libraries keep the rows that their models make, as anyone who uses them would.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from bench.memory_server import APP_ID, SCIM_PATH

__all__ = ["READERS"]

NEXT_LINK = re.compile(r'<([^<>]*)>;\s*rel="next"')
UNLIMITED_SECONDS = 3600.0


def read_okta_by_agent(port: int) -> int:
    from agent.http_client import create_client
    from connectors.base import Source
    from connectors.http import RequestLimits
    from connectors.okta import OktaSettings
    from connectors.okta.connector import OktaConnector

    async def read() -> int:
        settings = OktaSettings.model_validate(
            {"type": "okta", "org_url": f"http://127.0.0.1:{port}", "api_token": "bench-token-of-okta"}
        )
        async with create_client(None, 30) as client:
            connector = OktaConnector("okta", settings, client, limits=RequestLimits(30, 0, UNLIMITED_SECONDS))
            return len((await connector.read(Source("okta", APP_ID))).people)

    return asyncio.run(read())


def list_members_by_agent(port: int) -> int:
    from agent.http_client import create_client
    from agent.scim.client import ScimClient

    async def read() -> int:
        async with create_client(None, 30) as client:
            url = f"http://127.0.0.1:{port}{SCIM_PATH}"
            return len(
                (await ScimClient("bench", url, [lambda: "token"], client, page_size=1000).list_members()).members
            )

    return asyncio.run(read())


def read_okta_by_sdk(port: int) -> int:
    # The SDK takes it from the environment only.
    os.environ["OKTA_TESTING_TESTINGDISABLEHTTPSCHECK"] = "true"
    from okta.client import Client
    from okta.http_client import HTTPClient

    class LinkKeepingClient(HTTPClient):  # type: ignore[misc]  # mypy does not read the SDK: see pyproject.toml
        """The SDK's HTTP client, which does not show the link of the next page by itself."""

        links: tuple[str, ...] = ()

        async def send_request(self, request: dict[str, Any]) -> Any:
            answer = await super().send_request(request)
            LinkKeepingClient.links = tuple(answer[1].headers.getall("Link", []))
            return answer

    async def read_all(ask: Any, *arguments: str, **options: Any) -> list[Any]:
        rows: list[Any] = []
        after: str | None = None
        while True:
            data, _, error = await ask(*arguments, after=after, **options)
            if error is not None:
                raise RuntimeError(error)
            rows += data
            found = next(filter(None, map(NEXT_LINK.search, LinkKeepingClient.links)), None)
            if found is None:
                return rows
            after = parse_qs(urlsplit(found[1]).query)["after"][0]

    async def read() -> int:
        settings = {
            "orgUrl": f"http://127.0.0.1:{port}",
            "authorizationMode": "SSWS",
            "token": "bench-token-of-okta",
            "httpClient": LinkKeepingClient,
            "cache": {"enabled": False},
            "logging": {"enabled": False},
        }
        async with Client(settings) as client:
            await client.get_application(APP_ID)
            people = await read_all(client.list_application_users, APP_ID, limit=500, expand="user")
            groups = await read_all(client.list_application_group_assignments, APP_ID, limit=200, expand="group")
            members = [await read_all(client.list_group_users, group.id, limit=200) for group in groups]
            return min(len(people), sum(map(len, members)))

    return asyncio.run(read())


def list_members_by_scim2(port: int) -> int:
    from scim2_models import User

    from agent.compare.scim2_process import create_client

    members: list[Any] = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}{SCIM_PATH}/", trust_env=False) as http:
        client = create_client(http)
        while True:
            page = client.query(User, query_parameters={"startIndex": len(members) + 1, "count": 1000})
            members += page.resources or []
            if len(members) >= page.total_results:
                return len(members)


READERS: dict[str, Callable[[int], int]] = {
    "okta-by-agent": read_okta_by_agent,
    "okta-by-sdk": read_okta_by_sdk,
    "members-by-agent": list_members_by_agent,
    "members-by-scim2-client": list_members_by_scim2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=READERS)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    sys.stdout.write(f"{READERS[options.name](options.port)}\n")


if __name__ == "__main__":
    main()
