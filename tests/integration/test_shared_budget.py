"""One request budget for several processes on one PostgreSQL, whatever happens to one of them."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
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
OTHERS, EACH, DISTURBED_AT = 2, 15, 6
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Host:
    """A host that answers at once. *arrivals* are the moments at which requests reach it."""

    def __init__(self) -> None:
        self.url = ""
        self.arrivals: list[float] = []
        self._counts: Counter[str] = Counter()
        self._disturbances: dict[tuple[str, int], tuple[Callable[[], None], asyncio.Event]] = {}

    def disturb(self, name: str, count: int, disturb: Callable[[], None]) -> asyncio.Event:
        """Call *disturb* before the request number *count* of the process *name* is answered, and set the event."""
        done = asyncio.Event()
        self._disturbances[name, count] = disturb, done
        return done

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                self.arrivals.append(time.monotonic())
                name = request.split(b"/")[1].decode()
                self._counts[name] += 1
                if found := self._disturbances.pop((name, self._counts[name]), None):
                    disturb, done = found
                    disturb()
                    done.set()
                writer.write(ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def a_host() -> AsyncIterator[Host]:
    host = Host()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield host
    finally:
        server.close()


async def start(state_url: str, host: Host, name: str) -> Process:
    module = [sys.executable, "-m", "tests.integration.budget_process"]
    root = Path(__file__).parents[2]
    return await asyncio.create_subprocess_exec(*module, state_url, f"{host.url}/{name}", str(EACH), cwd=root)


async def test_processes_never_exceed_one_budget_while_one_is_killed_and_one_suspended(postgres_server: str) -> None:
    state_url = new_postgres_state(postgres_server)
    async with a_host() as host, asyncio.timeout(WITHIN_SECONDS):
        killed = await start(state_url, host, "killed")
        was_killed = host.disturb("killed", DISTURBED_AT, killed.kill)
        suspended = await start(state_url, host, "suspended")
        was_suspended = host.disturb("suspended", DISTURBED_AT, partial(suspended.send_signal, signal.SIGSTOP))
        others = [await start(state_url, host, f"other-{number}") for number in range(OTHERS)]
        try:
            await was_killed.wait()
            await was_suspended.wait()
            # The permits of both stay counted, and are few: the others go on.
            for each in others:
                assert await each.wait() == 0
            suspended.send_signal(signal.SIGCONT)
            assert await suspended.wait() == 0
        finally:
            for each in (killed, suspended, *others):
                if each.returncode is None:
                    each.kill()
                    await each.wait()

    arrivals = host.arrivals
    assert len(arrivals) >= EACH * (OTHERS + 1) + DISTURBED_AT
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

    async with a_host() as host, httpx.AsyncClient() as client:
        api = ApiClient("Pigment", host.url, client, no_headers, limits=RequestLimits(retries=0), rate_limiter=Late())
        with pytest.raises(IncompleteRead, match="its place in the request budget ended"):
            await api.get("Users")

    assert host.arrivals == []
