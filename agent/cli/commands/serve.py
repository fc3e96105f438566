"""`serve`: run the daemon in the foreground."""

from __future__ import annotations

import asyncio
import gc
import os
import sys

import click

from agent.cli.invocation import config_path
from agent.cli.runtime import configure_logs, load_settings
from agent.errors import ExitCode

__all__ = ["serve"]

GC_THRESHOLDS = (50_000, 20, 20)
"""The page, the API and the database's library leave cycles, which must not fill the memory of a daemon."""


def _announce(line: str) -> None:
    """Show *line* at a terminal. Elsewhere stderr is a log in one format, which the line would break."""
    if sys.stderr.isatty():
        click.echo(f"{line}. To stop: Ctrl-C", err=True)


@click.command()
@click.pass_context
def serve(context: click.Context) -> int:
    """Run the daemon: schedules, page, API and metrics.

    Runs in the foreground. At a terminal, shows its address, the workspaces and the next run. SIGTERM and SIGINT wait
    for the change in flight, close the runs and end within 30 seconds. SIGHUP or a change of the configuration file
    reloads it; if it is invalid, the previous configuration stays active. Reads and writes as `sync` does, on the
    schedule of each workspace.

    \b
    pigment-sync serve
    pigment-sync --config /etc/pigment-sync/config.yaml serve
    """
    # Importing the server and the scheduler would slow down every other command.
    from agent.server import serve as serve_until_stopped

    settings = load_settings(context)
    gc.set_threshold(*GC_THRESHOLDS)
    asyncio.run(serve_until_stopped(config_path(context), os.environ, settings, configure_logs, _announce))
    return ExitCode.DONE
