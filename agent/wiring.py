"""The composition root: builds every part from the settings, and hands each what it needs. Everybody else is handed."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import assert_never

import httpx
import structlog

from agent import http, logs
from agent.engine.links import Links
from agent.engine.memory import check_links, check_state
from agent.engine.order import FleetLimit, Result
from agent.engine.stopping import Stopping
from agent.engine.survey import ReadSite, Survey
from agent.engine.sync import Site, Sync
from agent.engine.undo import UndoSurvey
from agent.engine.workspaces import Workspaces
from agent.notices.tell import Notices
from agent.ports import Clock, State
from agent.preflight import preflight
from agent.scim.client import ScimClient
from agent.scim.pace import Paces
from agent.settings.agreement import refuse_shared_tokens
from agent.settings.root import ConnectorSettings, Settings
from agent.settings.target import policies
from agent.settings.workspace import WorkspaceSettings
from agent.store.state import SqlState
from connectors.base import Connector, Finding, Progress, Source
from connectors.entra import EntraConnector, EntraSettings
from connectors.okta.connector import OktaConnector
from connectors.okta.settings import OktaSettings
from connectors.onelogin import OneLoginConnector, OneLoginSettings
from connectors.rest import Bounds

__all__ = ["Lasting", "Parts", "SystemClock", "lasting", "opened", "parts"]

log = structlog.get_logger()


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> float:
        # Linux stops its monotonic clock while the machine is suspended, and its leases run out.
        boot = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(frozen=True, slots=True)
class Lasting:
    """What outlives one run in a daemon: the state, and how much of each host's budget is spent."""

    state: State
    paces: Paces
    place: str = ""
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """What a command works with. *read_sites* are all that a dry run is given.

    *kept* is where the state is, and whether it is new.
    """

    settings: Settings
    state: State
    clock: Clock
    survey: Survey
    sites: Mapping[str, Site]
    sync: Sync
    clients: Mapping[str, ScimClient]
    kept: Lasting
    notices: Notices

    def budget_left(self) -> int | None:
        """Return how many requests the busiest Pigment host would take now."""
        return self.kept.paces.budget_left()

    @property
    def read_sites(self) -> dict[str, ReadSite]:
        return {name: ReadSite(site.policy, site.workspace) for name, site in self.sites.items()}

    def links(self, name: str) -> Links:
        return Links(self.survey, self.read_sites[name], self.sync.holder, self.sync.sleep)

    @property
    def workspaces(self) -> Workspaces:
        policies = {name: site.policy for name, site in self.sites.items()}
        return Workspaces(self.state, self.clock, policies, self.sync.holder, self.sync.sleep)

    def undoing(self, run_id: str) -> UndoSurvey:
        return UndoSurvey(run_id, self.state, self.clock, self.survey.progress)

    def undoing_sync(self, run_id: str) -> Sync:
        return replace(self.sync, survey=self.undoing(run_id))

    async def tell(self, results: Sequence[Result]) -> None:
        """Tell those whom `notify` names of runs that have ended, and of tokens that soon will. Raises nothing."""
        await self.notices.tell(results)
        today = self.clock.now().date()
        for name in {result.workspace: None for result in results}:
            await self.notices.token_expiry(name, self.settings.workspaces[name].token_expires, today)

    async def check(self, names: Sequence[str]) -> list[Finding]:
        """Try the named workspaces, and every connector that one of them needs. Raises nothing for what it finds."""
        sources: dict[str, list[Source]] = {}
        for name in names:
            for source in self.sites[name].policy.sources:
                sources.setdefault(source.connector, []).append(source)
        checks = [self.survey.connectors[name].check(each) for name, each in sources.items()]
        others = preflight(self.settings, self.state, names)
        found = await asyncio.gather(*checks, *(self.clients[name].check() for name in names), others)
        state = [*check_state(self.kept.place, is_new=self.kept.is_new), *await self._links(names)]
        return [*state, *(finding for findings in found for finding in findings)]

    async def _links(self, names: Sequence[str]) -> list[Finding]:
        policies = [self.sites[name].policy for name in names]
        return check_links(self.kept.place, policies, await self.state.workspaces(), await self.state.targets())


