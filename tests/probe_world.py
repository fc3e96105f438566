"""A pretend company and workspace to probe, with a clock that only waiting moves, and a death at any request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.probe import Prober, ProbeResult
from agent.engine.request import FleetLimit, RunRequest, RunResult, WorkspaceContext
from agent.engine.shutdown import GracefulShutdown
from agent.engine.sync import Sync
from agent.model import Mode, Plan, Policy
from agent.model.run import Trigger
from agent.plan_parser import describe_difference
from agent.scim.client import ScimClient
from connectors.base import Person, Source, discard_progress
from connectors.http import Timer
from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.token import DomainRestriction
from tests.factories import some_limits
from tests.memory_state import MemoryState
from tests.stepped_world import BASE, SteppedConnector, SteppedWorld

__all__ = ["CANARY", "Killed", "ProbeWorld", "differing", "facts_of"]

CANARY = "canary@acme.com"
NONCE = "1f2e3d4c"


class Killed(BaseException):
    """The process is gone: nothing that it would have done afterwards happens."""


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """A transport that kills the process at request number *kill_at*, before or after the server had it.

    After that it does nothing more. *observe* sees each request before it is sent.
    """

    server: httpx.AsyncBaseTransport
    kill_at: int = 0
    is_delivered: bool = False
    observe: Callable[[httpx.Request], None] | None = None
    sent: list[str] = field(default_factory=list)
    is_dead: bool = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_dead:
            raise Killed
        if self.observe is not None:
            self.observe(request)
        self.sent.append(f"{request.method} {request.url.path}")
        if len(self.sent) == self.kill_at:
            self.is_dead = True
            if self.is_delivered:
                await self.server.handle_async_request(request)
            raise Killed
        return await self.server.handle_async_request(request)


@dataclass
class ProbeWorld:
    """One workspace with its people; *server* replaces the pretend Pigment."""

    options: WorkspaceOptions = field(default_factory=WorkspaceOptions)
    restriction: DomainRestriction = field(default_factory=DomainRestriction)
    server: httpx.AsyncBaseTransport | None = None
    url: str = BASE
    token: str = "token"
    total_results: Any = "check"

    def __post_init__(self) -> None:
        self.world = SteppedWorld(token=self.token)
        self.world.space.options = self.options
        self.world.space.restriction = self.restriction
        self.world.space.elapsed = self.world.elapsed
        self.state = MemoryState(self.world.now)
        self.policy = Policy(
            "latam",
            (Source("okta", "app"),),
            mode=Mode.DRY_RUN,
            limits=some_limits(),
            allowed_domains=frozenset({"acme.com"}),
            target=f"pigment {self.url}",
        )
        for name in ("ann", "bea", "cid"):
            self.hire(name)
            if self.server is None:
                self.space.admin_create(f"{name}@acme.com", name.title())
        self.world.pass_minutes(60)

    @property
    def space(self) -> Any:
        return self.world.space

    def hire(self, name: str, **more: Any) -> None:
        person = Person("okta", name, f"{name}@acme.com", name.title(), groups=("planners",), **more)
        self.world.people["okta", name] = person

    async def _wait(self, seconds: float) -> None:
        self.world.pass_minutes(seconds / 60)
        await asyncio.sleep(0)

    def _client(self, wire: httpx.AsyncBaseTransport) -> ScimClient:
        timer = Timer(self.world.elapsed, self._wait, self.world.elapsed)
        http = httpx.AsyncClient(transport=wire)
        return ScimClient("latam", self.url, [lambda: self.token], http, timer=timer, total_results=self.total_results)

    def wire(self, **more: Any) -> Wire:
        return Wire(self.server or self.world.transport(), **more)

    def planner(self) -> Planner:
        connectors = {"okta": SteppedConnector(self.world, "okta")}
        return Planner(connectors, self.state, self.world, FleetLimit(("latam",), 10), discard_progress)

    def prober(self, wire: Wire, shutdown: GracefulShutdown | None = None) -> Prober:
        async def for_ever(_seconds: float) -> None:
            await asyncio.Event().wait()

        return Prober(
            self.planner(),
            self.policy,
            self._client(wire),
            "process",
            for_ever,
            self._wait,
            shutdown or GracefulShutdown(),
            lambda: NONCE,
        )

    async def probe(self, canary: str = CANARY, wire: Wire | None = None, **more: Any) -> ProbeResult:
        result = await self.prober(wire or self.wire(), **more).probe(canary, "ana@acme.com")
        self.world.pass_minutes(1)
        return result

    async def killed_probe(self, at: int, *, is_delivered: bool) -> bool:
        """Kill a probe at request *at*; return whether it got that far. Its lease is void afterwards."""
        wire = self.wire(kill_at=at, is_delivered=is_delivered)
        try:
            await self.probe(wire=wire)
        except (Killed, BaseExceptionGroup):
            assert wire.is_dead
        self.world.pass_minutes(1)
        return wire.is_dead

    async def plan(self) -> Plan:
        workspace = ReadOnlyWorkspace(self.policy, self._client(self.wire()))
        (decision,) = await self.planner().plan([workspace])
        assert isinstance(decision.planned, Plan)
        return decision.planned

    async def sync(self, wire: Wire | None = None, **policy: Any) -> RunResult:
        async def for_ever(_seconds: float) -> None:
            await asyncio.Event().wait()

        context = WorkspaceContext(replace(self.policy, mode=Mode.ENFORCE, **policy), self._client(wire or self.wire()))
        sync = Sync(self.planner(), {"latam": context}, "process", for_ever, describe_difference)
        (result,) = await sync.run([], RunRequest(Trigger.SYNC))
        self.world.pass_minutes(1)
        return result

    def active(self) -> set[str]:
        return {member.user_name for member in self.space.members if member.active}


def facts_of(result: ProbeResult) -> dict[str, tuple[str, str]]:
    """Return what was seen and the verdict, by code."""
    rows: Any = result.verification.document["facts"]
    return {row["code"]: (row["seen"], row["verdict"]) for row in rows}


def differing(result: ProbeResult) -> dict[str, str]:
    """Return what was seen of each fact that differs."""
    return {code: seen for code, (seen, verdict) in facts_of(result).items() if verdict == "differs"}
