"""Run a command's body with everything it needs, and stop it gently when asked."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from agent import logs
from agent.cli.completing import workspace_names
from agent.cli.progress import shown
from agent.engine.memory import STATE_REMEDY, new_state
from agent.engine.stopping import Stopping
from agent.report.escape import harmless
from agent.settings.load import load
from agent.settings.root import Settings
from agent.settings.variables import refuse_variables
from agent.wiring import Parts, opened

__all__ = [
    "by_option",
    "config_path",
    "configure_logs",
    "loaded",
    "reason_option",
    "run_within",
    "warn",
    "workspace_option",
]

T = TypeVar("T")
Body = Callable[[Parts], Awaitable[T]]


def os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that has no name.
        return f"uid {os.getuid()}"


workspace_option = click.option(
    "-w",
    "--workspace",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this workspace; may be repeated.",
    shell_complete=workspace_names,
)
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; it is kept in the journal.")
by_option = click.option(
    "--by", default=os_user, show_default="the OS user", metavar="WHO", help="Who asks; kept in the journal."
)


def loaded(context: click.Context) -> Settings:
    """Load the configuration and set up logging as it says."""
    settings = load(config_path(context), os.environ)
    configure_logs(settings)
    return settings


def config_path(context: click.Context) -> Path | None:
    """Return the path that --config named."""
    path = context.find_root().obj
    return path if isinstance(path, Path) else None


def configure_logs(settings: Settings) -> None:
    logs.configure(settings.log.level, settings.log.format, settings.log.emails, sys.stderr)


def warn(message: str) -> None:
    """Write a warning to stderr, whatever the log shows."""
    click.echo(harmless(f"pigment-sync: warning: {message}"), err=True)


def run_within(context: click.Context, body: Body[T], *, is_reading: bool = False, warns: bool = True) -> T:
    """Run *body* with the parts that the configuration describes; what is only reading migrates no older state.

    Not *warns*: the command itself reports that the state is new.

    The first SIGINT or SIGTERM breaks off what only reads; once something may have been written it lets the change in
    flight finish and leaves the rest. The second ends at once.
    """
    settings = loaded(context)
    refuse_variables(os.environ, settings)
    stopping = Stopping()

    async def work() -> T:
        with shown() as progress:
            async with opened(settings, progress, stopping, is_reading=is_reading) as parts:
                if parts.kept.is_new and warns:
                    warn(f"{new_state(parts.kept.place)}. {STATE_REMEDY}")
                progress.budget = parts.budget_left
                return await body(parts)

    async def within() -> T:
        task = asyncio.create_task(work())
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stopping.ask, task)
        return await task

    try:
        return asyncio.run(within())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
