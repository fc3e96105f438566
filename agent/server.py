"""`serve`: start the daemon with its page and watchers, and shut them down gracefully."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from agent import http_client
from agent.bootstrap import (
    Components,
    Hooks,
    SharedResources,
    build_components,
    create_notifier,
    create_report_service,
    open_pollers,
    open_shared_resources,
    trace_runs,
)
from agent.daemon.daemon import Daemon
from agent.daemon.presence import daemon_phrase
from agent.daemon.reload import ConfigWatcher
from agent.daemon.watchdog import Watchdog, force_exit_after
from agent.delivery.content import ReadComponents
from agent.delivery.service import ReportService
from agent.engine.request import RunResult
from agent.engine.shutdown import GracefulShutdown
from agent.errors import ConfigError
from agent.metrics import Metrics
from agent.model.run import Trigger
from agent.ports.tracer import Tracer
from agent.settings.root import Settings
from agent.settings.secret_checks import refuse_missing_secrets
from agent.settings.variables import refuse_invalid_variables
from agent.web.app import application
from agent.web.connections import BACKLOG, bounded_protocol, limit_logs, raise_file_limit
from connectors.base import Progress

__all__ = ["serve", "serving_line"]

log = structlog.get_logger()
GRACEFUL_SHUTDOWN_SECONDS = 2
"""How long a stop waits for the last responses to browsers."""
FORCE_EXIT_AFTER_SECONDS = 28.0
"""A container is killed 30 s after the stop signal: the log must have the reason before."""


class _Server(uvicorn.Server):
    """Does not handle signals: the daemon must end its runs before the page stops."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    path: Path | None,
    environ: Mapping[str, str],
    settings: Settings,
    configure: Callable[[Settings], None],
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT. *configure* sets up logging, again for each new configuration.

    *announce* gets a line with the address, the workspaces and the next run, once the daemon has started.

    Raises `StateError`, and `ConfigError` when a variable, a secret or the port can't be used.
    """
    refuse_invalid_variables(environ, settings)
    refuse_missing_secrets(settings)
    metrics = Metrics(CollectorRegistry())
    watchdog = Watchdog()
    watchdog.start()
    most_connections = raise_file_limit()
    limit_logs(asyncio.get_running_loop())
    async with AsyncExitStack() as stack:
        tracer = stack.enter_context(trace_runs(settings))
        shared = await stack.enter_async_context(open_shared_resources(settings))
        if shared.is_new:
            log.warning("state.new", place=shared.location)
        daemon = _build_daemon(settings, shared, metrics, tracer)
        watcher = ConfigWatcher(path, environ, settings, daemon, configure)
        with _listen(settings) as listener:
            await _serve_until_stopped(
                daemon,
                watcher,
                _build_server(_build_application(daemon, metrics), most_connections),
                listener,
                announce,
            )


async def _serve_until_stopped(
    daemon: Daemon,
    watcher: ConfigWatcher,
    server: _Server,
    listener: socket.socket,
    announce: Callable[[str], None],
) -> None:
    stop_event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop_event.set)
    loop.add_signal_handler(signal.SIGHUP, watcher.request_reload)
    stop_requested = asyncio.create_task(stop_event.wait())
    # Loading the last run of each schedule from the state may take long.
    starting = asyncio.create_task(daemon.start())
    await asyncio.wait({starting, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        force_exit_after(FORCE_EXIT_AFTER_SECONDS)
        starting.cancel()
        await daemon.stop()
        return
    starting.result()
    host, port, *_ = listener.getsockname()
    others = [daemon_phrase(each) for each in daemon.other_daemons]
    next_run = daemon.next_run
    log.info(
        "daemon.started",
        address=server_address(host, port),
        workspaces=list(daemon.workspace_names),
        next_run=next_run.astimezone(UTC).isoformat(timespec="seconds") if next_run is not None else None,
        other_daemons=others,
    )
    announce(serving_line(server_address(host, port), daemon.workspace_names, next_run, others))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    watching = asyncio.create_task(watcher.watch())
    await asyncio.wait({serving, watching, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
    force_exit_after(FORCE_EXIT_AFTER_SECONDS)
    # When one ends, the others must end too. Health probes get responses until the last write has ended.
    await daemon.stop()
    server.should_exit = True
    await serving
    for task in (watching, stop_requested):
        task.cancel()
    if watching.done() and not watching.cancelled():
        watching.result()


def server_address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serving_line(address: str, names: Sequence[str], next_run: datetime | None, others: Sequence[str]) -> str:
    """Return "Serving http://127.0.0.1:8080 for latam, eu. Next run: 2026-03-01 12:00:00 UTC".

    *others* are the other daemons on the same state: "pid 7 on host-a".
    """
    when = "none is scheduled" if next_run is None else f"{next_run.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    also = "".join(f". Another daemon ({each}) uses this state" for each in others)
    return f"Serving {address} for {', '.join(names)}. Next run: {when}{also}"


def _build_daemon(settings: Settings, shared: SharedResources, metrics: Metrics, tracer: Tracer) -> Daemon:
    hooks = Hooks([metrics.count_response], metrics.count_notice, tracer)

    async def observe(results: Sequence[RunResult], trigger: Trigger, seconds: float) -> None:
        for result in results:
            metrics.record_run(result, trigger, seconds)

    @asynccontextmanager
    async def create_components(
        current: Settings, progress: Progress, shutdown: GracefulShutdown
    ) -> AsyncIterator[Components]:
        async with build_components(current, progress, shutdown, shared, hooks) as components:
            yield components

    def create_service(
        current: Settings, open_components: Callable[[], AbstractAsyncContextManager[ReadComponents]]
    ) -> ReportService:
        notifier = create_notifier(current, shared.state, hooks.on_notice)
        return create_report_service(current, shared.state, shared.clock, open_components, notifier.notify_report)

    return Daemon(
        settings,
        shared.state,
        shared.clock,
        create_components,
        observe,
        shared.rate_limiters.budget_left,
        create_service,
        lambda current: open_pollers(current, shared.state, hooks, shared.clock),
        metrics,
        metrics,
    )


def _build_application(daemon: Daemon, metrics: Metrics) -> ASGIApp:
    """Return the page and the API, which use the active configuration of each request."""
    return application(
        daemon, metrics, lambda: daemon.settings.server, lambda: http_client.create_transport(daemon.settings.ca_bundle)
    )


def _listen(settings: Settings) -> socket.socket:
    """Listen on the configured host and port. Raises `ConfigError`."""
    host, port = settings.server.host, settings.server.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise _listen_error(error, host, port) from error
    log.info("server.listening", host=host, port=listener.getsockname()[1])
    return listener


def _listen_error(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"server: port {port} of {host} is in use, possibly by another `serve`.", "Stop it, or set server.port."
        )
    return ConfigError(
        f"server: can't listen on {host}:{port} ({error.strerror}).",
        "Set server.host to an address of this machine, and server.port to a port that is free.",
    )


def _build_server(app: ASGIApp, most_connections: int) -> _Server:
    config = uvicorn.Config(
        app,
        http=bounded_protocol(most_connections),
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
    )
    return _Server(config)
