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
from agent.bootstrap import Components, open_components
from agent.cli.completion import complete_workspace
from agent.cli.progress import show_progress
from agent.engine.shutdown import GracefulShutdown
from agent.engine.state_checks import STATE_REMEDY, new_state_warning
from agent.report.escape import escape_control
from agent.settings.load import load
from agent.settings.root import Settings
from agent.settings.variables import refuse_invalid_variables

__all__ = [
    "by_option",
    "config_path",
    "configure_logs",
    "load_settings",
    "reason_option",
    "run_with_components",
    "warn",
    "workspace_option",
]

T = TypeVar("T")
CommandBody = Callable[[Components], Awaitable[T]]


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
    shell_complete=complete_workspace,
)
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; it is kept in the journal.")
by_option = click.option(
    "--by", default=os_user, show_default="the OS user", metavar="WHO", help="Who asks; kept in the journal."
)


def load_settings(context: click.Context) -> Settings:
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
    click.echo(escape_control(f"pigment-sync: warning: {message}"), err=True)


def run_with_components(
    context: click.Context, body: CommandBody[T], *, is_reading: bool = False, warns: bool = True
) -> T:
    """Run *body* with the parts that the configuration describes; what is only reading migrates no older state.

    Not *warns*: the command itself reports that the state is new.

    The first SIGINT or SIGTERM breaks off what only reads; once something may have been written it lets the change in
    flight finish and leaves the rest. The second ends at once.
    """
    settings = load_settings(context)
    refuse_invalid_variables(os.environ, settings)
    stopping = GracefulShutdown()

    async def work() -> T:
        with show_progress() as progress:
            async with open_components(settings, progress, stopping, is_reading=is_reading) as parts:
                if parts.shared.is_new and warns:
                    warn(f"{new_state_warning(parts.shared.location)}. {STATE_REMEDY}")
                progress.budget = parts.budget_left
                return await body(parts)

    async def within() -> T:
        task = asyncio.create_task(work())
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stopping.request, task)
        return await task

    try:
        return asyncio.run(within())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
