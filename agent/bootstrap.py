"""The composition root: build every component from the settings, and pass each what it needs."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import httpx
import structlog

from agent import http_client, logs
from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.request import FleetLimit, PendingDeactivations, RunResult, WorkspaceContext
from agent.engine.shutdown import GracefulShutdown
from agent.engine.state_checks import check_state, check_workspace_state
from agent.model import Plan, Unplanned
from agent.ports.clock import Clock
from agent.ports.notices import OnNotice, ignore_notice
from agent.ports.state import State
from agent.ports.tracer import NO_TRACER, Tracer
from agent.scim.client import ScimClient
from agent.scim.page_size import FixedPageSize, NegotiatedPageSize, PageSize
from agent.scim.rate_limit import RateLimiters
from agent.settings.cross_checks import refuse_shared_tokens
from agent.settings.root import Settings
from agent.settings.target import policies, tenant_of
from agent.settings.workspace import WorkspaceSettings
from agent.store.migrate import HEAD
from agent.store.state import SqlState
from agent.tracing import TracedTransport, open_tracer
from connectors.base import Finding, Progress, Source
from connectors.http import RequestLimits
from connectors.provider import ConnectorContext
from connectors.registry import provider_of

# What only some commands use is imported where it is built: its classes are a tenth of the start of every command.
if TYPE_CHECKING:
    from agent.delivery.content import ReadComponents
    from agent.delivery.service import ReportService
    from agent.engine.feed_plan import FeedPlanner
    from agent.engine.feed_poll import FeedPoller
    from agent.engine.links import LinkEditor
    from agent.engine.probe import Prober
    from agent.engine.sync import Sync
    from agent.engine.undo import UndoPlanner
    from agent.engine.workspaces import WorkspaceKeys
    from agent.model.check import CheckResult
    from agent.notifications.notice import Notice
    from agent.notifications.notifier import Notifier
    from connectors.feed import Feed

__all__ = [
    "Components",
    "Hooks",
    "SharedResources",
    "StateClock",
    "SystemClock",
    "build_components",
    "create_feeds",
    "create_notifier",
    "create_report_service",
    "open_components",
    "open_pollers",
    "open_shared_resources",
    "trace_runs",
]

log = structlog.get_logger()
CLOCK_TOLERANCE = timedelta(seconds=2)


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> float:
        # Linux stops its monotonic clock while the machine is suspended, and its leases run out.
        boot = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if boot is None else time.clock_gettime(boot)


class StateClock:
    """The clock of a machine, corrected by the state's where they differ.

    Times in the state are compared with those of other machines, whose clocks may be an hour away: the changes of the
    last 60 minutes, approvals, people whom a feed named. Small differences stay, so that no time goes back.
    """

    def __init__(self, machine: Clock) -> None:
        self._machine = machine
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return self._machine.now() + self._ahead

    def elapsed(self) -> float:
        return self._machine.elapsed()

    def follow(self, moment: datetime, asked_at: float) -> None:
        took = timedelta(seconds=self.elapsed() - asked_at)
        least = moment - self._machine.now()
        if least - CLOCK_TOLERANCE <= self._ahead <= least + took + CLOCK_TOLERANCE:
            return
        self._ahead = least + took / 2
        log.warning("clock.differs", state_ahead_seconds=round(self._ahead.total_seconds()))


@dataclass(frozen=True, slots=True)
class SharedResources:
    """What outlives one run in a daemon: the state and its clock, the used request budget of each host, and what runs
    will do."""

    state: State
    rate_limiters: RateLimiters
    location: str = ""
    is_new: bool = False
    pending: PendingDeactivations = field(default_factory=PendingDeactivations)
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What observes a run: *on_response* gets each HTTP response, *on_notice* the outcome of each notice.

    *tracer* records spans of reads and writes. *wrap* may return a transport that keeps what the given one answers.
    """

    on_response: Sequence[Callable[[httpx.Response], Awaitable[None]]] = ()
    on_notice: OnNotice = ignore_notice
    tracer: Tracer = NO_TRACER
    wrap: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] = lambda transport: transport

    def wrap_transport(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        wrapped = self.wrap(transport)
        return wrapped if self.tracer is NO_TRACER else TracedTransport(wrapped, self.tracer)


NO_HOOKS = Hooks()


@dataclass(frozen=True, slots=True)
class Components:
    """The components of one command. A dry run gets *read_only_workspaces* only.

    *shared* has the location of the state, and whether it is new. *holder* names this process to other holders of
    leases. *feed_planner* is None without a change feed.
    """

    settings: Settings
    state: State
    clock: Clock
    planner: Planner
    contexts: Mapping[str, WorkspaceContext]
    clients: Mapping[str, ScimClient]
    shared: SharedResources
    on_notice: OnNotice
    shutdown: GracefulShutdown
    holder: str
    tracer: Tracer
    feed_planner: FeedPlanner | None

    def budget_left(self) -> int | None:
        """Return how many requests the busiest Pigment host accepts now."""
        return self.shared.rate_limiters.budget_left()

    @property
    def read_only_workspaces(self) -> dict[str, ReadOnlyWorkspace]:
        return {name: ReadOnlyWorkspace(context.policy, context.client) for name, context in self.contexts.items()}

    @property
    def sync(self) -> Sync:
        """What writes to workspaces."""
        from agent.engine.sync import Sync

        return Sync(
            self.planner,
            self.contexts,
            self.holder,
            asyncio.sleep,
            _describe_difference,
            self.shutdown,
            max_plan_age_seconds=self.settings.apply.max_plan_age.total_seconds(),
            approval_policy=self.settings.approvals.policy(),
            tracer=self.tracer,
            feed_planner=self.feed_planner,
            in_flight=self.settings.apply.in_flight,
        )

    def link_editor(self, name: str) -> LinkEditor:
        from agent.engine.links import LinkEditor

        return LinkEditor(self.planner, self.read_only_workspaces[name], self.holder, asyncio.sleep)

    def prober(self, name: str) -> Prober:
        from agent.engine.probe import Prober

        return Prober(
            self.planner,
            self.contexts[name].policy,
            self.clients[name],
            self.holder,
            asyncio.sleep,
            asyncio.sleep,
            self.shutdown,
            lambda: secrets.token_hex(4),
        )

    @property
    def workspace_keys(self) -> WorkspaceKeys:
        from agent.engine.workspaces import WorkspaceKeys

        policies = {name: context.policy for name, context in self.contexts.items()}
        return WorkspaceKeys(self.state, self.clock, policies, self.holder, asyncio.sleep, self.settings.provenance)

    def feed_sync(self) -> Sync:
        """Return the sync of a feed run, which deactivates people who left since a feed named them."""
        if self.feed_planner is None:
            raise AssertionError("a feed run needs a connector with a feed")
        return replace(self.sync, planner=self.feed_planner)

    def undo_planner(self, run_id: str) -> UndoPlanner:
        from agent.engine.undo import UndoPlanner

        return UndoPlanner(run_id, self.state, self.clock, self.planner.progress)

    def undo_sync(self, run_id: str) -> Sync:
        return replace(self.sync, planner=self.undo_planner(run_id))

    async def notify(self, results: Sequence[RunResult]) -> None:
        """Send notifications of ended runs and of tokens about to expire. Raises nothing."""
        if not self.settings.notify.urls:
            return
        notifier = create_notifier(self.settings, self.state, self.on_notice)
        await notifier.notify_results(results, self._find_next_digest)
        today = self.clock.now().date()
        for name in {result.workspace: None for result in results}:
            await notifier.notify_token_expiry(name, self.settings.workspaces[name].token_expires, today)

    async def _find_next_digest(self, result: RunResult) -> str:
        from agent.engine.next_digest import find_next_digest

        return await find_next_digest(self.planner, self.read_only_workspaces[result.workspace], result)

    async def check(self, names: Sequence[str], *, sends_notices: bool = False) -> CheckResult:
        """Check the named workspaces and each connector that they need. Problems are returned, not raised.

        With *sends_notices*, each notification URL gets a test notice.
        """
        from agent.model.check import CheckResult
        from agent.preflight import run_preflight

        place, is_new = self.shared.location, self.shared.is_new
        connectors: dict[str, list[Source]] = {}
        for source in (source for name in names for source in self.contexts[name].policy.sources):
            connectors.setdefault(source.connector, []).append(source)
        sources = {name: list(dict.fromkeys(each)) for name, each in connectors.items()}
        known = [await check_workspace_state(self.state, place, self.contexts[name].policy) for name in names]
        state = await check_state(self.state, place, HEAD, is_new=is_new)
        found, seen, others = await asyncio.gather(
            asyncio.gather(*(self._check_connector(name, each) for name, each in sources.items())),
            asyncio.gather(*(self.clients[name].check() for name in names)),
            run_preflight(self.settings, sends_notices=sends_notices),
        )
        return CheckResult(
            [*state, *others],
            dict(zip(sources, found, strict=True)),
            {name: [*first, *then] for name, first, then in zip(names, known, seen, strict=True)},
        )

    async def _check_connector(self, name: str, sources: Sequence[Source]) -> list[Finding]:
        findings = await self.planner.connectors[name].check(sources)
        feeds = self.feed_planner.feeds if self.feed_planner is not None else {}
        if name in feeds:
            from connectors.checks import check_feed

            findings += await check_feed(f"connector {name}", feeds[name], sources)
        return findings


def _describe_difference(reviewed: bytes, fresh: Plan | Unplanned) -> Sequence[str]:
    # Only for an approval of another plan: a sync starts faster without what parses a saved one.
    from agent.plan_parser import describe_difference

    return describe_difference(reviewed, fresh)


@asynccontextmanager
async def open_shared_resources(settings: Settings, *, is_reading: bool = False) -> AsyncIterator[SharedResources]:
    """Open the state, and close it at the end. With *is_reading* an older schema is left as it is.

    Yields the state with its *location*; *is_new* is true when it was just created. Raises `StateError`.
    """
    clock = StateClock(SystemClock())
    state = await SqlState.open(settings.state.url, clock.now, only_new=is_reading, clock=clock)
    try:
        rate_limiters = _create_rate_limiters(settings, state)
        try:
            yield SharedResources(state, rate_limiters, state.location, state.is_new, clock=clock)
        finally:
            await rate_limiters.close()
    finally:
        await state.close()


def _create_rate_limiters(settings: Settings, state: SqlState) -> RateLimiters:
    pigment = settings.pigment
    if pigment.budget == "own" or not state.is_shared:
        return RateLimiters(pigment.requests_per_window, pigment.window_seconds)
    from agent.scim.shared_budget import BudgetTerms, SharedWindow

    terms = BudgetTerms(pigment.requests_per_window, pigment.window_seconds, settings.http.max_wait_seconds)
    # A process id may come again on the same host, in a container at once: then permits of the dead one count too.
    holder = f"{_lease_holder_name()}, {secrets.token_hex(8)}"
    elapsed = SystemClock().elapsed
    return RateLimiters(create=lambda host: SharedWindow(host, state, terms, holder, elapsed, warn=log.warning))


@asynccontextmanager
async def open_components(
    settings: Settings, progress: Progress, shutdown: GracefulShutdown, *, is_reading: bool = False
) -> AsyncIterator[Components]:
    """Build the components of one command, and close them at the end. Raises `ConfigError` and `StateError`."""
    with trace_runs(settings) as tracer:
        async with (
            open_shared_resources(settings, is_reading=is_reading) as shared,
            build_components(settings, progress, shutdown, shared, Hooks(tracer=tracer)) as components,
        ):
            yield components


def trace_runs(settings: Settings) -> AbstractContextManager[Tracer]:
    """Return the tracer of the process, as configured. Raises `ConfigError`."""
    providers = {name: each.type for name, each in settings.connectors.items()}
    return open_tracer(is_enabled=settings.tracing.enabled, providers=providers)


@asynccontextmanager
async def build_components(
    settings: Settings,
    progress: Progress,
    shutdown: GracefulShutdown,
    shared: SharedResources,
    hooks: Hooks = NO_HOOKS,
) -> AsyncIterator[Components]:
    """Build the components of one run with the *shared* resources. *hooks* observe what it does.

    Connectors cache what they read: do not keep components beyond one run. Raises `ConfigError`.
    """
    refuse_shared_tokens(settings.workspaces)
    timeout = settings.http.timeout_seconds
    async with http_client.create_client(settings.ca_bundle, timeout, wrap=hooks.wrap_transport) as client:
        client.event_hooks = {"response": list(hooks.on_response)}
        yield _assemble_components(settings, progress, shutdown, client, shared, hooks)


def _assemble_components(
    settings: Settings,
    progress: Progress,
    shutdown: GracefulShutdown,
    client: httpx.AsyncClient,
    shared: SharedResources,
    hooks: Hooks,
) -> Components:
    clock, state, rate_limiters = shared.clock, shared.state, shared.rate_limiters
    limits = RequestLimits(settings.http.timeout_seconds, settings.http.retries, settings.http.max_wait_seconds)
    context = ConnectorContext(client, limits, progress)
    connectors = {name: provider_of(each).create(name, each, context) for name, each in settings.connectors.items()}
    workspace_policies = policies(settings)
    clients = {
        name: _build_scim_client(
            name,
            each,
            client,
            limits,
            rate_limiters,
            FixedPageSize(each.page_size)
            if each.page_size != "auto"
            else NegotiatedPageSize(name, workspace_policies[name].target, state, clock, log.warning),
        )
        for name, each in settings.workspaces.items()
    }
    contexts = {name: WorkspaceContext(policy, clients[name]) for name, policy in workspace_policies.items()}
    fleet = FleetLimit(tuple(settings.workspaces), settings.limits.fleet_deactivations_percent)
    planner = Planner(connectors, state, clock, fleet, progress, hooks.tracer)
    return Components(
        settings,
        state,
        clock,
        planner,
        contexts,
        clients,
        shared,
        hooks.on_notice,
        shutdown,
        _lease_holder_name(),
        hooks.tracer,
        _create_feed_planner(create_feeds(settings, context), planner, shared),
    )


def _create_feed_planner(feeds: Mapping[str, Feed], planner: Planner, shared: SharedResources) -> FeedPlanner | None:
    if not feeds:
        return None
    from agent.engine.feed_plan import FeedPlanner

    state, clock, fleet_limit, progress = planner.state, planner.clock, planner.fleet_limit, planner.progress
    return FeedPlanner(feeds, state, clock, fleet_limit, progress, asyncio.sleep, shared.pending)


def create_feeds(settings: Settings, context: ConnectorContext) -> dict[str, Feed]:
    """Return the change feeds of the connectors that have one configured, by connector."""
    feeds = {}
    for name, each in settings.connectors.items():
        create_feed = provider_of(each).create_feed
        if each.change_feed is not None and create_feed is not None:
            used = [source for policy in policies(settings).values() for source in policy.sources]
            sources = tuple(dict.fromkeys(source for source in used if source.connector == name))
            feeds[name] = create_feed(name, each, replace(context, sources=sources))
    return feeds


@asynccontextmanager
async def open_pollers(
    settings: Settings, state: State, hooks: Hooks = NO_HOOKS, clock: Clock | None = None
) -> AsyncIterator[list[FeedPoller]]:
    """Build the pollers of the configured feeds, which keep their tokens from poll to poll. Raises `ConfigError`."""
    from agent.engine.feed_poll import FeedPoller

    timeout = settings.http.timeout_seconds
    async with http_client.create_client(settings.ca_bundle, timeout, wrap=hooks.wrap_transport) as client:
        client.event_hooks = {"response": list(hooks.on_response)}
        limits = RequestLimits(timeout, settings.http.retries, settings.http.max_wait_seconds)
        feeds = create_feeds(settings, ConnectorContext(client, limits))
        yield [
            FeedPoller(
                connector=name,
                account=tenant_of(settings.connectors[name]),
                feed=feed,
                every=configured.every,
                max_people=configured.max_people,
                state=state,
                clock=clock or SystemClock(),
                holder=_lease_holder_name(),
            )
            for name, feed in feeds.items()
            if (configured := settings.connectors[name].change_feed) is not None
        ]


def create_report_service(
    settings: Settings,
    state: State,
    clock: Clock,
    open_components: Callable[[], AbstractAsyncContextManager[ReadComponents]],
    notify: Callable[[str, str, Notice], Awaitable[None]] | None = None,
) -> ReportService:
    """Return what delivers the reports of *settings*. *notify* gets those that are late."""
    from agent.delivery.service import ReportService

    return ReportService(
        state=state,
        clock=clock,
        sleep=asyncio.sleep,
        holder=_lease_holder_name(),
        open_components=open_components,
        ca_bundle=settings.ca_bundle,
        notify=notify,
    )


def create_notifier(settings: Settings, state: State, on_notice: OnNotice = ignore_notice) -> Notifier:
    from agent.notifications.notifier import Notifier

    sanitize = partial(logs.sanitize, emails=settings.log.emails)
    return Notifier(settings.notify.urls, settings.notify.on, state, sanitize, settings.ca_bundle, on_notice)


def _build_scim_client(
    name: str,
    settings: WorkspaceSettings,
    client: httpx.AsyncClient,
    limits: RequestLimits,
    rate_limiters: RateLimiters,
    page_size: PageSize,
) -> ScimClient:
    return ScimClient(
        name,
        settings.scim_url,
        [token.reveal_token for token in settings.tokens],
        client,
        limits=limits,
        rate_limiter=rate_limiters.for_url(settings.scim_url),
        total_results=settings.total_results,
        page_size=page_size,
        warn=log.warning,
    )


def _lease_holder_name() -> str:
    """Return the name of this process, shown to processes that wait for its lease."""
    command = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:2]])  # noqa: PTH119
    return f"{socket.gethostname()}, process {os.getpid()}, {command}"
