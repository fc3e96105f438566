"""One request budget for several processes on one PostgreSQL, whatever happens to one of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from agent.bootstrap import open_shared_resources
from agent.scim.rate_limit import SlidingWindow
from agent.scim.shared_budget import SharedWindow
from connectors.base import IncompleteRead
from connectors.http import ApiClient, RequestLimits, SendLimit
from tests.integration.budget_settings import REQUESTS, WINDOW_SECONDS, budget_settings
from tests.migrated_state import new_postgres_state, new_sqlite_state

WITHIN_SECONDS = 120
PROCESSES, EACH, KILLED_AFTER = 4, 15, 6
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def a_host() -> AsyncIterator[tuple[str, list[float]]]:
    """Yield the URL of a host, and the moments at which requests reach it."""
    arrivals: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                arrivals.append(time.monotonic())
                writer.write(ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/scim", arrivals
    finally:
        server.close()


async def start(state_url: str, host: str) -> Process:
    module = [sys.executable, "-m", "tests.integration.budget_process"]
    root = Path(__file__).parents[2]
    return await asyncio.create_subprocess_exec(*module, state_url, host, str(EACH), cwd=root, stdout=PIPE)


async def lines(process: Process, count: int) -> None:
    assert process.stdout is not None
    while count:
        line = await process.stdout.readline()
        assert line, "the process ended"
        # Others are warnings, such as that the state waited for a suspended process.
        count -= line == b"answered\n"


async def test_processes_never_exceed_one_budget_while_one_is_killed_and_one_suspended(postgres_server: str) -> None:
    state_url = new_postgres_state(postgres_server)
    async with a_host() as (host, arrivals), asyncio.timeout(WITHIN_SECONDS):
        processes = [await start(state_url, host) for _ in range(PROCESSES)]
        killed, suspended, *others = processes
        try:
            await lines(killed, KILLED_AFTER)
            killed.kill()
            await lines(suspended, KILLED_AFTER)
            os.kill(suspended.pid, signal.SIGSTOP)
            # The permits of both stay counted, and are few: the others go on.
            for each in others:
                await lines(each, EACH)
            os.kill(suspended.pid, signal.SIGCONT)
            await lines(suspended, EACH - KILLED_AFTER)
            for each in (*others, suspended):
                assert await each.wait() == 0
        finally:
            for each in processes:
                if each.returncode is None:
                    each.kill()
                    await each.wait()

    assert len(arrivals) >= EACH * (PROCESSES - 1) + KILLED_AFTER
    most = max(sum(begin <= each < begin + WINDOW_SECONDS for each in arrivals) for begin in arrivals)
    assert most <= REQUESTS


@pytest.mark.parametrize(("database", "budget", "kind"), [
    ("postgresql", "shared", SharedWindow),
    ("postgresql", "own", SlidingWindow),
    ("sqlite", "shared", SlidingWindow),
])  # fmt: skip
async def test_budget_is_shared_with_postgresql_unless_configured(
    database: str, budget: str, kind: type, postgres_server: str, tmp_path: Path
) -> None:
    url = new_postgres_state(postgres_server) if database == "postgresql" else new_sqlite_state(tmp_path)
    settings = budget_settings(url, budget=budget)

    async with open_shared_resources(settings) as shared:
        window = shared.rate_limiters.for_url("https://pigment.example.com")
        await window.acquire("GET", httpx.URL("https://pigment.example.com"))
        left = shared.rate_limiters.budget_left()
        window.on_response(httpx.URL("https://pigment.example.com"), 200, httpx.Headers())

    assert isinstance(window, kind)
    assert left == REQUESTS - 1


async def test_request_whose_permit_ended_before_it_left_never_reaches_the_host() -> None:
    class Late(SlidingWindow):
        async def acquire(self, method: str, url: httpx.URL) -> SendLimit:  # type: ignore[override]  # limited, too
            await super().acquire(method, url)
            return lambda: False

    async def no_headers(_refused: bool) -> dict[str, str]:
        return {}

    async with a_host() as (host, arrivals), httpx.AsyncClient() as client:
        api = ApiClient("Pigment", host, client, no_headers, limits=RequestLimits(retries=0), rate_limiter=Late())
        with pytest.raises(IncompleteRead, match="its place in the request budget ended"):
            await api.get("Users")

    assert arrivals == []
