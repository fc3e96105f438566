"""`serve`: run the daemon in the foreground."""

from __future__ import annotations

import asyncio
import os

import click

from agent.cli.invocation import config_path
from agent.cli.runtime import configure_logs, load_settings
from agent.errors import ExitCode

__all__ = ["serve"]


@click.command()
@click.pass_context
def serve(context: click.Context) -> int:
    """Run the daemon: schedules, page, API and metrics.

    Runs in the foreground. SIGTERM and SIGINT wait for the change in flight, close the runs and end within 30 seconds.
    SIGHUP or a change of the configuration file reloads it; if it is invalid, the previous configuration stays active.
    Reads and writes as `sync` does, on the schedule of each workspace.

    \b
    pigment-sync serve
    pigment-sync --config /etc/pigment-sync/config.yaml serve
    """
    # Importing the server and the scheduler would slow down every other command.
    from agent.server import serve as serve_until_stopped

    settings = load_settings(context)
    asyncio.run(serve_until_stopped(config_path(context), os.environ, settings, configure_logs))
    return ExitCode.DONE
