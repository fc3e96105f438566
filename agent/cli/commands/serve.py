"""`serve`: run the daemon in the foreground."""

from __future__ import annotations

import asyncio
import os

import click

from agent.cli.runtime import config_path, configure_logs, load_settings
from agent.errors import ExitCode

__all__ = ["serve"]


@click.command()
@click.pass_context
def serve(context: click.Context) -> int:
    """Run the daemon: schedules, page, API and metrics.

    Runs in the foreground. SIGTERM and SIGINT let the change in flight be answered, close the runs and end within 30
    seconds. A changed configuration file, or SIGHUP, is taken at once if it is valid; else the former stays in force.
    Reads and writes as `sync` does, at the times that each workspace's schedule says.

    \b
    pigment-sync serve
    pigment-sync --config /etc/pigment-sync/config.yaml serve
    """
    # The server and the scheduler would make every other command start later.
    from agent.server import serve as serve_until_stopped

    settings = load_settings(context)
    asyncio.run(serve_until_stopped(config_path(context), os.environ, settings, configure_logs))
    return ExitCode.DONE
