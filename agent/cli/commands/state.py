"""`state`: upgrade the schema of the state as a separate step."""

from __future__ import annotations

import asyncio

import click

from agent.cli.runtime import load_settings
from agent.errors import ExitCode
from agent.report.escape import escape_control

__all__ = ["state"]


@click.group()
def state() -> None:
    """Maintain the state: links, leases and the journal.

    Commands that only read never change the schema of the state. After an upgrade, this command or the first command
    that writes migrates it.

    \b
    pigment-sync state migrate
    """


@state.command()
@click.pass_context
def migrate(context: click.Context) -> int:
    """Upgrade the schema of the state to this version.

    Creates the state if it does not exist. `sync`, `apply`, `serve` and all other commands that write do the same at
    the start; commands that only read refuse an older state. Writes the schema; reads neither the identity providers
    nor Pigment. Back up the state first: an older version can't open it afterwards.

    \b
    pigment-sync state migrate
    """
    from agent.bootstrap import open_shared_resources

    settings = load_settings(context)

    async def body() -> tuple[str, bool]:
        async with open_shared_resources(settings) as resources:
            return resources.location, resources.is_new

    location, is_new = asyncio.run(body())
    click.echo(
        escape_control(f"Created a new state at {location}." if is_new else f"The state {location} is up to date.")
    )
    return ExitCode.DONE