@asynccontextmanager
async def lasting(settings: Settings, *, is_reading: bool = False) -> AsyncIterator[Lasting]:
    """Open the state, and close it at the end; what is only reading leaves an older one as it is.

    *place* of what is yielded is where it is, *is_new* whether it was just created. Raises `StateError`.
    """
    state = await SqlState.open(settings.state.url, SystemClock().now, only_new=is_reading)
    try:
        paces = Paces(settings.pigment.requests_per_window, settings.pigment.window_seconds)
        yield Lasting(state, paces, state.place, state.is_new)
    finally:
        await state.close()


@asynccontextmanager
async def opened(
    settings: Settings, progress: Progress, stopping: Stopping, *, is_reading: bool = False
) -> AsyncIterator[Parts]:
    """Build the parts for one command, and close what they hold at the end. Raises `ConfigError` and `StateError`."""
    async with lasting(settings, is_reading=is_reading) as kept, parts(settings, progress, stopping, kept) as made:
        yield made


@asynccontextmanager
async def parts(
    settings: Settings,
    progress: Progress,
    stopping: Stopping,
    kept: Lasting,
    answered: Sequence[Callable[[httpx.Response], Awaitable[None]]] = (),
) -> AsyncIterator[Parts]:
    """Build the parts for one run upon what is *kept*; *answered* is told of each answer of another system.

    Connectors remember what they read, so parts are not for long. Raises `ConfigError`.
    """
    refuse_shared_tokens(settings.workspaces)
    async with http.client(settings.ca_bundle, settings.http.timeout_seconds) as client:
        client.event_hooks = {"response": list(answered)}
        yield _parts(settings, progress, stopping, client, kept)


def _parts(
    settings: Settings,
    progress: Progress,
    stopping: Stopping,
    client: httpx.AsyncClient,
    kept: Lasting,
) -> Parts:
    clock, state, paces = SystemClock(), kept.state, kept.paces
    bounds = Bounds(settings.http.timeout_seconds, settings.http.retries, settings.http.max_wait_seconds)
    connectors = {
        name: _connector(name, each, settings, client, bounds, progress) for name, each in settings.connectors.items()
    }
    clients = {name: _workspace(name, each, client, bounds, paces) for name, each in settings.workspaces.items()}
    sites = {name: Site(policy, clients[name]) for name, policy in policies(settings).items()}
    fleet = FleetLimit(tuple(settings.workspaces), settings.limits.fleet_deactivations_percent)
    survey = Survey(connectors, state, clock, fleet, progress)
    max_age = settings.apply.max_plan_age.total_seconds()
    sync = Sync(survey, sites, _holder(), asyncio.sleep, stopping, max_plan_age_seconds=max_age)
    clean = partial(logs.cleaned, emails=settings.log.emails)
    notices = Notices(settings.notify.urls, settings.notify.on, state, clean, settings.ca_bundle)
    return Parts(settings, state, clock, survey, sites, sync, clients, kept, notices)


def _connector(
    name: str,
    settings: ConnectorSettings,
    whole: Settings,
    client: httpx.AsyncClient,
    bounds: Bounds,
    progress: Progress,
) -> Connector:
    match settings:
        case OktaSettings():
            return OktaConnector(name, settings, client, bounds=bounds, progress=progress)
        case EntraSettings():
            return EntraConnector(name, settings, client, ca_bundle=whole.ca_bundle, bounds=bounds, progress=progress)
        case OneLoginSettings():
            return OneLoginConnector(name, settings, client, bounds=bounds, progress=progress)
        case _:
            assert_never(settings)


def _workspace(
    name: str, settings: WorkspaceSettings, client: httpx.AsyncClient, bounds: Bounds, paces: Paces
) -> ScimClient:
    return ScimClient(
        name,
        settings.scim_url,
        [token.reveal_token for token in settings.tokens],
        client,
        bounds=bounds,
        pace=paces.of(settings.scim_url),
        total_results=settings.total_results,
        warn=log.warning,
    )


def _holder() -> str:
    """Name this process to another that wants its lease."""
    command = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:2]])  # noqa: PTH119
    return f"{socket.gethostname()}, process {os.getpid()}, {command}"
