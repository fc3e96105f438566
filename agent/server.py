"""`serve`: puts the daemon, its page and its watches together, and ends them gently when asked."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from agent import http_client
from agent.bootstrap import Components, SharedResources, SystemClock, build_components, open_shared_resources
from agent.daemon.daemon import Daemon
from agent.daemon.reload import ConfigWatcher
from agent.daemon.watchdog import Watchdog, force_exit_after
from agent.engine.request import RunResult
from agent.engine.shutdown import GracefulShutdown
from agent.errors import ConfigError
from agent.metrics import Metrics
from agent.model.run import Trigger
from agent.settings.root import Settings
from agent.settings.secret_checks import refuse_missing_secrets
from agent.settings.variables import refuse_invalid_variables
from agent.web.app import application
from agent.web.connections import BACKLOG, bounded_protocol, limit_logs, raise_file_limit
from connectors.base import Progress

__all__ = ["serve"]

log = structlog.get_logger()
GRACEFUL_SHUTDOWN_SECONDS = 2
"""How long a stop waits for the last answers to browsers."""
FORCE_EXIT_AFTER_SECONDS = 28.0
"""A container is killed 30 s after it was asked to stop: the log should have the reason first."""


class _Server(uvicorn.Server):
    """Leaves the signals to us: the daemon has to end its work before the page goes away."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    path: Path | None, environ: Mapping[str, str], settings: Settings, configure: Callable[[Settings], None]
) -> None:
    """Serve until SIGTERM or SIGINT. *configure* sets up logging, at each new configuration too.

    Raises `ConfigError` when a variable or a secret is not usable or the port can't be had, and `StateError`.
    """
    refuse_invalid_variables(environ, settings)
    refuse_missing_secrets(settings)
    metrics = Metrics(CollectorRegistry())
    watchdog = Watchdog()
    watchdog.start()
    most_connections = raise_file_limit()
    limit_logs(asyncio.get_running_loop())
    async with open_shared_resources(settings) as kept:
        if kept.is_new:
            log.warning("state.new", place=kept.location)
        daemon = _build_daemon(settings, kept, metrics)
        reloading = ConfigWatcher(path, environ, settings, daemon, configure)
        with _listen(settings) as listening:
            await _serve_until_stopped(
                daemon, reloading, _build_server(_build_application(daemon, metrics), most_connections), listening
            )


async def _serve_until_stopped(
    daemon: Daemon, reloading: ConfigWatcher, server: _Server, listening: socket.socket
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, reloading.request_reload)
    asked = asyncio.create_task(stopping.wait())
    # The state may take long to return when each schedule ran last.
    starting = asyncio.create_task(daemon.start())
    await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        force_exit_after(FORCE_EXIT_AFTER_SECONDS)
        starting.cancel()
        await daemon.stop()
        return
    starting.result()
    answering = asyncio.create_task(server.serve(sockets=[listening]))
    watching = asyncio.create_task(reloading.watch())
    await asyncio.wait({answering, watching, asked}, return_when=asyncio.FIRST_COMPLETED)
    force_exit_after(FORCE_EXIT_AFTER_SECONDS)
    # Whichever ended, the others must: probes are answered until the last write is.
    await daemon.stop()
    server.should_exit = True
    await answering
    for task in (watching, asked):
        task.cancel()
    if watching.done() and not watching.cancelled():
        watching.result()


def _build_daemon(settings: Settings, kept: SharedResources, metrics: Metrics) -> Daemon:
    async def told(results: Sequence[RunResult], trigger: Trigger, seconds: float) -> None:
        for result in results:
            metrics.record_run(result, trigger, seconds)

    @asynccontextmanager
    async def opening(now: Settings, progress: Progress, stopping: GracefulShutdown) -> AsyncIterator[Components]:
        async with build_components(now, progress, stopping, kept, [metrics.count_response]) as made:
            yield made

    return Daemon(settings, kept.state, SystemClock(), opening, told, kept.rate_limiters.budget_left)


def _build_application(daemon: Daemon, metrics: Metrics) -> ASGIApp:
    """Return the page and the API, by the configuration that is in force at each request."""
    return application(
        daemon, metrics, lambda: daemon.settings.server, lambda: http_client.create_transport(daemon.settings.ca_bundle)
    )


def _listen(settings: Settings) -> socket.socket:
    """Listen as the configuration says. Raises `ConfigError`."""
    host, port = settings.server.host, settings.server.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise ConfigError(
            f"server: {host}:{port} can't be listened on ({error.strerror}).",
            "Set server.host to an address of this machine, and server.port to a port that nobody else uses.",
        ) from error
    log.info("server.listening", host=host, port=listening.getsockname()[1])
    return listening


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
